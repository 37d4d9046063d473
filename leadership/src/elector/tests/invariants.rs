//! Whatever comes in, in whatever order, with answers right, late, doubled and made up.

use std::time::Duration;

use proptest::prelude::*;

use crate::{Elector, Input, Leadership, OfficeError, Output, Timing};

const TTL: Duration = Duration::from_millis(2000);
const RENEW: Duration = Duration::from_millis(1600);
const RETRY: Duration = Duration::from_millis(400);

#[derive(Clone, Copy, Debug)]
enum Happens {
    Named,
    Other,
    Nobody,
    Blind,
    Resign,
    Tick,
    /// As a campaign would: time goes on to when the elector wants to be woken.
    WakeUp,
    /// The question asked `back` questions ago is answered.
    Answer {
        back: usize,
        with: Answer,
    },
    /// A confirmation nobody asked for, of some term.
    MadeUp {
        term: u64,
    },
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Yes,
    /// Granted, but a term that was there before.
    OldTerm,
    Fenced,
    Unavailable,
    Refused,
}

fn happens() -> impl Strategy<Value = Happens> {
    let answer = prop_oneof![
        8 => Just(Answer::Yes),
        1 => Just(Answer::OldTerm),
        1 => Just(Answer::Fenced),
        2 => Just(Answer::Unavailable),
        1 => Just(Answer::Refused),
    ];
    let back = prop_oneof![8 => Just(0_usize), 1 => 0..4_usize];
    prop_oneof![
        4 => Just(Happens::Named),
        1 => Just(Happens::Other),
        1 => Just(Happens::Nobody),
        2 => Just(Happens::Blind),
        1 => Just(Happens::Resign),
        1 => Just(Happens::Tick),
        8 => Just(Happens::WakeUp),
        12 => (back, answer).prop_map(|(back, with)| Happens::Answer { back, with }),
        1 => (0..6_u64).prop_map(|term| Happens::MadeUp { term }),
    ]
}

fn time_goes_on() -> impl Strategy<Value = Duration> {
    prop_oneof![
        6 => 0..50_u64,
        4 => 50..900_u64,
        1 => 900..4000_u64,
        1 => Just(3_600_000_u64),
    ]
    .prop_map(Duration::from_millis)
}

/// What the world knows while the elector runs, to judge it by.
#[derive(Default)]
struct World {
    now: Duration,
    next_term: u64,
    /// Every question: its term (none for a claim) and when it was asked.
    asked: Vec<(Option<u64>, Duration)>,
    /// Index of the one that is under way.
    under_way: Option<usize>,
    reign: Option<(u64, Duration)>,
    /// When the last answer that this reign rests on was asked for.
    proven_at: Duration,
    last_term: u64,
    detected: Option<Leadership>,
    blind_since: Option<Duration>,
}

impl World {
    fn input(&mut self, happens: Happens) -> Option<Input> {
        Some(match happens {
            Happens::Named => self.see(Leadership::Leading),
            Happens::Other => self.see(Leadership::Following { leader: Some("other".to_owned()) }),
            Happens::Nobody => self.see(Leadership::Following { leader: None }),
            Happens::Blind => self.see(Leadership::Unknown { why: "fog".to_owned() }),
            Happens::Resign => Input::Resign,
            Happens::Tick | Happens::WakeUp => Input::Tick,
            Happens::MadeUp { term } => Input::Confirmed { term, asked_at: self.now, lasts: TTL },
            Happens::Answer { back, with } => {
                let index = self.asked.len().checked_sub(back + 1)?;
                let (term, asked_at) = self.asked[index];
                let error = match with {
                    Answer::Yes | Answer::OldTerm => None,
                    Answer::Fenced => Some(OfficeError::Fenced("newer".to_owned())),
                    Answer::Unavailable => Some(OfficeError::Unavailable("away".to_owned())),
                    Answer::Refused => Some(OfficeError::Refused("damaged".to_owned())),
                };
                match (term, error) {
                    (Some(term), None) => Input::Confirmed { term, asked_at, lasts: TTL },
                    (Some(term), Some(error)) => Input::ConfirmFailed { term, asked_at, error },
                    (None, Some(error)) => Input::ClaimFailed { asked_at, error },
                    (None, None) => {
                        if !matches!(with, Answer::OldTerm) {
                            self.next_term += 1;
                        }
                        Input::ClaimGranted { term: self.next_term, asked_at }
                    }
                }
            }
        })
    }

    fn see(&mut self, new: Leadership) -> Input {
        match &new {
            Leadership::Unknown { .. } => {
                self.blind_since.get_or_insert(self.now);
            }
            Leadership::Following { .. } | Leadership::Leading => self.blind_since = None,
        }
        self.detected = Some(new.clone());
        Input::Detected(new)
    }

