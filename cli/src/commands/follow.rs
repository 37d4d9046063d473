//! Waiting for services: until they are ready, or until they are gone.

use std::time::Duration;

use om_api::Reason;
use om_api::v1::{DescribeRequest, DescribeResponse, Description, Phase};

use crate::connect::{Client, services};
use crate::failure::{Exit, Failure, Result, reason};
use crate::output::progress::Progress;
use crate::output::text;

const FIRST_PAUSE: Duration = Duration::from_millis(60);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// A service that is waited for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) name: String,
    /// The revision that must be ready; an older one does not count.
    revision: u64,
    pub(super) phase: &'static str,
    pub(super) message: String,
    ready: bool,
}

impl Wanted {
    pub(super) fn new(name: &str, revision: u64) -> Self {
        Self { name: name.to_owned(), revision, phase: "", message: String::new(), ready: false }
    }

    /// What is seen now; fails if it can become ready no more.
    fn see(&mut self, seen: &Description) -> Result<()> {
        let Some(summary) = &seen.summary else { return Ok(()) };
        if summary.revision < self.revision {
            return Ok(());
        }
        if summary.revision > self.revision {
            let text = format!(
                "{} was committed again meanwhile: it stands at revision {}, not {}",
                self.name, summary.revision, self.revision
            );
            return Err(Failure::new(Exit::Conflict, Reason::RevisionConflict.as_str(), text));
        }
        self.phase = text::phase(summary.phase());
        summary.message.clone_into(&mut self.message);
        match summary.phase() {
            Phase::Ready => self.ready = true,
            Phase::Failed => {
                let text = format!("{} failed: {}", self.name, or_nothing(&summary.message));
                return Err(Failure::new(Exit::Failed, reason::SERVICE_FAILED, text)
                    .hint(format!("`om describe {}` shows its members", self.name)));
            }
            Phase::Destroying => {
                let text = format!("{} is being destroyed", self.name);
                return Err(Failure::new(Exit::Conflict, Reason::RevisionConflict.as_str(), text));
            }
            _ => {}
        }
        Ok(())
    }
}

fn or_nothing(message: &str) -> &str {
    if message.is_empty() { "the plugin says no more" } else { message }
}

/// Waits until all are ready, at their revision.
pub(super) async fn until_ready(client: &mut Client, wanted: &mut [Wanted], for_people: bool) -> Result<()> {
    let names: Vec<String> = wanted.iter().map(|wanted| wanted.name.clone()).collect();
    let mut progress = Progress::new(names.iter().map(String::as_str), for_people);
    let mut pause = FIRST_PAUSE;
    loop {
        for (index, wanted) in wanted.iter_mut().enumerate().filter(|(_, wanted)| !wanted.ready) {
            let seen = match look(client, &wanted.name).await {
                Ok(Some(seen)) => seen,
                Ok(None) => continue,
                Err(failure) if failure.exit == Exit::Unreachable => {
                    return Err(late(client, wanted, failure));
                }
                Err(failure) => return Err(failure.about(format!("{} while it was waited for", wanted.name))),
            };
            let before = wanted.phase;
            let result = wanted.see(&seen);
            let phase = if wanted.phase.is_empty() { "pending" } else { wanted.phase };
            if before != wanted.phase {
                pause = FIRST_PAUSE;
            }
            progress.set(index, phase, &members(&seen, &wanted.message));
            result?;
        }
        let Some(late_one) = wanted.iter().find(|wanted| !wanted.ready) else { return Ok(()) };
        if client.deadline.passed() {
            return Err(late(client, late_one, client.timed_out()));
        }
        client.deadline.pause(pause).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

fn late(client: &Client, wanted: &Wanted, failure: Failure) -> Failure {
    if failure.reason != reason::TIMED_OUT {
        return failure;
    }
    let phase = if wanted.phase.is_empty() { "not reported yet" } else { wanted.phase };
    let why = if wanted.message.is_empty() { String::new() } else { format!(": {}", wanted.message) };
    let text = format!("{} is {phase} after {}{why}", wanted.name, client.deadline.describe());
    Failure::timed_out(text).hint(format!(
        "it stays declared and is looked after: `om describe {}`, or wait longer with --timeout",
        wanted.name
    ))
}

/// Describes a service; `None`: not now, its plugin does not answer.
async fn look(client: &mut Client, name: &str) -> Result<Option<Description>> {
    let request = DescribeRequest { name: name.to_owned() };
    let call = |channel, request| async move { services(channel).describe(request).await };
    match client.call::<_, DescribeResponse, _, _>(&request, call).await {
        Ok(response) => Ok(response.service),
        Err(failure) if failure.reason == Reason::PluginUnavailable.as_str() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// `2/3 running, 1 starting: why`
fn members(seen: &Description, message: &str) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for member in &seen.members {
        match counts.iter_mut().find(|(phase, _)| *phase == member.phase) {
            Some((_, count)) => *count += 1,
            None => counts.push((&member.phase, 1)),
        }
    }
    let total = seen.members.len();
    let counts: Vec<_> = counts.iter().map(|(phase, count)| format!("{count}/{total} {phase}")).collect();
    let parts = [counts.join(", "), message.to_owned()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
}

/// Waits until nothing of a service is left.
pub(super) async fn until_gone(
    client: &mut Client,
    name: &str,
    revision: u64,
    why: &str,
    for_people: bool,
) -> Result<()> {
    let mut progress = Progress::new([name], for_people);
    let mut message = why.to_owned();
    let mut pause = FIRST_PAUSE;
    progress.set(0, "destroying", &message);
    loop {
        match look(client, name).await {
            Err(failure) if failure.exit == Exit::NotFound => return Ok(()),
            Err(failure) if failure.reason == reason::TIMED_OUT => {
                return Err(still_there(client, name, &message));
            }
            Err(failure) => return Err(failure),
            Ok(None) => {}
            Ok(Some(seen)) => {
                if let Some(summary) = &seen.summary {
                    if summary.revision > revision && summary.phase() != Phase::Destroying {
                        // Declared anew since: what was to go is gone.
                        return Ok(());
                    }
                    summary.message.clone_into(&mut message);
                }
                progress.set(0, "destroying", &members(&seen, &message));
            }
        }
        if client.deadline.passed() {
            return Err(still_there(client, name, &message));
        }
        client.deadline.pause(pause).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

fn still_there(client: &Client, name: &str, message: &str) -> Failure {
    let why = if message.is_empty() { String::new() } else { format!("; still in the way: {message}") };
    let text = format!("{name} is not gone after {}{why}", client.deadline.describe());
    Failure::timed_out(text).hint("its destruction is decided and goes on; `om ls` shows what is left")
}
