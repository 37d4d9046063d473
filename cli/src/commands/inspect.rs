//! `om ls`, `om get`, `om describe`: how things are.

use om_api::v1::{DescribeRequest, DescribeResponse, Description, ListRequest, ListResponse};

use super::Context;
use crate::args::{Format, Ls};
use crate::connect::services;
use crate::document::{Node, Printed};
use crate::failure::{Failure, Result};
use crate::output::shapes::{Described, MemberRow, ServiceRow};
use crate::output::table::{Table, colour, number, painted};
use crate::output::{self, Out, text};

const PAGE: u32 = 1000;

pub(super) async fn ls(mut context: Context, args: Ls) -> Result<()> {
    let mut request = ListRequest {
        kind: args.kind.unwrap_or_default(),
        selector: args.selector.into_iter().collect(),
        page_size: PAGE,
        page_token: String::new(),
    };
    let filtered = !request.kind.is_empty() || !request.selector.is_empty();
    let nothing = if filtered { "no service fits" } else { "no services are declared" };
    let mut rows: Vec<ServiceRow> = Vec::new();
    // People see each page as it comes; what a program reads is whole, or an error.
    let mut widths = Vec::new();
    loop {
        let call = |channel, request| async move { services(channel).list(request).await };
        let page: ListResponse = context.client.call(&request, call).await?;
        rows.extend(page.services.into_iter().map(ServiceRow::from));
        let last = page.next_page_token.is_empty();
        if context.out.is_for_people() && !(last && widths.is_empty()) {
            output::write(table(&rows).render_below(&context.out, &mut widths).as_bytes())?;
            rows.clear();
        }
        if last {
            break;
        }
        if page.next_page_token == request.page_token {
            return Err(Failure::protocol("the manager names the same page again and again"));
        }
        request.page_token = page.next_page_token;
    }
    if widths.is_empty() { context.out.rows(&rows, nothing, table) } else { Ok(()) }
}

fn table(rows: &[ServiceRow]) -> Table {
    let mut table = Table::new(&["NAME", "KIND", "REVISION", "PHASE", "MESSAGE"]);
    for ServiceRow { name, kind, revision, phase, message, .. } in rows {
        table.row([name.into(), kind.into(), number(*revision), painted(phase), message.into()]);
    }
    table
}

async fn look(context: &mut Context, name: String) -> Result<(ServiceRow, Node, Vec<MemberRow>)> {
    let call = |channel, request| async move { services(channel).describe(request).await };
    let response: DescribeResponse =
        context.client.call(&DescribeRequest { name: name.clone() }, call).await?;
    let Some(Description { summary: Some(summary), spec_json, members }) = response.service else {
        return Err(Failure::protocol(format!("the manager describes {name} without a summary")));
    };
    let spec = Node::from_json(&spec_json)
        .map_err(|cause| Failure::protocol(format!("the spec of {name} is no JSON: {cause}")))?;
    Ok((summary.into(), spec, members.into_iter().map(MemberRow::from).collect()))
}

pub(super) async fn get(mut context: Context, name: String) -> Result<()> {
    let (ServiceRow { name, kind, labels, .. }, spec, _) = look(&mut context, name).await?;
    let document = Printed { kind, name, labels, spec };
    match context.out.format() {
        Format::Json => output::json(&document),
        Format::Table | Format::Yaml => output::yaml(&document),
    }
}

pub(super) async fn describe(mut context: Context, name: String) -> Result<()> {
    let (row, spec, members) = look(&mut context, name).await?;
    let described = Described { row, members, spec };
    let spec = yaml_serde::to_string(&described.spec).unwrap_or_default();
    context.out.show(&described, |out| people(&described, &spec, out))
}

fn people(described: &Described, spec: &str, out: &Out) -> String {
    let ServiceRow { name, kind, revision, phase, message, labels } = &described.row;
    let mut shown = String::new();
    let mut line = |key: &str, value: &str| {
        if !value.is_empty() {
            shown += &format!("{:<10} {value}\n", format!("{key}:"));
        }
    };
    line("Name", &text::one_line(name));
    line("Kind", &text::one_line(kind));
    line("Revision", &revision.to_string());
    line("Phase", &painted(phase).padded(0, out.colours));
    line("Message", &text::one_line(message));
    line("Labels", &text::one_line(&text::labels(labels)));
    shown += "\nMembers:\n";
    if described.members.is_empty() {
        shown += "none\n";
    } else {
        let mut table = Table::new(&["NAME", "PHASE", "ADDRESS", "HOST", "MESSAGE", "DETAILS"]).flexible(2);
        for MemberRow { name, phase, address, host, message, details } in &described.members {
            let details = text::labels(details);
            table.row([
                name.into(),
                painted(phase),
                address.into(),
                text::host(host).into(),
                message.into(),
                details.into(),
            ]);
        }
        shown += &table.render(out);
    }
    shown += "\nSpec:\n";
    for line in spec.lines() {
        shown += &format!("  {}\n", text::clean(line));
    }
    colour(&shown, out.colours)
}
