//! What each command does: one file for a group.

mod commit;
mod follow;
mod handover;
mod inspect;
mod manager;
mod remove;
mod run;
mod snapshot;
mod watch;

use std::collections::BTreeMap;

use clap::CommandFactory as _;

use crate::args::{self, Cli, Command};
use crate::config::Settings;
use crate::connect::{Client, Deadline};
use crate::failure::Result;
use crate::output::{self, Out};

/// What all commands share.
#[derive(Debug)]
struct Context {
    settings: Settings,
    out: Out,
    client: Client,
}

impl Context {
    /// From here on only `--timeout`, if it was given, ends the command: it follows what has no end of its own.
    fn follows(&mut self) {
        if !self.settings.timeout_given {
            self.client.deadline = Deadline::never();
        }
    }
}

/// Runs a command.
pub(crate) async fn run(command: Command, settings: Settings) -> Result<()> {
    let out = Out::new(settings.output);
    // What asks nobody works wherever the manager is.
    match command {
        Command::Snapshot(args::Snapshot::Show { file }) => return snapshot::show(&out, &file),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "om", &mut script);
            return output::write(&script);
        }
        Command::Version => {
            let version = BTreeMap::from([("version", env!("CARGO_PKG_VERSION"))]);
            return out.show(&version, |_| format!("om {}\n", env!("CARGO_PKG_VERSION")));
        }
        _ => {}
    }
    let on_wait = if out.is_for_people() { waiting } else { |_: &str| () };
    let client = Client::new(&settings, on_wait)?;
    let context = Context { settings, out, client };
    match command {
        Command::Commit(args) => commit::run(context, args).await,
        Command::Free(args) => remove::free(context, args).await,
        Command::Destroy(args) => remove::destroy(context, args).await,
        Command::Ls(args) => inspect::ls(context, args).await,
        Command::Get { service } => inspect::get(context, service).await,
        Command::Describe { service } => inspect::describe(context, service).await,
        Command::Watch(args) => watch::run(context, args).await,
        Command::Run(args) => run::run(context, args).await,
        Command::Operations { service } => run::operations(context, service).await,
        Command::Plugins => manager::plugins(context).await,
        Command::Status => manager::status(context).await,
        Command::History { service } => manager::history(context, service).await,
        Command::Handover { to } => handover::run(context, to).await,
        Command::Snapshot(args::Snapshot::Save { file }) => snapshot::save(context, &file).await,
        Command::Snapshot(args::Snapshot::Restore { file, replace }) => {
            snapshot::restore(context, &file, replace).await
        }
        Command::Snapshot(args::Snapshot::Show { .. }) | Command::Completions { .. } | Command::Version => {
            Ok(())
        }
    }
}

/// A handover is a pause, not an error; but a person wants to know why nothing happens.
fn waiting(why: &str) {
    use std::io::IsTerminal as _;
    if std::io::stderr().is_terminal() {
        output::note(&format!("waiting for a leader: {why}"));
    }
}
