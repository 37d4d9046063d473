//! The plugin of the tests, kind `probe`: acts all the time, and records each act with the term it was permitted under.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use om_api::v1::{self, Effect, Phase};
use om_plugin_sdk::{Declared, Failed, Output, Plugin, Rejected, Report, Service, spec};
use schemars::JsonSchema;
use serde::Deserialize;
use tonic::async_trait;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// Acts every few milliseconds.
    #[default]
    Steady,
    /// Panics.
    Panic,
    /// Ends with an error.
    Fail,
    /// Returns.
    Return,
    /// Blocks its thread until [`Journal::unblock`].
    Block,
    /// Saves `state` first, then acts; fails if the save does.
    Save,
    /// Reports without end.
    Chatter,
    /// Acts once, reports nothing.
    Mute,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Destroy {
    /// Done at once.
    #[default]
    Quick,
    /// Done after [`Journal::unblock`].
    Slow,
    /// Fails the first two times.
    Stubborn,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    #[serde(default)]
    pub(crate) mode: Mode,
    #[serde(default)]
    pub(crate) destroy: Destroy,
    #[serde(default)]
    pub(crate) state: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Count {
    n: u32,
    #[serde(default)]
    loud: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Act {
    pub(crate) service: String,
    pub(crate) term: u64,
    pub(crate) what: String,
}

/// What the plugin did.
#[derive(Default)]
pub(crate) struct Journal {
    acts: Mutex<Vec<Act>>,
    handles: Mutex<Vec<Service>>,
    /// Tasks that are inside `look_after`, `destroy` or a changing action.
    pub(crate) alive: AtomicUsize,
    pub(crate) begun: AtomicUsize,
    pub(crate) reports: AtomicUsize,
    pub(crate) written: AtomicUsize,
    unblocked: AtomicBool,
}

impl Journal {
    fn lock(&self) -> MutexGuard<'_, Vec<Act>> {
        self.acts.lock().expect("no panic inside")
    }

    pub(crate) fn acts(&self) -> Vec<Act> {
        self.lock().clone()
    }

    pub(crate) fn count(&self, service: &str, term: u64) -> usize {
        self.lock().iter().filter(|act| act.service == service && act.term == term).count()
    }

    pub(crate) fn whats(&self, service: &str) -> Vec<String> {
        let acts = self.lock();
        acts.iter().filter(|act| act.service == service).map(|act| act.what.clone()).collect()
    }

    pub(crate) fn handle(&self, service: &str) -> Service {
        let handles = self.handles.lock().expect("no panic inside");
        handles.iter().rev().find(|handle| handle.name() == service).expect("was looked after").clone()
    }

    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    pub(crate) fn unblock(&self) {
        self.unblocked.store(true, Ordering::SeqCst);
    }

    fn is_unblocked(&self) -> bool {
        self.unblocked.load(Ordering::SeqCst)
    }

    fn act(&self, service: &Service, what: impl Into<String>) -> Result<(), Failed> {
        // The lock is held from the permit to the record, so that whoever looks later sees either.
        let mut acts = self.lock();
        let term = service.permit()?;
        acts.push(Act { service: service.name().to_owned(), term, what: what.into() });
        Ok(())
    }

    fn inside(self: &Arc<Self>, service: &Service) -> Inside {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.alive.fetch_add(1, Ordering::SeqCst);
        self.handles.lock().expect("no panic inside").push(service.clone());
        Inside(self.clone())
    }
}

struct Inside(Arc<Journal>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) struct Probe(pub(crate) Arc<Journal>);

fn ready(message: impl Into<String>) -> Report {
    let message = message.into();
    let (name, phase) = ("m0".to_owned(), "running".to_owned());
    let member = v1::Member { name, phase, message: message.clone(), ..Default::default() };
    Report { phase: Phase::Ready, message, members: vec![member] }
}

#[async_trait]
impl Plugin for Probe {
    fn kinds(&self) -> Vec<v1::Kind> {
        let action = |name: &str, effect: Effect| v1::Action {
            name: name.to_owned(),
            summary: String::new(),
            args_schema: if name == "count" || name == "work" {
                spec::schema::<Count>()
            } else {
                String::new()
            },
            effect: effect.into(),
        };
        vec![v1::Kind {
            name: "probe".to_owned(),
            summary: "acts and records it".to_owned(),
            spec_schema: spec::schema::<Spec>(),
            actions: vec![
                action("count", Effect::Read),
                action("flood", Effect::Read),
                action("hang", Effect::Read),
                action("burst", Effect::Read),
                action("work", Effect::Change),
                action("toil", Effect::Change),
            ],
        }]
    }

    async fn plan(&self, wanted: &Declared, current: Option<&Declared>) -> Result<Vec<String>, Rejected> {
        let wanted: Spec = spec::parse(&wanted.spec)?;
        if wanted.state == "bad" {
            return Err(Rejected::field("spec.state", "spec.state must not be bad"));
        }
        if wanted.state == "panic" {
            panic!("the plan is mad");
        }
        Ok(vec![if current.is_some() { "change it".to_owned() } else { "make it".to_owned() }])
    }

    async fn look_after(&self, service: Service) -> Result<(), Failed> {
        let journal = &self.0;
        let _inside = journal.inside(&service);
        let mut declared = service.declared();
        loop {
            let now = declared.borrow_and_update().clone();
            let spec: Spec = spec::parse(&now.spec).map_err(|rejected| Failed(rejected.message))?;
            match spec.mode {
                Mode::Panic => panic!("look_after of {} is mad", service.name()),
                Mode::Fail => return Err(Failed("it does not work".to_owned())),
                Mode::Return => return Ok(()),
                Mode::Block => {
                    while !journal.is_unblocked() {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
                Mode::Save => {
                    let held = String::from_utf8_lossy(&service.state()).into_owned();
                    journal.act(&service, format!("held {held}"))?;
                    if held != spec.state {
                        service.save(spec.state.clone()).await?;
                        journal.act(&service, format!("saved {}", spec.state))?;
                    }
                }
                Mode::Mute => journal.act(&service, "mute")?,
                Mode::Steady | Mode::Chatter => {}
            }
            if spec.mode != Mode::Mute {
                service.report(ready(format!("revision {}", now.revision)));
            }
            let changed = declared.changed();
            tokio::pin!(changed);
            loop {
                let pace = if spec.mode == Mode::Chatter { 0 } else { 3 };
                tokio::select! {
                    _ = &mut changed => break,
                    () = tokio::time::sleep(Duration::from_millis(pace)) => {}
                }
                match spec.mode {
                    Mode::Chatter => {
                        for _ in 0..500 {
                            let n = journal.reports.fetch_add(1, Ordering::SeqCst);
                            service.report_at(now.revision, ready(format!("report {n}")));
                        }
                    }
                    Mode::Mute => {}
                    _ => journal.act(&service, format!("revision {}", now.revision))?,
                }
            }
        }
    }

    async fn destroy(&self, service: Service) -> Result<(), Failed> {
        let journal = &self.0;
        let _inside = journal.inside(&service);
        let spec: Spec = spec::parse(&service.declared().borrow().spec).map_err(|why| Failed(why.message))?;
        let held = String::from_utf8_lossy(&service.state()).into_owned();
        journal.act(&service, format!("destroy with {held}"))?;
        let tries = journal.whats(service.name()).iter().filter(|what| what.starts_with("destroy")).count();
        match spec.destroy {
            Destroy::Slow => {
                while !journal.is_unblocked() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            Destroy::Stubborn if tries < 3 => return Err(Failed(format!("try {tries} failed"))),
            Destroy::Quick | Destroy::Stubborn => {}
        }
        journal.act(&service, "gone")
    }

    async fn run(
        &self,
        service: Service,
        action: &str,
        args: serde_json::Value,
        output: Output,
    ) -> Result<(), Failed> {
        let journal = &self.0;
        match action {
            "count" | "work" => {
                let Count { n, loud } =
                    serde_json::from_value(args).map_err(|why| Failed(why.to_string()))?;
                if action == "work" {
                    journal.act(&service, "work")?;
                }
                output.progress("counting").await?;
                for i in 0..n {
                    output.write(format!("{i}{}\n", if loud { "!" } else { "" })).await?;
                }
                if n == 13 { Err(Failed("13 is too many".to_owned())) } else { Ok(()) }
            }
            "flood" => loop {
                output.write(vec![b'x'; 1024 * 1024]).await?;
                journal.written.fetch_add(1, Ordering::SeqCst);
            },
            "hang" => std::future::pending().await,
            "burst" => panic!("the action is mad"),
            "toil" => {
                let _inside = journal.inside(&service);
                loop {
                    journal.act(&service, "toil")?;
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            }
            other => Err(Failed(format!("no {other}"))),
        }
    }

    fn members_at_rest(&self, state: &Bytes) -> Vec<v1::Member> {
        vec![v1::Member {
            name: "rest".to_owned(),
            message: String::from_utf8_lossy(state).into_owned(),
            ..Default::default()
        }]
    }
}
