//! Three replicas, each beside a member of etcd.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use om_system_tests::{Bed, ETCD_AUTHORITY, Group, Net, Pace, Program, Random};

use super::World;
use crate::fault::Fault;
use crate::plan::Menu;

/// Small, so that it can be filled; with room for what a run writes, as etcd is told to forget.
const QUOTA: &[&str] = &[
    "--quota-backend-bytes",
    "50331648",
    "--auto-compaction-mode",
    "revision",
    "--auto-compaction-retention",
    "5000",
];

pub(super) struct Etcd<'a> {
    base: &'a Bed,
    group: Group<'a>,
    full: AtomicBool,
}

impl<'a> Etcd<'a> {
    pub(super) fn new(base: &'a Bed, log: &str) -> Self {
        let group = Group::beside_etcd_with(base, Pace::FAST, QUOTA, &["--log", log]);
        Self { base, group, full: AtomicBool::new(false) }
    }
}

impl World for Etcd<'_> {
    fn menu(&self) -> Menu {
        &[
            (Fault::KillManager, 4),
            (Fault::RestartManager, 3),
            (Fault::StopManager, 2),
            (Fault::FreezeManager, 4),
            (Fault::KillPlugin, 2),
            (Fault::FreezePlugin, 2),
            (Fault::KillHost, 2),
            (Fault::FreezeHost, 2),
            (Fault::Handover, 3),
            (Fault::CutOff, 4),
            (Fault::Deaf, 3),
            (Fault::Mute, 3),
            (Fault::CutPair, 3),
            (Fault::KillKeeper, 2),
            (Fault::KillKeepers, 1),
            (Fault::FreezeKeeper, 3),
            (Fault::MoveKeeper, 3),
            (Fault::FillDisk, 1),
        ]
    }

    fn bed(&self, number: usize) -> &Bed {
        self.group.bed(number)
    }

    fn manager(&self, number: usize) -> Arc<Program> {
        self.group.manager(number)
    }

    fn restart(&self, number: usize, ahead: u64) {
        self.group.restart_ahead(number, ahead);
    }

    fn leader(&self) -> Option<(usize, u64)> {
        self.group.leader()
    }

    fn settled(&self) -> Result<(usize, u64), String> {
        self.group.settled()
    }

    fn net(&self) -> Option<&Net> {
        Some(self.group.net())
    }

    fn keeper(&self, number: usize) -> Option<Arc<Program>> {
        Some(self.group.etcd().member(number))
    }

    fn kill_keeper(&self, number: usize) {
        self.group.etcd().kill(number);
    }

    fn strike(&self, fault: Fault, number: usize, _: &mut Random) -> bool {
        let etcd = self.group.etcd();
        match fault {
            Fault::MoveKeeper => etcd.moves_leader(number),
            Fault::FillDisk => {
                self.full.store(true, Ordering::SeqCst);
                etcd.filled()
            }
            _ => false,
        }
    }

    fn mend(&self, _: &mut Random) {
        self.group.etcd().start_all();
        if self.full.swap(false, Ordering::SeqCst) {
            self.group.etcd().make_space();
        }
    }

    fn steering_record(&self) -> PathBuf {
        self.base.steering_record()
    }

    fn authority(&self) -> Duration {
        ETCD_AUTHORITY
    }

    fn patience(&self) -> Duration {
        self.group.patience()
    }
}
