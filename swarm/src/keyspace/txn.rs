//! Transactions: decide on what is known, make pages, swap the label; where somebody was faster, judge afresh.
//!
//! * The swap compares the Swarm's version, so it is done once at most, on exactly the state that was decided on.
//! * Whether a swap was done is read from the record, which keeps what the last transactions are known by: not from
//!   the answer, for a manager may pass a request on to the leader twice, and the second gets `update out of sequence`
//!   for what the first did. Once the version has moved on without it, it never will be done.
//! * Guards that hold on an old state are proven by the swap. That they do not hold, and whatever a transaction
//!   answers that writes nothing, counts only if it was read after the call began.

use std::sync::Arc;
use std::time::Duration;

use om_kv::{Error, Op, Result, Txn, TxnAnswer};
use tokio::time::timeout_at;
use uuid::Uuid;

use super::core::{Core, Effort, Failed};
use super::judge::{self, CEILING, Fate, judge};
use super::known::Base;
use crate::state::{Decision, Plan, Shelf, State, Unfit, decide, plan};

/// A label that is longer would not pass the Swarm's log, in bytes.
const LABEL: usize = 1_000_000;
/// A config object holds less than this, in bytes.
const CONFIG: usize = 1_000_000;
/// The first attempt at a swap; each later one gets twice the time.
const FIRST: Duration = Duration::from_millis(120);
/// An attempt to make a page gets so many times as long as another.
const LARGE: u32 = 10;

/// What became of a swap.
enum Swapped {
    Done,
    /// It was not done and never will be.
    Not,
}

impl Core {
    pub(super) async fn transact(&self, txn: &Txn, mut effort: Effort) -> Result<TxnAnswer> {
        if txn.only_reads() {
            return self.transact_reads(txn, effort).await;
        }
        let Ok(_line) = timeout_at(effort.deadline(), self.line.lock()).await else {
            let why = "others of this process are being written";
            return Err(Error::Unavailable(self.failure(&effort, why, "")));
        };
        self.check_leases(txn, &mut effort).await?;
        let mut known = self.known().base();
        loop {
            let (base, fresh) = match known.take() {
                Some(base) => (base, false),
                None => (self.read(&mut effort).await?, true),
            };
            let nonce = Uuid::new_v4().as_u64_pair().0;
            match self.attempt(&base, txn, nonce, &mut effort).await {
                Ok(Some((answer, wrote))) if wrote || fresh => return Ok(answer),
                Ok(Some(_)) => {}
                Ok(None) => effort.pause().await,
                Err(Failed::Over(error)) => return Err(error),
                Err(Failed::Again(fate, failure)) => {
                    if effort.is_over() {
                        return Err(judge::error(fate, failure));
                    }
                    effort.pause().await;
                }
            }
            if effort.is_over() {
                let why = "others wrote to the Swarm again and again";
                return Err(Error::Unavailable(self.failure(&effort, why, "")));
            }
        }
    }

    async fn transact_reads(&self, txn: &Txn, mut effort: Effort) -> Result<TxnAnswer> {
        loop {
            let base = self.read(&mut effort).await?;
            match self.decide_on(&base, txn, 0, &effort).await {
                Ok((decision, _)) => return Ok(decision.answer),
                Err(Failed::Over(error)) => return Err(error),
                Err(Failed::Again(fate, failure)) if effort.is_over() => {
                    return Err(judge::error(fate, failure));
                }
                Err(Failed::Again(..)) => effort.pause().await,
            }
        }
    }

    /// Decides, and writes what is to be written. `None`: somebody else was faster.
    async fn attempt(
        &self,
        base: &Base,
        txn: &Txn,
        nonce: u64,
        effort: &mut Effort,
    ) -> std::result::Result<Option<(TxnAnswer, bool)>, Failed> {
        let (decision, mut shelf) = self.decide_on(base, txn, nonce, effort).await?;
        let Decision { answer, next } = decision;
        let Some(next) = next else { return Ok(Some((answer, false))) };
        let plan = loop {
            match plan(next.clone(), &shelf) {
                Ok(plan) => break plan,
                Err(needs) => self.supply(&needs, &mut shelf, effort).await?,
            }
        };
        if !plan.drafts.is_empty() && base.swarm.label(&self.names.label).is_none() {
            self.begin(base, effort).await?;
            return Ok(None);
        }
        let made = self.make(base, &plan, effort).await?;
        let (state, pages) = plan.complete(&made);
        let swapped = self.swap(base, &state, nonce, effort).await;
        match swapped {
            Ok(Swapped::Done) => {
                for (page, contents) in pages {
                    self.shelves(|shelves| shelves.put(page, Arc::new(contents)));
                }
                self.swapped(base, Arc::new(state));
                Ok(Some((answer, true)))
            }
            Ok(Swapped::Not) => {
                self.unmake(&made).await;
                Ok(None)
            }
            // Whether a swap names them is not known: the sweep will see.
            Err(Failed::Over(error @ Error::Unclear(_))) => Err(Failed::Over(error)),
            Err(failed) => {
                self.unmake(&made).await;
                Err(failed)
            }
        }
    }

    /// Writes the first record. A config object without a label would look like a label that was taken away.
    pub(super) async fn begin(&self, base: &Base, effort: &mut Effort) -> std::result::Result<(), Failed> {
        let nonce = Uuid::new_v4().as_u64_pair().0;
        self.swap(base, &base.state.begun(nonce), nonce, effort).await.map(drop)
    }

