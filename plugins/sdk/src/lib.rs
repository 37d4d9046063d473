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
