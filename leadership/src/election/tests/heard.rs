//! What a seat makes of a leader that it hears.

use std::time::Duration;

use om_kv::layout::{LeaderRecord, ReplicaRecord};

use super::super::io::{Input, Output, Warrant};
use super::super::line::Request;
use super::super::lines::Change;
use super::super::records::{At, Election};
use super::super::seat::Seat;
use super::MS;
use super::world::settings;
use crate::Leadership;

/// The replicas a, b and c, of which a claimed this term.
fn led_by_a(term: i64) -> Election {
    let leader = LeaderRecord {
        name: "a".to_owned(),
        instance: "a#1".to_owned(),
        endpoint: String::new(),
        authority_ms: 0,
        time_unix_ms: 0,
        nonce: String::new(),
        released: None,
    };
    let replica = |name: &str| ReplicaRecord {
        name: name.to_owned(),
        instance: format!("{name}#1"),
        host: String::new(),
        endpoint: String::new(),
        socket: String::new(),
        place: String::new(),
    };
    let replicas = ["a", "b", "c"].map(|name| (format!("{name}#1"), replica(name)));
    Election {
        leader: Some(At { revision: term, record: leader }),
        replicas: replicas.into(),
        ..Election::default()
    }
}

fn says(seat: &mut Seat, now: Duration, input: Input) -> Option<Leadership> {
    seat.step(now, input).into_iter().find_map(|output| match output {
        Output::Say(seen) => Some(seen),
        _ => None,
    })
}

fn warrant(seat: &mut Seat, now: Duration) -> Option<Warrant> {
    let answer = seat.step(now, Input::Claiming).into_iter().find_map(|output| match output {
        Output::Warrant(warrant) => Some(warrant),
        _ => None,
    });
    answer.expect("an answer")
}

fn asks(from: &str, request: Request) -> Input {
    Input::Line(Change::Asked { from: from.to_owned(), request })
}

#[test]
fn a_newer_leader_is_followed_while_it_is_heard_and_after_that_its_claim_is_missed() {
    let mut seat = Seat::new("c#1", "c", settings());
    let follows = |name: &str| Some(Leadership::Following { leader: Some(name.to_owned()) });
    assert_eq!(says(&mut seat, 100 * MS, Input::Observed(led_by_a(5))), follows("a"));
    let beat = Request::Beat { term: 7, electorate: 7, beat: 1, promise: 80 * MS };
    assert_eq!(says(&mut seat, 110 * MS, asks("b#1", beat)), follows("b"));
    assert_eq!(says(&mut seat, 150 * MS, Input::Observed(led_by_a(5))), None, "it is seen late");
    let until = seat.wake_at().expect("the promise runs out");
    match says(&mut seat, until, Input::Tick) {
        Some(Leadership::Unknown { why }) => assert!(why.contains("term 7 was there before"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bequest_counts_for_the_claim_of_its_term_by_its_own_process_alone() {
    let bequest = |term| Request::Bequest { term, successor: Some("c".to_owned()) };
    let cases =
        [("a#1", 7, true), ("a#1", 5, false), ("b#1", 7, false), ("a#2", 7, false), ("a#1", 8, false)];
    for (from, term, counts) in cases {
        // Whether it is heard before the claim is seen, or after it.
        for heard in [100 * MS, 120 * MS] {
            let mut seat = Seat::new("c#1", "c", settings());
            let mut inputs =
                vec![(heard, asks(from, bequest(term))), (110 * MS, Input::Observed(led_by_a(7)))];
            inputs.sort_by_key(|(at, _)| *at);
            inputs.into_iter().for_each(|(at, input)| drop(seat.step(at, input)));
            let warrant = warrant(&mut seat, 130 * MS);
            assert_eq!(warrant.is_some(), counts, "from {from}, of term {term}: {warrant:?}");
            assert!(warrant.is_none_or(|warrant| warrant.old_until.is_none() && warrant.leader == 7));
        }
    }
}

#[test]
fn who_is_not_recorded_does_not_claim_so_that_replicas_whose_leases_ran_out_do_not_take_turns() {
    let mut seat = Seat::new("c#1", "c", settings());
    let mut election = led_by_a(7);
    // The leases of a and c ran out.
    election.replicas.remove("a#1");
    let own = election.replicas.remove("c#1").expect("it was there");
    seat.step(100 * MS, Input::Observed(election.clone()));
    assert_eq!(warrant(&mut seat, 5_000 * MS), None);
    election.replicas.insert(own.instance.clone(), own);
    seat.step(5_010 * MS, Input::Observed(election));
    assert!(warrant(&mut seat, 5_020 * MS).is_some_and(|warrant| warrant.by_lease), "a's lease is gone");
}
