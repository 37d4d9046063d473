//! Write a service plugin: fill in [`Plugin`], call [`main`], the rest is done.
//!
//! The rest is: the socket, the handshake, health and reflection, the attend session with its authority, the refusal
//! of older terms, running one task a service and ending it the moment the authority ends, describing services,
//! actions with checked arguments, graceful shutdown.
//!
//! What a plugin's author must keep:
//!
//! * [`Plugin::look_after`] is dropped, at any await, when the plugin must stop steering. What it started keeps running.
//! * Ask [`Service::permit`] right before every effect.
//! * [`Service::save`] what must be remembered *before* doing what it announces. A plugin keeps nothing on disk.
//! * Never block a thread for long: who blocks cannot be stopped, and is reported as hanging.
//!
//! How it is made, from the outside in: [`main`] reads the flags and calls [`serve`]; `server` answers calls, `admit`
//! decides who may make them by the `terms` seen; `session` is one manager's attendance with its `authority`, its
//! `outbox` and the `registry` of services, each a `record` looked after by its `crew`; its `will` says whom to tell when
//! it broke.

mod action;
mod admit;
mod args;
mod attend;
mod authority;
mod backoff;
mod crew;
mod guard;
pub mod log;
mod many;
mod operate;
mod outbox;
mod output;
mod plugin;
mod program;
mod read;
mod record;
mod registry;
mod saves;
mod serve;
mod server;
mod service;
mod session;
pub mod spec;
mod steer;
mod terms;
#[cfg(feature = "testing")]
pub mod testing;
mod will;

pub use output::Output;
pub use plugin::{Declared, Failed, Lapsed, Plugin, Rejected};
pub use program::{Context, NoFlags, main, main_with};
pub use serve::{Options, ServeError, Serving, bind, bind_apart, serve, serve_on};
pub use service::{Report, Service};
