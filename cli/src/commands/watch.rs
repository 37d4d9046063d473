//! `om watch`: what happens, without gaps.
//!
//! What must hold: every event of the store later than where the watch began is printed once, in order, across lost
//! connections and moved leaders. Therefore the watch always knows the revision that it has seen: at first by asking.

use std::collections::{HashMap, HashSet};
use std::io::IsTerminal as _;
use std::time::Duration;

use om_api::Reason;
use om_api::v1::{Event, EventType, ListRequest, ListResponse, WatchRequest, WatchResponse};
use tonic::{Status, Streaming};

use super::Context;
use crate::args::Watch;
use crate::connect::{Deadline, Limit, is_transport, services};
use crate::failure::{Exit, Failure, Result};
use crate::output::shapes::EventLine;
use crate::output::table::painted;
use crate::output::{self, Out};

const PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn run(mut context: Context, args: Watch) -> Result<()> {
    let start = match args.from {
        Some(revision) => revision,
        None => revision_now(&mut context).await?,
    };
    if !context.settings.timeout_given {
        context.client.limit = Limit::Opening;
    }
    let name = args.service.unwrap_or_default();
    let mut seen = Seen::after(start);
    let mut stream = open(&mut context, &name, args.from).await?;
    header(&context.out)?;
    loop {
        let lost = follow(&mut context, &mut stream, &mut seen).await?;
        if context.out.is_for_people() && std::io::stderr().is_terminal() {
            output::note(&format!("{lost}; going on after revision {}", seen.complete));
        }
        stream = resume(&mut context, &name, seen.complete, lost).await?;
    }
}

/// The revision from which "from now on" begins: where to resume if the connection is lost before the first event.
async fn revision_now(context: &mut Context) -> Result<u64> {
    let request = ListRequest { page_size: 1, ..ListRequest::default() };
    let call = |channel, request| async move { services(channel).list(request).await };
    let page: ListResponse = context.client.call(&request, call).await?;
    Ok(page.revision)
}

async fn open(context: &mut Context, name: &str, after: Option<u64>) -> Result<Streaming<WatchResponse>> {
    let request = WatchRequest { name: name.to_owned(), after_revision: after };
    let call = |channel, request| async move { services(channel).watch(request).await };
    let stream = context.client.call(&request, call).await?;
    context.follows();
    Ok(stream)
}

/// Prints what comes, until the connection or the leader is lost: then says how.
async fn follow(
    context: &mut Context,
    stream: &mut Streaming<WatchResponse>,
    seen: &mut Seen,
) -> Result<String> {
    loop {
        let Some(message) = context.client.deadline.bound(stream.message()).await else {
            return Err(Failure::timed_out(format!(
                "watched for {}, as --timeout says",
                context.client.deadline.describe()
            )));
        };
        match message {
            Ok(Some(WatchResponse { event: Some(event) })) => {
                if seen.is_news(&event) {
                    print(&context.out, event.into())?;
                }
            }
            Ok(Some(WatchResponse { event: None })) => {}
            Ok(None) => return Ok("the manager ended the watch".to_owned()),
            Err(status) if goes_on_elsewhere(&status) => {
                return Ok(context.client.fail(status).message);
            }
            Err(status) => return Err(context.client.fail(status)),
        }
    }
}

fn goes_on_elsewhere(status: &Status) -> bool {
    match om_api::Error::from_status(status) {
        Some(error) => matches!(
            error.reason,
            Reason::NotLeader
                | Reason::NoLeader
                | Reason::Unclear
                | Reason::Fenced
                | Reason::StoreUnavailable
                | Reason::PluginUnavailable
        ),
        None => {
            is_transport(status) || matches!(status.code(), tonic::Code::Unavailable | tonic::Code::Cancelled)
        }
    }
}

/// Opens the watch again, wherever the leader is by now, for as long as `--timeout` allows for one outage.
async fn resume(
    context: &mut Context,
    name: &str,
    after: u64,
    lost: String,
) -> Result<Streaming<WatchResponse>> {
    if !context.settings.timeout_given {
        context.client.deadline = Deadline::after(context.settings.timeout);
    }
    loop {
        context.client.pause(PAUSE).await;
        match open(context, name, Some(after)).await {
            Err(failure)
                if matches!(failure.exit, Exit::Unreachable | Exit::Leader)
                    && context.settings.redirect
                    && !context.client.deadline.passed() =>
            {
                context.client.try_next();
            }
            Err(failure) => return Err(failure.about(lost)),
            Ok(stream) => return Ok(stream),
        }
    }
}

/// What was printed already.
#[derive(Debug)]
struct Seen {
    /// Every event up to this revision was seen.
    complete: u64,
    /// The newest revision of which events were seen, perhaps not all: one write can mean several.
    current: u64,
    /// The events of that revision.
    printed: HashSet<(i32, String)>,
    /// The last observation of each service; under the empty name, of the leadership.
    observed: HashMap<String, (i32, String, u64)>,
}

impl Seen {
    fn after(revision: u64) -> Self {
        Self { complete: revision, current: revision, printed: HashSet::new(), observed: HashMap::new() }
    }

    /// Notes an event; whether it is to be printed. A stream that begins anew repeats the last revision, and says how
    /// everything is.
    fn is_news(&mut self, event: &Event) -> bool {
        match event.r#type() {
            EventType::Committed | EventType::Freed | EventType::Destroyed => {
                if event.revision > self.current {
                    self.complete = event.revision - 1;
                    self.current = event.revision;
                    self.printed.clear();
                }
                event.revision == self.current
                    && self.current > self.complete
                    && self.printed.insert((event.r#type, event.service.clone()))
            }
            EventType::Status => self.observe(&event.service, (event.phase, event.message.clone(), 0)),
            EventType::Leadership => self.observe("", (0, event.leader.clone(), event.term)),
            EventType::Unspecified => true,
        }
    }

    fn observe(&mut self, whom: &str, what: (i32, String, u64)) -> bool {
        if self.observed.get(whom) == Some(&what) {
            return false;
        }
        self.observed.insert(whom.to_owned(), what);
        true
    }
}

fn header(out: &Out) -> Result<()> {
    if !out.is_for_people() {
        return Ok(());
    }
    let line = format!(
        "{:<9} {:<21} {:<11} {:<20} {:<11} MESSAGE\n",
        "REVISION", "TIME", "TYPE", "SERVICE", "PHASE"
    );
    output::write(line.as_bytes())
}

fn print(out: &Out, event: EventLine) -> Result<()> {
    out.line(&event, || {
        let service = output::table::Cell::from(event.service.as_deref().unwrap_or_default());
        let line = format!(
            "{:<9} {:<21} {:<11} {} {} {}",
            event.revision,
            event.short_time(),
            event.what,
            service.padded(20, false),
            painted(event.phase.unwrap_or_default()).padded(11, out.colours),
            event.describe()
        );
        line.trim_end().to_owned()
    })
}
