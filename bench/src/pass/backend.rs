//! The plugin that the calls end at: it describes what it was given, and says as much as it is asked to.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use om_api::{clock, v1};
use om_plugin_sdk::{Declared, Failed, Output, Plugin, Rejected, Report, Service};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// Its kind, its socket's name.
pub(crate) const NAME: &str = "bench";
/// Its action: so many messages of so many bytes.
pub(crate) const FLOOD: &str = "flood";

/// `om-bench backend`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where its socket is to be
    plugins_dir: PathBuf,
}

/// The command. Ends with its process. One thread: what is measured is not this program.
pub(crate) fn run(args: &Args) -> Result<()> {
    let options = om_plugin_sdk::Options {
        name: NAME.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        plugins_dir: args.plugins_dir.clone(),
        socket_mode: 0o600,
        socket_group: None,
        host: om_api::places::host_id(),
        clock: clock::boot(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async {
        let serving = om_plugin_sdk::bind_apart(Arc::new(Backend), &options, Handle::current())?;
        serving.run(CancellationToken::new()).await
    })?)
}

struct Backend;

#[async_trait]
impl Plugin for Backend {
    fn kinds(&self) -> Vec<v1::Kind> {
        let flood = v1::Action {
            name: FLOOD.to_owned(),
            args_schema:
                r#"{"type":"object","properties":{"messages":{"type":"string"},"bytes":{"type":"string"}}}"#
                    .to_owned(),
            effect: v1::Effect::Read.into(),
            ..Default::default()
        };
        vec![v1::Kind { name: NAME.to_owned(), actions: vec![flood], ..Default::default() }]
    }

    async fn plan(&self, _: &Declared, _: Option<&Declared>) -> Result<Vec<String>, Rejected> {
        Ok(Vec::new())
    }

    async fn look_after(&self, service: Service) -> Result<(), Failed> {
        let mut declarations = service.declared();
        loop {
            declarations.borrow_and_update();
            service.report(Report { phase: v1::Phase::Ready, ..Report::default() });
            let gone = |_| Failed("the declaration is gone".to_owned());
            declarations.changed().await.map_err(gone)?;
        }
    }

    async fn destroy(&self, _: Service) -> Result<(), Failed> {
        Ok(())
    }

    async fn run(&self, _: Service, _: &str, args: serde_json::Value, output: Output) -> Result<(), Failed> {
        let number = |field: &str| args[field].as_str().and_then(|text| text.parse().ok()).unwrap_or(0_usize);
        let piece = bytes::Bytes::from(vec![b'x'; number("bytes")]);
        for _ in 0..number("messages") {
            output.write(piece.clone()).await?;
        }
        Ok(())
    }
}
