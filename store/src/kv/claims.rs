//! Claims: one guarded Put of the leader key.
//!
//! The term is the mod-revision that the Put gives the key, so it grows with every claim and is never given twice, also
//! for the same holder. Everything that is written under it compares that mod-revision in the same transaction. A release
//! is one more Put by the holder: the mod-revision moves, and with it nothing more can be written under the term.

use om_kv::layout::{LeaderRecord, Released};
use om_kv::{Guard, Op, Range, Txn, TxnAnswer};

use super::Grounds;
use super::errors::{of_write, told};
use super::load::Halt;
use super::look::{Look, READS, claim_of, leader_record};
use super::opening::Opening;
use super::shared::{Reign, Shared};
use super::wire::{Meta, Tip};
use crate::envelope::{self, Kind};
use crate::{Candidate, Claim, Error, Result, Term, Token, wall_unix_ms};

impl Shared {
    pub(crate) async fn claim(
        &self,
        candidate: &Candidate,
        seen: Term,
        grounds: Option<Grounds>,
    ) -> Result<Token> {
        // A state that cannot be read is not claimed.
        if !self.known().loaded {
            self.load().await?;
        }
        let mut grounds = match grounds {
            Some(grounds) => grounds,
            None => {
                let look = self.look().await?;
                if look.term() != seen.0 {
                    return Err(Error::Outrun { seen, newest: Term(look.term()) });
                }
                Grounds { leader_revision: look.leader_modified(), ..Grounds::default() }
            }
        };
        loop {
            if let Some(token) = self.try_claim(candidate, seen, &grounds).await? {
                return Ok(token);
            }
            // Others wrote on meanwhile: what opens the term is made anew after the claim.
            grounds.opening = None;
        }
    }

    /// `None`: it was not made, for the state is not any more the one that the opening was made for.
    async fn try_claim(&self, candidate: &Candidate, seen: Term, grounds: &Grounds) -> Result<Option<Token>> {
        let before = self.before();
        if grounds.leader_revision == 0 && before.cluster.is_some() {
            // Looking tells what has happened to it.
            let newest = Term(self.look().await?.term());
            return Err(Error::Outrun { seen, newest });
        }
        let record = LeaderRecord {
            name: candidate.name.clone(),
            instance: grounds.instance.clone(),
            endpoint: candidate.endpoint.clone(),
            authority_ms: candidate.authority_ms,
            time_unix_ms: wall_unix_ms(),
            nonce: uuid::Uuid::new_v4().simple().to_string(),
            released: None,
        };
        let cluster = before.cluster.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let opening = self.opening(&record.nonce, grounds, &before)?;
        let mut txn = self.claim_txn(&record, &cluster, grounds, &before);
        if let Some(opening) = &opening {
            txn = self.with_opening(txn, opening);
        }
        let opened = opening.is_some();
        let sent = self.kv.txn(&txn, self.tuning.patience).await;
        // Why it was refused, where it may have been made all the same.
        let mut refused = None;
        let look = match sent {
            Ok(answer) if answer.succeeded => {
                let look = self.judge_claim(&answer, &before, &cluster)?;
                let (previous, term) = (look.claim(), answer.header.revision);
                self.assume(record, look, term, opening).await?;
                return Ok(Some(token(term, cluster, previous, opened)));
            }
            Ok(answer) => {
                let look = self.judge(&answer, &before)?;
                self.note(&look);
                look
            }
            Err(error @ (om_kv::Error::Unclear(_) | om_kv::Error::NoSpace(_))) => {
                let look = self.look().await.map_err(|why| match why {
                    Error::Unavailable { .. } => of_write(&error),
                    known => known,
                })?;
                refused = matches!(error, om_kv::Error::NoSpace(_)).then(|| told(&error));
                look
            }
            Err(error) => return Err(told(&error)),
        };
        let moved_on = opening.is_some_and(|opening| !opening.is_next(&look));
        match self.recognise(&look, &record, grounds, seen).await {
            Ok((term, previous)) => {
                self.assume(record, look, term, None).await?;
                Ok(Some(token(term, cluster, previous, opened)))
            }
            Err(Error::Unavailable { .. }) if moved_on && refused.is_none() => Ok(None),
            Err(unclear @ Error::Unavailable { .. }) => Err(refused.unwrap_or(unclear)),
            Err(error) => Err(error),
        }
    }

    fn claim_txn(
        &self,
        record: &LeaderRecord,
        cluster: &str,
        grounds: &Grounds,
        before: &super::look::Before,
    ) -> Txn {
        let keys = &self.keys;
        let meta = envelope::encode(Kind::Format, &Meta { cluster: cluster.to_owned() });
        let mut txn = Txn {
            guards: vec![Guard::modified(keys.leader.as_str(), grounds.leader_revision)],
            then: self.reads(before),
            otherwise: self.reads(before),
        };
        let extra = grounds.guards.iter().map(|(key, modified)| Guard::modified(key.as_str(), *modified));
        txn.guards.extend(extra);
        if grounds.leader_revision == 0 {
            let tip = envelope::encode(Kind::Tip, &Tip::default());
            txn.guards.push(Guard::absent(keys.meta.as_str()));
            txn.then.push(Op::put(keys.meta.as_str(), meta));
            txn.then.push(Op::put(keys.tip.as_str(), tip));
        } else {
            // The store that was seen, and as far as it was: else nothing is to be written.
            txn.guards.push(Guard::Value { key: keys.meta.clone(), value: meta });
            txn.guards.push(Guard::Since { key: keys.tip.clone(), revision: before.mark });
        }
        // A record of names and numbers can be written.
        txn.then.push(Op::put(keys.leader.as_str(), serde_json::to_vec(record).unwrap_or_default()));
        txn.then.extend(grounds.puts.iter().map(|(key, value)| Op::put(key.as_str(), value.clone())));
        txn
    }

