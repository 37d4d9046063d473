//! Clients: they declare, free and destroy, and ask again under the same request id until they know; and they watch.

use std::collections::BTreeMap;
use std::time::Duration;

use om_api::socket::{Address, Security, connect_by};
use om_api::v1::manager_client::ManagerClient;
use om_api::v1::service_plugin_client::ServicePluginClient;
use om_api::{Error, Reason, v1};
use om_checker::{Answer, Intent, Kind, Seen, Stored, What};
use tonic::Status;
use tonic::transport::Channel;

use crate::hub::{Hub, Place};
use crate::places::{self, CLIENTS};
use crate::plugin::KIND;
use crate::process::Life;

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_millis(1500);
/// How long a client asks for one thing.
const PATIENCE: Duration = Duration::from_secs(5);
/// Services that clients quarrel over.
pub(crate) const SERVICES: u64 = 3;

type Plugin = ServicePluginClient<Channel>;

/// One client.
struct Client {
    hub: Hub,
    replicas: Vec<Place>,
    /// The replica that is asked first.
    first: usize,
    line: Option<(usize, Channel)>,
    /// At which revision each service was seen last.
    known: BTreeMap<String, u64>,
    number: u64,
    calls: u64,
}

/// How an attempt ended.
enum Attempt {
    Told(Answer),
    /// Nothing was done.
    Not(Status),
    /// It was done or not.
    Unclear,
}

/// Clients say when they end.
pub(crate) async fn main(life: Life, number: u64, replicas: Vec<Place>, until: Duration) {
    let mut client = Client::new(life.hub, replicas, number);
    while client.hub.now() < until {
        let (pause, service, what) =
            client.hub.dice(|dice| (dice.roll(400), dice.roll(SERVICES), dice.roll(24)));
        // sleeps: users do not ask all the time
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let service = format!("s{service}");
        let value = number * 1_000_000 + client.calls;
        let intent = match what {
            0..=9 => Intent::Commit { value, if_revision: None },
            10 | 11 => Intent::Commit { value, if_revision: client.known.get(&service).copied() },
            12..=15 => Intent::Free,
            16..=18 => Intent::Destroy,
            19..=22 => Intent::Read,
            _ => {
                client.hand_over().await;
                continue;
            }
        };
        client.call(&service, intent).await;
    }
}

impl Client {
    fn new(hub: Hub, replicas: Vec<Place>, number: u64) -> Self {
        Self { hub, replicas, first: 0, line: None, known: BTreeMap::new(), number, calls: 0 }
    }

