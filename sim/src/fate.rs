//! Where chance and time come from.
//!
//! What a seed does not decide must not be there. [`Dice`] is the world's own chance. The rest of the process asks the
//! system: hash maps, `select!`, UUIDs for randomness, log lines and records for the wall time. So this program stands
//! in for the two functions of the C library that they ask, as the standard library provides for: what they answer
//! follows from the seed and from the world's time, in all of the process. One seed is one process: what libraries
//! count from the start of theirs counts alike.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A stream of numbers that follows from where it began (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`; 0 for 0.
    pub(crate) fn roll(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.roll(n) == 0
    }

    /// From `from` to `to`.
    pub(crate) fn within(&mut self, from: Duration, to: Duration) -> Duration {
        let span = u64::try_from(to.saturating_sub(from).as_micros()).unwrap_or(u64::MAX);
        from + Duration::from_micros(self.roll(span.saturating_add(1)))
    }
}

/// Nanoseconds that the world has run for: what the process takes for the time.
static NOW: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Where the thread's randomness has come to.
    static ENTROPY: Cell<u64> = const { Cell::new(0) };
}

/// Lets this thread's randomness follow from a seed.
pub(crate) fn begin(seed: u64) {
    ENTROPY.set(seed);
}

/// Sets what the process takes for the time.
pub(crate) fn tell_time(now: Duration) {
    NOW.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

fn entropy() -> u64 {
    let mut dice = Dice(ENTROPY.get());
    let number = dice.next();
    ENTROPY.set(dice.0);
    number
}

/// 2026-01-01 UTC, when every world begins.
const BEGINNING: u64 = 1_767_225_600;

/// Stands in for getrandom(2).
///
/// # Safety
/// `buffer` is to be writable for `length` bytes, as for the real one.
#[expect(unsafe_code, reason = "takes the place of a function of the C library")]
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    for at in 0..length {
        // SAFETY: within the buffer, by the contract.
        unsafe { buffer.add(at).write((entropy() >> 32) as u8) };
    }
    length.cast_signed()
}

/// Stands in for clock_gettime(2): all clocks show the world's time.
///
/// # Safety
/// `shown` is to be writable, as for the real one.
#[expect(unsafe_code, reason = "takes the place of a function of the C library")]
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, shown: *mut libc::timespec) -> libc::c_int {
    let now = Duration::from_nanos(NOW.load(Ordering::Relaxed));
    let from = if clock == libc::CLOCK_REALTIME { BEGINNING } else { 1000 };
    let shows = libc::timespec {
        tv_sec: (from + now.as_secs()).cast_signed(),
        tv_nsec: i64::from(now.subsec_nanos()),
    };
    // SAFETY: writable, by the contract.
    unsafe { shown.write(shows) };
    0
}
