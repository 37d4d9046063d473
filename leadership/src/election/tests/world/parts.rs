//! What the world is made of.

use std::time::Duration;

use super::super::super::seat::Seat;
use crate::elector::Elector;

/// Numbers that follow from a seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.roll(n) == 0
    }

    pub(super) fn within(&mut self, from: Duration, to: Duration) -> Duration {
        from + Duration::from_micros(self.roll(u64::try_from((to - from).as_micros()).unwrap_or(1)))
    }
}

pub(super) struct Replica {
    pub(super) instance: String,
    pub(super) name: String,
    pub(super) seat: Seat,
    pub(super) elector: Elector,
    /// The claim or confirmation under way, by when it was asked for.
    pub(super) claim: Option<Duration>,
    pub(super) confirm: Option<(u64, Duration)>,
    pub(super) resumes: Duration,
    pub(super) offset: Duration,
    /// Its clock's rate, in thousandths.
    pub(super) rate: u32,
    pub(super) sees_etcd: bool,
    pub(super) seen: i64,
}

impl Replica {
    pub(super) fn clock(&self, now: Duration) -> Duration {
        self.offset + now * self.rate / 1000
    }

    pub(super) fn world(&self, clock: Duration) -> Duration {
        clock.saturating_sub(self.offset) * 1000 / self.rate
    }
}
