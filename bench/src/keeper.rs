//! What keeps the state that replicas share.

use std::fmt;

/// As `--mode` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Keeper {
    Etcd,
    Swarm,
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Etcd => "etcd",
            Self::Swarm => "swarm",
        })
    }
}
