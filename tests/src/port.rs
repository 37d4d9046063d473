//! Ports for members.
//!
//! Ports are taken in blocks. Whoever listens on the first port of a block has the whole block, so that test programs
//! which run side by side never try, even for a moment, a port of another's members.

use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

// Below the ports that the system hands out to clients by itself.
const FIRST: u16 = 11_000;
const BLOCK: u16 = 100;
const BLOCKS: u16 = 200;

struct Taken {
    // Held until the process ends.
    guards: Vec<TcpListener>,
    next: u16,
    end: u16,
}

static TAKEN: Mutex<Taken> = Mutex::new(Taken { guards: Vec::new(), next: 0, end: 0 });

/// The first of `count` neighbouring ports on which nobody listens, none of them handed out before.
///
/// # Panics
/// If there are none.
#[must_use]
pub fn free_ports(count: u16) -> u16 {
    assert!(count < BLOCK, "{count} ports are more than a block has");
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        while taken.next + count <= taken.end {
            let from = taken.next;
            taken.next += count;
            if (from..from + count).all(|port| bind(port).is_some()) {
                return from;
            }
        }
        taken.another_block();
    }
}

impl Taken {
    fn another_block(&mut self) {
        // Begins anywhere, so that few are tried in vain.
        let own = u16::try_from(std::process::id() % u32::from(BLOCKS)).expect("less than BLOCKS");
        let mut blocks = (0..BLOCKS).map(|number| FIRST + (own + number) % BLOCKS * BLOCK);
        let (first, guard) =
            blocks.find_map(|first| Some((first, bind(first)?))).expect("every block of ports is taken");
        self.guards.push(guard);
        (self.next, self.end) = (first + 1, first + BLOCK);
    }
}

fn bind(port: u16) -> Option<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).ok()
}
