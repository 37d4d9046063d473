//! Examples of OpenManage; each runs in CI.
//!
//! * `write-a-plugin`: a whole plugin in Rust, the kind `file`. Run it with `cargo run -p om-examples --bin
//!   write-a-plugin`; `docs/write-a-plugin.md` walks through it.