    async fn decide_on(
        &self,
        base: &Base,
        txn: &Txn,
        nonce: u64,
        effort: &Effort,
    ) -> std::result::Result<(Decision, Shelf), Failed> {
        let mut shelf = Shelf::new();
        loop {
            match decide(&base.state, txn, nonce, &shelf) {
                Ok(decision) => return Ok((decision, shelf)),
                Err(Unfit::Needs(needs)) => self.supply(&needs, &mut shelf, effort).await?,
                Err(Unfit::Old(revision)) => {
                    let why = format!("a transaction does not read at an old revision, {revision}");
                    return Err(Failed::Over(Error::Invalid(self.failure(effort, why, ""))));
                }
                Err(Unfit::Twice(key)) => {
                    let why = format!("it would write {key} twice");
                    return Err(Failed::Over(Error::Invalid(self.failure(effort, why, ""))));
                }
            }
        }
    }

    /// Makes the config objects of new pages; their identities.
    async fn make(
        &self,
        base: &Base,
        plan: &Plan,
        effort: &Effort,
    ) -> std::result::Result<Vec<String>, Failed> {
        let mut made = Vec::with_capacity(plan.drafts.len());
        for draft in &plan.drafts {
            let data = draft.body().to_data();
            let labels = self.names.page_labels(base.swarm.version());
            let created = if data.len() > CONFIG {
                let why = format!("a value of {} bytes, of at most {CONFIG} packed", data.len());
                Err(Failed::Over(Error::TooLarge(self.failure(effort, why, CEILING))))
            } else {
                let time = effort.time(self.options.attempt * LARGE);
                let created = self.engine.create_config(&self.names.page(), &labels, &data, time).await;
                created.map_err(|trouble| self.failed(effort, &trouble))
            };
            match created {
                Ok(id) => made.push(id),
                Err(failed) => {
                    self.unmake(&made).await;
                    return Err(failed);
                }
            }
        }
        Ok(made)
    }

    /// Removes pages that no record names. What is left, the sweep finds.
    async fn unmake(&self, made: &[String]) {
        for id in made {
            if let Err(trouble) = self.engine.remove_config(id, self.options.attempt).await {
                tracing::debug!(%trouble, "a page that is not needed is left for later");
            }
        }
    }

    /// Swaps the label, and finds out whether that was done.
    async fn swap(
        &self,
        base: &Base,
        next: &State,
        nonce: u64,
        effort: &mut Effort,
    ) -> std::result::Result<Swapped, Failed> {
        let label = next.to_record().to_label();
        if label.len() > LABEL {
            let why = format!("the label would have {} bytes, of at most {LABEL}", label.len());
            return Err(Failed::Over(Error::TooLarge(self.failure(effort, why, CEILING))));
        }
        self.grown(effort).await?;
        let version = base.swarm.version();
        let spec = base.swarm.with_label(&self.names.label, label);
        let (mut open, mut patience) = (false, FIRST.min(self.options.attempt));
        loop {
            // What hangs with a leader that is gone is not waited for: whether it was done is looked for, and it is asked anew.
            let time = effort.time(patience);
            patience = (patience * 2).min(self.options.attempt);
            let Err(trouble) = self.engine.update_swarm(version, &spec, time).await else {
                return Ok(Swapped::Done);
            };
            let fate = judge(&trouble);
            let failed = self.failed(effort, &trouble);
            open = open || matches!(fate, Fate::Open | Fate::Conflict);
            let failed = match failed {
                // Nothing was sent that could be done yet.
                failed if !open => return Err(failed),
                Failed::Over(error) => error.failure().clone(),
                Failed::Again(_, failure) => failure,
            };
            tracing::debug!(failure = %failed, "what became of a write is looked for");
            match self.look_for(base, next, nonce, effort).await {
                Ok(Some(swapped)) => return Ok(swapped),
                Ok(None) => {}
                Err(Failed::Over(error)) => {
                    return Err(Failed::Over(Error::Unclear(error.failure().clone())));
                }
                Err(Failed::Again(_, failure)) => tracing::debug!(%failure, "an attempt failed"),
            }
            if effort.is_over() {
                return Err(Failed::Over(Error::Unclear(failed)));
            }
            effort.pause().await;
        }
    }

    /// Whether a swap was done, or never will be; `None`: it may be done yet.
    async fn look_for(
        &self,
        base: &Base,
        next: &State,
        nonce: u64,
        effort: &Effort,
    ) -> std::result::Result<Option<Swapped>, Failed> {
        let now = self.read_once(effort).await?;
        if now.state.revision < next.revision {
            let moved = now.swarm.version() > base.swarm.version();
            return Ok(moved.then_some(Swapped::Not));
        }
        match now.state.nonce_of(next.revision) {
            Some(found) if found == nonce => Ok(Some(Swapped::Done)),
            Some(_) => Ok(Some(Swapped::Not)),
            None => {
                let why = "so much was written since that it cannot be told any more";
                Err(Failed::Over(Error::Unclear(self.failure(effort, why, ""))))
            }
        }
    }

    /// After a swap: it is known here at once, and others are told.
    fn swapped(&self, base: &Base, state: Arc<State>) {
        let named = |id: &str| state.pages.iter().any(|page| page.id == id);
        let dropped = base.state.pages.iter().filter(|page| !named(&page.id));
        self.garbage().add(dropped.map(|page| page.id.clone()));
        self.known().wrote(state);
        self.publish();
        self.look.notify_one();
        self.ring.notify_one();
    }

    /// A key must not be put under a lease that is gone.
    async fn check_leases(&self, txn: &Txn, effort: &mut Effort) -> Result<()> {
        let leases = txn.then.iter().chain(&txn.otherwise).filter_map(|op| match op {
            Op::Put { lease, .. } if *lease != 0 => Some(*lease),
            _ => None,
        });
        for lease in leases {
            self.living_lease(lease, effort).await?;
        }
        Ok(())
    }
}
