//! What is said, and where the call goes then. Time is a number here.

use super::*;

fn at(name: &str) -> Address {
    Address::Tcp { host: name.to_owned(), port: 1 }
}

/// A course, the time, and everybody who was asked.
struct Walk {
    course: Course,
    now: Duration,
    asked: Vec<String>,
}

impl Walk {
    fn of(known: &[&str]) -> Self {
        let mut course = Course::new(at(known[0]), known[1..].iter().map(|name| at(name)));
        course.begin();
        Self { course, now: Duration::from_secs(100), asked: Vec::new() }
    }

    fn whom(&self) -> String {
        match self.course.current() {
            Address::Tcp { host, .. } => host.clone(),
            Address::Unix(path) => path.display().to_string(),
        }
    }

    /// Asks who is to be asked, until `limit` has passed or it is given up; how long that took, if it was.
    fn until(&mut self, limit: Duration, answer: impl Fn(&str, Duration) -> Event) -> Option<Duration> {
        let began = self.now;
        while self.now - began < limit {
            let whom = self.whom();
            self.asked.push(whom.clone());
            match self.course.next(self.now, answer(&whom, self.now - began)) {
                // Nothing is for nothing: an attempt takes a millisecond.
                Step::Ask(pause) => self.now += pause + Duration::from_millis(1),
                Step::GiveUp => return Some(self.now - began),
            }
        }
        None
    }

    fn hears(&mut self, event: Event) -> Step {
        self.course.next(self.now, event)
    }
}

fn named(leader: &str, term: u64) -> Event {
    Event::NotLeader { leader: at(leader), term }
}

const TAKING_OVER: Event = Event::NoLeader { unnamed: false };
const LONG: Duration = Duration::from_secs(60);

#[test]
fn the_leader_that_a_follower_names_is_asked_at_once() {
    let mut walk = Walk::of(&["a"]);
    assert_eq!(walk.hears(named("b", 7)), Step::Ask(Duration::ZERO));
    assert_eq!(walk.whom(), "b");
    assert!(walk.course.is_named());
}

#[test]
fn a_newer_word_is_followed_further_and_an_older_one_is_not() {
    let mut walk = Walk::of(&["a"]);
    walk.hears(named("b", 7));
    assert!(matches!(walk.hears(named("a", 6)), Step::Ask(pause) if !pause.is_zero()));
    assert_eq!(walk.whom(), "b", "it has not noticed yet that it leads");
    assert_eq!(walk.hears(named("c", 8)), Step::Ask(Duration::ZERO));
    assert_eq!(walk.whom(), "c");
}

#[test]
fn a_handover_of_several_seconds_is_held() {
    // a has handed over; b takes its time, and cannot be seen to move but by saying so.
    let mut walk = Walk::of(&["a", "b", "c"]);
    let gave_up = walk.until(Duration::from_secs(8), |whom, since| match whom {
        "a" | "c" => named("b", 7),
        _ if since < Duration::from_millis(300) => named("a", 6),
        _ => TAKING_OVER,
    });
    assert_eq!(gave_up, None);
}

#[test]
fn two_that_name_each_other_for_ever_are_given_up_after_seconds() {
    let mut walk = Walk::of(&["a"]);
    let gave_up = walk.until(LONG, |whom, _| if whom == "a" { named("b", 7) } else { named("a", 7) });
    let gave_up = gave_up.expect("given up");
    assert!((DISPUTE..DISPUTE * 2).contains(&gave_up), "{gave_up:?}");
    assert!(
        walk.asked.iter().filter(|whom| *whom == "a").count() > 1,
        "it was asked again: {:?}",
        walk.asked
    );
}

#[test]
fn one_that_names_itself_and_does_not_lead_is_given_up() {
    let mut walk = Walk::of(&["a"]);
    assert!(walk.until(LONG, |_, _| named("a", 7)).is_some());
}

#[test]
fn a_leader_that_died_is_waited_for_as_long_as_it_is_named_and_its_successor_is_found() {
    let mut walk = Walk::of(&["a"]);
    let takes_over = Duration::from_secs(20);
    let gave_up = walk.until(takes_over, |whom, _| if whom == "a" { named("b", 7) } else { Event::Lost });
    assert_eq!(gave_up, None);
    let asked = walk.asked.len();
    assert!(asked < 1000, "not in a frenzy: {asked}");
    while walk.whom() != "a" {
        walk.hears(Event::Lost);
    }
    assert_eq!(walk.hears(named("c", 8)), Step::Ask(Duration::ZERO));
    assert_eq!(walk.whom(), "c");
}

#[test]
fn any_endpoint_of_the_list_may_be_down() {
    let mut walk = Walk::of(&["a", "b", "c"]);
    walk.until(Duration::from_millis(10), |whom, _| if whom == "c" { TAKING_OVER } else { Event::Lost });
    assert_eq!(walk.asked[..3], ["a", "b", "c"]);
}

#[test]
fn where_nobody_is_at_all_it_ends_when_everybody_was_tried() {
    let mut walk = Walk::of(&["a", "b", "c"]);
    // Each attempt takes longer than the patience.
    for expected in ["a", "b"] {
        assert_eq!(walk.whom(), expected);
        assert!(matches!(walk.hears(Event::Lost), Step::Ask(_)));
        walk.now += ABSENT * 2;
    }
    assert_eq!(walk.hears(Event::Lost), Step::GiveUp);
    let gave_up = Walk::of(&["a"]).until(LONG, |_, _| Event::Lost).expect("given up");
    assert!((ABSENT..ABSENT * 2).contains(&gave_up), "{gave_up:?}");
}

#[test]
fn nobody_named_ends_sooner_than_somebody_who_does_not_come() {
    let gave_up = Walk::of(&["a", "b"]).until(LONG, |_, _| Event::NoLeader { unnamed: true });
    assert!((NOBODY..NOBODY * 2).contains(&gave_up.expect("given up")));
    assert_eq!(Walk::of(&["a", "b"]).until(LONG, |_, _| TAKING_OVER), None);
}

#[test]
fn who_says_for_long_that_nobody_leads_is_not_the_only_one_asked() {
    // a is cut off; b knows.
    let mut walk = Walk::of(&["a", "b"]);
    walk.until(LOOK_AROUND * 2, |whom, _| if whom == "a" { TAKING_OVER } else { named("c", 7) });
    assert_eq!(walk.whom(), "c");
}

#[test]
fn what_cannot_be_used_is_passed_over_unless_it_is_the_leader_or_the_last() {
    let mut walk = Walk::of(&["a", "b"]);
    assert!(matches!(walk.hears(Event::Unusable), Step::Ask(_)));
    assert_eq!(walk.whom(), "b");
    assert_eq!(walk.hears(Event::Unusable), Step::GiveUp);
    let mut walk = Walk::of(&["a", "b"]);
    walk.hears(named("c", 7));
    assert_eq!(walk.hears(Event::Unusable), Step::GiveUp);
}

#[test]
fn pauses_begin_small_double_and_stay_short() {
    let mut walk = Walk::of(&["a"]);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let Step::Ask(pause) = walk.hears(TAKING_OVER) else { panic!("given up") };
        pauses.push(pause.as_millis());
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 100, 100, 100]);
}
