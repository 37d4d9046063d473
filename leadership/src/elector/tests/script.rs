//! Runs a script: lines of `TIME input` (times in ms), each followed by the outputs that it must have, and by when the
//! elector next wants to be woken. `#` begins a comment. The timing: ttl 2000, renew deadline 1600, retry 400.

use std::fmt::Write as _;
use std::time::Duration;

use crate::{Elector, Input, Leadership, OfficeError, Output, Timing};

/// Plays the inputs of the script and compares the whole text.
pub(super) fn check(name: &str, script: &str) {
    let ms = Duration::from_millis;
    let mut elector = Elector::new(Timing::new(ms(2000), ms(1600), ms(400)).unwrap());
    let mut played = String::new();
    for line in script.lines() {
        let expected = line.starts_with(' ');
        if expected {
            continue;
        }
        played.push_str(line);
        played.push('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (at, input) = line.split_once(' ').unwrap();
        let outputs = elector.step(ms(at.parse().unwrap()), parse(input));
        for output in outputs {
            writeln!(played, "    {}", show(&output)).unwrap();
        }
        if let Some(at) = elector.wake_at() {
            writeln!(played, "    wake at {}", at.as_millis()).unwrap();
        }
    }
    assert!(played == script, "{name}: what happens is\n\n{played}\n");
}

fn parse(input: &str) -> Input {
    let words: Vec<&str> = input.split(' ').collect();
    let ms = |word: &str| Duration::from_millis(word.parse().unwrap());
    let term = |word: &str| word.parse().unwrap();
    let error = |words: &[&str]| {
        let why = words[1..].join(" ");
        match words[0] {
            "fenced" => OfficeError::Fenced(why),
            "unavailable" => OfficeError::Unavailable(why),
            "refused" => OfficeError::Refused(why),
            other => panic!("no such error: {other}"),
        }
    };
    match words[..] {
        ["named"] => Input::Detected(Leadership::Leading),
        ["other", name] => Input::Detected(Leadership::Following { leader: Some(name.to_owned()) }),
        ["nobody"] => Input::Detected(Leadership::Following { leader: None }),
        ["blind", ..] => Input::Detected(Leadership::Unknown { why: words[1..].join(" ") }),
        ["granted", t, "asked", at] => Input::ClaimGranted { term: term(t), asked_at: ms(at) },
        ["claim-failed", "asked", at, ..] => {
            Input::ClaimFailed { asked_at: ms(at), error: error(&words[3..]) }
        }
        ["confirmed", t, "asked", at] => {
            Input::Confirmed { term: term(t), asked_at: ms(at), lasts: ms("2000") }
        }
        ["confirmed", t, "asked", at, "for", lasts] => {
            Input::Confirmed { term: term(t), asked_at: ms(at), lasts: ms(lasts) }
        }
        ["confirm-failed", t, "asked", at, ..] => {
            Input::ConfirmFailed { term: term(t), asked_at: ms(at), error: error(&words[4..]) }
        }
        ["tick"] => Input::Tick,
        ["resign"] => Input::Resign,
        _ => panic!("no such input: {input}"),
    }
}

fn show(output: &Output) -> String {
    match output {
        Output::Claim { asked_at, attempt } => {
            format!("claim, asked {} (attempt {attempt})", asked_at.as_millis())
        }
        Output::Confirm { term, asked_at } => format!("confirm {term}, asked {}", asked_at.as_millis()),
        Output::Abandon => "abandon".to_owned(),
        Output::Begin { term, deadline } => format!("BEGIN {term} until {}", deadline.as_millis()),
        Output::Extend { term, deadline } => format!("extend {term} until {}", deadline.as_millis()),
        Output::End { term, why } => format!("END {term}: {why}"),
        Output::Follow { leader } => format!("follow {}", leader.as_deref().unwrap_or("nobody")),
        Output::Unknown { why } => format!("unknown: {why}"),
    }
}
