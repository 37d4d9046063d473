//! The tests of the etcd backend, against real clusters of this machine.

mod conformance;