    fn judge(&mut self, input: &Input, outputs: &[Output]) {
        let answered = self.under_way.filter(|index| {
            let (term, asked) = self.asked[*index];
            match input {
                Input::ClaimGranted { asked_at, .. } | Input::ClaimFailed { asked_at, .. } => {
                    term.is_none() && *asked_at == asked
                }
                Input::Confirmed { term: of, asked_at, .. }
                | Input::ConfirmFailed { term: of, asked_at, .. } => term == Some(*of) && *asked_at == asked,
                _ => false,
            }
        });
        for output in outputs {
            match output {
                Output::Claim { asked_at, .. } => {
                    assert!(
                        self.under_way.is_none() || self.under_way == answered,
                        "two questions at a time"
                    );
                    assert_eq!(*asked_at, self.now, "asked now");
                    assert_eq!(self.detected, Some(Leadership::Leading), "claims only when named");
                    assert!(self.reign.is_none(), "claims while it leads");
                    self.asked.push((None, *asked_at));
                    self.under_way = Some(self.asked.len() - 1);
                }
                Output::Confirm { term, asked_at } => {
                    assert!(
                        self.under_way.is_none() || self.under_way == answered,
                        "two questions at a time"
                    );
                    assert_eq!(*asked_at, self.now, "asked now");
                    self.asked.push((Some(*term), *asked_at));
                    self.under_way = Some(self.asked.len() - 1);
                }
                Output::Abandon => {
                    assert!(self.under_way.take().is_some(), "abandons what was not asked");
                }
                Output::Begin { term, deadline } => {
                    assert!(self.reign.is_none(), "two begins without an end between");
                    assert!(*term > self.last_term, "terms grow");
                    self.last_term = *term;
                    self.rests_on_an_answer(input, answered, *term, *deadline);
                    self.reign = Some((*term, *deadline));
                }
                Output::Extend { term, deadline } => {
                    let (reigns, before) = self.reign.expect("extends what has ended");
                    assert_eq!(*term, reigns);
                    assert!(*deadline >= before, "the deadline goes back");
                    self.rests_on_an_answer(input, answered, *term, *deadline);
                    self.reign = Some((*term, *deadline));
                }
                Output::End { term, .. } => {
                    let (reigns, _) = self.reign.take().expect("ends what has not begun");
                    assert_eq!(*term, reigns);
                    self.under_way = None;
                }
                Output::Follow { .. } | Output::Unknown { .. } => {
                    assert!(self.reign.is_none(), "publishes that it follows before the reign has ended");
                }
            }
        }
        // An answer that changed nothing else (a failure) was an answer all the same.
        if answered.is_some() && self.under_way == answered {
            self.under_way = None;
        }
        if self.reign.is_some() {
            assert!(self.now < self.proven_at + RENEW, "leads past the renew deadline");
            assert!(
                !matches!(self.detected, Some(Leadership::Following { .. })),
                "leads while another or nobody is named"
            );
            if let Some(since) = self.blind_since {
                assert!(self.now < since + RENEW, "unknown outlives the deadline");
            }
        }
    }

    /// A deadline comes from the answer just given, to the question under way, counted from its asking.
    fn rests_on_an_answer(&mut self, input: &Input, answered: Option<usize>, of: u64, deadline: Duration) {
        let (Input::ClaimGranted { term, asked_at } | Input::Confirmed { term, asked_at, .. }) = input else {
            panic!("{input:?} proves nothing");
        };
        assert_eq!(*term, of);
        assert!(answered.is_some() && self.under_way == answered, "not an answer to what is under way");
        self.under_way = None;
        assert!(deadline <= *asked_at + TTL, "counts from before it was asked");
        self.proven_at = *asked_at;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_must_hold_holds_whatever_happens(story in prop::collection::vec((happens(), time_goes_on()), 1..120)) {
        let mut elector = Elector::new(Timing::new(TTL, RENEW, RETRY).unwrap());
        let mut world = World::default();
        let mut stepped_at = Duration::ZERO;
        for (happens, pause) in story {
            match happens {
                Happens::WakeUp => {
                    let Some(at) = elector.wake_at() else { continue };
                    prop_assert!(at > stepped_at, "wants to be woken at once, for ever");
                    world.now = world.now.max(at);
                }
                _ => world.now += pause,
            }
            let Some(input) = world.input(happens) else { continue };
            let outputs = elector.step(world.now, input.clone());
            stepped_at = world.now;
            world.judge(&input, &outputs);
            if world.reign.is_some() {
                let wakes = elector.wake_at().expect("a leader always watches its deadline");
                prop_assert!(wakes <= world.proven_at + RENEW);
            }
        }
    }

    #[test]
    fn two_replicas_that_fence_each_other_claim_ever_more_slowly(answers in prop::collection::vec(0..30_u64, 12)) {
        let mut elector = Elector::new(Timing::new(TTL, RENEW, RETRY).unwrap());
        let mut now = Duration::ZERO;
        let mut term = 0;
        let mut pauses = Vec::new();
        let mut outputs = elector.step(now, Input::Detected(Leadership::Leading));
        for takes in answers {
            let Some(Output::Claim { asked_at, .. }) =
                outputs.iter().find(|output| matches!(output, Output::Claim { .. })).cloned()
            else {
                panic!("no claim in {outputs:?}");
            };
            term += 2;
            now += Duration::from_millis(takes);
            elector.step(now, Input::ClaimGranted { term, asked_at });
            now = elector.wake_at().unwrap();
            elector.step(now, Input::Tick);
            elector.step(now, Input::ConfirmFailed { term, asked_at: now, error: OfficeError::Fenced("x".to_owned()) });
            let wake = elector.wake_at().unwrap();
            pauses.push(wake - now);
            now = wake;
            outputs = elector.step(now, Input::Tick);
        }
        prop_assert!(pauses.windows(2).all(|two| two[1] >= two[0]), "{pauses:?}");
        prop_assert_eq!(pauses.last(), Some(&Duration::from_secs(5)));
    }
}
