//! The program `om-plugin-process`: serves the kind `process`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use om_api::places;
use om_plugin_process::{ProcessOptions, ProcessPlugin, gate};

/// Flags of this plugin.
#[derive(Args, Clone, Debug)]
struct Flags {
    /// Where the members' directories and logs are [default: process, in the state directory]
    #[arg(long, env = "OM_PROCESS_DIR", value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The state directory [default: see the documentation]
    #[arg(long, env = "OM_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// A member's log is rotated at this size, in bytes
    #[arg(long, env = "OM_PROCESS_LOG_BYTES", value_name = "BYTES", default_value_t = ProcessOptions::LOG_BYTES)]
    log_bytes: u64,
    /// Files of log that are kept for a member
    #[arg(long, env = "OM_PROCESS_LOG_FILES", value_name = "N", default_value_t = ProcessOptions::LOG_FILES)]
    log_files: u32,
}

fn main() -> ExitCode {
    gate::main_if_asked();
    om_plugin_sdk::main_with::<Flags>("process", env!("CARGO_PKG_VERSION"), |_, flags| {
        let root = flags.dir.map_or_else(|| default_dir(flags.state_dir), Ok).and_then(|dir| {
            std::path::absolute(&dir).map_err(|cause| format!("--dir {}: {cause}", dir.display()))
        });
        let root = root.unwrap_or_else(|why| give_up(&why));
        let (log_bytes, log_files) = (flags.log_bytes, flags.log_files);
        Arc::new(ProcessPlugin::new(ProcessOptions { log_bytes, log_files, ..ProcessOptions::new(root) }))
    })
}

fn default_dir(state_dir: Option<PathBuf>) -> Result<PathBuf, String> {
    let state_dir = state_dir.map_or_else(|| places::state_dir(&places::Env::from_process()), Ok)?;
    Ok(state_dir.join("process"))
}

fn give_up(why: &str) -> ! {
    let _ = writeln!(std::io::stderr(), "om-plugin-process: {why}");
    std::process::exit(1)
}
