//! The program `om-plugin-docker`: serves the kind `container`.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use om_plugin_docker::{DockerFlags, DockerPlugin};

fn main() -> ExitCode {
    om_plugin_sdk::main_with::<DockerFlags>("docker", env!("CARGO_PKG_VERSION"), |_, flags| {
        let host = flags.resolve().unwrap_or_else(|why| {
            let _ = writeln!(std::io::stderr(), "om-plugin-docker: {why}");
            std::process::exit(1)
        });
        Arc::new(DockerPlugin::new(host))
    })
}
