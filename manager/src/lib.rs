//! The daemon om-manager: detects the leader, keeps the state, stands before the plugins.
