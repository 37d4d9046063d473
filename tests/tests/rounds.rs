//! Two hundred rounds of `kill -9`: of the leader in each, of plugins and members at random moments, while a client
//! goes on committing and leadership moves among three managers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers fail by panicking, as the tests do")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use om_api::{Reason, v1};
use om_system_tests::record::{self, MemberLine, SteeringLine, Tail};
use om_system_tests::{
    AUTHORITY, Bed, Client, Program, Random, SOON, Spec, free_ports, measured, process, recorded, wait_for,
    wait_until,
};

const ROUNDS: u64 = 200;
const MANAGERS: [&str; 3] = ["a", "b", "c"];
// Names that are committed again and again; every so often one is committed that must not exist yet.
const POOL: u64 = 20;
const ONCE: u64 = 25;

// What the client was told: by service, the number that it was committed with and the revision of the answer.
type Acknowledged = BTreeMap<String, (u64, u64)>;

#[derive(Default)]
struct Load {
    leader: Mutex<String>,
    acknowledged: Mutex<Acknowledged>,
    commits: AtomicU64,
    repeated: AtomicU64,
    pause: AtomicBool,
    paused: AtomicBool,
    end: AtomicBool,
}

impl Load {
    // One commit after the other, each asked again, under its own request id, until it is acknowledged: whatever the
    // last answer for a service was, that is what must be there.
    fn run(&self, bed: &Bed) {
        let clients: BTreeMap<&str, Client> = MANAGERS.iter().map(|name| (*name, bed.client(name))).collect();
        for number in 1.. {
            while self.pause.load(Ordering::SeqCst) && !self.end.load(Ordering::SeqCst) {
                self.paused.store(true, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(2));
            }
            self.paused.store(false, Ordering::SeqCst);
            let once = number % ONCE == 0;
            let name = if once { format!("once-{number}") } else { format!("pool-{}", number % POOL) };
            let mut request = quiet(bed, &name).label("number", number).commit();
            request.if_revision = once.then_some(0);
            let Some(answer) = self.insist(&clients, &request) else { return };
            assert_eq!(answer.name, name, "{answer:?}");
            self.acknowledged.lock().unwrap().insert(name, (number, answer.revision));
            self.commits.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(15));
        }
    }

    fn insist(
        &self,
        clients: &BTreeMap<&str, Client>,
        request: &v1::CommitRequest,
    ) -> Option<v1::CommitResponse> {
        let mut asked = 0;
        while !self.end.load(Ordering::SeqCst) {
            let leader = self.leader.lock().unwrap().clone();
            asked += 1;
            match clients[&*leader].commit(request.clone()) {
                Ok(answer) => {
                    self.repeated.fetch_add(u64::from(asked > 1), Ordering::SeqCst);
                    return Some(answer);
                }
                // A request that was answered before would be told the same again: whoever is told of a conflict
                // here lost an answer for good.
                Err(failure) => match failure.reason {
                    None
                    | Some(
                        Reason::Unclear
                        | Reason::NotLeader
                        | Reason::NoLeader
                        | Reason::Fenced
                        | Reason::PluginUnavailable
                        | Reason::StoreUnavailable,
                    ) => thread::sleep(Duration::from_millis(10)),
                    Some(_) => panic!("asked {asked} times: {failure:?} for {request:?}"),
                },
            }
        }
        None
    }

    // Stops between two commits, lets the caller look, goes on.
    fn at_rest<T>(&self, look: impl FnOnce(&Acknowledged) -> T) -> T {
        self.pause.store(true, Ordering::SeqCst);
        wait_until("the load to rest", SOON, || self.paused.load(Ordering::SeqCst));
        let seen = look(&self.acknowledged.lock().unwrap());
        self.pause.store(false, Ordering::SeqCst);
        seen
    }
}

fn quiet(bed: &Bed, name: &str) -> Spec {
    recorded(bed, name).with("every_ms", 0)
}

// Everything that was acknowledged stands as it was acknowledged; what must take effect once did.
fn check_acknowledged(bed: &Bed, leader: &str, acknowledged: &Acknowledged) {
    let client = bed.client(leader);
    let stored = client.list().expect("a list");
    let stored: BTreeMap<_, _> = stored.iter().map(|service| (&*service.name, service)).collect();
    for (name, (number, revision)) in acknowledged {
        let found = stored.get(&**name).unwrap_or_else(|| panic!("{name} was acknowledged and is lost"));
        assert_eq!(
            found.labels["number"],
            number.to_string(),
            "{name}, acknowledged at {revision}: {found:?}"
        );
        assert_eq!(found.revision, *revision, "{name}: {found:?}");
    }
    let mut seen = BTreeSet::new();
    for event in client.history("").expect("the history") {
        if event.service.starts_with("once-") && event.r#type() == v1::EventType::Committed {
            assert!(seen.insert(event.service.clone()), "committed twice: {event:?}");
        }
    }
}

