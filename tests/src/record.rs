//! What the test's own programs wrote down of their deeds, and what must hold of it.
//!
//! Two kinds of records, one JSON object a line, each line written by one append:
//!
//! * **member records**: the member program writes a line at its start, while it lives and at its end, and holds a lock
//!   for life; where it finds the lock held it writes a line `VIOLATION` and ends.
//! * **steering records**: the recording plugin writes a line every few milliseconds while it steers a service.
//!
//! Stamps are microseconds since boot, the time during which the machine slept included.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::procfs;

/// A line of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberLine {
    /// The member's name, unique in the record.
    pub member: String,
    /// `start`, `alive`, `end` or `VIOLATION`.
    pub what: String,
    /// Its process.
    pub pid: u32,
    /// Start of the process, in clock ticks since boot.
    pub started: u64,
    /// When, microseconds since boot.
    pub at: u64,
}

/// A line of the recording plugin: it steered a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteeringLine {
    /// The service.
    pub service: String,
    /// The term under which it was steered.
    pub term: u64,
    /// The revision of the declaration that was steered to.
    pub revision: u64,
    /// `begin`, `steer`, or `destroy`.
    pub what: String,
    /// The plugin's process.
    pub pid: u32,
    /// When the permission was asked for, microseconds since boot. An effect belongs to the moment its permission was
    /// checked: a process that is stopped between the check and the effect cannot know it.
    pub at: u64,
}

/// All whole lines of a record; none if there is no file yet.
///
/// # Panics
/// If a line is not one of `T`.
#[must_use]
pub fn lines<T: for<'a> Deserialize<'a>>(file: &Path) -> Vec<T> {
    let text = fs::read_to_string(file).unwrap_or_default();
    parse(text.rfind('\n').map_or("", |end| &text[..end]))
}

fn parse<T: for<'a> Deserialize<'a>>(lines: &str) -> Vec<T> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|cause| panic!("{cause}: {line:?}"));
    lines.lines().map(parse).collect()
}

/// A record read bit by bit: each line once.
pub struct Tail {
    file: std::path::PathBuf,
    at: u64,
}

impl Tail {
    /// From the beginning of a record.
    #[must_use]
    pub fn of(file: std::path::PathBuf) -> Self {
        Self { file, at: 0 }
    }

    /// The whole lines since the last time.
    ///
    /// # Panics
    /// If one is not a `T`, or the record cannot be read though it was there before.
    pub fn read<T: for<'a> Deserialize<'a>>(&mut self) -> Vec<T> {
        let Ok(mut file) = fs::File::open(&self.file) else {
            assert_eq!(self.at, 0, "{} is gone", self.file.display());
            return Vec::new();
        };
        let mut text = String::new();
        file.seek(SeekFrom::Start(self.at)).expect("a record");
        file.read_to_string(&mut text).expect("a record");
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.at += u64::try_from(whole).unwrap_or(0);
        parse(&text[..whole])
    }
}

/// Never were there two copies of a member: no lock was found held, and no process wrote a line after a younger copy
/// of its member had begun.
///
/// # Panics
/// If there were, or if the record is empty.
#[track_caller]
pub fn check_no_second_copy(file: &Path) {
    let lines = lines::<MemberLine>(file);
    assert!(!lines.is_empty(), "no member wrote anything into {}", file.display());
    let mut holder = BTreeMap::<&str, &MemberLine>::new();
    let mut over = BTreeSet::<(&str, u32, u64)>::new();
    for line in &lines {
        assert_ne!(line.what, "VIOLATION", "a second copy of {} was started: {line:?}", line.member);
        assert!(
            !over.contains(&(&*line.member, line.pid, line.started)),
            "{} lived on beside a younger copy of itself: {line:?}",
            line.member
        );
        if let Some(before) = holder.insert(&line.member, line)
            && (before.pid, before.started) != (line.pid, line.started)
        {
            over.insert((&*line.member, before.pid, before.started));
        }
    }
}

/// How many processes of members were ever started.
#[must_use]
pub fn processes(file: &Path) -> usize {
    lines::<MemberLine>(file).iter().filter(|line| line.what == "start").count()
}

