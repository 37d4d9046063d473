//! Mistakes that can be planted, to see whether they are found. None of them is a switch in a program that is shipped:
//! each stands where the world meets the programs.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Plant {
    /// Writes of the store are guarded by nothing: not by the claim, and not by what was written before them.
    NoFence,
    /// What a claim rests on is compared by what it says, not by its revision: who has been elected again passes for who
    /// was.
    TermByValue,
    /// A plugin's clock stands still: no deadline of its authority passes.
    NoDeadline,
    /// What was written last is lost when another member of etcd leads, though it was acknowledged.
    NoSync,
    /// A state that could not be loaded is taken for an empty one.
    ErrorIsEmpty,
    /// An answer that tells an earlier write was done tells of it at the newest one's revision, and entries are not looked
    /// for where one is to be written: who was cut off in mid-write takes for the newest what others have written on.
    FoundAtTip,
}
