//! `om status`, `om plugins`, `om history`.

use om_api::v1::{self, EventType};
use serde_json::json;

use crate::support::fake::directory;
use crate::support::{Fake, Om, event};

fn status() -> v1::StatusResponse {
    v1::StatusResponse {
        name: "service".to_owned(),
        mode: "os".to_owned(),
        leadership: v1::Leadership::Leading.into(),
        term: 3,
        leader: Some(v1::Leader {
            name: "service".to_owned(),
            endpoint: "unix:///run/openmanage/plugins/service".to_owned(),
        }),
        revision: 12,
        services: 2,
        plugins: vec![v1::PluginStatus {
            name: "process".to_owned(),
            version: "0.1.0".to_owned(),
            kinds: vec![v1::Kind {
                name: "process".to_owned(),
                actions: vec![v1::Action {
                    name: "logs".to_owned(),
                    summary: "Shows the output of members".to_owned(),
                    args_schema: r#"{"type":"object"}"#.to_owned(),
                    effect: v1::Effect::Read.into(),
                }],
                ..Default::default()
            }],
            attended: true,
            message: String::new(),
        }],
        message: String::new(),
        version: "0.1.0".to_owned(),
        cluster: "c".to_owned(),
        store: "file:/var/lib/openmanage".to_owned(),
    }
}

#[test]
fn the_manager_says_how_it_is() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().status = status();
    let om = Om::within(dir.path());
    assert_eq!(
        om.run(["status"]).fine().stdout,
        "Name:        service\nVersion:     0.1.0\nMode:        os\nLeadership:  leading\n\
         Leader:      service, at unix:///run/openmanage/plugins/service\nTerm:        3\nRevision:    12\n\
         Services:    2\nStore:       file:/var/lib/openmanage\n\nPlugins:\n\
         NAME      VERSION   KINDS     ATTENDED   MESSAGE\nprocess   0.1.0     process   yes\n"
    );
    assert_eq!(
        om.run(["status", "-o", "json"]).fine().json(),
        json!({"name": "service", "mode": "os", "leadership": "leading", "term": 3,
               "leader": {"name": "service", "endpoint": "unix:///run/openmanage/plugins/service"},
               "revision": 12, "services": 2,
               "plugins": [{"name": "process", "version": "0.1.0", "kinds": ["process"], "attended": true,
                            "message": ""}],
               "message": "", "version": "0.1.0", "cluster": "c", "store": "file:/var/lib/openmanage"})
    );
}

#[test]
fn an_unknown_leader_is_null() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().status.leadership = v1::Leadership::Unknown.into();
    let om = Om::within(dir.path());
    let json = om.run(["status", "-o", "json"]).fine().json();
    assert_eq!((&json["leader"], &json["leadership"]), (&json!(null), &json!("unknown")));
    assert_eq!(json["plugins"], json!([]));
    assert!(om.run(["status"]).fine().stdout.contains("Leader:      nobody\n"));
}

#[test]
fn plugins_are_listed_with_their_actions() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    fake.script().status = status();
    let om = Om::within(dir.path());
    assert_eq!(
        om.run(["plugins"]).fine().stdout,
        "NAME      VERSION   KINDS     ATTENDED   ACTIONS   MESSAGE\nprocess   0.1.0     process   yes        logs\n"
    );
    assert_eq!(
        om.run(["plugins", "-o", "json"]).fine().json(),
        json!([{"name": "process", "version": "0.1.0", "kinds": ["process"], "attended": true, "message": "",
                "actions": [{"kind": "process", "name": "logs", "summary": "Shows the output of members",
                             "effect": "read", "args_schema": {"type": "object"}}]}])
    );
}

#[test]
fn history_is_listed() {
    let dir = directory();
    let fake = Fake::serve(dir.path(), "service");
    let leadership = v1::Event { leader: "service".to_owned(), ..event(1, EventType::Leadership, "") };
    fake.script().history = vec![
        v1::Event { kind: String::new(), ..leadership },
        event(2, EventType::Committed, "web"),
        event(3, EventType::Freed, "db"),
    ];
    let om = Om::within(dir.path());
    assert_eq!(
        om.run(["history"]).fine().stdout,
        "REVISION   TIME                   TYPE         SERVICE   KIND      TERM   MESSAGE\n\
         1          2023-11-14 22:13:20Z   leadership   -         -         3      service leads, term 3\n\
         2          2023-11-14 22:13:20Z   committed    web       process   3\n\
         3          2023-11-14 22:13:20Z   freed        db        process   3\n"
    );
    assert_eq!(
        om.run(["history", "web", "-o", "json"]).fine().json(),
        json!([{"revision": 2, "time": "2023-11-14T22:13:20.007Z", "type": "committed", "service": "web",
                "kind": "process", "phase": null, "message": "", "term": 3, "leader": null}])
    );
}
