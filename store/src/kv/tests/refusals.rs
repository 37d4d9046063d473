//! An etcd that is full, or does not let us in.

use std::fmt;
use std::sync::Mutex;

use async_trait::async_trait;
use om_etcd::testing::{Cluster, eventually};
use om_kv::{Failure, Found, Granted, TxnAnswer, Watching};

use super::*;
use crate::kv::Grounds;
use crate::testing::candidate;
use crate::testing::ledger::claim;
use crate::{Error, Store};

fn unavailable<T: std::fmt::Debug>(result: Result<T>, kind: std::io::ErrorKind, hint: &str) {
    let error = result.unwrap_err();
    let Error::Unavailable { cause, .. } = &error else { panic!("{error}") };
    assert_eq!(cause.kind(), kind, "{error}");
    assert!(error.to_string().contains(hint), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_etcd_takes_no_writes_says_what_to_do_and_goes_on_when_there_is_room() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &["--quota-backend-bytes=2000000"]);
    let (holder, follower) = (unhurried(&cluster), unhurried(&cluster));
    let token = claim(&holder, "holder").await.unwrap();
    holder.append(&token, put("k", "1")).await.unwrap();
    follower.load().await.unwrap();
    cluster.fill();
    let kind = std::io::ErrorKind::QuotaExceeded;
    unavailable(holder.append(&token, put("k", "2")).await, kind, "etcdctl defrag");
    unavailable(holder.compact(&token, 0).await, kind, "alarm disarm");
    let seen = follower.load().await.unwrap().term();
    unavailable(follower.claim(&candidate("next"), seen).await, kind, "quota");
    holder.confirm(&token).await.unwrap();
    let fresh = store(&cluster);
    fresh.load().await.unwrap();
    assert_eq!(&fresh.view().get("k").unwrap().value[..], b"1");
    drop(cluster.etcdctl(&["del", "--prefix", "filling/"]));
    let newest = cluster.etcd().range(&Range::key("any"), PATIENCE).await.unwrap().header.revision;
    for command in [vec!["compact", &newest.to_string()], vec!["defrag"], vec!["alarm", "disarm"]] {
        drop(cluster.etcdctl(&command));
    }
    assert_eq!(holder.append(&token, put("k", "2")).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_told_and_nothing_is_taken_for_empty() {
    if !Cluster::available() {
        return;
    }
    let mut cluster = Cluster::start(1, &[]);
    let holder = unhurried(&cluster);
    let token = claim(&holder, "holder").await.unwrap();
    holder.append(&token, put("k", "1")).await.unwrap();
    cluster.auth_on();
    let wrong = EtcdOptions { user: Some(("root".into(), "guess".into())), ..cluster.options() };
    let stranger = patient(Etcd::new(&wrong).unwrap(), PATIENCE);
    let kind = std::io::ErrorKind::PermissionDenied;
    unavailable(stranger.load().await, kind, "check the user");
    unavailable(stranger.head().await, kind, "check the user");
    unavailable(stranger.claim(&candidate("x"), crate::Term(0)).await, kind, "check the user");
    assert!(stranger.watch(0).await.is_err());
    unavailable(holder.append(&token, put("k", "2")).await, kind, "check the user");
    let right = store(&cluster);
    let next = claim(&right, "right").await.unwrap();
    assert_eq!(right.append(&next, put("k", "2")).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_claim_that_was_retired_nothing_is_written_but_its_release() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let handle = store(&cluster);
    let older = claim(&handle, "a").await.unwrap();
    let token = claim(&handle, "a").await.unwrap();
    handle.retire(&older);
    handle.append(&token, put("k", "1")).await.unwrap();
    handle.retire(&token);
    let error = handle.append(&token, put("k", "2")).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error}");
    let error = handle.confirm(&token).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error}");
    assert_eq!(handle.load().await.unwrap().claim.map(|claim| claim.released), Some(false));
    handle.release(token, Some("b")).await.unwrap();
    let released = handle.load().await.unwrap().claim.unwrap();
    assert_eq!((released.released, released.successor.as_deref()), (true, Some("b")));
    assert_eq!(&handle.view().get("k").unwrap().value[..], b"1");
}

/// An etcd that says of a write that there is no room for it, or nothing, and does it.
struct Filling {
    etcd: Etcd,
    next: Mutex<Room>,
    /// Whether watches tell anything.
    tells: bool,
}

/// What becomes of the next write.
enum Room {
    Enough,
    /// It is done at once, as by a member by whose measure the room ran out with it.
    RunsOut,
    /// It is done before the write after it, as where something on the way to etcd sent it twice.
    OutForNow,
    /// This one is still to be done.
    Late(Txn),
    /// It is done at once, and the answer is lost.
    Unanswered,
}

impl Filling {
    fn of(cluster: &Cluster) -> Arc<Self> {
        Arc::new(Self { etcd: cluster.etcd(), next: Mutex::new(Room::Enough), tells: true })
    }

    fn now(&self, room: Room) -> Room {
        std::mem::replace(&mut *self.next.lock().unwrap(), room)
    }
}

impl fmt::Display for Filling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.etcd.fmt(f)
    }
}

