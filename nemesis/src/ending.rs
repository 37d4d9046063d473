//! The end of a run: the faults are over, everybody has had the time to make everything good, and it is looked whether
//! they did.

use std::collections::BTreeSet;
use std::time::Duration;

use om_api::clock::since_boot;
use om_api::v1;
use om_checker::What;
use om_system_tests::record::{SteeringLine, Tail};
use om_system_tests::{Client, NAMES};

use crate::attempt::seen;
use crate::clients::{Load, SERVICES};
use crate::history::History;
use crate::watchers::stored;
use crate::world::World;

/// Waits until all is well, and writes down how everything stands.
pub(crate) fn end(world: &dyn World, load: &mut Load, history: &History) -> Result<(), String> {
    let of = |why| format!("after the last round, {why}");
    world.settled().map_err(of)?;
    load.stop();
    let (leader, _) = world.settled().map_err(of)?;
    let client = world.bed(leader).client(NAMES[leader]);
    let listed = ready(&client, world.patience())?;
    for service in SERVICES {
        let stands = listed.iter().find(|summary| summary.name == service);
        let stood = What::Stood {
            service: service.to_owned(),
            seen: stands.map(seen),
            ready: stands.is_some_and(is_ready),
            message: stands.map_or(String::new(), |summary| summary.message.clone()),
        };
        history.add(stood);
    }
    remembered(&client, history)?;
    let names: Vec<&str> = listed.iter().map(|summary| &*summary.name).collect();
    steered(world, &names)
}

fn is_ready(summary: &v1::Summary) -> bool {
    summary.phase() == v1::Phase::Ready
}

/// The list, as soon as everything in it is ready; as it is, when the time is over.
fn ready(client: &Client, patience: Duration) -> Result<Vec<v1::Summary>, String> {
    let end = since_boot() + patience;
    loop {
        let listed = client.list();
        match listed {
            Ok(listed) if since_boot() > end || listed.iter().all(is_ready) => return Ok(listed),
            Err(failure) if since_boot() > end => return Err(format!("at the end, no list: {failure:?}")),
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// The history that the leader keeps is one more stream.
fn remembered(client: &Client, history: &History) -> Result<(), String> {
    let events = client.history("").map_err(|failure| format!("at the end, no history: {failure:?}"))?;
    let watch = history.number();
    history.add(What::Opened { watch, service: None, after: None });
    for stored in events.iter().filter_map(stored) {
        history.add(What::Watched { watch, stored });
    }
    Ok(())
}

/// What is declared is steered, and not only said to be ready.
fn steered(world: &dyn World, names: &[&str]) -> Result<(), String> {
    let (since, end) = (since_boot(), since_boot() + world.patience());
    let mut record = Tail::of(world.steering_record());
    let mut missing: BTreeSet<&str> = names.iter().copied().collect();
    loop {
        for line in record.read::<SteeringLine>() {
            if Duration::from_micros(line.at) >= since {
                missing.remove(&*line.service);
            }
        }
        match missing.first() {
            None => return Ok(()),
            Some(name) if since_boot() > end => {
                return Err(format!("at the end, {name} is said to be ready, and nobody steers it"));
            }
            Some(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
