//! The program `om` itself, run against a manager that these tests serve on a real unix socket.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says so by a panic")]

mod commit;
mod documents;
mod handover;
mod inspect;
mod leader;
mod manager;
mod remove;
mod run;
mod several;
mod snapshot;
mod support;
mod terminal;
mod tls;
mod usage;
mod watch;
