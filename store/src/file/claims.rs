//! Claims: who holds the store, by exclusive links.
//!
//! A claim is the file `claim-<term>`, made whole under a temporary name and then linked: a link fails if the name is
//! taken, so of all who want a term one gets it. Terms grow by one, so the holder of a term asks a single question to
//! learn whether it is still the newest: is there a `claim-<term + 1>`?
//!
//! Old claims are removed at compactions, always from the lowest up. Therefore the question has a second half: is my
//! own claim still there, the very file that I made (its nonce)? If `claim-<term + 1>` was there and was removed, the
//! own one was removed before it. In this order, the two answers prove that at the moment of the first the claim was
//! the newest.

use super::fs::Fs;
use super::names::{self, Inventory};
use super::wire::ClaimFile;
use crate::envelope::{self, Kind};
use crate::{Candidate, Claim, Error, Head, Result, Term, wall_unix_ms};

/// A claim of ours, or the one that a state was read under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reign {
    pub(crate) term: u64,
    pub(crate) nonce: String,
    pub(crate) cluster: String,
}

impl Fs {
    /// The newest claim.
    pub(crate) fn head(&self) -> Result<Head> {
        self.patiently(|| {
            let inventory = self.list()?;
            let Some(cluster) = self.survey(&inventory)? else {
                return Ok(Head { cluster: String::new(), claim: None });
            };
            let claim = self.newest_claim(&inventory, &cluster)?.map(|(claim, _)| claim);
            Ok(Head { cluster, claim })
        })
    }

    /// The newest term, for an error message that says more than the caller knows.
    pub(crate) fn newest_term(&self, at_least: u64) -> Term {
        let listed = self.list().ok().and_then(|inventory| inventory.claims.last().copied());
        Term(listed.unwrap_or(0).max(at_least))
    }

    /// The identity of the store that the inventory is of; `None` if none is begun.
    pub(crate) fn survey(&self, inventory: &Inventory) -> Result<Option<String>> {
        if inventory.is_empty() {
            return self.empty().map(|()| None);
        }
        let cluster = self.cluster()?;
        if inventory.is_bare() {
            // Its maker has not come further yet.
            return Ok(Some(cluster));
        }
        let Some(head) = inventory.segments.last() else {
            let what = format!("{}: the journal is missing", self.dir().display());
            return Err(Error::Corrupt { what });
        };
        if inventory.claims.last().copied().unwrap_or(0) < head.term {
            return Err(self.corrupt(&names::claim(head.term), "is missing, but its journal is there"));
        }
        Ok(Some(cluster))
    }

    pub(crate) fn newest_claim(
        &self,
        inventory: &Inventory,
        cluster: &str,
    ) -> Result<Option<(Claim, Reign)>> {
        let Some(term) = inventory.claims.last().copied() else { return Ok(None) };
        let name = names::claim(term);
        let Some(file) = self.claim_file(Kind::Claim, &name, term, cluster)? else {
            return Err(self.corrupt(&name, "is gone"));
        };
        let released = self.released(term, cluster)?;
        let reign = Reign { term, nonce: file.nonce.clone(), cluster: cluster.to_owned() };
        Ok(Some((file.into_claim(released), reign)))
    }

    /// The record that a term was released, if it was.
    pub(crate) fn released(&self, term: u64, cluster: &str) -> Result<Option<ClaimFile>> {
        self.claim_file(Kind::Release, &names::release(term), term, cluster)
    }

    fn claim_file(&self, kind: Kind, name: &str, term: u64, cluster: &str) -> Result<Option<ClaimFile>> {
        let Some(bytes) = self.read(name, 0, u64::MAX)? else { return Ok(None) };
        let file: ClaimFile = envelope::decode_whole(kind, &self.place(name), &bytes)?;
        self.same_cluster(name, &file.cluster, cluster)?;
        if file.term != term {
            return Err(self.corrupt(name, format!("is about term {}", file.term)));
        }
        Ok(Some(file))
    }

    /// Takes a term, if nobody has. The claim is not durable before the directory is synced.
    pub(crate) fn take(&self, term: u64, candidate: &Candidate, cluster: &str) -> Result<Option<Reign>> {
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let file = ClaimFile {
            cluster: cluster.to_owned(),
            term,
            nonce: nonce.clone(),
            name: candidate.name.clone(),
            endpoint: candidate.endpoint.clone(),
            authority_ms: candidate.authority_ms,
            time_unix_ms: wall_unix_ms(),
            successor: String::new(),
        };
        let reign = Reign { term, nonce, cluster: cluster.to_owned() };
        let name = names::claim(term);
        if self.temporary(&envelope::encode(Kind::Claim, &file))?.link(&name)? {
            return Ok(Some(reign));
        }
        // A link that was repeated by the network file system is refused the second time: whose is it?
        let there = self.claim_file(Kind::Claim, &name, term, cluster)?;
        Ok(there.filter(|there| there.nonce == reign.nonce).map(|_| reign))
    }

    /// Proves that the claim was the newest at a moment after the call began. See the module for why this suffices.
    pub(crate) fn confirm(&self, reign: &Reign) -> Result<()> {
        let newer = reign.term + 1;
        if self.exists(&names::claim(newer))? {
            return Err(Error::Fenced { own: Term(reign.term), newest: self.newest_term(newer) });
        }
        let own = self.claim_file(Kind::Claim, &names::claim(reign.term), reign.term, &reign.cluster)?;
        if own.is_some_and(|own| own.nonce == reign.nonce) {
            return Ok(());
        }
        Err(Error::Fenced { own: Term(reign.term), newest: self.newest_term(reign.term) })
    }

    /// Records that the term's work has stopped.
    pub(crate) fn write_release(&self, reign: &Reign, successor: Option<String>) -> Result<()> {
        let file = ClaimFile {
            cluster: reign.cluster.clone(),
            term: reign.term,
            nonce: reign.nonce.clone(),
            time_unix_ms: wall_unix_ms(),
            successor: successor.unwrap_or_default(),
            ..ClaimFile::default()
        };
        self.temporary(&envelope::encode(Kind::Release, &file))?.link(&names::release(reign.term))?;
        self.sync_dir()
    }

    /// Looks again, and once more, at what seems damaged: others may be changing it, and reading is not atomic. Damage
    /// stays the same.
    pub(crate) fn patiently<T>(&self, mut look: impl FnMut() -> Result<T>) -> Result<T> {
        let mut seen: Vec<String> = Vec::new();
        loop {
            let error = match look() {
                Err(error @ Error::Corrupt { .. }) => error,
                other => return other,
            };
            let text = error.to_string();
            if seen.len() > 10 || seen.iter().filter(|before| **before == text).count() >= 2 {
                return Err(error);
            }
            seen.push(text);
            std::thread::sleep(self.tuning.patience);
        }
    }
}
