//! The limit of every proxy: bytes from one unix socket to another and back, by one thread, understood by nobody.

use std::path::PathBuf;

use anyhow::{Context, Result};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// `om-bench splice`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Serves this socket
    from: PathBuf,
    /// and connects to this one, once for each connection
    to: PathBuf,
}

/// The command. Ends with its process.
pub(crate) fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = UnixListener::bind(&args.from).context("cannot listen")?;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (mut client, _) = accepted?;
                    let to = args.to.clone();
                    connections.spawn(async move {
                        let mut server = UnixStream::connect(&to).await?;
                        tokio::io::copy_bidirectional(&mut client, &mut server).await
                    });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    })
}
