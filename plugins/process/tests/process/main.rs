//! The plugin as a manager sees it: the real program, over its real socket, with real processes.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails its test")]

mod adoption;
mod declaring;
mod kills;
mod life;
mod output;
mod rollout;
mod stopping;
mod world;