    /// What a claim that succeeded saw right before it.
    fn judge_claim(&self, answer: &TxnAnswer, before: &super::look::Before, cluster: &str) -> Result<Look> {
        if !answer.found(1).is_empty() {
            return self.judge(answer, before);
        }
        // The first claim of all has made the store.
        let mut answer = answer.clone();
        answer.answers.truncate(READS);
        let look = self.judge(&answer, before)?;
        Ok(Look { cluster: cluster.to_owned(), tip_modified: answer.header.revision, ..look })
    }

    /// A claim was not made by this attempt: by an earlier one whose answer was lost? Its term, and what it replaced.
    async fn recognise(
        &self,
        look: &Look,
        record: &LeaderRecord,
        grounds: &Grounds,
        seen: Term,
    ) -> Result<(i64, Option<Claim>)> {
        let Some((newest, modified)) = look.leader.clone() else {
            return Err(Error::Outrun { seen, newest: Term(0) });
        };
        if newest.nonce == record.nonce {
            let previous = match grounds.leader_revision {
                0 => None,
                _ => self.previous(modified - 1).await?,
            };
            return Ok((modified, previous));
        }
        if modified != grounds.leader_revision {
            return Err(Error::Outrun { seen, newest: Term(look.term()) });
        }
        let why = std::io::Error::other("what it was to stand on does not hold any more");
        Err(Error::io(format!("claim {}", self.keys.leader), why))
    }

    /// The claim as it was at a revision.
    async fn previous(&self, at: i64) -> Result<Option<Claim>> {
        let range = Range::key(self.keys.leader.as_str()).at(at);
        let found = self.kv.range(&range, self.tuning.patience).await.map_err(|error| told(&error))?;
        found.one().map(|kv| Ok(claim_of(&leader_record(kv)?, kv.modified))).transpose()
    }

    /// The claim is made: completes the view, then writing can begin. `opening` was written with it, after the look.
    async fn assume(
        &self,
        record: LeaderRecord,
        look: Look,
        term: i64,
        opening: Option<Opening>,
    ) -> Result<()> {
        {
            let mut known = self.known();
            known.cluster = Some(look.cluster.clone());
            known.kv_revision = known.kv_revision.max(term);
            known.floor = known.floor.max(look.floor());
            known.saw_term(term.unsigned_abs(), false);
        }
        let alone = self.loading.lock().await;
        match self.catch_up(&look, look.header.revision).await {
            Ok(()) => {}
            Err(Halt::Again) => {
                drop(alone);
                self.load().await?;
            }
            Err(Halt::Error(error)) => return Err(error),
        }
        let mut tip = look.tip_modified;
        if let Some(opening) = opening {
            self.take_in(&opening.written(term), term);
            tip = term;
        }
        let term = Term(term.unsigned_abs());
        let mut known = self.known();
        if known.term > term.0 {
            return Err(Error::Outrun { seen: term, newest: Term(known.term) });
        }
        known.reign = Some(Reign { term, record, tip, spoiled: None });
        Ok(())
    }

    /// Whether the claim is the newest.
    pub(crate) async fn confirm(&self, token: &Token) -> Result<()> {
        self.known().held(token.term())?;
        self.look().await?;
        self.known().held(token.term()).map(drop)
    }

    /// Nothing is written under the claim of this term any more, but its release.
    pub(crate) fn retire(&self, own: Term) {
        let fenced = self.fenced(own);
        let mut known = self.known();
        if let Some(reign) = known.reign.as_mut().filter(|reign| reign.term == own) {
            reign.spoiled = Some(fenced);
        }
    }

    pub(crate) async fn release(&self, token: &Token, successor: Option<&str>) -> Result<()> {
        let own = token.term();
        // Whatever becomes of the record, nothing is written under the token any more.
        let reign = {
            let mut known = self.known();
            known.reign.take_if(|reign| reign.term == own)
        };
        let Some(mut reign) = reign else { return Err(self.fenced(own)) };
        let released = Released { term: own.0, successor: successor.map(str::to_owned) };
        reign.record.released = Some(released);
        let key = self.keys.leader.as_str();
        let txn = Txn::new()
            .when(self.fence(own))
            .then(Op::put(key, serde_json::to_vec(&reign.record).unwrap_or_default()))
            .otherwise(Op::get(key));
        let answer = self.kv.txn(&txn, self.tuning.patience).await.map_err(|error| of_write(&error))?;
        if answer.succeeded {
            return Ok(());
        }
        let newest = answer.found(0).first().map(leader_record).transpose()?;
        if newest.is_some_and(|record| record.nonce == reign.record.nonce) {
            return Ok(());
        }
        if let Some(kv) = answer.found(0).first() {
            self.known().saw_term(leader_record(kv)?.term(kv.modified), false);
        }
        Err(self.fenced(own))
    }

    /// What every write under a term is guarded by.
    pub(crate) fn fence(&self, term: Term) -> Guard {
        Guard::modified(self.keys.leader.as_str(), i64::try_from(term.0).unwrap_or(i64::MAX))
    }
}

fn token(term: i64, cluster: String, previous: Option<Claim>, opened: bool) -> Token {
    let token = Token::new(Term(term.unsigned_abs()), cluster, previous);
    if opened { token.with_opening() } else { token }
}
