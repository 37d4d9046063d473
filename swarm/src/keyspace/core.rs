//! What all calls of a handle share; reading.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt, stream};
use om_kv::{Error, Failure, Header, Result};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::SwarmOptions;
use super::judge::{self, Fate, judge};
use super::known::{Base, Fit, Known};
use super::membership::Membership;
use super::names::{Names, hash};
use super::shelves::Shelves;
use super::sweep::Garbage;
use crate::engine::{Engine, SwarmObject, Trouble, insist};
use crate::node::NodeState;
use crate::state::{Contents, Needs, Page, Shelf, State};
use crate::wire::{PageBody, Record, Unreadable};

/// Pages that are fetched at once.
const FETCHES: usize = 4;
/// An attempt at something of up to a megabyte gets so many times as long as another.
const LARGE: u32 = 10;
/// The longest pause before an attempt is repeated.
const PAUSE: Duration = Duration::from_millis(100);
/// The same, where only a person can change that the engine refuses.
const REST: Duration = Duration::from_millis(400);
/// Beside a look that is not answered for so long another is made.
const BESIDE: Duration = Duration::from_millis(60);
/// A page that the record names and that is not there this many reads in a row is lost.
const LOOKS: u32 = 4;

/// A page on its way, with its values.
type Fetching<'a> = BoxFuture<'a, std::result::Result<(Arc<Page>, Arc<Contents>), Failed>>;

pub(super) struct Core {
    pub(super) engine: Engine,
    pub(super) names: Names,
    pub(super) options: SwarmOptions,
    known: Mutex<Known>,
    membership: Mutex<Membership>,
    /// Held by the one transaction of this handle that is being written.
    pub(super) line: tokio::sync::Mutex<()>,
    /// What watches see.
    pub(super) signs: watch::Sender<Sign>,
    /// Wakes whoever polls.
    pub(super) look: Notify,
    /// Something was written: others are to be told.
    pub(super) ring: Notify,
    pub(super) garbage: Mutex<Garbage>,
}

/// What a handle's watches are told.
#[derive(Clone, Debug, Default)]
pub(super) struct Sign {
    /// One more with each poll that got an answer.
    pub(super) alive: u64,
    pub(super) state: Option<Arc<State>>,
    /// One more each time that what was known turned out to count no more, and why the last time.
    pub(super) breaks: u64,
    pub(super) broken: Option<Failure>,
}

/// How a call goes about it.
#[derive(Clone, Debug)]
pub(super) struct Effort {
    what: String,
    deadline: Instant,
    round: u32,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// Ask again.
    Again(Fate, Failure),
    /// Asking again changes nothing.
    Over(Error),
}

impl Effort {
    pub(super) fn new(what: impl Into<String>, patience: Duration) -> Self {
        Self { what: what.into(), deadline: Instant::now() + patience, round: 0 }
    }

    /// Whether there is no time for another attempt. One that the deadline cuts short would tell less of why than the
    /// one before it.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() + PAUSE >= self.deadline
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// How long an attempt may take.
    pub(super) fn time(&self, usual: Duration) -> Duration {
        usual.min(self.deadline.saturating_duration_since(Instant::now())).max(Duration::from_millis(1))
    }

    /// Waits a little, differently long for each that does.
    pub(super) async fn pause(&mut self) {
        self.round += 1;
        let most = Duration::from_millis(2 << self.round.min(6)).min(PAUSE);
        let part = u32::from(uuid::Uuid::new_v4().as_bytes()[0]);
        self.sleep(most / 4 + most * part / 340).await;
    }

    /// Waits longer.
    async fn rest(&mut self) {
        self.sleep(REST).await;
    }

    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause.min(self.deadline.saturating_duration_since(Instant::now()))).await;
    }
}

