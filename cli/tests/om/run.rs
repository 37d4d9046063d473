//! `om run` and `om operations`.

use om_api::v1::run_response::Message;
use om_api::v1::{Operation, OperationState, RunResponse};
use om_api::{Error, Reason};
use serde_json::json;

use crate::support::fake::directory;
use crate::support::program::until;
use crate::support::{Fake, Om};

fn piece(message: Message) -> Result<RunResponse, tonic::Status> {
    Ok(RunResponse { message: Some(message) })
}

fn operation(id: &str, state: OperationState) -> Operation {
    Operation {
        id: id.to_owned(),
        service: "web".to_owned(),
        action: "backup".to_owned(),
        args: [("to".to_owned(), "/b".to_owned())].into(),
        state: state.into(),
        message: "copied".to_owned(),
        started_unix_ms: 1_700_000_000_000,
        ended_unix_ms: if state == OperationState::Running { 0 } else { 1_700_000_001_500 },
        term: 3,
    }
}

#[test]
fn output_goes_to_stdout_and_progress_to_stderr() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().run_messages = vec![
        piece(Message::Operation(operation("op-1", OperationState::Running))),
        piece(Message::Output(b"raw \xc3".to_vec().into())),
        piece(Message::Progress("half done".to_owned())),
        piece(Message::Output(b"\xa4 bytes\n".to_vec().into())),
    ];
    let ended =
        Om::within(dir.path()).run(["run", "web", "backup", "--arg", "to=/b", "--arg", "n=a=b"]).code(0);
    assert_eq!(ended.stdout, "raw ä bytes\n");
    assert_eq!(ended.stderr, "operation op-1\nhalf done\n");
    let asked = fake.script().runs[0].clone();
    assert_eq!((asked.name.as_str(), asked.action.as_str()), ("web", "backup"));
    assert_eq!(asked.args, [("to", "/b"), ("n", "a=b")].map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    assert!(!asked.request_id.is_empty());
    assert!(!fake.calls("run")[0].limited, "a run has no time limit unless one is given");
    Om::within(dir.path()).run(["run", "web", "backup", "--timeout", "9s"]).fine();
    assert!(fake.calls("run")[1].limited);
}

#[test]
fn an_action_may_take_its_time_before_it_says_anything() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().hangs = Some("run");
    let om = Om::within(dir.path()).env("OM_TIMEOUT", "100ms");
    let mut child = om.clone().args(["run", "web", "backup"]).spawn();
    until("the action is asked for", || !fake.calls("run").is_empty());
    // Something else runs into the same limit meanwhile.
    fake.refuse_always("list", Error::new(Reason::NoLeader, "nobody leads"));
    om.run(["ls"]).code(3);
    assert!(child.try_wait().unwrap().is_none(), "it still waits");
    child.kill().unwrap();
    child.wait().unwrap();
    om.run(["run", "web", "backup", "--timeout", "200ms"]).code(6);
}

#[test]
fn a_run_that_fails_names_its_operation() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().run_messages = vec![
        piece(Message::Operation(operation("op-1", OperationState::Running))),
        Err(Error::new(Reason::PluginFailed, "the disk is full").into()),
    ];
    let ended = Om::within(dir.path()).run(["run", "web", "backup", "-o", "json"]).code(1);
    let (reason, message, _) = ended.error();
    assert_eq!((reason.as_str(), message.as_str()), ("PLUGIN_FAILED", "operation op-1: the disk is full"));
}

#[test]
fn an_unknown_action_is_wrong_use() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.refuse("run", Error::new(Reason::InvalidAction, "process has no action \"dance\""));
    Om::within(dir.path()).run(["run", "web", "dance"]).code(2);
    Om::within(dir.path()).run(["run", "web", "logs", "--arg", "lines"]).code(2);
    Om::within(dir.path()).run(["run", "web", "logs", "--arg", "a=1", "--arg", "a=2"]).code(2);
}

#[test]
fn operations_are_listed_page_by_page() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().operations =
        vec![operation("op-2", OperationState::Running), operation("op-1", OperationState::Succeeded)];
    let om = Om::within(dir.path());
    assert_eq!(
        om.run(["operations"]).fine().stdout,
        "ID     SERVICE   ACTION   STATE       STARTED                TOOK   MESSAGE\n\
         op-2   web       backup   running     2023-11-14 22:13:20Z   -      copied\n\
         op-1   web       backup   succeeded   2023-11-14 22:13:20Z   1.5s   copied\n"
    );
    let rows = om.run(["operations", "web", "-o", "json"]).fine().json();
    assert_eq!(
        rows[1],
        json!({"id": "op-1", "service": "web", "action": "backup", "args": {"to": "/b"}, "state": "succeeded",
               "message": "copied", "started": "2023-11-14T22:13:20.000Z",
               "ended": "2023-11-14T22:13:21.500Z", "term": 3})
    );
    assert_eq!(rows[0]["ended"], json!(null));
}