    async fn call(&mut self, service: &str, intent: Intent) {
        self.calls += 1;
        let call = self.number * 1_000_000 + self.calls;
        let request_id = format!("c{}-{}", self.number, self.calls);
        self.hub.record(What::Called { call, service: service.to_owned(), intent });
        let give_up = self.hub.now() + PATIENCE;
        let mut unclear = false;
        while self.hub.now() < give_up {
            let asked = tokio::time::timeout(ATTEMPT, self.attempt(service, intent, &request_id)).await;
            let by = places::replica(self.replicas[self.first]);
            match asked.unwrap_or(Attempt::Unclear) {
                Attempt::Told(answer) if !unclear || done(&answer) => {
                    if let Answer::Committed { revision, .. } | Answer::Conflict { stands_at: revision } =
                        &answer
                    {
                        self.known.insert(service.to_owned(), *revision);
                    }
                    return self.hub.record(What::Answered { call, by, answer });
                }
                // An earlier attempt may be the reason for it.
                Attempt::Told(_) => return,
                Attempt::Not(status) => self.go_on(&status),
                Attempt::Unclear => {
                    unclear = true;
                    self.go_elsewhere();
                }
            }
            // sleeps: nobody asks anew at once
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Where the refusal says, or to the next one.
    fn go_on(&mut self, status: &Status) {
        let named = Error::from_status(status).and_then(|error| error.metadata.get("endpoint").cloned());
        let known = named.and_then(|url| {
            self.replicas.iter().position(|place| places::endpoint(*place).to_string() == url)
        });
        match known {
            Some(index) => self.first = index,
            None => self.go_elsewhere(),
        }
    }

    fn go_elsewhere(&mut self) {
        self.line = None;
        self.first = (self.first + 1) % self.replicas.len();
    }

    async fn line(&mut self) -> Result<Channel, ()> {
        if let Some((index, line)) = &self.line
            && *index == self.first
        {
            return Ok(line.clone());
        }
        let address: Address = places::endpoint(self.replicas[self.first]);
        let dialer = self.hub.dialer(CLIENTS);
        let channel = connect_by(&dialer, &address, &Security::Insecure, Duration::from_millis(500)).await;
        let line = channel.map_err(drop)?;
        self.line = Some((self.first, line.clone()));
        Ok(line)
    }

    /// Asks the leader to hand over to whomever; what comes of it does not matter.
    async fn hand_over(&mut self) {
        let Ok(line) = self.line().await else { return self.go_elsewhere() };
        let mut line = ManagerClient::new(line);
        let asked = tokio::time::timeout(ATTEMPT, line.handover(v1::HandoverRequest::default())).await;
        match asked {
            Ok(Err(status)) => self.go_on(&status),
            Ok(Ok(_)) => {}
            Err(_) => self.go_elsewhere(),
        }
    }

    async fn attempt(&mut self, service: &str, intent: Intent, request_id: &str) -> Attempt {
        let Ok(line) = self.line().await else {
            return Attempt::Not(Status::unavailable("no connection"));
        };
        let mut line = Plugin::new(line);
        let (name, request_id) = (service.to_owned(), request_id.to_owned());
        let answered = match intent {
            Intent::Commit { value, if_revision } => {
                let service = declaration(&name, value);
                let service = Some(service);
                let request = v1::CommitRequest { service, request_id, if_revision, ..Default::default() };
                line.commit(request).await.map(|answer| {
                    let v1::CommitResponse { revision, changed, .. } = answer.into_inner();
                    Answer::Committed { revision, changed }
                })
            }
            Intent::Free => {
                let request = v1::FreeRequest { name, request_id, ..Default::default() };
                line.free(request)
                    .await
                    .map(|answer| Answer::Freed { revision: answer.into_inner().revision })
            }
            Intent::Destroy => {
                let request = v1::DestroyRequest { name, request_id, ..Default::default() };
                line.destroy(request).await.map(|answer| {
                    let v1::DestroyResponse { revision, done, .. } = answer.into_inner();
                    Answer::Destroyed { revision, done }
                })
            }
            Intent::Read => line
                .describe(v1::DescribeRequest { name })
                .await
                .map(|answer| Answer::Stands(answer.into_inner().service.and_then(|service| seen(&service)))),
        };
        match answered {
            Ok(answer) => Attempt::Told(answer),
            Err(status) => judge(status),
        }
    }
}

/// Whether it says that the intent took effect: then it does not matter by which attempt.
fn done(answer: &Answer) -> bool {
    matches!(answer, Answer::Committed { .. } | Answer::Freed { .. } | Answer::Destroyed { .. })
}

fn judge(status: Status) -> Attempt {
    let Some(error) = Error::from_status(&status) else { return Attempt::Unclear };
    match error.reason {
        Reason::NotFound => Attempt::Told(Answer::NotFound),
        Reason::RevisionConflict => {
            let stands_at = error.metadata.get("revision").and_then(|text| text.parse().ok()).unwrap_or(0);
            Attempt::Told(Answer::Conflict { stands_at })
        }
        Reason::NotLeader | Reason::NoLeader => Attempt::Not(status),
        Reason::Refused | Reason::InvalidSpec => {
            Attempt::Told(Answer::Refused { reason: error.reason.to_string(), leader: None })
        }
        _ => Attempt::Unclear,
    }
}

fn declaration(name: &str, value: u64) -> v1::Declaration {
    v1::Declaration {
        name: name.to_owned(),
        kind: KIND.to_owned(),
        spec_json: format!("{{\"value\":{value}}}").into_bytes().into(),
        ..v1::Declaration::default()
    }
}

fn seen(service: &v1::Description) -> Option<Seen> {
    let summary = service.summary.as_ref()?;
    let spec: serde_json::Value = serde_json::from_slice(&service.spec_json).ok()?;
    let destroying = summary.phase() == v1::Phase::Destroying;
    Some(Seen { value: spec["value"].as_u64()?, revision: summary.revision, destroying })
}

/// Watches everything from the beginning, and goes on where it was whenever the stream breaks.
pub(crate) async fn watch(life: Life, number: u64, replicas: Vec<Place>) {
    let mut client = Client::new(life.hub, replicas, number);
    let mut after = 0;
    let mut stream = number * 1_000_000;
    loop {
        stream += 1;
        if let Err(status) = client.follow(stream, &mut after).await {
            client.go_on(&status);
        }
        // sleeps: nobody asks anew at once
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Client {
    async fn follow(&mut self, watch: u64, after: &mut u64) -> Result<(), Status> {
        let line = self.line().await.map_err(|()| Status::unavailable("no connection"))?;
        let mut line = Plugin::new(line);
        let request = v1::WatchRequest { name: String::new(), after_revision: Some(*after) };
        let opening = tokio::time::timeout(ATTEMPT, line.watch(request)).await;
        let opened = opening.map_err(|_| Status::unavailable("no answer"))?;
        let mut events = opened?.into_inner();
        self.hub.record(What::Opened { watch, service: None, after: Some(*after) });
        loop {
            // A host that is lost says nothing.
            let next = tokio::time::timeout(PATIENCE, events.message()).await;
            let next = next.map_err(|_| Status::unavailable("silence"))??;
            let Some(event) = next.and_then(|message| message.event) else {
                return Err(Status::unavailable("it ended"));
            };
            if let Some(stored) = stored(&event) {
                *after = (*after).max(stored.revision);
                self.hub.record(What::Watched { watch, stored });
            }
        }
    }
}

fn stored(event: &v1::Event) -> Option<Stored> {
    let kind = match event.r#type() {
        v1::EventType::Committed => Kind::Committed,
        v1::EventType::Freed => Kind::Freed,
        v1::EventType::Destroyed => Kind::Destroyed,
        v1::EventType::Leadership => Kind::Leadership(event.leader.clone()),
        v1::EventType::Status | v1::EventType::Unspecified => return None,
    };
    Some(Stored { revision: event.revision, term: event.term, service: event.service.clone(), kind })
}

/// Puts down how every service stands, as whoever leads has it; nothing, if nobody says.
pub(crate) async fn look(life: Life, number: u64, replicas: Vec<Place>) {
    let mut client = Client::new(life.hub, replicas, number);
    let give_up = client.hub.now() + Duration::from_secs(10);
    while client.hub.now() < give_up {
        match tokio::time::timeout(ATTEMPT, client.list()).await {
            Ok(Ok(standing)) => return standing.into_iter().for_each(|what| client.hub.record(what)),
            Ok(Err(status)) => client.go_on(&status),
            Err(_) => client.go_elsewhere(),
        }
        // sleeps: nobody asks anew at once
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Client {
    async fn list(&mut self) -> Result<Vec<What>, Status> {
        let line = self.line().await.map_err(|()| Status::unavailable("no connection"))?;
        let mut line = Plugin::new(line);
        let listed = line.list(v1::ListRequest::default()).await?.into_inner().services;
        let mut standing = Vec::new();
        for number in 0..SERVICES {
            let service = format!("s{number}");
            let Some(summary) = listed.iter().find(|summary| summary.name == service) else {
                standing.push(What::Stood { service, seen: None, ready: false, message: String::new() });
                continue;
            };
            let described = line.describe(v1::DescribeRequest { name: service.clone() }).await?.into_inner();
            let described = described.service.unwrap_or_default();
            let ready = summary.phase() == v1::Phase::Ready;
            let message = format!("{:?} {}", summary.phase(), summary.message);
            standing.push(What::Stood { service, seen: seen(&described), ready, message });
        }
        Ok(standing)
    }
}
