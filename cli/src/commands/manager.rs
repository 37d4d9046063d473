//! `om status`, `om plugins`, `om history`: the manager about itself.

use om_api::v1::{HistoryRequest, HistoryResponse, PluginStatus, StatusRequest, StatusResponse};
use tonic::Streaming;

use super::Context;
use crate::connect::manager;
use crate::document::Node;
use crate::failure::Result;
use crate::output::shapes::{ActionRow, EventLine, PluginRow, Status, StatusPlugin};
use crate::output::table::{Table, colour, number, painted};
use crate::output::{Out, text};

async fn ask(context: &mut Context) -> Result<StatusResponse> {
    let call = |channel, request| async move { manager(channel).status(request).await };
    context.client.call(&StatusRequest {}, call).await
}

pub(super) async fn status(mut context: Context) -> Result<()> {
    let status = Status::from(ask(&mut context).await?);
    context.out.show(&status, |out| people(&status, out))
}

fn people(status: &Status, out: &Out) -> String {
    let leader = match &status.leader {
        Some(leader) if leader.endpoint.is_empty() => leader.name.clone(),
        Some(leader) => format!("{}, at {}", leader.name, leader.endpoint),
        None => "nobody".to_owned(),
    };
    let mut shown = String::new();
    let mut line = |key: &str, value: &str| {
        if !value.is_empty() {
            shown += &format!("{:<12} {value}\n", format!("{key}:"));
        }
    };
    line("Name", &text::one_line(&status.name));
    line("Version", &text::one_line(&status.version));
    line("Mode", &text::one_line(&status.mode));
    line("Leadership", &painted(status.leadership).padded(0, out.colours));
    line("Message", &text::one_line(&status.message));
    line("Leader", &text::one_line(&leader));
    line("Term", &status.term.to_string());
    line("Revision", &status.revision.to_string());
    line("Services", &status.services.to_string());
    line("Store", &text::one_line(&status.store));
    shown += "\nPlugins:\n";
    if status.plugins.is_empty() {
        shown += "none\n";
    } else {
        let mut table = Table::new(&["NAME", "VERSION", "KINDS", "ATTENDED", "MESSAGE"]);
        for plugin in &status.plugins {
            table.row([
                (&plugin.name).into(),
                (&plugin.version).into(),
                plugin.kinds.join(",").into(),
                painted(if plugin.attended { "yes" } else { "no" }),
                (&plugin.message).into(),
            ]);
        }
        shown += &table.render(out);
    }
    colour(&shown, out.colours)
}

pub(super) async fn plugins(mut context: Context) -> Result<()> {
    let status = ask(&mut context).await?;
    let rows: Vec<PluginRow> = status.plugins.into_iter().map(row).collect();
    context.out.rows(&rows, "the manager has found no plugins", |rows| {
        let mut table = Table::new(&["NAME", "VERSION", "KINDS", "ATTENDED", "ACTIONS", "MESSAGE"]);
        for PluginRow { plugin, actions } in rows {
            let actions: Vec<_> = actions.iter().map(|action| action.name.as_str()).collect();
            table.row([
                (&plugin.name).into(),
                (&plugin.version).into(),
                plugin.kinds.join(",").into(),
                painted(if plugin.attended { "yes" } else { "no" }),
                actions.join(",").into(),
                (&plugin.message).into(),
            ]);
        }
        table
    })
}

fn row(plugin: PluginStatus) -> PluginRow {
    let mut actions = Vec::new();
    let mut kinds = Vec::new();
    for kind in plugin.kinds {
        for action in kind.actions {
            let effect = text::effect(action.effect());
            let args_schema = Node::from_json(action.args_schema.as_bytes()).unwrap_or(Node::Null);
            let (name, summary) = (action.name, action.summary);
            actions.push(ActionRow { kind: kind.name.clone(), name, summary, effect, args_schema });
        }
        kinds.push(kind.name);
    }
    let PluginStatus { name, version, attended, message, .. } = plugin;
    PluginRow { plugin: StatusPlugin { name, version, kinds, attended, message }, actions }
}

pub(super) async fn history(mut context: Context, service: Option<String>) -> Result<()> {
    let request = HistoryRequest { name: service.unwrap_or_default() };
    let call = |channel, request| async move { manager(channel).history(request).await };
    let mut stream: Streaming<HistoryResponse> = context.client.call(&request, call).await?;
    let mut rows = Vec::new();
    while let Some(message) = context.client.next(&mut stream).await? {
        rows.extend(message.event.map(EventLine::from));
    }
    context.out.rows(&rows, "no events are kept", |rows| {
        let mut table = Table::new(&["REVISION", "TIME", "TYPE", "SERVICE", "KIND", "TERM", "MESSAGE"]);
        for event in rows {
            table.row([
                number(event.revision),
                event.short_time().into(),
                event.what.into(),
                event.service.as_deref().unwrap_or_default().into(),
                event.kind.as_deref().unwrap_or_default().into(),
                number(event.term),
                event.describe().into(),
            ]);
        }
        table
    })
}
