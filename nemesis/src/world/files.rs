//! Three replicas on three hosts that share a leader file and a state directory.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use om_api::clock::since_boot;
use om_api::v1;
use om_system_tests::{Bed, Client, NAMES, Program, Random, SOON, shifted};

use super::World;
use crate::fault::Fault;
use crate::plan::{Menu, at, ms};

const AUTHORITY: Duration = Duration::from_millis(500);
// A frozen replica does not answer, and that is its answer.
const GLANCE: Duration = Duration::from_millis(300);
const FILLER: &str = "filler";

pub(super) struct Files<'a> {
    base: &'a Bed,
    others: Vec<Bed>,
    clients: Vec<Client>,
    managers: Mutex<Vec<Arc<Program>>>,
    state: PathBuf,
    log: String,
}

impl<'a> Files<'a> {
    pub(super) fn new(base: &'a Bed, log: &str) -> Self {
        let others = (1..NAMES.len()).map(|_| base.another_host()).collect();
        // The state has a file system of its own, small enough to be filled.
        let state = base.mount_small("state", "48m");
        let (clients, managers, log) = (Vec::new(), Mutex::default(), log.to_owned());
        let mut files = Self { base, others, clients, managers, state, log };
        for (number, name) in NAMES.iter().enumerate() {
            files.bed(number).recording_plugin("record");
            files.clients.push(Client::of(&files.bed(number).socket(name)).patience(GLANCE));
            let program = files.launch(number, 0);
            files.managers().push(program);
        }
        base.name_leader(NAMES[0]);
        files
    }

    fn managers(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Program>>> {
        self.managers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn launch(&self, number: usize, ahead: u64) -> Arc<Program> {
        let (bed, authority) = (self.bed(number), format!("{}ms", AUTHORITY.as_millis()));
        let more = ["--authority", &authority, "--poll", "1s", "--log", &self.log];
        let command = bed.manager_command(NAMES[number], &more);
        let command = if ahead == 0 { command } else { shifted(&command, ahead) };
        let program = bed.start(NAMES[number], command);
        bed.wait_serving(&program);
        program
    }

    fn status(&self, number: usize) -> Option<v1::StatusResponse> {
        self.manager(number).is_alive().then(|| self.clients[number].status().ok()).flatten()
    }

    fn of_one_mind(&self) -> Result<(usize, u64), String> {
        let (leader, term) = self.leader().ok_or("nobody leads")?;
        for (number, name) in NAMES.iter().enumerate() {
            let status = self.status(number).ok_or_else(|| format!("{name} does not answer"))?;
            let follows = status.leadership() == v1::Leadership::Following
                && status.leader.as_ref().is_some_and(|named| named.name == NAMES[leader]);
            let attends = status.plugins.iter().any(|plugin| plugin.attended);
            if if number == leader { !attends } else { !follows } {
                return Err(format!("{} leads, and {name} says {status:?}", NAMES[leader]));
            }
        }
        Ok((leader, term))
    }

    /// Takes what is left of the file system.
    fn fill(&self) -> bool {
        let piece = vec![0; 64 * 1024];
        let Ok(mut file) = fs::File::create(self.state.join(FILLER)) else { return false };
        while std::io::Write::write_all(&mut file, &piece).is_ok() {}
        true
    }
}

impl World for Files<'_> {
    fn menu(&self) -> Menu {
        &[
            (Fault::Name, 8),
            (Fault::Flap, 3),
            (Fault::Unname, 3),
            (Fault::KillManager, 4),
            (Fault::RestartManager, 4),
            (Fault::StopManager, 2),
            (Fault::FreezeManager, 5),
            (Fault::KillPlugin, 2),
            (Fault::FreezePlugin, 2),
            (Fault::KillHost, 2),
            (Fault::FreezeHost, 3),
            (Fault::FillDisk, 2),
        ]
    }

    fn bed(&self, number: usize) -> &Bed {
        if number == 0 { self.base } else { &self.others[number - 1] }
    }

    fn manager(&self, number: usize) -> Arc<Program> {
        self.managers()[number].clone()
    }

    fn restart(&self, number: usize, ahead: u64) {
        let program = self.launch(number, ahead);
        self.managers()[number] = program;
    }

    fn leader(&self) -> Option<(usize, u64)> {
        let each = (0..NAMES.len()).filter_map(|number| Some((number, self.status(number)?)));
        let leading = each.filter(|(_, status)| status.leadership() == v1::Leadership::Leading);
        leading.map(|(number, status)| (number, status.term)).max_by_key(|(_, term)| *term)
    }

    fn settled(&self) -> Result<(usize, u64), String> {
        let end = since_boot() + self.patience();
        loop {
            match self.of_one_mind() {
                Err(_) if since_boot() < end => std::thread::sleep(Duration::from_millis(10)),
                told => return told,
            }
        }
    }

    fn strike(&self, fault: Fault, number: usize, random: &mut Random) -> bool {
        match fault {
            Fault::Name => _ = self.base.name_leader(NAMES[number]),
            Fault::Flap => {
                for turn in 0..4 + at(random, 5) {
                    self.base.name_leader(NAMES[(number + turn) % NAMES.len()]);
                    std::thread::sleep(ms(random, 120));
                }
            }
            Fault::Unname => match random.below(3) {
                0 => _ = self.base.name_leader("nobody"),
                1 => _ = self.base.name_leader(""),
                _ => _ = fs::remove_file(self.base.leader_file()),
            },
            Fault::FillDisk => return self.fill(),
            _ => return false,
        }
        true
    }

    /// Room on the disk, and somebody named.
    fn mend(&self, random: &mut Random) {
        let _ = fs::remove_file(self.state.join(FILLER));
        let named = fs::read_to_string(self.base.leader_file()).unwrap_or_default();
        if !NAMES.contains(&named.trim()) || random.below(3) == 0 {
            self.base.name_leader(NAMES[at(random, NAMES.len())]);
        }
    }

    fn steering_record(&self) -> PathBuf {
        self.base.steering_record()
    }

    fn authority(&self) -> Duration {
        AUTHORITY
    }

    fn patience(&self) -> Duration {
        SOON
    }
}
