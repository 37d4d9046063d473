//! `om commit`: declare services.

use om_api::v1::{CommitRequest, CommitResponse};

use super::Context;
use super::follow::{self, Wanted};
use crate::args::Commit;
use crate::connect::{request_id, services};
use crate::document::{Document, read_all};
use crate::failure::{Failure, Result};
use crate::output::shapes::Committed;
use crate::output::table::{Table, colour, number, painted};
use crate::output::{Out, text};

pub(super) async fn run(mut context: Context, args: Commit) -> Result<()> {
    // Everything is read and checked before anything is sent: half a file is never declared for a typing error.
    let documents = read_all(&args.files)?;
    if args.if_revision.is_some() && documents.len() > 1 {
        let text = format!("--if-revision speaks of one service, and {} are given", documents.len());
        return Err(Failure::usage(text));
    }
    let mut done = Vec::new();
    let mut failure = None;
    for document in &documents {
        match send(&mut context, document, &args).await {
            Ok(committed) => done.push(committed),
            Err(failed) => {
                failure = Some(failed.about(format!("{} ({})", document.name, document.file)));
                break;
            }
        }
    }
    if args.wait && failure.is_none() {
        failure = wait(&mut context, &mut done).await.err();
    }
    if !done.is_empty() || !context.out.is_for_people() {
        context
            .out
            .show(&done, |out| if args.pretend { plans(&done, out) } else { table(&done).render(out) })?;
    }
    let Some(failed) = failure else { return Ok(()) };
    let left = documents.len() - done.len();
    if left > 1 && !args.pretend && failed.hint.is_empty() {
        return Err(failed.hint(format!("not sent after it: {}", text::count(left as u64 - 1, "service"))));
    }
    Err(failed)
}

async fn send(context: &mut Context, document: &Document, args: &Commit) -> Result<Committed> {
    let request = CommitRequest {
        service: Some(document.declaration()),
        request_id: request_id(),
        dry_run: args.pretend,
        if_revision: args.if_revision,
        ..CommitRequest::default()
    };
    let call = |channel, request| async move { services(channel).commit(request).await };
    let response: CommitResponse = context.client.call(&request, call).await?;
    let phase = text::phase(response.phase());
    let CommitResponse { name, revision, changed, plan, message, .. } = response;
    let name = if name.is_empty() { document.name.clone() } else { name };
    let kind = document.kind.clone();
    Ok(Committed { name, kind, revision, changed, plan, phase, message, pretend: args.pretend })
}

async fn wait(context: &mut Context, done: &mut [Committed]) -> Result<()> {
    // Of a service that was committed twice only the last declaration can become ready.
    let mut wanted: Vec<Wanted> = Vec::new();
    for committed in done.iter() {
        wanted.retain(|earlier| earlier.name != committed.name);
        wanted.push(Wanted::new(&committed.name, committed.revision));
    }
    let result = follow::until_ready(&mut context.client, &mut wanted, context.out.is_for_people()).await;
    for committed in done.iter_mut() {
        if let Some(now) = wanted.iter().find(|now| now.name == committed.name && !now.phase.is_empty()) {
            committed.phase = now.phase;
            committed.message.clone_from(&now.message);
        }
    }
    result
}

fn table(done: &[Committed]) -> Table {
    let mut table = Table::new(&["NAME", "REVISION", "RESULT", "PHASE", "MESSAGE"]);
    for committed in done {
        let Committed { name, revision, changed, phase, message, .. } = committed;
        let result = if *changed { "committed" } else { "unchanged" };
        table.row([name.into(), number(*revision), result.into(), painted(phase), message.into()]);
    }
    table
}

fn plans(done: &[Committed], out: &Out) -> String {
    let mut shown = String::new();
    for Committed { name, kind, revision, changed, plan, .. } in done {
        let what = match (revision, changed) {
            (0, _) => "would be declared".to_owned(),
            (at, true) => format!("would be changed; stands at revision {at}"),
            (at, false) => format!("would stay as it is, at revision {at}"),
        };
        shown += &format!("{} ({}) {what}\n", text::clean(name), text::clean(kind));
        for step in plan {
            shown += &format!("  - {}\n", text::one_line(step));
        }
    }
    colour(&shown, out.colours)
}
