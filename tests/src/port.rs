//! Ports for members.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

// Below the ports that the system hands out to clients by itself.
const FIRST: u16 = 11_000;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// The first of `count` neighbouring ports on which nobody listens, none of them handed out by this process before.
///
/// # Panics
/// If there are none.
#[must_use]
pub fn free_ports(count: u16) -> u16 {
    // Test programs that run side by side begin at different places.
    let own = u16::try_from(std::process::id() % u32::from(COUNT)).expect("less than COUNT");
    for _ in 0..1000 {
        let at = NEXT.fetch_add(count, Ordering::Relaxed);
        let from = FIRST + own.wrapping_mul(64).wrapping_add(at) % (COUNT - count);
        if (from..from + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return from;
        }
    }
    panic!("no {count} neighbouring ports are free");
}
