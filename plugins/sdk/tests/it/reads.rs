//! Describe, list, watch, health and reflection.

use om_api::v1::{self, EventType, Phase};
use om_api::{Reason, v1::WatchRequest};
use om_plugin_sdk::testing::declaration;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::commits::attended;
use crate::support::{Host, refused};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_described_with_its_members_and_at_rest_by_its_state() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    refused(manager.describe("a").await, Reason::NotFound);
    let spec = r#"{"mode": "save", "state": "s1"}"#;
    manager.commit("probe", "a", spec, 3, b"").await.expect("accepted");
    session.until_phase("a", Phase::Ready).await.expect("made");
    let described = manager.describe("a").await.expect("there");
    assert_eq!(&described.spec_json[..], spec.as_bytes());
    assert_eq!(described.members[0].name, "m0");
    let summary = described.summary.expect("filled");
    assert_eq!((summary.kind.as_str(), summary.revision, summary.phase()), ("probe", 3, Phase::Ready));

    session.release().await;
    session.until("released", |seen| seen.released).await.expect("said");
    let described = manager.describe("a").await.expect("still known");
    assert_eq!((described.members[0].name.as_str(), described.members[0].message.as_str()), ("rest", "s1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_description_is_of_one_report_and_never_of_two() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    manager.commit("probe", "a", r#"{"mode": "chatter"}"#, 3, b"").await.expect("accepted");
    session.until_phase("a", Phase::Ready).await.expect("made");
    for _ in 0..2000 {
        let described = manager.describe("a").await.expect("there");
        assert_eq!(described.summary.expect("filled").message, described.members[0].message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_filtered_by_kind_and_labels() {
    let host = Host::start();
    let (manager, _session) = attended(&host).await;
    for (name, team, revision) in [("a", "shop", 1), ("b", "bank", 2)] {
        let mut service = declaration("probe", name, "{}");
        service.labels.insert("team".to_owned(), team.to_owned());
        let request = v1::CommitRequest { service: Some(service), revision, ..Default::default() };
        manager.client.clone().commit(manager.stamped(request)).await.expect("accepted");
    }
    let list = async |request: v1::ListRequest| {
        let page = manager.client.clone().list(request).await.expect("a read").into_inner();
        page.services.into_iter().map(|summary| summary.name).collect::<Vec<_>>()
    };
    assert_eq!(list(v1::ListRequest::default()).await, ["a", "b"]);
    let shop = [("team".to_owned(), "shop".to_owned())].into();
    assert_eq!(list(v1::ListRequest { selector: shop, ..Default::default() }).await, ["a"]);
    let kind = "other".to_owned();
    assert!(list(v1::ListRequest { kind, ..Default::default() }).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_brings_the_newest_of_each_then_the_changes() {
    let host = Host::start();
    let (manager, session) = attended(&host).await;
    manager.commit("probe", "a", "{}", 3, b"").await.expect("accepted");
    session.until_phase("a", Phase::Ready).await.expect("made");
    let request = WatchRequest { name: "a".to_owned(), after_revision: None };
    let mut events = manager.client.clone().watch(request).await.expect("a read").into_inner();
    let first = events.message().await.expect("no error").and_then(|response| response.event).expect("one");
    assert_eq!(
        (first.r#type(), first.service.as_str(), first.phase()),
        (EventType::Status, "a", Phase::Ready)
    );
    assert_eq!((first.term, first.revision), (1, 3));
    manager.commit("probe", "b", "{}", 4, b"").await.expect("of no interest here");
    manager.commit("probe", "a", r#"{"mode": "fail"}"#, 5, b"").await.expect("accepted");
    loop {
        let event =
            events.message().await.expect("no error").and_then(|response| response.event).expect("one");
        assert_eq!(event.service, "a");
        if event.phase() == Phase::Failed {
            assert_eq!((event.revision, event.message.as_str()), (5, "it does not work"));
            break;
        }
    }
    let request = WatchRequest { name: String::new(), after_revision: Some(3) };
    refused(manager.client.clone().watch(request).await.map(drop), Reason::Compacted);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_serving_and_reflection_names_the_services() {
    let host = Host::start();
    let manager = host.manager("x", 1).await;
    let channel = om_api::socket::channel(
        &om_api::socket::Address::from(host.socket.as_path()),
        &om_api::socket::Security::Clear,
    );
    let mut health = HealthClient::new(channel.clone());
    for service in ["", "om.v1.ServicePlugin"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = health.check(request).await.expect("answered").into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let mut answers =
        reflection.server_reflection_info(tokio_stream::iter([ask])).await.expect("answered").into_inner();
    let answer = answers.message().await.expect("no error").and_then(|answer| answer.message_response);
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    assert!(names.contains(&"om.v1.ServicePlugin".to_owned()), "{names:?}");
    assert!(names.contains(&"grpc.health.v1.Health".to_owned()), "{names:?}");
    drop(manager);
}