impl Core {
    pub(super) fn new(engine: Engine, cluster: &str, options: SwarmOptions) -> Self {
        Self {
            engine,
            names: Names::of(cluster),
            options,
            known: Mutex::default(),
            membership: Mutex::default(),
            line: tokio::sync::Mutex::default(),
            signs: watch::Sender::default(),
            look: Notify::new(),
            ring: Notify::new(),
            garbage: Mutex::default(),
        }
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn membership(&self) -> MutexGuard<'_, Membership> {
        self.membership.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the Swarm is not in the making any more. `Err`: there is no time for that.
    pub(super) async fn grown(&self, effort: &Effort) -> std::result::Result<(), Failed> {
        let Some(until) = self.membership().young_until(Instant::now()) else { return Ok(()) };
        if until >= effort.deadline {
            let why = "the Swarm was made a moment ago, and `docker swarm init` may still be at it";
            return Err(Failed::Again(Fate::NotDone, self.failure(effort, why, "")));
        }
        tokio::time::sleep_until(until).await;
        Ok(())
    }

    pub(super) fn failure(&self, effort: &Effort, why: impl ToString, hint: impl Into<String>) -> Failure {
        let place = format!("the Swarm of {}", self.engine);
        Failure { what: effort.what.clone(), place, why: why.to_string(), hint: hint.into() }
    }

    pub(super) fn failed(&self, effort: &Effort, trouble: &Trouble) -> Failed {
        self.membership().refused(trouble);
        let fate = judge(trouble);
        let why = match NodeState::told_by(trouble) {
            Some(NodeState::Unreachable(why)) => why,
            Some(state) => format!("the engine is {state}"),
            None => trouble.to_string(),
        };
        let failure = self.failure(effort, why, judge::hint(trouble));
        if fate.is_final() { Failed::Over(judge::error(fate, failure)) } else { Failed::Again(fate, failure) }
    }

    /// The newest header that is known.
    pub(super) fn header(&self) -> Header {
        self.known().newest().map(|state| state.header()).unwrap_or_default()
    }

    /// Reads the newest state, until that works or the effort is over.
    pub(super) async fn read(&self, effort: &mut Effort) -> Result<Base> {
        loop {
            match self.read_once(effort).await {
                Ok(base) => return Ok(base),
                Err(Failed::Over(error)) => return Err(error),
                Err(Failed::Again(fate, failure)) => {
                    tracing::debug!(%failure, "an attempt failed");
                    if effort.is_over() {
                        return Err(judge::error(fate, failure));
                    }
                    if self.membership().is_barred() {
                        effort.rest().await;
                    } else {
                        effort.pause().await;
                    }
                }
            }
        }
    }

    pub(super) async fn read_once(&self, effort: &Effort) -> std::result::Result<Base, Failed> {
        let mut looks = 0;
        loop {
            let asked_at = self.known().revision();
            let time = effort.time(self.options.attempt);
            let asked = insist(BESIDE, time, |time| self.engine.inspect_swarm(time)).await;
            let swarm = asked.map_err(|trouble| self.failed(effort, &trouble))?;
            self.membership().answered(Instant::now());
            let state = match self.state_of(&swarm, effort).await {
                // The record has moved on meanwhile, and the page is not needed any more.
                Err(Failed::Again(Fate::Missing, failure)) => {
                    looks += 1;
                    if looks < LOOKS {
                        continue;
                    }
                    let why = format!("a page of the state is gone: {}", failure.why);
                    let hint = format!("put back the config objects {}*, or start anew", self.names.all());
                    return Err(Failed::Over(Error::Invalid(self.failure(effort, why, hint))));
                }
                state => state?,
            };
            let base = Base { swarm: Arc::new(swarm), state };
            let fit = self.known().read(base, asked_at, Instant::now());
            return match fit {
                Fit::Good(base) => {
                    self.publish();
                    Ok(base)
                }
                Fit::Older => {
                    let why = "it answers with less than it said before: its leader is cut off";
                    Err(Failed::Again(Fate::NotDone, self.failure(effort, why, "")))
                }
                Fit::Other(why) => Err(Failed::Over(self.went_back(self.failure(effort, why, BACK)))),
            };
        }
    }

    /// Shows watches what is known now.
    pub(super) fn publish(&self) {
        let newest = self.known().newest().cloned();
        self.signs.send_if_modified(|sign| {
            let seen = sign.state.as_ref().map_or(-1, |state| state.revision);
            let moves = newest.as_ref().is_some_and(|newest| newest.revision > seen);
            if moves {
                sign.state = newest;
            }
            moves
        });
    }

    fn went_back(&self, failure: Failure) -> Error {
        self.known().forget();
        self.signs.send_modify(|sign| {
            sign.state = None;
            sign.breaks += 1;
            sign.broken = Some(failure.clone());
        });
        Error::WentBack(failure)
    }

    /// What a Swarm's label says.
    async fn state_of(
        &self,
        swarm: &SwarmObject,
        effort: &Effort,
    ) -> std::result::Result<Arc<State>, Failed> {
        let over = |why: String, hint: String| Failed::Over(Error::Invalid(self.failure(effort, why, hint)));
        let Some(label) = swarm.label(&self.names.label) else {
            if self.known().revision() == 0 {
                self.check_new(effort).await?;
            }
            return Ok(Arc::new(State::new(hash(&swarm.id))));
        };
        let record = Record::from_label(label).map_err(|unreadable| {
            let why = format!("the label {} of the Swarm cannot be read: {unreadable}", self.names.label);
            over(why, "it is left as it is".to_owned())
        })?;
        let newest = self.known().newest().cloned();
        if let Some(newest) = newest.filter(|newest| {
            newest.cluster == record.cluster
                && newest.revision == record.revision
                && newest.nonce_of(newest.revision) == record.nonces.last().copied()
                && newest.pages.len() == record.pages.len()
        }) {
            return Ok(newest);
        }
        let pages = self.pages(&record.pages, effort).await?;
        Ok(Arc::new(State::from_record(record, pages)))
    }

    /// Without a label everything is new; where config objects of ours are there, it was taken away.
    async fn check_new(&self, effort: &Effort) -> std::result::Result<(), Failed> {
        let time = effort.time(self.options.attempt * LARGE);
        let found = self.engine.configs(&self.names.all(), time).await;
        let found = found.map_err(|trouble| self.failed(effort, &trouble))?;
        if !found.iter().any(|config| self.names.is_ours(config)) {
            return Ok(());
        }
        let why = format!(
            "the label {} of the Swarm is gone, and config objects {}* of it are there",
            self.names.label,
            self.names.all()
        );
        let hint = "put the label back (`docker swarm update` keeps it; who wrote the Swarm's labels anew?), or remove the config objects to begin with nothing";
        Err(Failed::Over(Error::Invalid(self.failure(effort, why, hint))))
    }

    /// These pages, in this order; those that are not known are fetched.
    async fn pages(&self, ids: &[String], effort: &Effort) -> std::result::Result<Vec<Arc<Page>>, Failed> {
        let newest = self.known().newest().cloned();
        let known = newest.iter().flat_map(|state| &state.pages);
        let mut found: HashMap<&str, Arc<Page>> =
            known.map(|page| (page.id.as_str(), Arc::clone(page))).collect();
        let unknown = ids.iter().filter(|id| !found.contains_key(id.as_str())).cloned().collect();
        let fetched = self.fetch_all(unknown, effort).await?;
        found.extend(fetched.iter().map(|(page, _)| (page.id.as_str(), Arc::clone(page))));
        Ok(ids.iter().filter_map(|id| found.get(id.as_str()).cloned()).collect())
    }

    async fn fetch_all(
        &self,
        ids: Vec<String>,
        effort: &Effort,
    ) -> std::result::Result<Vec<(Arc<Page>, Arc<Contents>)>, Failed> {
        // Boxed, for the compiler to see that they can be sent.
        let fetch = |id: String| -> Fetching<'_> { Box::pin(async move { self.fetch(&id, effort).await }) };
        stream::iter(ids.into_iter().map(fetch)).buffered(FETCHES).try_collect().await
    }

    /// A page with its values.
    async fn fetch(
        &self,
        id: &str,
        effort: &Effort,
    ) -> std::result::Result<(Arc<Page>, Arc<Contents>), Failed> {
        if let Some(found) = self.shelves(|shelves| shelves.get(id)) {
            return Ok(found);
        }
        let time = effort.time(self.options.attempt * LARGE);
        let config = self.engine.config(id, time).await.map_err(|trouble| self.failed(effort, &trouble))?;
        let body = config.data().map_err(|error| Unreadable::Damaged(error.to_string()));
        let body = body.and_then(|data| PageBody::from_data(&data)).map_err(|unreadable| {
            let why = format!("the config object {} cannot be read: {unreadable}", config.name());
            Failed::Over(Error::Invalid(self.failure(effort, why, "it is left as it is")))
        })?;
        let (page, contents) = Page::open(id, body);
        let (page, contents) = (Arc::new(page), Arc::new(contents));
        self.shelves(|shelves| shelves.put(Arc::clone(&page), Arc::clone(&contents)));
        Ok((page, contents))
    }

    pub(super) fn shelves<T>(&self, with: impl FnOnce(&mut Shelves) -> T) -> T {
        with(&mut self.known().shelves)
    }

    /// Puts the values that are needed on a shelf.
    pub(super) async fn supply(
        &self,
        needs: &Needs,
        shelf: &mut Shelf,
        effort: &Effort,
    ) -> std::result::Result<(), Failed> {
        let ids = needs.0.iter().map(|page| page.id.clone()).collect();
        let fetched = self.fetch_all(ids, effort).await?;
        shelf.extend(fetched.into_iter().map(|(page, contents)| (page.id.clone(), contents)));
        Ok(())
    }
}

/// What to do where the Swarm is not what it was.
const BACK: &str = "was the Swarm made anew, or restored from a backup? What is known of it does not count any more: read afresh";
