//! What can be made to happen.

/// One kind of fault. A keeper is a member of etcd, or the engine of a Swarm's manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// `kill -9` of a manager; it is started again when the round is over.
    KillManager,
    /// `kill -9` of a manager, which a supervisor starts again at once.
    RestartManager,
    /// SIGTERM to a manager.
    StopManager,
    /// SIGSTOP of a manager; what it wakes with is a jump of its clocks.
    FreezeManager,
    /// `kill -9` of a plugin.
    KillPlugin,
    /// SIGSTOP of a plugin: it hangs.
    FreezePlugin,
    /// `kill -9` of a manager and its plugin, and of the keeper beside them if there is one.
    KillHost,
    /// SIGSTOP of a manager and its plugin.
    FreezeHost,
    /// `om handover`, to any replica.
    Handover,
    /// A host is cut off.
    CutOff,
    /// A host hears nobody.
    Deaf,
    /// Nobody hears a host.
    Mute,
    /// Two hosts are cut off from each other.
    CutPair,
    /// `kill -9` of a keeper.
    KillKeeper,
    /// `kill -9` of two keepers: none of them decides anything.
    KillKeepers,
    /// SIGSTOP of a keeper.
    FreezeKeeper,
    /// etcd's leader moves; a Swarm's is demoted.
    MoveKeeper,
    /// The disk is full: the state's file system, or etcd's quota.
    FillDisk,
    /// Another name stands in the leader file.
    Name,
    /// Names follow one another fast in the leader file.
    Flap,
    /// Nobody's name stands in the leader file, or there is none.
    Unname,
}

impl Fault {
    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KillManager => "manager killed",
            Self::RestartManager => "manager killed and started at once",
            Self::StopManager => "manager stopped (SIGTERM)",
            Self::FreezeManager => "manager frozen",
            Self::KillPlugin => "plugin killed",
            Self::FreezePlugin => "plugin frozen",
            Self::KillHost => "everything on a host killed",
            Self::FreezeHost => "manager and plugin frozen",
            Self::Handover => "handover",
            Self::CutOff => "host cut off",
            Self::Deaf => "host that hears nobody",
            Self::Mute => "host that nobody hears",
            Self::CutPair => "two hosts cut off from each other",
            Self::KillKeeper => "keeper killed",
            Self::KillKeepers => "two keepers killed",
            Self::FreezeKeeper => "keeper frozen",
            Self::MoveKeeper => "keepers' leader moved",
            Self::FillDisk => "disk full",
            Self::Name => "another named",
            Self::Flap => "names that flap",
            Self::Unname => "nobody named",
        }
    }

    /// Whether it is mended before anything else can go on, so that it has its round for itself.
    pub(crate) fn is_alone(self) -> bool {
        self == Self::FillDisk
    }
}
