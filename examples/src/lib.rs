//! Examples of OpenManage; each runs in CI.
//!
//! * `etcd`: three replicas that elect their leader, on this machine by one command, and files for three hosts; see its
//!   README. The system tests run them.
//! * `write-a-plugin`: a whole plugin in Rust, the kind `file`. Run it with `cargo run -p om-examples --bin
//!   write-a-plugin`; `docs/write-a-plugin.md` walks through it.
