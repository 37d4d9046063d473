//! What the SDK promises, over real sockets, with a small plugin whose effects are recorded with their term.

#![expect(clippy::expect_used, reason = "these are tests; the lint knows only the test functions themselves")]

mod actions;
mod authority;
mod commits;
mod crowds;
mod destroys;
mod faults;
mod many;
mod probe;
mod reads;
mod replica;
mod sessions;
mod states;
mod stops;
mod support;
mod terms;
mod wills;
