//! Many services, and managers that read slowly.

use std::sync::atomic::Ordering;
use std::time::Duration;

use om_api::v1::attend_request::{self, Open, Renewed};
use om_api::v1::attend_response::Message;
use om_api::v1::{self, AttendRequest, Phase};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

use crate::commits::attended;
use crate::support::{Host, LONG, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_services_are_looked_after_listed_and_left() {
    const MANY: usize = 1000;
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    let mut commits = JoinSet::new();
    for n in 0..MANY {
        let manager = manager.clone();
        commits.spawn(async move {
            let revision = u64::try_from(n).expect("small") + 1;
            manager.commit("probe", &format!("s{n:04}"), r#"{"mode": "mute"}"#, revision, b"").await
        });
    }
    while let Some(answer) = commits.join_next().await {
        answer.expect("no panic").expect("accepted");
    }
    session.until("a status of each", |seen| seen.statuses.len() >= MANY).await.expect("said");
    until("each to act", || host.journal.acts().len() >= MANY).await;

    let mut names = Vec::new();
    let mut token = String::new();
    loop {
        let page = v1::ListRequest { page_size: 300, page_token: token, ..Default::default() };
        let page = manager.client.clone().list(page).await.expect("a read").into_inner();
        assert!(page.services.len() <= 300);
        assert_eq!(page.revision, 1000);
        names.extend(page.services.into_iter().map(|summary| summary.name));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(names.len(), MANY);
    assert!(names.is_sorted());

    let next = manager.at(2).attend(LONG).await.expect("opened");
    next.until("stopped", |seen| seen.stopped).await.expect("said");
    assert_eq!(host.journal.alive(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_reads_slowly_gets_the_newest_and_holds_nobody_up() {
    let host = Host::start();
    let manager = host.manager("x", 1).await;
    // By hand: a manager that answers the first ask and then reads nothing for a while.
    let (to_plugin, requests) = mpsc::channel(8);
    let send = |message| AttendRequest { message: Some(message) };
    let open = Open {
        term: 1,
        cluster: "x".to_owned(),
        manager: "slow".to_owned(),
        authority_ms: 600_000,
        ..Default::default()
    };
    to_plugin.send(send(attend_request::Message::Open(open))).await.expect("open");
    let requests = manager.stamped(ReceiverStream::new(requests));
    let mut incoming = manager.client.clone().attend(requests).await.expect("opened").into_inner();
    loop {
        let message = incoming.message().await.expect("no error").and_then(|response| response.message);
        if let Some(Message::Ask(ask)) = message {
            let renewed = Renewed { ask: ask.ask, remaining_ms: 600_000 };
            to_plugin.send(send(attend_request::Message::Renewed(renewed))).await.expect("open");
            break;
        }
    }
    manager.commit("probe", "a", r#"{"mode": "chatter"}"#, 1, b"").await.expect("accepted");
    until("many reports", || host.journal.reports.load(Ordering::SeqCst) > 200_000).await;

    // Calls are answered meanwhile, and nothing piled up for the manager beyond what the connection holds.
    manager.commit("probe", "a", r#"{"mode": "mute"}"#, 2, b"").await.expect("accepted");
    until("the change to be taken up", || host.journal.whats("a") == ["mute"]).await;
    let reports = host.journal.reports.load(Ordering::SeqCst);
    let mut messages = 0;
    let newest = loop {
        let message =
            tokio::time::timeout(Duration::from_secs(30), incoming.message()).await.expect("in time");
        if let Some(Message::Status(status)) =
            message.expect("no error").and_then(|response| response.message)
        {
            messages += 1;
            if status.revision == 2 {
                break status;
            }
        }
    };
    assert_eq!(newest.phase(), Phase::Pending);
    assert!(messages < reports / 4, "{messages} messages of {reports} reports");
}
