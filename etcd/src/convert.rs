//! Between the port's words and the client library's.

use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, GetResponse, PutOptions, ResponseHeader, TxnOp,
    TxnOpResponse, TxnResponse,
};
use om_kv::{Answer, End, Found, Guard, Header, Kv, Op, Range, Txn, TxnAnswer};

pub(crate) fn get_options(range: &Range) -> GetOptions {
    let options = GetOptions::new().with_limit(range.limit);
    let options = match &range.end {
        End::One => options,
        End::Prefix => options.with_prefix(),
        End::Before(end) => options.with_range(end.as_str()),
    };
    // What was at a revision never changes: any member that has it may say it.
    let options = match range.revision {
        0 => options,
        revision => options.with_revision(revision).with_serializable(),
    };
    let options = if range.keys_only { options.with_keys_only() } else { options };
    if range.count_only { options.with_count_only() } else { options }
}

fn delete_options(range: &Range) -> DeleteOptions {
    match &range.end {
        End::One => DeleteOptions::new(),
        End::Prefix => DeleteOptions::new().with_prefix(),
        End::Before(end) => DeleteOptions::new().with_range(end.as_str()),
    }
}

fn compare(guard: &Guard) -> Compare {
    match guard {
        Guard::Modified { key, revision } => Compare::mod_revision(key.as_str(), CompareOp::Equal, *revision),
        Guard::Created { key, revision } => {
            Compare::create_revision(key.as_str(), CompareOp::Equal, *revision)
        }
        Guard::Present { key } => Compare::create_revision(key.as_str(), CompareOp::Greater, 0),
        Guard::Since { key, revision } => {
            Compare::mod_revision(key.as_str(), CompareOp::Greater, revision.saturating_sub(1))
        }
        Guard::Value { key, value } => Compare::value(key.as_str(), CompareOp::Equal, value.clone()),
        Guard::Untouched { prefix, since } => {
            Compare::mod_revision(prefix.as_str(), CompareOp::Less, since.saturating_add(1)).with_prefix()
        }
    }
}

fn request(op: &Op) -> TxnOp {
    match op {
        Op::Put { key, value, lease } => {
            TxnOp::put(key.as_str(), value.clone(), Some(PutOptions::new().with_lease(*lease)))
        }
        Op::Get(range) => TxnOp::get(range.key.as_str(), Some(get_options(range))),
        Op::Delete(range) => TxnOp::delete(range.key.as_str(), Some(delete_options(range))),
    }
}

pub(crate) fn txn(txn: &Txn) -> etcd_client::Txn {
    let requests = |ops: &[Op]| ops.iter().map(request).collect::<Vec<_>>();
    etcd_client::Txn::new()
        .when(txn.guards.iter().map(compare).collect::<Vec<_>>())
        .and_then(requests(&txn.then))
        .or_else(requests(&txn.otherwise))
}

/// Reads as a transaction that goes through the log like a write, though it never writes: a member whose leader went
/// away while it asked it for the newest revision waits for an answer that does not come, and lets later readers wait
/// with it (etcd 3.4); a proposal it sends anew.
pub(crate) fn proposal(reads: Vec<Op>, key: &str) -> Txn {
    Txn {
        guards: vec![Guard::Created { key: key.to_owned(), revision: -1 }],
        then: vec![Op::Delete(Range::key(key))],
        otherwise: reads,
    }
}

/// The same as a proposal, if a transaction only reads, whatever holds.
pub(crate) fn by_proposal(txn: &Txn) -> Option<Txn> {
    let Some(Op::Get(range)) = txn.then.first() else { return None };
    let simple = txn.guards.is_empty() && txn.otherwise.is_empty() && txn.only_reads();
    simple.then(|| proposal(txn.then.clone(), &range.key))
}

pub(crate) fn header(header: Option<&ResponseHeader>) -> Header {
    header.map_or_else(Header::default, |header| Header {
        cluster: header.cluster_id(),
        member: header.member_id(),
        revision: header.revision(),
        raft_term: header.raft_term(),
    })
}

pub(crate) fn found(mut response: GetResponse) -> Found {
    Found {
        header: header(response.header()),
        count: u64::try_from(response.count()).unwrap_or(0),
        more: response.more(),
        kvs: response.take_kvs().into_iter().map(kv).collect(),
    }
}

pub(crate) fn kv(kv: etcd_client::KeyValue) -> Kv {
    let (created, modified, lease) = (kv.create_revision(), kv.mod_revision(), kv.lease());
    let (key, value) = kv.into_key_value();
    let key =
        String::from_utf8(key).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Kv { key, value, created, modified, lease }
}

pub(crate) fn answer(response: &TxnResponse) -> TxnAnswer {
    let answers = response.op_responses().into_iter().filter_map(|answer| match answer {
        TxnOpResponse::Put(_) => Some(Answer::Put),
        TxnOpResponse::Get(response) => Some(Answer::Get(found(response))),
        TxnOpResponse::Delete(deleted) => Some(Answer::Delete(u64::try_from(deleted.deleted()).unwrap_or(0))),
        TxnOpResponse::Txn(_) => None,
    });
    TxnAnswer {
        header: header(response.header()),
        succeeded: response.succeeded(),
        answers: answers.collect(),
    }
}

/// What a proposal's read found.
pub(crate) fn into_found(answer: TxnAnswer) -> Found {
    let first = answer.answers.into_iter().next();
    let Some(Answer::Get(found)) = first else {
        return Found { header: answer.header, ..Found::default() };
    };
    // Answers within a transaction carry only the revision.
    Found { header: answer.header, ..found }
}
