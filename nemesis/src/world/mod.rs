//! Where a run takes place: three replicas, each on a host with a plugin, and what keeps their state.

mod etcd;
mod files;
mod swarm;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use om_system_tests::{Bed, Net, Program, Random};

use crate::fault::Fault;
use crate::plan::Menu;
use crate::{Mode, Orders};

/// Three replicas, numbered from 0, and all that is about them.
pub(crate) trait World {
    /// What can happen here.
    fn menu(&self) -> Menu;

    /// A replica's host.
    fn bed(&self, number: usize) -> &Bed;

    /// A replica's process.
    fn manager(&self, number: usize) -> Arc<Program>;

    /// Starts a replica again; by its clocks the machine has been up for so many seconds more.
    fn restart(&self, number: usize, ahead: u64);

    /// Who leads, under which term, by what they say of themselves.
    fn leader(&self) -> Option<(usize, u64)>;

    /// Waits until everything is as it should be; what is missing, if it does not come to.
    fn settled(&self) -> Result<(usize, u64), String>;

    /// The hosts' net, if they have one.
    fn net(&self) -> Option<&Net> {
        None
    }

    /// The keeper beside a replica, if there is one.
    fn keeper(&self, _number: usize) -> Option<Arc<Program>> {
        None
    }

    /// Kills the keeper beside a replica.
    fn kill_keeper(&self, _number: usize) {}

    /// Somebody hands the leadership over.
    fn handing_over(&self) {}

    /// A fault that only this world knows, at this host. Whether it could be made.
    fn strike(&self, fault: Fault, number: usize, random: &mut Random) -> bool;

    /// Undoes the faults of keepers and disks, and waits until they are well. All of them run, and the net is whole.
    fn mend(&self, random: &mut Random);

    /// Where the plugins write down what they do.
    fn steering_record(&self) -> PathBuf;

    /// How long a plugin may act after its leader's last sign of life.
    fn authority(&self) -> Duration;

    /// How long it may take until somebody leads and acknowledges, once all is mended.
    fn patience(&self) -> Duration;
}

/// The world of a mode.
pub(crate) fn new<'a>(orders: &Orders, bed: &'a Bed) -> Box<dyn World + 'a> {
    match orders.mode {
        Mode::Os => Box::new(files::Files::new(bed, &orders.log)),
        Mode::Etcd => Box::new(etcd::Etcd::new(bed, &orders.log)),
        Mode::Swarm => Box::new(swarm::Swarms::new(bed, &orders.log)),
    }
}
