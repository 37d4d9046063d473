//! Everything that is remembered somewhere: in the keyspace, in replicas, in plugins, and on the way between them.

use crate::rules::{AUTHORITY, HOLD, HOSTS, REPLICAS, SERVICES, host};

/// One moment of everything. Durations are ticks that are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub(crate) claim: Claim,
    /// How long the newest heartbeat makes authority.
    pub(crate) beat: u8,
    /// By host: the term under which its plugin's grant is recorded; 0: none.
    pub(crate) grants: [u8; HOSTS],
    pub(crate) write: Option<Write>,
    pub(crate) replicas: [Replica; REPLICAS],
    pub(crate) plugins: [Plugin; HOSTS],
    pub(crate) broken: Broken,
    /// How the newest claim came about.
    pub(crate) by: By,
}

/// The claim in the keyspace, with the electorate that was recorded with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Claim {
    /// 0: nobody ever claimed.
    pub(crate) term: u8,
    pub(crate) holder: u8,
    pub(crate) released: bool,
    /// Bits of replicas.
    pub(crate) electorate: u8,
    /// How long earlier leaders may act, by what this one recorded.
    pub(crate) settles: u8,
}

/// A write of the state on its way to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Write {
    pub(crate) by: u8,
    pub(crate) term: u8,
}

/// What a claim rested on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// None was made, or the one before was released, or is the claimant's own.
    Nobody,
    /// Votes of enough followers.
    Votes,
    /// The lease of the holder's process, which has run out.
    Lease,
}

/// A replica's way to a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    None,
    /// The claim was sent so long ago, and can still be made.
    Sent {
        age: u8,
        by: By,
        electorate: u8,
    },
    /// It was made, and its sender does not know yet.
    Won {
        term: u8,
        age: u8,
    },
}

/// A beat between a leader and a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Asked {
    None,
    /// The leader asked so long ago.
    Sent(u8),
    /// What was asked so long ago is promised.
    Promised(u8),
}

/// One process of a manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Replica {
    /// The newest term it knows of.
    pub(crate) known: u8,
    /// How long its promises last, to whichever term.
    pub(crate) promised: u8,
    /// The term it voted against, under the electorate that is recorded.
    pub(crate) abjured: u8,
    /// Who gave it a vote against the leader, itself among them.
    pub(crate) votes: u8,
    /// How long the leaders before may act, for all it knows.
    pub(crate) until: u8,
    pub(crate) way: Way,
    /// The term that it holds; 0: none.
    pub(crate) rule: u8,
    /// The electorate of that term.
    pub(crate) electorate: u8,
    /// It leads no more: it is letting its plugin stop.
    pub(crate) ending: bool,
    /// How long its authority lasts, also that of a reign that is over.
    pub(crate) authority: u8,
    /// How long the last proof that its claim stands counts.
    pub(crate) proven: u8,
    /// By follower.
    pub(crate) asked: [Asked; REPLICAS],
    /// Hosts whose plugin's old authority is not known to be over, as bits.
    pub(crate) waits: u8,
}

/// The plugin of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Plugin {
    /// The highest term it has seen: that of its newest session.
    pub(crate) term: u8,
    pub(crate) session: Session,
    /// How long its authority lasts.
    pub(crate) authority: u8,
    /// How many services it steers, or have not yet stopped. Which they are makes no difference.
    pub(crate) steers: u8,
    /// A grant for the next session of this term is recorded: the last word of the one before does not count for it.
    pub(crate) fresh: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Session {
    None,
    /// Open, and nothing is committed yet: others may still act.
    Open,
    /// Open, and its leader commits.
    Cleared,
    /// The leader wants everything stopped.
    Releasing,
    /// Broken, or its authority ran out.
    Over,
}

/// What must never have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Broken {
    /// A write landed that was not of the newest term.
    pub(crate) fence: bool,
    /// The claim's term did not grow, or that of a plugin went back.
    pub(crate) term: bool,
}

impl State {
    pub(crate) fn first() -> Self {
        let plugin = Plugin { term: 0, session: Session::None, authority: 0, steers: 0, fresh: false };
        Self {
            claim: Claim { term: 0, holder: 0, released: false, electorate: 0, settles: 0 },
            beat: 0,
            grants: [0; HOSTS],
            write: None,
            replicas: [Replica::new(); REPLICAS],
            plugins: [plugin; HOSTS],
            broken: Broken { fence: false, term: false },
            by: By::Nobody,
        }
    }

    /// This replica has led for a while: all know of it, and its plugin steers.
    pub(crate) fn led_by(leader: usize) -> Self {
        let mut state = Self::first();
        let everybody = (0..REPLICAS).fold(0, |all, replica| all | bit(replica));
        state.claim =
            Claim { term: 1, holder: small(leader), released: false, electorate: everybody, settles: 0 };
        state.grants[host(leader)] = 1;
        for replica in &mut state.replicas {
            replica.known = 1;
            replica.promised = AUTHORITY;
        }
        let it = &mut state.replicas[leader];
        it.promised = 0;
        it.rule = 1;
        it.electorate = everybody;
        it.authority = AUTHORITY;
        it.proven = HOLD;
        let plugin = &mut state.plugins[host(leader)];
        plugin.term = 1;
        plugin.session = Session::Cleared;
        plugin.authority = AUTHORITY;
        plugin.steers = small(SERVICES);
        state
    }

    /// Whether the newest claim is this term of this replica, not released.
    pub(crate) fn stands(&self, replica: usize) -> bool {
        let claim = &self.claim;
        claim.term == self.replicas[replica].rule && claim.holder == small(replica) && !claim.released
    }
}

impl Replica {
    /// One that has just started.
    pub(crate) fn new() -> Self {
        Self {
            known: 0,
            promised: 0,
            abjured: 0,
            votes: 0,
            until: 0,
            way: Way::None,
            rule: 0,
            electorate: 0,
            ending: false,
            authority: 0,
            proven: 0,
            asked: [Asked::None; REPLICAS],
            waits: 0,
        }
    }
}

/// An index is small.
pub(crate) fn small(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(u8::MAX)
}

pub(crate) fn bit(index: usize) -> u8 {
    1 << index
}
