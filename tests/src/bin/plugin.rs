//! A plugin for tests: its kind `record` makes nothing, and writes down, every few milliseconds, that it steers, under
//! which term and what. By fields of a spec it is slow, hangs, crashes, fails or refuses.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use om_api::clock::since_boot;
use om_api::v1;
use om_plugin_sdk::{Declared, Failed, Output, Plugin, Rejected, Report, Service, spec};
use om_system_tests::record::SteeringLine;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

struct Recording;

/// What is declared.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// File that is appended to.
    record: PathBuf,
    /// Time between two lines; 0: not a line.
    every_ms: u64,
    /// How a dry run goes.
    #[serde(default)]
    plan: Knob,
    /// How looking after goes.
    #[serde(default)]
    steer: Knob,
    /// How tearing down goes.
    #[serde(default)]
    destroy: Knob,
    /// While this file exists, the knobs count; without it they always do.
    #[serde(default)]
    only_while: Option<PathBuf>,
    /// Makes the spec larger.
    #[serde(default)]
    ballast: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Knob {
    #[default]
    Fine,
    /// Takes a second.
    Slow,
    /// Takes as long as the file of `only_while` exists.
    Wait,
    /// Waits for ever.
    Hang,
    /// Holds a thread for ever.
    Block,
    /// The process ends.
    Crash,
    /// Says no.
    Refuse,
}

impl Knob {
    async fn turn(self) -> Result<(), Failed> {
        match self {
            Self::Fine | Self::Wait => Ok(()),
            Self::Slow => {
                // sleeps: that is what it was asked for
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(())
            }
            Self::Hang => std::future::pending().await,
            Self::Block => loop {
                std::thread::park();
            },
            Self::Crash => std::process::abort(),
            Self::Refuse => Err(Failed("the spec says: refuse".to_owned())),
        }
    }
}

impl Wanted {
    fn parse(declared: &Declared) -> Result<Self, Rejected> {
        spec::parse(&declared.spec)
    }

    fn knob(&self, knob: Knob) -> Knob {
        match &self.only_while {
            Some(file) if !file.exists() => Knob::Fine,
            _ => knob,
        }
    }

    /// Goes as a knob says.
    async fn go(&self, knob: Knob) -> Result<(), Failed> {
        while knob == Knob::Wait && self.only_while.as_ref().is_some_and(|file| file.exists()) {
            // sleeps: nobody tells when a file goes
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.knob(knob).turn().await
    }

    fn append(&self, service: &Service, revision: u64, what: &str) -> Result<(), Failed> {
        let asked = since_boot();
        let line = SteeringLine {
            service: service.name().to_owned(),
            term: service.permit()?,
            revision,
            what: what.to_owned(),
            pid: std::process::id(),
            at: u64::try_from(asked.as_micros()).unwrap_or(u64::MAX),
        };
        if self.every_ms > 0 {
            let line = serde_json::to_string(&line).map_err(|cause| Failed(cause.to_string()))? + "\n";
            File::options().create(true).append(true).open(&self.record)?.write_all(line.as_bytes())?;
        }
        Ok(())
    }
}

#[async_trait]
impl Plugin for Recording {
    fn kinds(&self) -> Vec<v1::Kind> {
        let action = |name: &str, summary: &str, effect: v1::Effect| v1::Action {
            name: name.to_owned(),
            summary: summary.to_owned(),
            args_schema: r#"{"type":"object","properties":{"text":{"type":"string"}}}"#.to_owned(),
            effect: effect.into(),
        };
        vec![v1::Kind {
            name: "record".to_owned(),
            summary: "Writes down that it steers".to_owned(),
            spec_schema: spec::schema::<Wanted>(),
            actions: vec![
                action("say", "Says the text back", v1::Effect::Read),
                action("poke", "Writes the text into the record", v1::Effect::Change),
            ],
        }]
    }

    async fn plan(&self, wanted: &Declared, current: Option<&Declared>) -> Result<Vec<String>, Rejected> {
        let parsed = Wanted::parse(wanted)?;
        tracing::info!("asked what to do about {}", wanted.name);
        let turned = parsed.go(parsed.plan).await;
        turned.map_err(|Failed(why)| Rejected::field("spec.plan", why))?;
        Ok(match current {
            Some(current) if current.spec == wanted.spec => Vec::new(),
            _ => vec!["write down that it steers".to_owned()],
        })
    }

    async fn look_after(&self, service: Service) -> Result<(), Failed> {
        let mut declarations = service.declared();
        loop {
            let declared: Arc<Declared> = declarations.borrow_and_update().clone();
            let wanted = Wanted::parse(&declared).map_err(|rejected| Failed(rejected.message))?;
            wanted.append(&service, declared.revision, "begin")?;
            wanted.go(wanted.steer).await?;
            service.report(Report { phase: v1::Phase::Ready, ..Report::default() });
            loop {
                let pause = Duration::from_millis(wanted.every_ms.max(10));
                tokio::select! {
                    changed = declarations.changed() => {
                        changed.map_err(|_| Failed("the declaration is gone".to_owned()))?;
                        break;
                    }
                    () = tokio::time::sleep(pause), if wanted.every_ms > 0 => {
                        wanted.append(&service, declared.revision, "steer")?;
                        if wanted.knob(wanted.steer) == Knob::Crash {
                            std::process::abort();
                        }
                    }
                }
            }
        }
    }

    async fn destroy(&self, service: Service) -> Result<(), Failed> {
        let declared = service.declared().borrow().clone();
        let wanted = Wanted::parse(&declared).map_err(|rejected| Failed(rejected.message))?;
        wanted.go(wanted.destroy).await?;
        wanted.append(&service, declared.revision, "destroy")
    }

    async fn run(
        &self,
        service: Service,
        action: &str,
        args: serde_json::Value,
        output: Output,
    ) -> Result<(), Failed> {
        let text = args["text"].as_str().unwrap_or_default().to_owned();
        if action == "poke" {
            let declared = service.declared().borrow().clone();
            let wanted = Wanted::parse(&declared).map_err(|rejected| Failed(rejected.message))?;
            wanted.append(&service, declared.revision, &format!("poke {text}"))?;
        }
        output.write(format!("{text}\n")).await
    }
}

fn main() -> std::process::ExitCode {
    om_plugin_sdk::main("record", env!("CARGO_PKG_VERSION"), |_| Arc::new(Recording))
}
