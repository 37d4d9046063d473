//! How a service is, for people: phase, one line, and its members.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use om_api::v1::{Member, Phase};
use om_plugin_sdk::Report;

use super::live::{Doing, Live};
use crate::procfs;
use crate::spec::{Spec, member_dir, member_name};
use crate::state::{Record, State};
use crate::text;

/// The host is gone from here; what it said last is all there is.
pub(crate) const ELSEWHERE: &str = "elsewhere";

/// All that the outlook is made from.
pub(crate) struct Facts<'a> {
    pub(crate) service: &'a str,
    pub(crate) spec: &'a Spec,
    pub(crate) hash: &'a str,
    pub(crate) state: &'a State,
    pub(crate) live: &'a BTreeMap<u32, Live>,
    pub(crate) root: &'a Path,
    /// Since boot.
    pub(crate) now: Duration,
}

/// How far a change of the members has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// So many members are as declared and work.
    pub(crate) done: u32,
    /// So many are wanted.
    pub(crate) wanted: u32,
    /// It does not go on: why.
    pub(crate) stuck: Option<String>,
}

struct Standing {
    name: String,
    phase: &'static str,
    why: String,
    ready: bool,
    current: bool,
    troubled: bool,
    late: bool,
}

impl Facts<'_> {
    fn standing(&self, index: u32, live: &Live) -> Standing {
        let record = self.state.members.get(&index);
        let view = live.view(record, self.spec, self.hash, self.now);
        let ready = live.ready(self.now);
        let late = live.waiting.is_some_and(|since| self.now >= since + self.spec.update.health_timeout.0);
        let phase = match live.doing {
            Doing::Up if ready => "running",
            Doing::Up if live.healthy == Some(false) || late => "unhealthy",
            Doing::Up => "starting",
            Doing::Stopping | Doing::Stopped => "stopping",
            Doing::Sweeping | Doing::Down(_) if live.never_ran => "failed",
            Doing::Sweeping | Doing::Down(_) => "backoff",
        };
        let why = if ready { String::new() } else { live.why.clone() };
        let troubled = !ready
            && (matches!(phase, "unhealthy" | "failed" | "backoff")
                || live.failures > 0 && phase == "starting");
        Standing {
            name: member_name(self.service, index),
            phase,
            why,
            ready,
            current: view.current,
            troubled,
            late,
        }
    }

    fn member(&self, standing: &Standing, index: u32, live: &Live) -> Member {
        let record = self.state.members.get(&index);
        let mut details = HashMap::new();
        details.insert("restarts".to_owned(), live.restarts.to_string());
        details.insert(
            "log".to_owned(),
            member_dir(self.root, self.service, index).join("log").display().to_string(),
        );
        if let Some(record) = record {
            details.insert("since".to_owned(), text::moment(record.since));
            if live.doing == Doing::Up || live.doing == Doing::Stopping {
                details.insert("pid".to_owned(), record.pid.to_string());
            }
            if !standing.current {
                details.insert("update".to_owned(), "waiting".to_owned());
            }
        }
        Member {
            name: standing.name.clone(),
            phase: standing.phase.to_owned(),
            address: address(record),
            host: self.state.host.clone(),
            message: standing.why.clone(),
            details,
        }
    }

    /// The report, and how far a change has come.
    pub(crate) fn tell(&self) -> (Report, Progress) {
        let standings: Vec<_> =
            self.live.iter().map(|(index, live)| (*index, live, self.standing(*index, live))).collect();
        let members =
            standings.iter().map(|(index, live, standing)| self.member(standing, *index, live)).collect();
        let wanted = self.spec.members;
        let all: Vec<&Standing> =
            standings.iter().filter(|(index, ..)| *index < wanted).map(|(_, _, standing)| standing).collect();
        let surplus = standings.len() - all.len();
        let count = |is: fn(&Standing) -> bool| all.iter().filter(|standing| is(standing)).count();
        let done = count(|one| one.ready && one.current);
        let ready = count(|one| one.ready);
        let outdated = count(|one| !one.current);
        let troubled: Vec<_> = all.iter().filter(|one| one.troubled).collect();
        let describe = |one: &Standing| match one.why.as_str() {
            "" => format!("{} is {}", one.name, one.phase),
            why => format!("{}: {why}", one.name),
        };
        let holds = troubled.iter().find(|one| one.current).filter(|_| outdated > 0);
        let (phase, message) = if done == wanted as usize && surplus == 0 {
            (Phase::Ready, String::new())
        } else if let Some(one) = holds {
            let verb = if one.late { "stopped at" } else { "waits for" };
            let phase = if ready > 0 { Phase::Degraded } else { Phase::Failed };
            (
                phase,
                format!("the update {verb} {}; {outdated} of {wanted} members are as before", describe(one)),
            )
        } else if let Some(one) = troubled.first() {
            let phase = match ready {
                0 if troubled.len() == all.len() => Phase::Failed,
                0 => Phase::Pending,
                _ => Phase::Degraded,
            };
            (phase, format!("{ready} of {wanted} members work; {}", describe(one)))
        } else if outdated > 0 {
            (Phase::Pending, format!("updating: {done} of {wanted} members are as declared"))
        } else if surplus > 0 && done == wanted as usize {
            (Phase::Pending, format!("stopping {surplus} members"))
        } else {
            (Phase::Pending, format!("starting: {done} of {wanted} members work"))
        };
        let stuck = all
            .iter()
            .find(|one| one.troubled && (one.late || one.phase == "failed"))
            .map(|one| describe(one));
        let progress = Progress { done: u32::try_from(done).unwrap_or(u32::MAX), wanted, stuck };
        (Report { phase, message, members }, progress)
    }
}

fn address(record: Option<&Record>) -> String {
    record.and_then(|record| record.port).map_or_else(String::new, |port| format!("127.0.0.1:{port}"))
}

fn remembered(
    service: &str,
    state: &State,
    index: u32,
    record: &Record,
    phase: &str,
    message: &str,
) -> Member {
    let details = HashMap::from([
        ("pid".to_owned(), record.pid.to_string()),
        ("restarts".to_owned(), record.restarts.to_string()),
        ("since".to_owned(), text::moment(record.since)),
    ]);
    Member {
        name: member_name(service, index),
        phase: phase.to_owned(),
        address: address(Some(record)),
        host: state.host.clone(),
        message: message.to_owned(),
        details,
    }
}

/// Members that belong to another host.
pub(crate) fn elsewhere(service: &str, state: &State) -> Report {
    let message = format!("its members belong to the host {}; nothing is started here", state.host);
    let member = |(index, record): (&u32, &Record)| remembered(service, state, *index, record, ELSEWHERE, "");
    Report { phase: Phase::Degraded, message, members: state.members.iter().map(member).collect() }
}

/// Members that nobody looks after: those of this boot can be seen, of others nothing is known.
pub(crate) fn at_rest(state: &State) -> Vec<Member> {
    let here = procfs::boot().is_ok_and(|boot| boot == state.boot);
    let member = |(index, record): (&u32, &Record)| {
        let phase = match here {
            false => ELSEWHERE,
            true if procfs::alive(record.pid, record.start).is_ok_and(|seen| seen.is_some()) => "running",
            true => "stopped",
        };
        remembered(&state.service, state, *index, record, phase, "looked after by nobody")
    };
    state.members.iter().map(member).collect()
}
