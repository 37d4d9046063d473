//! The plugin as a manager sees it: the real program, over its real socket, with real processes.

mod adoption;
mod declaring;
mod kills;
mod life;
mod output;
mod rollout;
mod stopping;
mod world;