#[async_trait]
impl Keyspace for Filling {
    fn name(&self) -> &'static str {
        self.etcd.name()
    }

    async fn warm(&self, patience: Duration) {
        self.etcd.warm(patience).await;
    }

    async fn range(&self, range: &Range, patience: Duration) -> om_kv::Result<Found> {
        self.etcd.range(range, patience).await
    }

    async fn txn(&self, txn: &Txn, patience: Duration) -> om_kv::Result<TxnAnswer> {
        if txn.only_reads() {
            return self.etcd.txn(txn, patience).await;
        }
        let room = self.now(Room::Enough);
        let lost = matches!(room, Room::Unanswered);
        match room {
            Room::Enough => return self.etcd.txn(txn, patience).await,
            Room::RunsOut | Room::Unanswered => drop(self.etcd.txn(txn, patience).await),
            Room::OutForNow => drop(self.now(Room::Late(txn.clone()))),
            Room::Late(before) => {
                self.etcd.txn(&before, patience).await?;
                return self.etcd.txn(txn, patience).await;
            }
        }
        let [what, place, why, hint] =
            [txn.to_string(), self.to_string(), "space exceeded".into(), String::new()];
        let failure = Failure { what, place, why, hint };
        Err(if lost { om_kv::Error::Unclear(failure) } else { om_kv::Error::NoSpace(failure) })
    }

    fn watch(&self, prefix: &str, from: i64) -> Watching {
        if !self.tells {
            let (silent, batches) = tokio::sync::mpsc::channel(1);
            let mut task = tokio::task::JoinSet::new();
            task.spawn(async move { silent.closed().await });
            return Watching::new(batches, task);
        }
        self.etcd.watch(prefix, from)
    }

    async fn grant(&self, ttl: Duration, patience: Duration) -> om_kv::Result<Granted> {
        self.etcd.grant(ttl, patience).await
    }

    async fn keep_alive_once(&self, id: i64, patience: Duration) -> om_kv::Result<()> {
        self.etcd.keep_alive_once(id, patience).await
    }

    async fn revoke(&self, id: i64, patience: Duration) -> om_kv::Result<()> {
        self.etcd.revoke(id, patience).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_was_done_though_there_was_no_room_is_known_to_be() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let etcd = Filling::of(&cluster);
    etcd.now(Room::RunsOut);
    let holder = over(etcd.clone(), PATIENCE);
    let token = claim(&holder, "holder").await.expect("the claim was made");
    etcd.now(Room::RunsOut);
    assert_eq!(holder.append(&token, put("k", "1")).await.unwrap(), 1);
    assert_eq!(holder.append(&token, put("k", "2")).await.unwrap(), 2);
    assert_eq!(&holder.view().get("k").unwrap().value[..], b"2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_was_refused_and_done_late_is_not_taken_for_the_next_one() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let etcd = Filling::of(&cluster);
    let holder = over(etcd.clone(), PATIENCE);
    let token = claim(&holder, "holder").await.unwrap();
    etcd.now(Room::OutForNow);
    unavailable(holder.append(&token, put("k", "refused")).await, std::io::ErrorKind::QuotaExceeded, "space");
    // By its number this entry is there; by its writer it is another's.
    let error = holder.append(&token, put("k", "next")).await.unwrap_err();
    assert!(matches!(error, Error::Unclear(_)), "{error}");
    assert!(holder.append(&token, put("k", "after")).await.is_err(), "it knows no more what is stored");
    let next = store(&cluster);
    let token = claim(&next, "next").await.unwrap();
    assert_eq!(&next.view().get("k").unwrap().value[..], b"refused");
    assert_eq!(next.append(&token, put("k", "after")).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_found_done_when_others_have_written_on_is_not_taken_for_the_newest() {
    if !Cluster::available() {
        return;
    }
    let cluster = Cluster::start(1, &[]);
    let etcd = Arc::new(Filling { etcd: cluster.etcd(), next: Mutex::new(Room::Enough), tells: false });
    let old = over(etcd.clone(), PATIENCE);
    let first = claim(&old, "old").await.unwrap();
    etcd.now(Room::Unanswered);
    let unclear = old.append(&first, put("k", "1")).await.unwrap_err();
    // Before it finds out what became of that.
    let new = store(&cluster);
    let second = claim(&new, "new").await.unwrap();
    for value in ["2", "3"] {
        new.append(&second, put("k", value)).await.unwrap();
    }
    assert!(matches!(unclear, Error::Unclear(_)), "{unclear}");
    eventually("it knows that it is deposed", async || {
        let error = old.append(&first, put("k", "never")).await.unwrap_err();
        matches!(error, Error::Fenced { .. }).then_some(())
    })
    .await;
    let grounds = Grounds {
        leader_revision: i64::try_from(second.term().0).unwrap(),
        opening: Some((old.view().revision(), put("opened", "yes"))),
        ..Default::default()
    };
    old.stand_on(Some(grounds));
    let third = old.claim(&candidate("old"), second.term()).await.unwrap();
    assert_eq!(old.append(&third, put("after", "yes")).await.unwrap(), old.view().revision());
    for handle in [&old, &new, &store(&cluster)] {
        handle.load().await.unwrap();
        assert_eq!(&handle.view().get("k").unwrap().value[..], b"3", "what was acknowledged is there");
    }
}
