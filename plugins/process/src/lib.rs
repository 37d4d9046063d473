//! The kind process: members run as processes on this host.
