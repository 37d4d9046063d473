//! The verbs of kind `container`: `logs`, `restart`.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::LogsOptionsBuilder;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use om_api::v1;
use om_plugin_sdk::{Failed, Output, Service, spec};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::engine::{Engine, PATIENCE, Trouble};
use crate::keeper;
use crate::local::{self, Local};
use crate::place::Place;
use crate::spec::Spec;
use crate::swarm::Swarm;

/// Name of the kind.
pub(crate) const KIND: &str = "container";

/// A day: who follows a log waits for what may never come.
const FOLLOW: Duration = Duration::from_secs(86_400);
/// Between two looks at a restart.
const POLL: Duration = Duration::from_millis(250);

/// Arguments of `logs`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LogsArgs {
    /// Only this member's, as `om describe` names it.
    #[serde(default)]
    member: Option<String>,
    /// So many last lines of each member.
    #[serde(default = "hundred")]
    lines: u32,
    /// Goes on with what comes.
    #[serde(default)]
    follow: bool,
}

fn hundred() -> u32 {
    100
}

/// Arguments of `restart`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RestartArgs {
    /// Only this member; not in a Swarm, which replaces all of them.
    #[serde(default)]
    member: Option<String>,
}

/// The kind, as a handshake tells it.
pub(crate) fn kind() -> v1::Kind {
    let action = |name: &str, summary: &str, args_schema: String, effect: v1::Effect| v1::Action {
        name: name.to_owned(),
        summary: summary.to_owned(),
        args_schema,
        effect: effect.into(),
    };
    v1::Kind {
        name: KIND.to_owned(),
        summary: "a service of a Docker Swarm, or containers of one engine".to_owned(),
        spec_schema: spec::schema::<Spec>(),
        actions: vec![
            action("logs", "shows what containers wrote", spec::schema::<LogsArgs>(), v1::Effect::Read),
            action(
                "restart",
                "restarts the containers, in a Swarm as in an update",
                spec::schema::<RestartArgs>(),
                v1::Effect::Change,
            ),
        ],
    }
}

/// Runs an action.
pub(crate) async fn run(
    service: &Service,
    engine: &Engine,
    action: &str,
    args: serde_json::Value,
    output: &Output,
) -> Result<(), Failed> {
    match action {
        "logs" => logs(service, engine, read(args)?, output).await,
        "restart" => restart(service, engine, read(args)?, output).await,
        _ => Err(Failed(format!("there is no action {action:?}"))),
    }
}

fn read<T: DeserializeOwned>(args: serde_json::Value) -> Result<T, Failed> {
    serde_json::from_value(args).map_err(|cause| Failed(cause.to_string()))
}

/// Where the service is, if this engine can be asked about it.
async fn place(service: &Service, engine: &Engine) -> Result<Place, Failed> {
    let place = Place::read(&service.state())?;
    let place = place.ok_or_else(|| Failed(format!("nothing was made of {} yet", service.name())))?;
    place.is_reached(&engine.role().await?, engine, service.host())?;
    Ok(place)
}

/// The log of one member, and its name.
type Log = (String, BoxStream<'static, Result<LogOutput, Error>>);

async fn logs(service: &Service, engine: &Engine, args: LogsArgs, output: &Output) -> Result<(), Failed> {
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).follow(args.follow);
    let options = options.tail(&args.lines.to_string()).build();
    let patience = if args.follow { FOLLOW } else { PATIENCE };
    let mut logs: Vec<Log> = Vec::new();
    match place(service, engine).await? {
        Place::Swarm(_) => {
            let tasks = Swarm::new(engine.clone(), service.clone()).tasks().await?;
            for task in tasks {
                let (slot, id) = (task.slot.unwrap_or(0), task.id.unwrap_or_default());
                let docker = engine.client(patience)?;
                let log = docker.task_logs(&id, Some(options.clone())).boxed();
                logs.push((format!("{}.{slot}", service.name()), own(docker, log)));
            }
        }
        Place::Engine(_) => {
            for index in Local::new(engine.clone(), service.clone()).find().await?.into_keys() {
                let name = local::name(service.name(), index);
                let docker = engine.client(patience)?;
                let log = docker.logs(&name, Some(options.clone())).boxed();
                logs.push((name, own(docker, log)));
            }
        }
    }
    if let Some(member) = &args.member {
        logs.retain(|(name, _)| name == member);
        if logs.is_empty() {
            return Err(Failed(format!(
                "{member} has no log here: om describe {} names the members",
                service.name()
            )));
        }
    }
    logs.sort_by(|(one, _), (other, _)| one.cmp(other));
    let several = logs.iter().any(|(name, _)| *name != logs[0].0);
    let named = logs.into_iter().map(|(name, log)| {
        let prefix = if several { format!("{name} | ") } else { String::new() };
        log.map(move |piece| piece.map(|piece| line(&prefix, piece))).boxed()
    });
    if args.follow {
        let mut all = stream::select_all(named);
        while let Some(line) = engine.next(patience, "read the log", &mut all).await? {
            output.write(line).await?;
        }
        return Ok(());
    }
    for mut log in named {
        while let Some(line) = engine.next(patience, "read the log", &mut log).await? {
            output.write(line).await?;
        }
    }
    Ok(())
}

/// A stream that keeps its client.
fn own(
    docker: bollard::Docker,
    log: BoxStream<'static, Result<LogOutput, Error>>,
) -> BoxStream<'static, Result<LogOutput, Error>> {
    log.map(move |piece| {
        let _ = &docker;
        piece
    })
    .boxed()
}

fn line(prefix: &str, piece: LogOutput) -> Bytes {
    let mut line = prefix.as_bytes().to_vec();
    line.extend_from_slice(&piece.into_bytes());
    if !line.ends_with(b"\n") {
        line.push(b'\n');
    }
    line.into()
}

async fn restart(
    service: &Service,
    engine: &Engine,
    args: RestartArgs,
    output: &Output,
) -> Result<(), Failed> {
    let declared = service.declared().borrow().clone();
    let spec = keeper::read(&declared)?;
    match place(service, engine).await? {
        Place::Swarm(_) => {
            if args.member.is_some() {
                return Err(Failed("a Swarm restarts all members of a service, as in an update".to_owned()));
            }
            let mut swarm = Swarm::new(engine.clone(), service.clone());
            swarm.restart(declared.revision).await?;
            loop {
                let outlook = swarm.pass(&spec, declared.revision).await?;
                output
                    .progress(format!("{} of {} are restarted and work", outlook.done(), outlook.wanted))
                    .await?;
                if outlook.is_ready() {
                    return Ok(());
                }
                if let Some(why) = outlook.stuck() {
                    return Err(Failed(why));
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Place::Engine(_) => {
            let local = Local::new(engine.clone(), service.clone());
            let restarted = local.restart(args.member.as_deref(), &spec).await?;
            match (restarted.as_slice(), args.member) {
                ([], Some(member)) => {
                    Err(Failed(Trouble::Missing(format!("{member} is not there")).to_string()))
                }
                (names, _) => output.progress(format!("restarted {}", names.join(", "))).await,
            }
        }
    }
}
