//! Who holds the store.

use std::fmt;

/// The number of one reign. Grows with every claim, is never reused, not even by the same holder. 0: nobody yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who wants to hold the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The replica's name.
    pub name: String,
    /// Where it serves: a URL.
    pub endpoint: String,
    /// The longest authority it hands out, in milliseconds: what the next holder waits where it has no proof.
    pub authority_ms: u64,
}

/// The record of who holds the store, made by compare-and-swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its term.
    pub term: Term,
    /// Who made it.
    pub candidate: Candidate,
    /// Whether the holder said that everything under it has stopped.
    pub released: bool,
    /// Of a released claim: the name of the replica that is to follow, if one was named.
    pub successor: Option<String>,
    /// Wall time of the claim, milliseconds since 1970 UTC. For people.
    pub time_unix_ms: i64,
}

/// The newest claim, and which store it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Identity of the store, made with it and never changed: terms of two stores cannot be compared. Empty where the
    /// store is only made by the first claim.
    pub cluster: String,
    /// The newest claim; `None` in a store that nobody ever claimed.
    pub claim: Option<Claim>,
}

impl Head {
    /// The newest term; 0 if nobody ever claimed.
    #[must_use]
    pub fn term(&self) -> Term {
        self.claim.as_ref().map_or(Term(0), |claim| claim.term)
    }
}

/// Proof of a claim: the fencing token. Only a store makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    term: Term,
    cluster: String,
    previous: Option<Claim>,
    opened: bool,
}

impl Token {
    /// For backends: the proof of a claim that was just made.
    #[must_use]
    pub fn new(term: Term, cluster: String, previous: Option<Claim>) -> Self {
        Self { term, cluster, previous, opened: false }
    }

    /// For backends: the same; and the change that was handed in to open the term with was written with the claim.
    #[must_use]
    pub fn with_opening(self) -> Self {
        Self { opened: true, ..self }
    }

    /// Whether the change that was handed in to open the term with was written with the claim.
    #[must_use]
    pub fn is_opened(&self) -> bool {
        self.opened
    }

    /// The claim's term.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// The store's identity.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The claim that this one replaced.
    #[must_use]
    pub fn previous(&self) -> Option<&Claim> {
        self.previous.as_ref()
    }
}

#[expect(clippy::disallowed_methods, reason = "the time of a claim is for people; nothing is decided by it")]
pub(crate) fn wall_unix_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