#[test]
fn two_hundred_rounds_of_kill_lose_nothing_double_nothing_and_leave_nothing() {
    let bed = &Bed::new();
    let mut random = Random::new();
    let port = free_ports(3);
    let mut processes = bed.process_plugin("process");
    let mut recorder = bed.recording_plugin("record");
    let mut managers: BTreeMap<&str, Arc<Program>> =
        MANAGERS.iter().map(|name| (*name, bed.manager(name, &["--poll", "1h"]))).collect();
    let mut leader = MANAGERS[0];
    bed.name_leader(leader);
    let mut term = bed.wait_leading(leader);
    let web = process(bed, "web", 3, port).argue(&["--fork"]);
    bed.commit(leader, &web, &["--wait"]).done();
    bed.commit(leader, &recorded(bed, "steered"), &["--wait"]).done();

    let load = &Load::default();
    leader.clone_into(&mut load.leader.lock().unwrap());
    let mut steering = Tail::of(bed.steering_record());
    let mut members = Tail::of(bed.member_record());
    let mut holders = BTreeMap::<String, MemberLine>::new();
    let mut reigns = record::Reigns::new();
    let mut killed = BTreeMap::new();
    let (mut members_killed, mut plugins_killed) = (0, 0);

    thread::scope(|scope| {
        let committer = scope.spawn(|| load.run(bed));
        // The load ends with the rounds, also if one of them panics.
        let ending = EndOfLoad(load);
        for round in 1..=ROUNDS {
            thread::sleep(Duration::from_millis(random.below(60)));
            for line in members.read::<MemberLine>() {
                holders.insert(line.member.clone(), line);
            }
            if random.below(2) == 0 {
                let living: Vec<MemberLine> = holders.values().cloned().collect();
                members_killed += usize::from(record::kill(random.pick(&living)));
            }
            let plugin_dies = random.below(6);
            if plugin_dies == 0 {
                processes.kill();
            }
            let before = load.commits.load(Ordering::SeqCst);
            killed.insert(term, managers[leader].kill());
            match plugin_dies {
                1 => drop(processes.kill()),
                2 => drop(recorder.kill()),
                _ => {}
            }
            thread::sleep(Duration::from_millis(random.below(40)));
            let others: Vec<&str> = MANAGERS.into_iter().filter(|name| *name != leader).collect();
            let next = *random.pick(&others);
            bed.name_leader(next);
            next.clone_into(&mut load.leader.lock().unwrap());
            plugins_killed += usize::from(plugin_dies < 3);
            if !processes.is_alive() {
                processes = bed.process_plugin("process");
            }
            if !recorder.is_alive() {
                recorder = bed.recording_plugin("record");
            }
            let newer = bed.wait_leading(next);
            assert!(newer > term, "round {round}: term {newer} after {term}");
            managers.insert(leader, bed.manager(leader, &["--poll", "1h"]));
            (leader, term) = (next, newer);
            wait_until("the new leader to acknowledge commits", SOON, || {
                assert!(!committer.is_finished(), "round {round}: the load ended");
                load.commits.load(Ordering::SeqCst) > before + 1
            });
            wait_until("the new leader's plugin to steer", SOON, || {
                record::add_reigns(&mut reigns, &steering.read::<SteeringLine>());
                reigns.contains_key(&term)
            });
            if round % 20 == 0 {
                wait_until("web to be whole again", SOON, || {
                    bed.client(leader).describe("web").is_ok_and(|web| {
                        web.members.len() == 3 && web.members.iter().all(|member| member.phase == "running")
                    })
                });
                load.at_rest(|acknowledged| check_acknowledged(bed, leader, acknowledged));
                record::check_no_second_copy(&bed.member_record());
            }
        }
        drop(ending);
        committer.join().expect("the load");
    });

    record::check_one_term_steers(&bed.steering_record());
    let reigns = record::reigns(&bed.steering_record());
    let mut longest = Duration::ZERO;
    for (term, at) in &killed {
        let last = reigns.get(term).map_or(Duration::ZERO, |reign| reign.1);
        assert!(
            last <= *at + AUTHORITY,
            "term {term}: its manager died at {at:?}, its plugin steered at {last:?}"
        );
        longest = longest.max(last.saturating_sub(*at));
    }
    check_acknowledged(bed, leader, &load.acknowledged.lock().unwrap());
    measured(&format!(
        "{} leaders, {plugins_killed} plugins and {members_killed} members killed, {} members started, {} commits \
         acknowledged, {} of them after more than one try; longest steering after its leader's death: {} ms",
        killed.len(),
        record::processes(&bed.member_record()),
        load.commits.load(Ordering::SeqCst),
        load.repeated.load(Ordering::SeqCst),
        longest.as_millis()
    ));
    record::check_no_second_copy(&bed.member_record());

    let names = bed.client(leader).names();
    let mut destroy = vec!["destroy", "--yes"];
    destroy.extend(names.iter().map(String::as_str));
    bed.om(leader, &destroy).done();
    wait_for("everything to be gone", SOON, || bed.client(leader).list().ok().filter(Vec::is_empty));
    bed.wait_no_stray();
    for program in managers.values().chain([&processes, &recorder]) {
        program.terminate();
        assert!(program.wait_exit(Duration::from_secs(10)).success(), "{} drains", program.name());
    }
    bed.wait_no_stray();
}

struct EndOfLoad<'a>(&'a Load);

impl Drop for EndOfLoad<'_> {
    fn drop(&mut self) {
        self.0.end.store(true, Ordering::SeqCst);
    }
}
