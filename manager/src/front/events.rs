//! The watch: stored events, each once and in order, and between them what is observed.

use om_api::clock::wall_unix_ms;
use om_api::{Error, v1};
use om_store::{Entry, Op, Revision};
use prost::Message;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::StreamExt;
use tonic::Status;
use tracing::debug;

use crate::board::Observation;
use crate::errors;
use crate::hub::Entries;
use crate::outlet::outlet;
use crate::records::{FREED, REIGN, ReignRecord, SERVICES, ServiceRecord};
use crate::reign::Reign;

/// Events that wait for a slow watcher; the store keeps the rest for it.
const BACKLOG: usize = 64;

type Out = mpsc::Sender<Result<v1::Event, Status>>;

/// The events after a revision (from now on, if none is given) of one service, or of all.
///
/// # Errors
/// COMPACTED, or what the store fails with.
pub(super) async fn watch(
    reign: Reign,
    name: String,
    after: Option<Revision>,
) -> Result<mpsc::Receiver<Result<v1::Event, Status>>, Error> {
    let start = after.unwrap_or_else(|| reign.store().view().revision());
    let hub = reign.hub().clone();
    let entries =
        hub.after(start, |task| reign.spawn(task)).await.map_err(|error| errors::of_store(&error))?;
    let (out, last, events) = outlet(BACKLOG);
    // Who resumes may have missed an observation meanwhile; who comes anew sees what changes.
    let resumed = after.is_some();
    let task = feed(reign.clone(), entries, name, start, resumed, out);
    let over = reign.over().clone();
    reign.to_the_end(async move {
        let fed = over.run_until_cancelled(task).await;
        if let Err(error) = fed.unwrap_or_else(|| Err(errors::no_leader("leadership was lost"))) {
            last.say(Err(error.into()));
        }
    });
    Ok(events)
}

async fn feed(
    reign: Reign,
    mut entries: Entries,
    name: String,
    mut seen: Revision,
    resumed: bool,
    out: Out,
) -> Result<(), Error> {
    let wanted = |service: &str| name.is_empty() || name == service;
    let mut observations = reign.board().watch();
    // The stored past comes first, so that nobody sees how a service is before that it was declared.
    let mut present = resumed.then(|| reign.store().view().revision());
    loop {
        if present.is_some_and(|present| seen >= present) {
            present = None;
            for observation in reign.board().all().into_iter().filter(|o| wanted(&o.service)) {
                send(&out, observed(&reign, observation)).await?;
            }
        }
        tokio::select! {
            biased;
            () = out.closed() => return Ok(()),
            entry = entries.next() => {
                let Some(entry) = entry else { return Err(errors::no_leader("the store's watch ended")) };
                let entry = entry.map_err(|error| errors::of_store(&error))?;
                seen = entry.revision;
                for event in events(&entry).into_iter().filter(|e| e.service.is_empty() || wanted(&e.service)) {
                    send(&out, event).await?;
                }
            }
            observation = observations.recv(), if present.is_none() => match observation {
                Ok(observation) if wanted(&observation.service) => send(&out, observed(&reign, observation)).await?,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    debug!(missed, "a slow watcher is brought up to date");
                    present = Some(seen);
                }
                Err(broadcast::error::RecvError::Closed) => return Err(errors::no_leader("leadership was lost")),
            },
        }
    }
}

async fn send(out: &Out, event: v1::Event) -> Result<(), Error> {
    out.send(Ok(event)).await.map_err(|_| errors::no_leader("the watcher left"))
}

