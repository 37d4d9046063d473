//! A whole plugin, to be copied: the kind `file` keeps a file with a declared content on this host.
//!
//! ```yaml
//! kind: file
//! name: motd
//! spec:
//!   path: /tmp/motd
//!   content: "Be kind."
//! ```
//!
//! Somebody changes or removes the file: it is put right. The path is changed: the old file goes. `om run motd show`
//! prints it. `om destroy motd` removes it, `om free motd` leaves it. See `docs/write-a-plugin.md`.

mod files;
mod spec;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use om_api::v1::{Action, Effect, Kind, Member, Phase};
use om_plugin_sdk::{Declared, Failed, Output, Plugin, Rejected, Report, Service, spec::schema};

use crate::files::Place;
use crate::spec::{FileSpec, ShowArgs, State, read};

/// How often the file is looked at. A better plugin would be told (inotify); a simple one may look.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    om_plugin_sdk::main("file", env!("CARGO_PKG_VERSION"), |_context| Arc::new(Files))
}

/// The plugin has no fields: it keeps nothing of its own. What must be remembered, the manager keeps.
struct Files;

#[async_trait]
impl Plugin for Files {
    fn kinds(&self) -> Vec<Kind> {
        let show = Action {
            name: "show".to_owned(),
            summary: "Print the file as it is now".to_owned(),
            args_schema: schema::<ShowArgs>(),
            effect: Effect::Read.into(),
        };
        vec![Kind {
            name: "file".to_owned(),
            summary: "A file with a declared content on this host".to_owned(),
            spec_schema: schema::<FileSpec>(),
            actions: vec![show],
        }]
    }

    /// Called before anything is stored: the one chance to tell a user that the declaration cannot be meant.
    async fn plan(&self, wanted: &Declared, current: Option<&Declared>) -> Result<Vec<String>, Rejected> {
        let wanted = read(wanted)?;
        let current = current.map(read).transpose()?;
        let mut steps = Vec::new();
        match current {
            Some(current) if current.path == wanted.path => {
                if current.content != wanted.content {
                    steps.push(format!("write {}", wanted.path.display()));
                }
            }
            Some(current) => {
                steps.push(format!("remove {}", current.path.display()));
                steps.push(format!("write {}", wanted.path.display()));
            }
            None => steps.push(format!("write {}", wanted.path.display())),
        }
        Ok(steps)
    }

    /// Runs as long as this plugin may steer the service, and is dropped, at any `await`, when it may not any more.
    async fn look_after(&self, service: Service) -> Result<(), Failed> {
        let mut declared = service.declared();
        let mut repairs = 0_u64;
        loop {
            // First what is declared *now*: it may have changed while the file was looked after.
            let wanted = declared.borrow_and_update().clone();
            let spec = read(&wanted).map_err(|rejected| Failed(rejected.message))?;
            let mut state = State::read(&service.state())?;

            if state.host.as_deref().is_some_and(|host| host != service.host()) {
                // The leadership came to another host: the file is on that one, and must not be made twice.
                service.report_at(wanted.revision, elsewhere(&state));
            } else {
                // Remember, then act: after a crash between the two, the next one knows which files may be touched.
                if state.claim(&spec.path, service.host()) {
                    if files::look(&spec)? == Place::Foreign {
                        return Err(Failed(format!(
                            "{} exists and was not made by this service; move it away",
                            spec.path.display()
                        )));
                    }
                    service.save(state.write()).await?;
                }
                for old in state.others(&spec.path) {
                    service.permit()?;
                    files::remove(&old)?;
                }
                if state.keep_only(&spec.path) {
                    service.save(state.write()).await?;
                }
                if files::look(&spec)? != Place::AsDeclared {
                    // Ask right before the effect, with no `await` between: the authority may have ended meanwhile.
                    service.permit()?;
                    files::write(&spec)?;
                    repairs += 1;
                }
                service.report_at(wanted.revision, in_place(&spec, service.host(), repairs));
            }

            tokio::select! {
                changed = declared.changed() => if changed.is_err() { return Ok(()) },
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// Nothing looks after the service meanwhile. May be called again after a crash: what is gone already is fine.
    async fn destroy(&self, service: Service) -> Result<(), Failed> {
        let state = State::read(&service.state())?;
        if let Some(host) = state.host.as_deref().filter(|host| *host != service.host()) {
            return Err(Failed(format!("the file is on the host {host}, which this plugin cannot reach")));
        }
        for path in &state.paths {
            service.permit()?;
            files::remove(path)?;
        }
        Ok(())
    }

    async fn run(
        &self,
        service: Service,
        action: &str,
        args: serde_json::Value,
        output: Output,
    ) -> Result<(), Failed> {
        match action {
            "show" => {
                let args: ShowArgs =
                    serde_json::from_value(args).map_err(|cause| Failed(cause.to_string()))?;
                let spec = read(&service.declared().borrow()).map_err(|rejected| Failed(rejected.message))?;
                let content = files::content(&spec.path)?;
                let lines = content.split_inclusive('\n').take(args.lines.unwrap_or(usize::MAX));
                // Waits while the reader is slow.
                output.write(lines.collect::<String>()).await
            }
            // Not reached: the SDK lets only the actions of `kinds` through.
            other => Err(Failed(format!("no action {other}"))),
        }
    }

    fn members_at_rest(&self, state: &Bytes) -> Vec<Member> {
        State::read(state).map(|state| elsewhere(&state).members).unwrap_or_default()
    }
}

fn in_place(spec: &FileSpec, host: &str, repairs: u64) -> Report {
    let member = Member {
        name: "file".to_owned(),
        phase: "in place".to_owned(),
        address: spec.path.display().to_string(),
        host: host.to_owned(),
        details: [("writes".to_owned(), repairs.to_string())].into(),
        ..Member::default()
    };
    Report { phase: Phase::Ready, message: String::new(), members: vec![member] }
}

/// What is known of the files by what was saved about them.
fn elsewhere(state: &State) -> Report {
    let host = state.host.clone().unwrap_or_default();
    let member = |path: &std::path::PathBuf| Member {
        name: "file".to_owned(),
        phase: "elsewhere".to_owned(),
        address: path.display().to_string(),
        host: host.clone(),
        ..Member::default()
    };
    Report {
        phase: Phase::Degraded,
        message: format!("the file is on the host {host}"),
        members: state.paths.iter().map(member).collect(),
    }
}
