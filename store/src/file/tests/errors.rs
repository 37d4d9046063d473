//! An error at every call to the disk.

use std::io;
use std::sync::Arc;

use super::{DIR, runtime, store_on};
use crate::testing::ledger::{Ledger, verify, workload};
use crate::testing::{MemoryDisk, Twist, TwistedDisk};

type Fault = fn(u64, u64) -> Twist;

fn broken() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())
}

fn at_every_call(fault: Fault) {
    let runtime = runtime();
    let mut calls = u64::MAX;
    let mut n = 1;
    while n <= calls {
        let disk = MemoryDisk::new();
        let twisted = TwistedDisk::new(Arc::new(disk.clone()), move |call| fault(call.number, n));
        let ledger = Ledger::default();
        let outcome = runtime.block_on(async {
            workload(&store_on(DIR, Arc::new(twisted.clone())), &ledger, 0).await;
            verify(|| store_on(DIR, Arc::new(disk.clone())), &ledger).await
        });
        outcome.unwrap_or_else(|why| panic!("an error at call {n}: {why}"));
        calls = twisted.calls();
        n += 1;
    }
    assert!(n > 100, "only {n} calls");
}

#[test]
fn a_call_that_fails_costs_no_acknowledged_write() {
    at_every_call(|call, n| if call == n { Twist::Refuse(broken()) } else { Twist::Go });
}

#[test]
fn a_call_that_is_done_and_reported_as_failed_costs_no_acknowledged_write() {
    at_every_call(|call, n| if call == n { Twist::Lie(broken()) } else { Twist::Go });
}

#[test]
fn a_write_that_fails_half_way_costs_no_acknowledged_write() {
    at_every_call(|call, n| if call == n { Twist::Half(Box::new(broken)) } else { Twist::Go });
}

#[test]
fn a_disk_that_is_gone_from_some_call_on_costs_no_acknowledged_write() {
    at_every_call(|call, n| if call >= n && call < n + 400 { Twist::Refuse(broken()) } else { Twist::Go });
}

#[test]
fn a_disk_that_is_full_from_some_call_on_costs_no_acknowledged_write() {
    fn full() -> io::Error {
        io::ErrorKind::StorageFull.into()
    }
    at_every_call(|call, n| if call >= n { Twist::Half(Box::new(full)) } else { Twist::Go });
}
