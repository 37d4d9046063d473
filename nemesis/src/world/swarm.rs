//! Three replicas, each beside a manager of a Swarm.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use om_system_tests::{Bed, ELECTION, ETCD_AUTHORITY, Group, NAMES, Net, Program, Random, wait_until};

use super::World;
use crate::fault::Fault;
use crate::plan::Menu;

const NOBODY: usize = usize::MAX;

pub(super) struct Swarms<'a> {
    base: &'a Bed,
    group: Group<'a>,
    demoted: AtomicUsize,
    /// Somebody has had the leader elsewhere than beside the Swarm's, where it stays until it is handed back.
    handed: AtomicBool,
}

impl<'a> Swarms<'a> {
    pub(super) fn new(base: &'a Bed, log: &str) -> Self {
        let group = Group::beside_swarm(base, &["--log", log]);
        // A node that is promoted begins with the last snapshot. It acknowledges no entry until it has caught up, some
        // thousands of entries later, and a Swarm whose leader is demoted meanwhile may have no leader for minutes.
        let snapshots = ["swarm", "update", "--snapshot-interval=500"];
        wait_until("the Swarm to save snapshots often", ELECTION, || {
            group.swarm().engine(0).ask(&snapshots).code == 0
        });
        Self { base, group, demoted: AtomicUsize::new(NOBODY), handed: AtomicBool::new(false) }
    }

    fn hand_back(&self) {
        wait_until("the leadership to be handed back to where the Swarm's leader is", ELECTION, || {
            match (self.group.leader(), self.group.swarm().leader()) {
                (Some((leader, _)), Some(there)) if leader != there => {
                    self.bed(leader).client(NAMES[leader]).handover(NAMES[there]).is_ok()
                }
                (leader, there) => leader.is_some() && there.is_some(),
            }
        });
    }
}

impl World for Swarms<'_> {
    fn menu(&self) -> Menu {
        &[
            (Fault::KillManager, 4),
            (Fault::RestartManager, 3),
            (Fault::StopManager, 2),
            (Fault::FreezeManager, 4),
            (Fault::KillPlugin, 2),
            (Fault::FreezePlugin, 2),
            (Fault::FreezeHost, 2),
            (Fault::Handover, 3),
            (Fault::CutOff, 2),
            (Fault::Deaf, 1),
            (Fault::Mute, 1),
            (Fault::CutPair, 2),
            (Fault::KillKeeper, 1),
            (Fault::FreezeKeeper, 2),
            (Fault::MoveKeeper, 2),
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
        if self.handed.swap(false, Ordering::SeqCst) {
            self.hand_back();
        }
        self.group.settled()
    }

    fn net(&self) -> Option<&Net> {
        Some(self.group.net())
    }

    fn keeper(&self, number: usize) -> Option<Arc<Program>> {
        Some(self.group.swarm().engine(number).daemon())
    }

    fn kill_keeper(&self, number: usize) {
        self.group.swarm().engine(number).kill();
    }

    fn handing_over(&self) {
        self.handed.store(true, Ordering::SeqCst);
    }

    /// Another node is asked to demote the Swarm's leader; it may be unable to.
    fn strike(&self, fault: Fault, _: usize, _: &mut Random) -> bool {
        let swarm = self.group.swarm();
        let Some(leader) = swarm.leader().filter(|_| fault == Fault::MoveKeeper) else { return false };
        if self.demoted.load(Ordering::SeqCst) != NOBODY {
            return false;
        }
        let by = swarm.engine((leader + 1) % NAMES.len());
        let demoted = by.ask(&["node", "demote", swarm.engine(leader).name()]).code == 0;
        if demoted {
            self.demoted.store(leader, Ordering::SeqCst);
        }
        demoted
    }

    fn mend(&self, _: &mut Random) {
        let swarm = self.group.swarm();
        for number in (0..NAMES.len()).filter(|number| !swarm.engine(*number).daemon().is_alive()) {
            swarm.engine(number).restart();
        }
        let demoted = self.demoted.swap(NOBODY, Ordering::SeqCst);
        if demoted != NOBODY {
            // A Swarm that is still at something else refuses: "update out of sequence".
            wait_until("a demoted node to be promoted", ELECTION, || {
                let promote = ["node", "promote", swarm.engine(demoted).name()];
                let mut others = (0..NAMES.len()).filter(|other| *other != demoted);
                others.any(|other| swarm.engine(other).ask(&promote).code == 0)
            });
        }
        swarm.wait_whole();
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