/// Every stored event that is still kept, up to now.
///
/// # Errors
/// What the store fails with.
pub(super) async fn history(reign: &Reign, name: String, out: &Out) -> Result<(), Error> {
    let until = reign.store().view().revision();
    let mut entries = match reign.store().watch(0).await {
        Err(om_store::Error::Compacted { oldest, .. }) => reign.store().watch(oldest).await,
        other => other,
    }
    .map_err(|error| errors::of_store(&error))?;
    let mut seen = 0;
    while seen < until {
        let Some(entry) = entries.next().await else { break };
        let entry = entry.map_err(|error| errors::of_store(&error))?;
        seen = entry.revision;
        for event in events(&entry) {
            if name.is_empty() || event.service == name {
                send(out, event).await?;
            }
        }
        if entry.revision >= until {
            break;
        }
    }
    Ok(())
}

/// What an entry means to a user.
fn events(entry: &Entry) -> Vec<v1::Event> {
    let event = |kind: v1::EventType, service: &str| v1::Event {
        revision: entry.revision,
        time_unix_ms: entry.time_unix_ms,
        r#type: kind.into(),
        service: service.to_owned(),
        term: entry.term,
        ..Default::default()
    };
    let freed = |name: &str| {
        entry.ops.iter().any(|op| matches!(op, Op::Put { key, .. } if key.strip_prefix(FREED) == Some(name)))
    };
    let mut events = Vec::new();
    for op in &entry.ops {
        match op {
            Op::Put { key, value } if &**key == REIGN => {
                let leader = ReignRecord::decode(&**value).map_or(String::new(), |record| record.manager);
                events.push(v1::Event { leader, ..event(v1::EventType::Leadership, "") });
            }
            Op::Put { key, value } => {
                let Some(name) = key.strip_prefix(SERVICES) else { continue };
                let record = ServiceRecord::decode(&**value).unwrap_or_default();
                // That it is to be destroyed is seen in its phase; that it is gone, in the event.
                if !record.destroying {
                    let kind = record.kind().to_owned();
                    events.push(v1::Event { kind, ..event(v1::EventType::Committed, name) });
                }
            }
            Op::Delete { key } => {
                let Some(name) = key.strip_prefix(SERVICES) else { continue };
                let kind = if freed(name) { v1::EventType::Freed } else { v1::EventType::Destroyed };
                events.push(event(kind, name));
            }
        }
    }
    events
}

fn observed(reign: &Reign, observation: Observation) -> v1::Event {
    let Observation { service, standing } = observation;
    v1::Event {
        revision: standing.revision,
        time_unix_ms: wall_unix_ms(),
        r#type: v1::EventType::Status.into(),
        service,
        phase: standing.phase.into(),
        message: standing.message.into(),
        term: reign.term(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ops: Vec<Op>) -> Entry {
        Entry { revision: 9, term: 3, time_unix_ms: 1, ops }
    }

    fn put(key: &str, destroying: bool) -> Op {
        let declaration = v1::Declaration { kind: "process".into(), ..Default::default() };
        let value = ServiceRecord::new(declaration, destroying, 0).encode_to_vec().into();
        Op::Put { key: key.into(), value }
    }

    fn kinds(ops: Vec<Op>) -> Vec<(v1::EventType, String)> {
        events(&entry(ops)).into_iter().map(|event| (event.r#type(), event.service)).collect()
    }

    #[test]
    fn each_kind_of_write_is_the_event_it_means() {
        let delete = || Op::Delete { key: "service/web".into() };
        assert_eq!(kinds(vec![put("service/web", false)]), [(v1::EventType::Committed, "web".into())]);
        assert_eq!(kinds(vec![put("service/web", true)]), []);
        assert_eq!(kinds(vec![delete(), put("freed/web", false)]), [(v1::EventType::Freed, "web".into())]);
        assert_eq!(kinds(vec![delete()]), [(v1::EventType::Destroyed, "web".into())]);
        assert_eq!(kinds(vec![put("state/web", false), put("request/1", false)]), []);
        let reign = ReignRecord { manager: "b".into(), endpoint: String::new() }.encode_to_vec();
        let events = events(&entry(vec![Op::Put { key: REIGN.into(), value: reign.into() }]));
        assert_eq!((events[0].r#type(), events[0].leader.as_str()), (v1::EventType::Leadership, "b"));
    }
}
