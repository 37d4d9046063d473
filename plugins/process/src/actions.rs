//! The verbs of kind `process`: `logs`, `restart`, `signal`.

use std::path::Path;
use std::time::Duration;

use om_api::v1;
use om_plugin_sdk::{Failed, Output, Service, spec};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use crate::keeper::Command;
use crate::logs::{self, Reader};
use crate::shared::{Desk, Shared};
use crate::spec::{Spec, member_dir, member_name};
use crate::state::State;
use crate::text;

/// Name of the kind.
pub(crate) const KIND: &str = "process";

/// Arguments of `logs`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LogsArgs {
    /// Only this member's, such as web-0.
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
    /// Only this member, such as web-0.
    #[serde(default)]
    member: Option<String>,
}

/// Arguments of `signal`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SignalArgs {
    /// TERM, INT, QUIT, KILL, HUP, USR1 or USR2.
    signal: String,
    /// Only to this member, such as web-0.
    #[serde(default)]
    member: Option<String>,
}

/// Looks for new lines of a followed log.
const POLL: Duration = Duration::from_millis(200);

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
        summary: "members run as processes on this host".to_owned(),
        spec_schema: spec::schema::<Spec>(),
        actions: vec![
            action("logs", "shows what members wrote", spec::schema::<LogsArgs>(), v1::Effect::Read),
            action(
                "restart",
                "replaces members as in an update, so many at a time",
                spec::schema::<RestartArgs>(),
                v1::Effect::Change,
            ),
            action("signal", "sends a signal to members", spec::schema::<SignalArgs>(), v1::Effect::Change),
        ],
    }
}

/// Runs an action.
pub(crate) async fn run(
    service: &Service,
    shared: &Shared,
    action: &str,
    args: serde_json::Value,
    output: &Output,
) -> Result<(), Failed> {
    match action {
        "logs" => logs(service, shared, read(args)?, output).await,
        "restart" => restart(service, shared, read(args)?, output).await,
        "signal" => signal(service, shared, read(args)?, output).await,
        _ => Err(Failed(format!("there is no action {action:?}"))),
    }
}

fn read<T: DeserializeOwned>(args: serde_json::Value) -> Result<T, Failed> {
    serde_json::from_value(args).map_err(|cause| Failed(cause.to_string()))
}

/// The index in a member's name.
fn index(service: &str, member: &str) -> Result<u32, Failed> {
    let index = member
        .strip_prefix(service)
        .and_then(|rest| rest.strip_prefix('-'))
        .and_then(|index| index.parse().ok());
    index.filter(|index| member_name(service, *index) == member).ok_or_else(|| {
        Failed(format!("{member:?} is no member of {service}: they are named {service}-0, {service}-1, …"))
    })
}

async fn logs(service: &Service, shared: &Shared, args: LogsArgs, output: &Output) -> Result<(), Failed> {
    let name = service.name();
    let state = State::read(&service.state())?;
    if let Some(state) =
        state.as_ref().filter(|state| state.host != service.host() && !state.members.is_empty())
    {
        return Err(Failed(format!("its members and their logs are on the host {}", state.host)));
    }
    let chosen = args.member.as_deref().map(|member| index(name, member)).transpose()?;
    let there = || {
        let mut found = logs::members(&shared.root, name);
        match (chosen, &state) {
            (Some(chosen), _) => found.retain(|index| *index == chosen),
            (None, Some(state)) if !state.members.is_empty() => {
                found.retain(|index| state.members.contains_key(index));
            }
            _ => {}
        }
        found
    };
    let members = there();
    if let (Some(member), true) = (&args.member, members.is_empty()) {
        return Err(Failed(format!("{member} has no log here")));
    }
    let several = members.len() > 1;
    let lines = usize::try_from(args.lines).unwrap_or(usize::MAX);
    let mut readers = Vec::new();
    for index in members {
        let prefix = if several { format!("{} | ", member_name(name, index)) } else { String::new() };
        let home = member_dir(&shared.root, name, index);
        let (last, mut reader) = blocking(move || Reader::last(&home, lines)).await?;
        output.write(logs::prefixed(&prefix, &last)).await?;
        if !args.follow && lines > 0 {
            let mut rest = reader.rest();
            if !rest.is_empty() {
                rest.push(b'\n');
                output.write(logs::prefixed(&prefix, &rest)).await?;
            }
        }
        readers.push((prefix, reader));
    }
    if !args.follow {
        return Ok(());
    }
    loop {
        let mut quiet = true;
        let mut next = Vec::new();
        for (prefix, mut reader) in readers {
            let (came, reader) = blocking(move || Ok((reader.more()?, reader))).await?;
            quiet &= came.is_empty();
            output.write(logs::prefixed(&prefix, &came)).await?;
            next.push((prefix, reader));
        }
        readers = next;
        if quiet {
            tokio::time::sleep(POLL).await;
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Failed> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|cause| Failed(cause.to_string()))?;
    done.map_err(|cause| Failed(format!("cannot read the log: {cause}")))
}

fn desk(service: &Service, shared: &Shared) -> Result<Desk, Failed> {
    let missing = || Failed(format!("nobody looks after {} here just now", service.name()));
    shared.desks.find(service.name()).ok_or_else(missing)
}

async fn ask(
    desk: &Desk,
    command: Command,
    answer: oneshot::Receiver<Result<(), Failed>>,
) -> Result<(), Failed> {
    let gone = || Failed("it is no longer looked after here".to_owned());
    desk.ask.send(command).await.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
}

async fn restart(
    service: &Service,
    shared: &Shared,
    args: RestartArgs,
    output: &Output,
) -> Result<(), Failed> {
    let chosen = args.member.as_deref().map(|member| index(service.name(), member)).transpose()?;
    let mut desk = desk(service, shared)?;
    let (done, answer) = oneshot::channel();
    ask(&desk, Command::Restart(chosen, done), answer).await?;
    loop {
        let now = desk.progress.borrow_and_update().clone();
        output.progress(format!("{} of {} members are as declared and work", now.done, now.wanted)).await?;
        if now.done == now.wanted {
            return Ok(());
        }
        if let Some(why) = now.stuck {
            return Err(Failed(why));
        }
        desk.progress.changed().await.map_err(|_| Failed("it is no longer looked after here".to_owned()))?;
    }
}

async fn signal(service: &Service, shared: &Shared, args: SignalArgs, output: &Output) -> Result<(), Failed> {
    let chosen = args.member.as_deref().map(|member| index(service.name(), member)).transpose()?;
    let signal = text::signal(&args.signal).map_err(Failed)?;
    let (done, answer) = oneshot::channel();
    ask(&desk(service, shared)?, Command::Signal(chosen, signal, done), answer).await?;
    output.progress(format!("sent {}", args.signal)).await
}

/// Removes what the plugin made for a service: logs and directories of its own.
pub(crate) fn remove_dirs(root: &Path, service: &str) -> std::io::Result<()> {
    match std::fs::remove_dir_all(root.join(service)) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}
