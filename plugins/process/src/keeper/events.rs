//! Taking in what happens, and what actions ask.

use om_api::clock;
use om_plugin_sdk::Failed;
use std::time::Duration;
use tracing::warn;

use super::live::{self, Doing};
use super::{Command, Event, Keeper};
use crate::spec;

/// Looks at a member that is about to work come at least this often.
const EAGER: Duration = Duration::from_millis(250);

impl Keeper {
    /// Takes in what happened; whether it may change what is to be done.
    pub(super) fn on(&mut self, event: Event) -> Result<bool, Failed> {
        if let Event::Rotated = event {
            self.rotating = false;
        }
        let (Event::Ended(index, ref run)
        | Event::Gone(index, ref run, _)
        | Event::Executed(index, ref run, _)
        | Event::Looked(index, ref run, ..)) = event
        else {
            return Ok(false);
        };
        // What is said of a process that is no longer the member does not matter.
        if self.state.members.get(&index).is_none_or(|record| record.run != *run) {
            return Ok(false);
        }
        let Some(live) = self.live.get_mut(&index) else { return Ok(false) };
        let (doing, now) = (live.doing, clock::since_boot());
        match event {
            Event::Ended(..) if doing == Doing::Up => {
                let ending = live.handle.as_ref().and_then(|handle| handle.ending());
                let unknown =
                    || "ended; how is not known, for an earlier plugin process started it".to_owned();
                self.crashed(index, true, ending.unwrap_or_else(unknown));
                self.finish(index, Doing::Sweeping);
            }
            Event::Gone(_, _, gone) => {
                gone?;
                if doing == Doing::Stopping {
                    live.doing = Doing::Stopped;
                } else {
                    let port = self.state.members.get(&index).and_then(|record| record.port);
                    if let Some(port) = port.filter(|port| !live.never_ran && in_use(*port)) {
                        live.why = format!("{}; another program listens on its port {port}", live.why);
                    }
                    let wait = live::back_off(self.spec.restart, live.failures);
                    warn!(
                        service = self.service.name(),
                        member = index,
                        why = live.why,
                        ?wait,
                        "starts again"
                    );
                    live.doing = Doing::Down(now + wait);
                }
            }
            Event::Executed(_, _, Err(why)) => {
                live.never_ran = true;
                live.why = why;
            }
            Event::Looked(_, _, looks, result) if looks == live.looks && doing == Doing::Up => {
                let matters = live.looked(result);
                let Some(health) = &live.health else { return Ok(false) };
                let interval = health.interval.0;
                let wait = if live.healthy.is_none() { interval.min(EAGER) } else { interval };
                self.look(index, wait);
                return Ok(matters);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn crashed(&mut self, index: u32, seen: bool, why: String) {
        let now = clock::since_boot();
        if let Some(live) = self.live.get_mut(&index) {
            // One that was not seen to end may have run for as long as one likes, or fallen with its host.
            let ran = if seen { live.ran(now) } else { Duration::ZERO };
            live.crashed(ran, self.spec.restart);
            if !live.never_ran {
                live.why = why;
            }
        }
    }

    pub(super) async fn command(&mut self, command: Command) -> Result<(), Failed> {
        match command {
            Command::Restart(which, done) => {
                let chosen =
                    self.up().filter(|index| which.is_none_or(|which| which == *index)).collect::<Vec<_>>();
                for index in &chosen {
                    if let Some(record) = self.state.members.get_mut(index) {
                        record.restart = true;
                    }
                }
                let result = match which {
                    Some(index) if chosen.is_empty() => {
                        Err(Failed(format!("{} does not run", spec::member_name(self.service.name(), index))))
                    }
                    _ => self.service.save(self.state.write()?).await,
                };
                self.tell();
                let _ = done.send(result);
            }
            Command::Signal(which, signal, done) => {
                let mut result = Ok(());
                let chosen =
                    self.up().filter(|index| which.is_none_or(|which| which == *index)).collect::<Vec<_>>();
                if chosen.is_empty() {
                    result = Err(Failed("no such member runs".to_owned()));
                }
                for index in chosen {
                    self.service.permit()?;
                    if let Some(handle) = self.live.get(&index).and_then(|live| live.handle.as_ref()) {
                        result = result.and(handle.signal(signal).map_err(Failed::from));
                    }
                }
                let _ = done.send(result);
            }
        }
        Ok(())
    }
}

/// Whether somebody listens on this port. Asked only to explain the end of a member.
fn in_use(port: u16) -> bool {
    std::net::TcpListener::bind(("0.0.0.0", port))
        .is_err_and(|cause| cause.kind() == std::io::ErrorKind::AddrInUse)
}
