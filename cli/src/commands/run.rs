//! `om run` and `om operations`: the verbs that plugins add.

use om_api::v1::run_response::Message;
use om_api::v1::{OperationsRequest, OperationsResponse, RunRequest, RunResponse};
use tonic::Streaming;

use super::Context;
use crate::args::Run;
use crate::connect::{Limit, human, manager, request_id, services};
use crate::failure::{Exit, Failure, Result};
use crate::output::shapes::OperationRow;
use crate::output::table::{Table, painted};
use crate::output::{self, text};

const PAGE: u32 = 1000;

pub(super) async fn run(mut context: Context, args: Run) -> Result<()> {
    let mut request = RunRequest {
        name: args.service,
        action: args.action,
        request_id: request_id(),
        ..RunRequest::default()
    };
    for (key, value) in args.args {
        if let Some(twice) = request.args.insert(key.clone(), value) {
            return Err(Failure::usage(format!("the argument {key} is given twice, first as {twice:?}")));
        }
    }
    if !context.settings.timeout_given {
        context.client.limit = Limit::Finding;
    }
    let call = |channel, request| async move { services(channel).run(request).await };
    let mut stream: Streaming<RunResponse> = context.client.call(&request, call).await?;
    context.follows();
    let mut operation = None;
    loop {
        let message = match context.client.next(&mut stream).await {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(()),
            Err(failure) => return Err(unfinished(failure, operation.as_deref(), &request.name)),
        };
        match message.message {
            Some(Message::Output(bytes)) => output::write(&bytes)?,
            Some(Message::Progress(line)) => output::note(&line),
            Some(Message::Operation(started)) => {
                // Said again at the end, with how it ended.
                if operation.as_ref() != Some(&started.id) {
                    output::note(&format!("operation {}", started.id));
                }
                operation = Some(started.id);
            }
            None => {}
        }
    }
}

fn unfinished(failure: Failure, operation: Option<&str>, service: &str) -> Failure {
    match operation {
        Some(id) if failure.exit == Exit::Unreachable => failure
            .hint(format!("the operation {id} may go on; `om operations {service}` shows what became of it")),
        Some(id) => failure.about(format!("operation {id}")),
        None => failure,
    }
}

pub(super) async fn operations(mut context: Context, service: Option<String>) -> Result<()> {
    let mut request =
        OperationsRequest { name: service.unwrap_or_default(), page_size: PAGE, page_token: String::new() };
    let mut rows: Vec<OperationRow> = Vec::new();
    loop {
        let call = |channel, request| async move { manager(channel).operations(request).await };
        let page: OperationsResponse = context.client.call(&request, call).await?;
        rows.extend(page.operations.into_iter().map(OperationRow::from));
        if page.next_page_token.is_empty() {
            break;
        }
        if page.next_page_token == request.page_token {
            return Err(Failure::protocol("the manager names the same page again and again"));
        }
        request.page_token = page.next_page_token;
    }
    context.out.rows(&rows, "no operations are kept", |rows| {
        let mut table = Table::new(&["ID", "SERVICE", "ACTION", "STATE", "STARTED", "TOOK", "MESSAGE"]);
        for row in rows {
            let took = row.ended_unix_ms.checked_sub(row.started_unix_ms).filter(|took| *took >= 0);
            let took = took.map(|took| human(std::time::Duration::from_millis(took.unsigned_abs())));
            table.row([
                (&row.id).into(),
                (&row.service).into(),
                (&row.action).into(),
                painted(row.state),
                text::short_time(row.started_unix_ms).into(),
                took.unwrap_or_default().into(),
                (&row.message).into(),
            ]);
        }
        table
    })
}
