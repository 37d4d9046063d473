//! How a service is, for people: told alike of a Swarm's tasks and of an engine's containers.

use std::collections::HashMap;

use om_api::v1::{Member, Phase};
use om_plugin_sdk::Report;

/// One container, or what is to become one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Standing {
    pub(crate) name: String,
    /// For people: running, starting, failed…
    pub(crate) phase: &'static str,
    /// It works.
    pub(crate) works: bool,
    /// It ended, and was meant to.
    pub(crate) done: bool,
    /// It is as declared.
    pub(crate) current: bool,
    /// It is in trouble, or has just been.
    pub(crate) troubled: bool,
    pub(crate) address: String,
    pub(crate) host: String,
    pub(crate) why: String,
    pub(crate) details: HashMap<String, String>,
}

/// What a look at all of them brought.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outlook {
    pub(crate) wanted: u32,
    pub(crate) standings: Vec<Standing>,
    /// Of those that are not wanted any more.
    pub(crate) surplus: u32,
    /// The update goes no further: why.
    pub(crate) stopped: Option<String>,
    /// An update is under way, whatever the containers look like.
    pub(crate) updating: bool,
}

impl Outlook {
    /// All is as declared, and works.
    pub(crate) fn is_ready(&self) -> bool {
        self.done() == self.wanted as usize && self.surplus == 0 && self.stopped.is_none() && !self.updating
    }

    /// How many are as declared and work.
    pub(crate) fn done(&self) -> usize {
        self.standings.iter().filter(|one| one.current && (one.works || one.done)).count()
    }

    /// Why it does not go on by itself, if so.
    pub(crate) fn stuck(&self) -> Option<String> {
        self.stopped.clone()
    }

    /// For the manager.
    pub(crate) fn report(&self) -> Report {
        let wanted = self.wanted as usize;
        let works = self.standings.iter().filter(|one| one.works || one.done).count();
        let outdated = self.standings.iter().filter(|one| !one.current).count();
        let troubled: Vec<&Standing> = self.standings.iter().filter(|one| one.troubled).collect();
        let some_or_none = if works > 0 { Phase::Degraded } else { Phase::Failed };
        let describe = |one: &Standing| match one.why.as_str() {
            "" => format!("{} is {}", one.name, one.phase),
            why => format!("{}: {why}", one.name),
        };
        let (phase, message) = if self.is_ready() {
            (Phase::Ready, String::new())
        } else if let Some(why) = &self.stopped {
            let why = troubled.first().map_or_else(|| why.clone(), |one| describe(one));
            (some_or_none, format!("the update stopped; {outdated} of {wanted} are as before; {why}"))
        } else if let Some(one) = troubled.first() {
            let all = troubled.len() >= wanted;
            let phase = if works > 0 {
                Phase::Degraded
            } else if all {
                Phase::Failed
            } else {
                Phase::Pending
            };
            (phase, format!("{works} of {wanted} work; {}", describe(one)))
        } else if outdated > 0 || self.updating {
            (Phase::Pending, format!("updating: {} of {wanted} are as declared", self.done()))
        } else if works < wanted {
            (Phase::Pending, format!("starting: {works} of {wanted} work"))
        } else {
            (Phase::Pending, format!("stopping {}", self.surplus))
        };
        Report { phase, message, members: self.standings.iter().map(Standing::member).collect() }
    }
}

impl Standing {
    fn member(&self) -> Member {
        let mut details = self.details.clone();
        if !self.current {
            details.insert("update".to_owned(), "waiting".to_owned());
        }
        Member {
            name: self.name.clone(),
            phase: self.phase.to_owned(),
            address: self.address.clone(),
            host: self.host.clone(),
            message: self.why.clone(),
            details,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(works: bool, current: bool, troubled: bool) -> Standing {
        Standing {
            name: "web.1".to_owned(),
            phase: "running",
            works,
            current,
            troubled,
            ..Default::default()
        }
    }

    fn told(standings: Vec<Standing>) -> (Phase, String) {
        let report = Outlook { wanted: 2, standings, ..Default::default() }.report();
        (report.phase, report.message)
    }

    #[test]
    fn a_service_is_ready_only_if_all_of_it_is_as_declared_and_works() {
        let well = || one(true, true, false);
        assert_eq!(told(vec![well(), well()]), (Phase::Ready, String::new()));
        assert_eq!(told(vec![well(), one(false, true, false)]).0, Phase::Pending);
        assert_eq!(told(vec![well(), one(true, false, false)]).0, Phase::Pending);
        assert_eq!(told(vec![well()]).0, Phase::Pending);
        let updating = Outlook { wanted: 1, standings: vec![well()], updating: true, ..Default::default() };
        assert_eq!(updating.report().phase, Phase::Pending);
        let surplus = Outlook { wanted: 1, standings: vec![well()], surplus: 1, ..Default::default() };
        assert_eq!(surplus.report().phase, Phase::Pending);
    }

    #[test]
    fn trouble_is_told_by_whether_anything_works() {
        let bad = || one(false, true, true);
        assert_eq!(told(vec![bad(), bad()]).0, Phase::Failed);
        assert_eq!(told(vec![one(true, true, false), bad()]).0, Phase::Degraded);
        let stopped = Some("no luck".to_owned());
        let outlook =
            Outlook { wanted: 1, standings: vec![one(true, false, false)], stopped, ..Default::default() };
        let report = outlook.report();
        assert_eq!(report.phase, Phase::Degraded);
        assert!(report.message.contains("no luck") && report.message.contains("1 of 1 are as before"));
    }
}
