//! The way to an etcd cluster, for `leadership` and `store`, which must not know each other.
//!
//! [`layout`] has the keys that both look at.

pub mod layout;