/// Kills the process that wrote a line. Whether it still lived.
pub fn kill(line: &MemberLine) -> bool {
    let Some(pid) = i32::try_from(line.pid).ok().and_then(Pid::from_raw) else { return false };
    // Held before it is looked at: so it cannot be somebody else's by the time of the signal.
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    let is_it = procfs::started(pid.as_raw_nonzero().get()) == Some(line.started);
    is_it && pidfd_send_signal(&process, Signal::KILL).is_ok()
}

/// Never did an older term steer anything once a newer one had begun to: for all services together.
///
/// # Panics
/// If one did, or if the record is empty.
#[track_caller]
pub fn check_one_term_steers(file: &Path) {
    let mut lines = lines::<SteeringLine>(file);
    assert!(!lines.is_empty(), "nobody steered anything, by {}", file.display());
    lines.sort_by_key(|line| line.at);
    for pair in lines.windows(2) {
        assert!(
            pair[0].term <= pair[1].term,
            "term {} steered after term {} had begun:\n{:?}\n{:?}",
            pair[1].term,
            pair[0].term,
            pair[0],
            pair[1]
        );
    }
}

/// Terms that steered, each with its first and last moment.
#[must_use]
pub fn reigns(file: &Path) -> Reigns {
    let mut reigns = Reigns::new();
    add_reigns(&mut reigns, &lines(file));
    reigns
}

/// By term: its first and its last moment of steering.
pub type Reigns = BTreeMap<u64, (Duration, Duration)>;

/// Adds what more lines tell.
pub fn add_reigns(reigns: &mut Reigns, lines: &[SteeringLine]) {
    for line in lines {
        let at = Duration::from_micros(line.at);
        let reign = reigns.entry(line.term).or_insert((at, at));
        *reign = (reign.0.min(at), reign.1.max(at));
    }
}

/// The newest term that steers this service, if anything was steered at or after `since`.
#[must_use]
pub fn steering_since(file: &Path, service: &str, since: Duration) -> Option<u64> {
    lines::<SteeringLine>(file)
        .iter()
        .filter(|line| line.service == service && Duration::from_micros(line.at) >= since)
        .map(|line| line.term)
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(lines: &[impl Serialize]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text: String = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
        fs::write(file.path(), text).unwrap();
        file
    }

    fn member(what: &str, pid: u32, at: u64) -> MemberLine {
        MemberLine { member: "web-0".into(), what: what.into(), pid, started: 7, at }
    }

    fn steering(term: u64, at: u64) -> SteeringLine {
        let (service, what) = ("a".into(), "steer".into());
        SteeringLine { service, term, revision: 1, what, pid: 1, at }
    }

    #[test]
    fn a_member_that_is_started_again_after_its_end_is_no_second_copy() {
        let lines =
            [member("start", 1, 1), member("alive", 1, 2), member("start", 2, 3), member("alive", 2, 4)];
        check_no_second_copy(file(&lines).path());
    }

    #[test]
    #[should_panic(expected = "lived on beside a younger copy")]
    fn a_member_that_writes_after_its_successor_began_is_a_second_copy() {
        check_no_second_copy(
            file(&[member("start", 1, 1), member("start", 2, 2), member("alive", 1, 3)]).path(),
        );
    }

    #[test]
    #[should_panic(expected = "a second copy of web-0 was started")]
    fn a_lock_found_held_is_a_second_copy() {
        check_no_second_copy(file(&[member("start", 1, 1), member("VIOLATION", 2, 2)]).path());
    }

    #[test]
    #[should_panic(expected = "term 1 steered after term 2 had begun")]
    fn an_older_term_that_steers_after_a_newer_one_is_found() {
        check_one_term_steers(file(&[steering(1, 1), steering(2, 2), steering(1, 3)]).path());
    }

    #[test]
    fn terms_that_follow_one_another_are_fine() {
        let file = file(&[steering(1, 1), steering(1, 2), steering(3, 5)]);
        check_one_term_steers(file.path());
        assert_eq!(reigns(file.path())[&1].1, Duration::from_micros(2));
        assert_eq!(steering_since(file.path(), "a", Duration::from_micros(3)), Some(3));
    }
}
