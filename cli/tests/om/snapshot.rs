//! `om snapshot`.

use om_api::v1::{Declaration, SnapshotHeader, SnapshotService};
use om_api::{Error, Reason, snapshot};
use serde_json::json;

use crate::support::fake::directory;
use crate::support::{Fake, Om};

fn file() -> Vec<u8> {
    let service = |name: &str, revision| SnapshotService {
        service: Some(Declaration {
            name: name.to_owned(),
            kind: "process".to_owned(),
            labels: [("team".to_owned(), "shop".to_owned())].into(),
            spec_json: br#"{"members":1}"#.to_vec().into(),
        }),
        revision,
        state: vec![1, 2, 3].into(),
    };
    let header = SnapshotHeader {
        cluster: "c".to_owned(),
        term: 3,
        revision: 12,
        time_unix_ms: 1_700_000_000_007,
        services: 2,
        ..SnapshotHeader::default()
    };
    snapshot::encode(&header, [service("db", 4), service("web", 12)], Vec::new()).unwrap()
}

#[test]
fn a_snapshot_is_saved_in_one_step() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().snapshot = file();
    let place = directory();
    let path = place.path().join("s.omsnap");
    std::fs::write(&path, "an older one").unwrap();
    let om = Om::within(dir.path());
    let ended = om.run(["snapshot", "save", path.to_str().unwrap()]).fine();
    let bytes = file().len();
    assert_eq!(
        ended.stdout,
        format!("saved 2 services at revision 12 to {} ({bytes} bytes)\n", path.display())
    );
    assert_eq!(std::fs::read(&path).unwrap(), file());
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "nothing else is left");
    let json = om.run(["snapshot", "save", path.to_str().unwrap(), "-o", "json"]).fine().json();
    assert_eq!(
        (&json["services"], &json["revision"], &json["bytes"]),
        (&json!(2), &json!(12), &json!(bytes))
    );
}

#[test]
fn a_snapshot_that_breaks_off_leaves_the_older_one() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().snapshot = file();
    fake.script().snapshot_breaks = true;
    let place = directory();
    let path = place.path().join("s");
    std::fs::write(&path, "an older one").unwrap();
    let om = Om::within(dir.path());
    let ended = om.run(["snapshot", "save", path.to_str().unwrap(), "-o", "json"]).code(1);
    assert_eq!(ended.error().0, "STORE_UNAVAILABLE");
    fake.script().snapshot_breaks = false;
    fake.script().snapshot.truncate(50);
    let ended = om.run(["snapshot", "save", path.to_str().unwrap(), "-o", "json"]).code(1);
    assert_eq!(ended.error().0, "INVALID_SNAPSHOT");
    assert_eq!(std::fs::read(&path).unwrap(), b"an older one");
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn places_that_cannot_take_a_snapshot_are_named() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().snapshot = file();
    let om = Om::within(dir.path());
    om.run(["snapshot", "save", dir.path().to_str().unwrap()]).code(2);
    let ended = om.run(["snapshot", "save", "/nowhere/s"]).code(1);
    assert_eq!(ended.stderr, "error: cannot write /nowhere/s: No such file or directory (os error 2)\n");
    let ended = om.run(["snapshot", "save", "/dev/full"]).code(1);
    assert!(ended.stderr.contains("cannot write /dev/full: No space left on device"), "{}", ended.stderr);
}

#[test]
fn a_snapshot_is_shown_without_a_manager() {
    let place = directory();
    let path = place.path().join("s");
    std::fs::write(&path, file()).unwrap();
    let om = Om::default();
    let ended = om.run(["snapshot", "show", path.to_str().unwrap()]).code(0);
    assert_eq!(
        ended.stdout,
        "NAME   KIND      REVISION   LABELS\ndb     process   4          team=shop\n\
         web    process   12         team=shop\n"
    );
    assert_eq!(ended.stderr, "2 services at revision 12, term 3, taken 2023-11-14T22:13:20.007Z\n");
    let json = om.run(["snapshot", "show", path.to_str().unwrap(), "-o", "json"]).fine().json();
    assert_eq!((&json["revision"], &json["term"]), (&json!(12), &json!(3)));
    assert_eq!(
        json["services"][1],
        json!({"name": "web", "kind": "process", "revision": 12, "labels": {"team": "shop"},
               "spec": {"members": 1}, "state_bytes": 3})
    );
}

#[test]
fn a_snapshot_is_restored() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let path = dir.path().join("s");
    std::fs::write(&path, file()).unwrap();
    let om = Om::within(dir.path());
    let ended = om.run(["snapshot", "restore", path.to_str().unwrap(), "--replace"]).fine();
    assert_eq!(
        ended.stdout,
        "restored 2 services, at revision 31\nold freed: it is not in the snapshot, and was left running\n"
    );
    {
        let script = fake.script();
        assert!(script.imported[0].replace && !script.imported[0].request_id.is_empty());
        let sent: Vec<u8> = script.imported.iter().flat_map(|piece| piece.data.to_vec()).collect();
        assert_eq!(sent, file());
    }
    let refused = Error::new(Reason::Refused, "2 services exist").hint("--replace frees them");
    fake.refuse("import", refused);
    let ended = om.run(["snapshot", "restore", path.to_str().unwrap(), "-o", "json"]).code(1);
    assert_eq!(ended.error(), ("REFUSED".into(), "2 services exist".into(), "--replace frees them".into()));
}

#[test]
fn a_restore_that_must_wait_sends_the_same_request_again() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.refuse("import", Error::new(Reason::NoLeader, "nobody leads"));
    Om::within(dir.path()).stdin(file()).run(["snapshot", "restore", "-"]).fine();
    let calls = fake.calls("import");
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].request_id, calls[1].request_id);
}

#[test]
fn a_damaged_snapshot_is_not_sent() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let om = Om::within(dir.path());
    let cut = &file()[..file().len() - 4];
    for (bytes, why) in
        [(cut, "cut off"), (&b""[..], "no bytes at all"), (b"kind: process", "not a snapshot of OpenManage")]
    {
        let ended = om.clone().stdin(bytes).run(["snapshot", "restore", "-", "-o", "json"]).code(1);
        let (reason, message, _) = ended.error();
        assert_eq!(reason, "INVALID_SNAPSHOT");
        assert!(message.starts_with("<stdin>: ") && message.contains(why), "{message}");
    }
    assert_eq!(fake.calls("import"), []);
}
