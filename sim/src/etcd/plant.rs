//! Mistakes that are planted at the port to etcd, as if the programs had made them.

use om_kv::layout::{ElectorateRecord, Layout, LeaderRecord};
use om_kv::{Answer, Guard, Op, Range, Txn, TxnAnswer};
use serde::de::DeserializeOwned;

use super::model::Model;
use crate::plant::Plant;

/// What is done in the place of a transaction.
pub(super) fn instead(plant: Option<Plant>, txn: &Txn, model: &Model) -> Txn {
    let mut txn = txn.clone();
    let layout = Layout::of("sim");
    let puts = |wanted: &dyn Fn(&str) -> bool| {
        txn.then.iter().any(|op| matches!(op, Op::Put { key, .. } if wanted(key)))
    };
    match plant {
        Some(Plant::NoFence) => {
            let election = layout.election();
            if !puts(&|key| key.starts_with(&election)) {
                txn.guards.clear();
            }
        }
        Some(Plant::TermByValue) => txn.guards.retain(|guard| !says_the_same(guard, &layout, model)),
        Some(Plant::FoundAtTip) => {
            txn.guards.retain(|guard| !matches!(guard, Guard::Created { key, .. } if is_entry(key)));
        }
        _ => {}
    }
    txn
}

/// What is told in the place of an answer to the transaction.
pub(super) fn retold(plant: Option<Plant>, txn: &Txn, mut answer: TxnAnswer) -> TxnAnswer {
    let reads = txn.otherwise.as_slice();
    let append = matches!(reads, [Op::Get(_), Op::Get(_), Op::Get(entry), ..] if is_entry(&entry.key));
    if plant == Some(Plant::FoundAtTip)
        && append
        && !answer.succeeded
        && let [_, Answer::Get(tip), Answer::Get(entry), ..] = answer.answers.as_mut_slice()
        && let (Some(tip), Some(entry)) = (tip.kvs.first(), entry.kvs.first_mut())
    {
        entry.modified = tip.modified;
    }
    answer
}

pub(super) fn is_entry(key: &str) -> bool {
    key.contains("/journal/")
}

/// Whether a key of the election says what it said at the revision that is demanded.
fn says_the_same(guard: &Guard, layout: &Layout, model: &Model) -> bool {
    let Guard::Modified { key, revision } = guard else { return false };
    if *key == layout.leader() {
        let holder = |record: LeaderRecord| (record.name, record.released.is_some());
        then_and_now(model, key, *revision, holder)
    } else if *key == layout.electorate() {
        then_and_now(model, key, *revision, |record: ElectorateRecord| record.members)
    } else {
        // How often a leader has beaten is told by its revision alone.
        *key == layout.beat()
    }
}

fn then_and_now<T: DeserializeOwned, S: PartialEq>(
    model: &Model,
    key: &str,
    revision: i64,
    say: impl Fn(T) -> S,
) -> bool {
    let read = |at: i64| {
        let found = model.range(&Range::key(key).at(at)).ok()?;
        Some(say(serde_json::from_slice(&found.one()?.value).ok()?))
    };
    revision > 0 && read(revision).is_some_and(|said| read(0).is_some_and(|says| says == said))
}
