//! The tests of the file backend.

mod conformance;
