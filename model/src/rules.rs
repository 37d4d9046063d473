//! What is explored: the bounds, the counts, and which rule is broken on purpose.

/// Replicas. The first and the last share a host, and with it a plugin.
pub(crate) const REPLICAS: usize = 3;
/// Hosts, with one plugin each.
pub(crate) const HOSTS: usize = 2;
/// Services, of one kind that both plugins serve.
pub(crate) const SERVICES: usize = 2;

/// Ticks that a promise, a heartbeat and the claim itself last: `--authority`.
pub(crate) const AUTHORITY: u8 = 2;
/// Ticks that a lease lasts, and that a leader goes on without a proof from the keyspace: `--lease-ttl`.
pub(crate) const HOLD: u8 = 4;

/// The host of a replica.
pub(crate) fn host(replica: usize) -> usize {
    replica % HOSTS
}

/// Promises of so many of `followers` make authority.
pub(crate) fn enough(followers: u32) -> u32 {
    followers.div_ceil(2)
}

/// What is explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constellation {
    /// So many claims are made at most.
    pub terms: u8,
    /// From the first claim on; else from one that has led for a while.
    pub from_nothing: bool,
    /// A claim records any replicas as its electorate, as lines come and go; else all of them.
    pub any_electorate: bool,
    /// A promise is asked for, given and heard of in three moments; else in one.
    pub slow_promises: bool,
    /// A claim is sent, made and heard of in three moments; else in one.
    pub slow_claims: bool,
    /// Leaders write the state, too.
    pub writes: bool,
    /// The rule that is broken, if one is.
    pub mistake: Option<Mistake>,
}

impl Constellation {
    /// A leader that has led for a while, and one takeover.
    pub const ONE_TAKEOVER: Self = Self {
        terms: 2,
        from_nothing: false,
        any_electorate: true,
        slow_promises: false,
        slow_claims: false,
        writes: false,
        mistake: None,
    };

    /// What is explored when all is explored: each by its name.
    pub const ALL: [(&str, Self); 6] = [
        ("one takeover", Self::ONE_TAKEOVER),
        ("one takeover, while the state is written", Self { writes: true, ..Self::ONE_TAKEOVER }),
        ("one takeover, by slow claims", Self { slow_claims: true, ..Self::ONE_TAKEOVER }),
        ("one takeover, by slow promises", Self { slow_promises: true, ..Self::ONE_TAKEOVER }),
        ("from nothing, the first claim and one takeover", Self { from_nothing: true, ..Self::ONE_TAKEOVER }),
        (
            "two takeovers, all replicas in each electorate",
            Self { terms: 3, any_electorate: false, ..Self::ONE_TAKEOVER },
        ),
    ];

    /// Votes of so many of `followers` end authority: they hold at least one of any that make it.
    pub(crate) fn votes_needed(&self, followers: u32) -> u32 {
        let needed = followers - enough(followers) + 1;
        if self.errs(Mistake::QuorumOffByOne) { needed - 1 } else { needed }
    }

    /// Whether this rule is broken.
    pub(crate) fn errs(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }
}

/// A rule that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// A plugin acts on after its deadline, until its session breaks.
    NoDeadline,
    /// A claim does not wait until what the voters promised is over.
    PromiseIgnored,
    /// One vote too few is enough.
    QuorumOffByOne,
    /// Plugins say that they have stopped before they have.
    ToldBeforeTheStop,
    /// Who voted against a leader promises it something all the same.
    VotedAndPromised,
    /// A promise counts from when the leader hears of it, and not from when it asked.
    CountedFromTheAnswer,
    /// A heartbeat in the keyspace keeps nobody from claiming.
    HeartbeatUnguarded,
    /// A claim by the lease alone does not wait for what the leader may do without the keyspace.
    LeaseEndsAuthority,
    /// A claim does not hand on how long earlier leaders may still act.
    NothingInherited,
    /// The store takes a write under any term.
    NoFence,
    /// The store compares who claimed, and not the term.
    FenceByName,
    /// A plugin takes sessions of terms lower than the highest it has seen.
    OldTermAttends,
    /// The last word of a plugin's earlier session counts for the one that is about to open.
    OldWordCounts,
}
