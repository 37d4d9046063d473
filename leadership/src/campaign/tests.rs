//! On tokio's paused time, and a clock that can jump ahead of it.

use std::sync::Mutex;

use super::*;
use crate::Mandate;
use crate::testing::{Mood, ScriptedDetector, ScriptedOffice, TestClock};

const MS: Duration = Duration::from_millis(1);
const TTL: Duration = Duration::from_millis(2000);
const RENEW: Duration = Duration::from_millis(1600);
const RETRY: Duration = Duration::from_millis(400);
const HOUR: Duration = Duration::from_secs(3600);

struct Scene {
    detector: Arc<ScriptedDetector>,
    office: Arc<ScriptedOffice>,
    clock: TestClock,
    campaign: Campaign,
    standing: watch::Receiver<Standing>,
}

impl Scene {
    fn new() -> Self {
        let detector = Arc::new(ScriptedDetector::new());
        let office = Arc::new(ScriptedOffice::new(TTL));
        let clock = TestClock::new();
        let timing = Timing::new(TTL, RENEW, RETRY).unwrap();
        let campaign = Campaign::start(
            Arc::clone(&detector) as Arc<dyn Detector>,
            Arc::clone(&office) as Arc<dyn Office>,
            timing,
            (clock.clock(), Alarm::runtime()),
        );
        let standing = campaign.standing();
        Self { detector, office, clock, campaign, standing }
    }

    /// One that leads already.
    async fn leading() -> (Self, Mandate) {
        let mut scene = Self::new();
        scene.detector.name_it();
        let mandate = scene.until_leading().await;
        (scene, mandate)
    }

    async fn until_leading(&mut self) -> Mandate {
        match self.until("leading", |standing| matches!(standing, Standing::Leading(_))).await {
            Standing::Leading(mandate) => mandate,
            other => panic!("{other:?}"),
        }
    }

    async fn until_unknown(&mut self, because: &str) {
        self.until(
            because,
            |standing| matches!(standing, Standing::Unknown { why } if why.contains(because)),
        )
        .await;
    }

    async fn until_following(&mut self, whom: Option<&str>) {
        self.until(
            "following",
            |standing| matches!(standing, Standing::Following { leader } if leader.as_deref() == whom),
        )
        .await;
    }

