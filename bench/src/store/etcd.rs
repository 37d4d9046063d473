//! The etcd store beside etcd's own put.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use etcd_client::Client;
use om_api::clock::since_boot;
use om_etcd::{Etcd, EtcdOptions};
use om_kv::layout::Layout;
use om_store::kv::KvStore;
use om_system_tests::{Bed, EtcdCluster, Pace};
use tokio::runtime::Runtime;

use super::{Args, Held, Row, SERVICE_BYTES, in_turn, row, rows_by_size};
use crate::figures::Figures;

/// One member: a put there and a commit have the same way to go.
pub(super) fn measure(runtime: &Runtime, args: &Args) -> Result<Vec<Row>> {
    ensure!(EtcdCluster::possible(), "etcd and etcdctl are missing: cargo xtask setup");
    let bed = Bed::new();
    let cluster = EtcdCluster::local(&bed, 1, Pace::DEFAULT);
    runtime.block_on(async {
        let mut client = Client::connect([cluster.endpoint(0)], None).await?;
        let one = open(&cluster, "one").await?;
        let (mut of_etcd, mut of_store) = (Figures::default(), Figures::default());
        for number in 0..args.commits {
            let begun = since_boot();
            client.put(format!("bare/{number}"), vec![b'x'; SERVICE_BYTES], None).await?;
            of_etcd.rounds.push(since_boot() - begun);
            of_store.rounds.push(one.commit(number).await?);
        }
        let mut rows = vec![
            row("etcd's own put of 1.15 kB", &of_etcd, None),
            row("a commit of as much, 1 client", &of_store, Some((&of_etcd, "a put"))),
        ];
        let mut held = Vec::new();
        for services in &args.services {
            let mut one = open(&cluster, &services.to_string()).await?;
            one.fill(*services).await?;
            held.push(one);
        }
        let figures = in_turn(&held, args.commits).await?;
        rows.extend(rows_by_size(&args.services, &figures));
        Ok(rows)
    })
}

async fn open(cluster: &EtcdCluster<'_>, name: &str) -> Result<Held<KvStore>> {
    let etcd = Etcd::new(&EtcdOptions {
        endpoints: vec![cluster.endpoint(0)],
        tls: None,
        user: None,
        attempt: Duration::from_secs(5),
        silence: Duration::from_secs(5),
    })?;
    Held::claim(KvStore::new(Arc::new(etcd), &Layout::of(name))).await
}
