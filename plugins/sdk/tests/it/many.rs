//! Many commits over one stream.

use om_api::v1::{self, Phase};
use om_api::{Error, Reason};
use om_plugin_sdk::testing::{Manager, declaration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::commits::attended;
use crate::support::{Host, LONG, refused};

struct Line {
    to: mpsc::Sender<v1::CommitRequest>,
    answers: Streaming<v1::CommitManyResponse>,
}

impl Line {
    async fn open(manager: &Manager) -> Result<Self, Status> {
        let (to, asked) = mpsc::channel(8);
        let answers = manager.client.clone().commit_many(manager.stamped(ReceiverStream::new(asked))).await?;
        Ok(Self { to, answers: answers.into_inner() })
    }

    async fn ask(&self, name: &str, revision: u64) {
        let service = Some(declaration("probe", name, "{}"));
        let commit = v1::CommitRequest { service, revision, ..Default::default() };
        self.to.send(commit).await.expect("read");
    }

    /// `None`: it has ended.
    async fn next(&mut self) -> Option<Result<v1::CommitResponse, Status>> {
        Some(self.answers.message().await.ok()??.into_result())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_answered_in_its_turn_and_one_that_is_refused_ends_nothing() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    let mut line = Line::open(&manager).await.expect("opened");
    for (name, revision) in [("a", 3), ("a", 2), ("b", 4), ("B", 5), ("c", 0), ("a", 6)] {
        line.ask(name, revision).await;
    }
    let mut told = Vec::new();
    for _ in 0..6 {
        told.push(match line.next().await.expect("goes on") {
            Ok(answer) => (answer.name, answer.revision.to_string()),
            Err(status) => (String::new(), Error::from_status(&status).expect("a reason").reason.to_string()),
        });
    }
    let told: Vec<(&str, &str)> = told.iter().map(|(name, what)| (name.as_str(), what.as_str())).collect();
    let refusals = [Reason::RevisionConflict, Reason::InvalidSpec, Reason::Refused].map(|r| r.to_string());
    let [older, name, none] = refusals.each_ref().map(String::as_str);
    assert_eq!(told, [("a", "3"), ("", older), ("b", "4"), ("", name), ("", none), ("a", "6")]);
    session.until_phase("b", Phase::Ready).await.expect("made");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_needs_a_session_and_ends_with_it() {
    let host = Host::start();
    let manager = host.manager("x", 1).await;
    refused(Line::open(&manager).await.map(drop), Reason::Fenced);

    let _first = manager.attend(LONG).await.expect("opened");
    let mut line = Line::open(&manager).await.expect("opened");
    line.ask("a", 3).await;
    assert_eq!(line.next().await.expect("goes on").expect("taken").revision, 3);

    // The stream stays open on the older leader's side, which may hang; it does nothing there any more.
    let next = manager.at(2);
    let _second = next.attend(LONG).await.expect("opened");
    assert!(line.next().await.is_none(), "a newer term has begun");
    let mut line = Line::open(&next).await.expect("opened");
    line.ask("a", 4).await;
    assert_eq!(line.next().await.expect("goes on").expect("taken").revision, 4);
    refused(Line::open(&manager).await.map(drop), Reason::Fenced);
}