    /// An hour of paused time is no time.
    async fn until(&mut self, what: &str, is: impl Fn(&Standing) -> bool) -> Standing {
        let found = tokio::time::timeout(HOUR, self.standing.wait_for(|standing| is(standing))).await;
        let found = found.ok().and_then(Result::ok).map(|standing| standing.clone());
        found.unwrap_or_else(|| panic!("never {what}, but {:?}", *self.standing.borrow()))
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

async fn until_ended(mandate: &Mandate) {
    let ended = tokio::time::timeout(HOUR, mandate.ended().cancelled()).await;
    assert!(ended.is_ok(), "the mandate of term {} does not end", mandate.term());
}

#[tokio::test(start_paused = true)]
async fn a_named_replica_leads_and_goes_on_as_long_as_it_is_confirmed() {
    let (scene, mandate) = Scene::leading().await;
    assert_eq!(mandate.term(), 1);
    assert_eq!(mandate.remaining(), Some(TTL));
    let deadlines = mandate.deadline();
    for _ in 0..50 {
        scene.pass(RETRY).await;
        assert!(mandate.remaining().is_some_and(|left| left > TTL - RETRY - 50 * MS), "{mandate:?}");
    }
    assert!(deadlines.has_changed().unwrap(), "whoever passes authority on hears of it");
    assert_eq!(scene.office.claims(), 1);
    assert!((49..=51).contains(&scene.office.confirms()), "{}", scene.office.confirms());
}

#[tokio::test(start_paused = true)]
async fn when_another_is_named_the_mandate_ends_before_the_standing_says_so() {
    let (mut scene, mandate) = Scene::leading().await;
    scene.detector.name_other("service2");
    scene.until_following(Some("service2")).await;
    assert!(mandate.ended().is_cancelled());
    assert_eq!(mandate.remaining(), None);
    scene.detector.name_it();
    let next = scene.until_leading().await;
    assert_eq!(next.term(), 2);
    assert_eq!(mandate.remaining(), None, "the old one stays dead");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_kept_when_a_confirmation_hangs() {
    let (mut scene, mandate) = Scene::leading().await;
    scene.office.on_confirm(Mood::Hang);
    until_ended(&mandate).await;
    assert!((RENEW..RENEW + 5 * MS).contains(&scene.clock.now()), "{:?}", scene.clock.now());
    scene.until_unknown("not confirmed within 1.6s").await;
    // It is still named: as soon as the store answers, it leads again, under a new term.
    scene.office.on_confirm(Mood::Grant);
    assert_eq!(scene.until_leading().await.term(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_confirmation_that_hangs_leaves_room_for_another() {
    let (scene, mandate) = Scene::leading().await;
    scene.office.on_confirm(Mood::Hang);
    scene.pass(RETRY + 100 * MS).await;
    let asked = scene.office.confirms();
    assert_eq!(asked, 1);
    // A hung one is let go; its successor finds the store well.
    while scene.office.confirms() == asked {
        scene.pass(10 * MS).await;
    }
    scene.office.on_confirm(Mood::Grant);
    scene.pass(HOUR).await;
    assert!(mandate.remaining().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_a_moment_does_not_end_the_reign() {
    let (scene, mandate) = Scene::leading().await;
    scene.office.on_confirm(Mood::Fail(OfficeError::Unavailable("away".to_owned())));
    scene.pass(1100 * MS).await;
    assert_eq!(scene.office.confirms(), 2);
    scene.office.on_confirm(Mood::Grant);
    scene.pass(HOUR).await;
    assert!(mandate.remaining().is_some());
    assert_eq!(scene.office.claims(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_hangs_blocks_neither_detection_nor_the_next_claim_and_its_late_success_is_not_used() {
    let mut scene = Scene::new();
    scene.office.on_claim(Mood::Hang);
    scene.detector.name_it();
    scene.until_unknown("claiming a term").await;
    scene.detector.name_other("service2");
    scene.until_following(Some("service2")).await;
    scene.detector.name_it();
    scene.until_unknown("no answer to the claim within 10s").await;
    // Now it would be granted, but nobody waits for it any more: only the next claim makes a term.
    scene.office.on_claim(Mood::Grant);
    let mandate = scene.until_leading().await;
    assert_eq!(mandate.term(), scene.office.newest());
    assert_eq!((mandate.term(), scene.office.claims()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_loads_for_longer_than_the_deadline_still_comes_to_lead() {
    let mut scene = Scene::new();
    scene.office.on_claim(Mood::Slow(Duration::from_secs(15)));
    scene.detector.name_it();
    let mandate = scene.until_leading().await;
    assert_eq!(mandate.remaining(), Some(TTL), "confirmed anew after the load");
    assert_eq!(scene.office.claims(), 2, "the first was given up after 10 s, the second had 20 s");
}

#[tokio::test(start_paused = true)]
async fn after_a_jump_of_the_clock_the_mandate_is_dead_at_the_first_look_and_ended_before_anything_else() {
    let (mut scene, mandate) = Scene::leading().await;
    scene.office.on_confirm(Mood::Hang);
    scene.pass(RETRY + MS).await;
    assert!(mandate.remaining().is_some());
    // The process was stopped for an hour; meanwhile another claimed, and a confirmation asked for before says yes.
    scene.clock.jump(HOUR);
    assert_eq!(mandate.remaining(), None, "before the campaign's task has run at all");
    assert!(!mandate.ended().is_cancelled());
    let term = scene.office.fence();
    scene.office.on_confirm(Mood::Grant);
    until_ended(&mandate).await;
    assert!(!matches!(*scene.standing.borrow_and_update(), Standing::Leading(_)));
    assert_eq!(scene.office.newest(), term, "it does not claim on what was seen an hour ago");
    // The detector wakes a little later and sees who was named.
    scene.detector.name_other("service2");
    scene.until_following(Some("service2")).await;
    scene.pass(HOUR).await;
    assert_eq!(scene.office.newest(), term, "and never fences the one that was named meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_fenced_leader_ends_at_once_and_two_that_fence_each_other_slow_down() {
    let (mut scene, mandate) = Scene::leading().await;
    scene.office.fence();
    until_ended(&mandate).await;
    assert!(scene.clock.now() < RETRY + 5 * MS, "{:?}", scene.clock.now());
    scene.until_unknown("term 2 was claimed").await;
    let from = scene.clock.now();
    for _ in 0..8 {
        let mandate = scene.until_leading().await;
        scene.office.fence();
        until_ended(&mandate).await;
    }
    assert!(scene.clock.now() - from > Duration::from_secs(20), "{:?}", scene.clock.now() - from);
    assert_eq!(scene.office.claims(), 9);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_state_is_refused_and_looked_at_again_until_it_is_repaired() {
    let mut scene = Scene::new();
    let damaged = "snapshot 12 has a wrong checksum; restore it from a copy";
    scene.office.on_claim(Mood::Fail(OfficeError::Refused(damaged.to_owned())));
    scene.detector.name_it();
    scene.until_unknown(damaged).await;
    scene.pass(Duration::from_secs(60)).await;
    assert!((6..=10).contains(&scene.office.claims()), "slowly: {}", scene.office.claims());
    assert_eq!(scene.office.newest(), 0);
    scene.office.on_claim(Mood::Grant);
    scene.until_leading().await;
}

#[tokio::test(start_paused = true)]
async fn a_blind_detector_is_held_until_the_deadline_and_not_longer() {
    let (mut scene, mandate) = Scene::leading().await;
    scene.pass(10_000 * MS).await;
    scene.detector.blind("the file system hangs");
    let from = scene.clock.now();
    scene.pass(RENEW - 10 * MS).await;
    assert!(mandate.remaining().is_some());
    until_ended(&mandate).await;
    assert!(scene.clock.now() - from < RENEW + 5 * MS);
    scene.until_unknown("the file system hangs").await;
}

#[tokio::test(start_paused = true)]
async fn who_resigns_ends_its_reign_tells_the_detector_and_stays_a_follower() {
    let (mut scene, mandate) = Scene::leading().await;
    scene.campaign.resign().await;
    assert!(mandate.ended().is_cancelled());
    assert!(matches!(*scene.standing.borrow_and_update(), Standing::Following { leader: None }));
    assert_eq!(scene.detector.resignations(), 1);
    scene.pass(HOUR).await;
    assert_eq!(scene.office.claims(), 1, "it is still named, and does not lead");
    scene.detector.name_nobody();
    scene.pass(MS).await;
    scene.detector.name_it();
    scene.until_leading().await;
    scene.campaign.resign().await;
    scene.campaign.resign().await;
}

#[tokio::test(start_paused = true)]
async fn who_stops_resigns_for_good() {
    let (scene, mandate) = Scene::leading().await;
    let Scene { detector, office, mut standing, campaign, .. } = scene;
    campaign.stop().await;
    assert!(mandate.ended().is_cancelled());
    assert_eq!(detector.resignations(), 1);
    assert!(matches!(*standing.borrow_and_update(), Standing::Following { leader: None }));
    assert!(standing.changed().await.is_err(), "nothing comes any more");
    detector.name_other("service2");
    detector.name_it();
    tokio::time::sleep(HOUR).await;
    assert_eq!(office.claims(), 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_campaign_ends_the_mandate() {
    let (scene, mandate) = Scene::leading().await;
    let Scene { mut standing, campaign, .. } = scene;
    drop(campaign);
    until_ended(&mandate).await;
    while standing.changed().await.is_ok() {}
    assert!(matches!(&*standing.borrow(), Standing::Unknown { why } if why.contains("campaign has ended")));
}

#[tokio::test(start_paused = true)]
async fn an_office_that_panics_is_one_that_is_away() {
    let mut scene = Scene::new();
    scene.office.on_claim(Mood::Panic);
    scene.detector.name_it();
    scene.until_unknown("ended without an answer").await;
    scene.office.on_claim(Mood::Grant);
    let mandate = scene.until_leading().await;
    scene.office.on_confirm(Mood::Panic);
    scene.pass(RETRY + 10 * MS).await;
    scene.office.on_confirm(Mood::Grant);
    scene.pass(HOUR).await;
    assert!(mandate.remaining().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_detector_that_has_ended_is_one_that_cannot_see() {
    struct Ending(Mutex<Option<watch::Sender<Leadership>>>);
    #[async_trait::async_trait]
    impl Detector for Ending {
        fn leadership(&self) -> watch::Receiver<Leadership> {
            self.0.lock().unwrap().as_ref().unwrap().subscribe()
        }
        fn describe(&self) -> String {
            "one that ends".to_owned()
        }
        async fn resign(&self) {
            std::future::pending::<()>().await;
        }
    }
    let detector = Arc::new(Ending(Mutex::new(Some(watch::Sender::new(Leadership::Leading)))));
    let timing = Timing::new(TTL, RENEW, RETRY).unwrap();
    let clock = TestClock::new();
    let campaign = Campaign::start(
        Arc::clone(&detector) as Arc<dyn Detector>,
        Arc::new(ScriptedOffice::new(TTL)),
        timing,
        (clock.clock(), Alarm::runtime()),
    );
    let mut standing = campaign.standing();
    standing.wait_for(|standing| matches!(standing, Standing::Leading(_))).await.unwrap();
    drop(detector.0.lock().unwrap().take());
    standing
        .wait_for(
            |standing| matches!(standing, Standing::Unknown { why } if why.contains("detector has ended")),
        )
        .await
        .unwrap();
    // Its resignation hangs as well; that holds nobody up for longer than the ttl.
    let before = clock.now();
    campaign.stop().await;
    assert!(clock.now() - before <= TTL + 5 * MS);
}

/// Two replicas at one office: whatever is named when, never do both mandates count.
#[tokio::test(start_paused = true)]
async fn of_two_replicas_that_are_named_in_turn_one_leads() {
    let office = Arc::new(ScriptedOffice::new(TTL));
    let clock = TestClock::new();
    let timing = Timing::new(TTL, RENEW, RETRY).unwrap();
    let detectors = [Arc::new(ScriptedDetector::new()), Arc::new(ScriptedDetector::new())];
    let campaigns = detectors.each_ref().map(|detector| {
        let office = Arc::clone(&office) as Arc<dyn Office>;
        Campaign::start(
            Arc::clone(detector) as Arc<dyn Detector>,
            office,
            timing,
            (clock.clock(), Alarm::runtime()),
        )
    });
    let mut last = 0;
    for round in 0..20 {
        let (named, other) = (round % 2, (round + 1) % 2);
        // The one that is no longer named hears of it later, or first.
        if round % 3 == 0 {
            detectors[other].name_other("b");
        }
        detectors[named].name_it();
        let mut standing = campaigns[named].standing();
        let found = standing.wait_for(|standing| matches!(standing, Standing::Leading(_))).await;
        let Standing::Leading(mandate) = found.unwrap().clone() else { panic!() };
        assert!(mandate.term() > last);
        last = mandate.term();
        detectors[other].name_other("b");
        tokio::time::sleep(RETRY * 2).await;
        assert!(mandate.remaining().is_some());
        assert!(!matches!(*campaigns[other].standing().borrow(), Standing::Leading(_)));
    }
}
