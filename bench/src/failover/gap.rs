//! etcd's leader dies and nobody else: leadership stays, and commits stop for no longer than etcd itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use om_api::clock::since_boot;
use om_system_tests::{SOON, longest_gap, wait_until};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Results, World};

const OWN: &str = "etcd's own write gap at the same time";
// Of one put at one member.
const PATIENCE: Duration = Duration::from_millis(100);
// Before and after the fault, in which gaps are looked for.
const BEFORE: Duration = Duration::from_millis(200);
const AFTER: Duration = Duration::from_secs(4);

pub(super) fn measure(world: &mut World<'_>, what: &str, results: &mut Results) {
    let (leader, term) = world.group.settle();
    let etcd = world.group.etcd();
    let victim = etcd.wait_leader();
    let puts = Puts::start(&etcd.endpoints());
    let hammer = world.group.hammer(2);
    wait_until("commits before the fault", SOON, || hammer.accepted() >= 50 && puts.done() >= 50);
    // sleeps: gaps are looked for from here on, so that this long has to be quiet
    std::thread::sleep(BEFORE);
    let fault = etcd.kill(victim);
    wait_until("the time in which gaps are looked for", SOON, || since_boot() > fault + AFTER);
    let done = hammer.accepted();
    wait_until("commits after the fault", SOON, || hammer.accepted() > done);
    let told = hammer.stop();
    let own = puts.stop();
    etcd.restart(victim);
    etcd.wait_leader();

    let span = (fault.saturating_sub(BEFORE), fault + AFTER);
    let figures = results.of(what);
    figures.rounds.push(told.longest_gap(span.0, span.1));
    figures.failed_calls += told.failed.len();
    let own = longest_gap(own.into_iter(), span.0, span.1);
    results.of(OWN).rounds.push(own);
    let now = world.group.settle();
    assert_eq!(now, (leader, term), "leadership moved though only etcd's leader died");
}

// Puts at every member, one after another, each member by a connection of its own.
struct Puts {
    runtime: tokio::runtime::Runtime,
    tasks: JoinSet<()>,
    end: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<Duration>>>,
}

impl Puts {
    fn start(endpoints: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (end, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Vec<Duration>>>::default());
        let mut tasks = JoinSet::new();
        for endpoint in endpoints.split(',').map(str::to_owned) {
            let (end, acknowledged) = (end.clone(), acknowledged.clone());
            tasks.spawn_on(put(endpoint, end, acknowledged), runtime.handle());
        }
        Self { runtime, tasks, end, acknowledged }
    }

    fn done(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    fn stop(mut self) -> Vec<Duration> {
        self.end.store(true, Ordering::SeqCst);
        self.runtime.block_on(async { while self.tasks.join_next().await.is_some() {} });
        std::mem::take(&mut *self.acknowledged.lock().unwrap())
    }
}

async fn put(endpoint: String, end: Arc<AtomicBool>, acknowledged: Arc<Mutex<Vec<Duration>>>) {
    let mut client =
        etcd_client::Client::connect([endpoint], None).await.expect("a client of etcd").kv_client();
    while !end.load(Ordering::SeqCst) {
        let put = timeout(PATIENCE, client.put("bench/put", "x", None)).await;
        if matches!(put, Ok(Ok(_))) {
            acknowledged.lock().unwrap().push(since_boot());
        }
        sleep(Duration::from_millis(1)).await;
    }
}
