//! The real manager, on simulated ground.

use std::sync::Arc;
use std::time::Duration;

use om_api::socket::Address;
use om_etcd::EtcdOptions;
use om_leadership::{Alarm, Timing};
use om_manager::app::App;
use om_manager::config::{Config, EtcdMode, Mode, Network};
use om_manager::ground::{BeforeStore, Ground, Incoming, Kept, Taken};
use om_plugin_sdk::log::{Format, Level};
use om_store::file::FileStore;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::disk::{SimDetector, SimDisk};
use crate::etcd::SimKeyspace;
use crate::hub::Place;
use crate::places;
use crate::plant::Plant;
use crate::process::Life;
use crate::store::Forgetful;

/// The longest that a plugin acts without its leader, as the manager has it by default.
pub(crate) const AUTHORITY: Duration = Duration::from_secs(2);

fn config(place: Place, lease_ttl: Duration, is_os: bool) -> anyhow::Result<Config> {
    let etcd = EtcdOptions::new(["http://model:2379"]);
    let (mode, authority) = if is_os {
        (Mode::Os { leader_file: "/shared/leader".into(), poll: Duration::from_secs(5) }, 1000)
    } else {
        (Mode::Etcd(EtcdMode { etcd, cluster: "sim".to_owned(), lease_ttl }), 250)
    };
    Ok(Config {
        mode,
        name: places::replica(place),
        proxy_for: None,
        plugins_dir: places::plugins(place),
        state_dir: "/nowhere".into(),
        advertise: places::endpoint(place).to_string(),
        listen: Vec::new(),
        network: Network::Insecure,
        timing: Timing::from_ttl(Duration::from_millis(authority))?,
        socket_mode: 0o600,
        socket_group: None,
        host: places::host(place),
        log: Level::DEFAULT.parse().map_err(anyhow::Error::msg)?,
        log_format: Format::Text,
        print: None,
    })
}

/// The program.
pub(crate) async fn main(life: Life, lease_ttl: Duration) {
    let Life { hub, pid, place, clock, stop } = life;
    let is_os = hub.lock().is_os;
    let config = match config(place, lease_ttl, is_os) {
        Ok(config) => config,
        Err(error) => return hub.say(format_args!("no configuration: {error}")),
    };
    let dir = config.plugins_dir.clone();
    let addresses = [Address::Unix(dir.join(&config.name)), places::endpoint(place)];
    let incoming = addresses.map(|address| -> Incoming {
        let connections = hub.bind(pid, place, &address);
        Box::pin(ReceiverStream::new(connections).map(|end| Ok(Taken::new(end))))
    });
    let kept = if is_os {
        let disk = SimDisk::new(hub.clone(), place);
        let store = FileStore::in_place("/state", Arc::new(disk));
        Kept::Shared(Arc::new(store), Arc::new(SimDetector::start(hub.clone(), place)))
    } else {
        Kept::Keys(Arc::new(SimKeyspace::new(hub.clone(), place)))
    };
    let forgetful = hub.lock().plant == Some(Plant::ErrorIsEmpty);
    let ground = Ground {
        clock,
        alarm: Alarm::runtime(),
        dialer: hub.dialer(place),
        directory: hub.directory(place, dir),
        before_store: forgetful.then(|| -> BeforeStore { Box::new(|store| Arc::new(Forgetful::new(store))) }),
        kept,
    };
    let served = Box::pin(App::on(config, ground, incoming.into()).run(stop)).await;
    hub.say(format_args!("replica {pid:?} ended: {served:?}"));
}
