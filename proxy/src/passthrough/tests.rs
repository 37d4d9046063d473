use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::{BodyExt as _, Full, StreamBody};
use om_api::v1;
use om_api::v1::service_plugin_client::ServicePluginClient;
use om_api::{Error, Reason, metadata};
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::*;
use crate::testing::*;
use crate::{Drain, Upstream};

mod ends;
mod streams;

const DESCRIBE: &str = "/om.v1.ServicePlugin/Describe";

fn describe(name: &str) -> v1::DescribeRequest {
    v1::DescribeRequest { name: name.to_owned() }
}

fn client(proxy: &Running) -> ServicePluginClient<Upstream> {
    ServicePluginClient::new(proxy.upstream()).max_decoding_message_size(om_api::MAX_MESSAGE_BYTES)
}

/// A plugin `p`, and a proxy that sends everything there.
fn proxied(place: &Place, plugin: &TestPlugin) -> (Running, Running) {
    let backend = serve_plugin(&place.path("p"), plugin.clone());
    let upstream = backend.upstream();
    let proxy = serve_proxy(&place.path("m"), &Drain::new(), move |_| Route::Local(passage(&upstream)));
    (backend, proxy)
}

/// A proxy whose router must not be asked.
fn unasked(place: &Place) -> Running {
    serve_proxy(&place.path("m"), &Drain::new(), |call| {
        Route::Refuse(Error::new(Reason::Refused, format!("asked about {}", call.path)))
    })
}

/// Which plugin a Describe was answered by.
async fn describer(proxy: &Running, name: &str) -> Result<String, Status> {
    let answer = soon("the answer to a describe", client(proxy).describe(describe(name))).await?;
    Ok(answer.into_inner().service.unwrap().summary.unwrap().kind)
}

async fn raw(proxy: &Running, path: &str, body: impl Into<bytes::Bytes>) -> Response<Body> {
    let request = raw_request(path, Body::new(Full::new(body.into())));
    soon("the answer to a raw call", proxy.upstream().oneshot(request)).await.unwrap()
}

/// Status code of an answer, from its headers or its trailers, and its bytes.
async fn outcome(answer: Response<Body>) -> (Status, bytes::Bytes) {
    let (head, body) = answer.into_parts();
    let collected = soon("the end of the answer", body.collect()).await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let status = Status::from_header_map(&head.headers).or_else(|| Status::from_header_map(&trailers));
    (status.expect("a status"), collected.to_bytes())
}

#[tokio::test]
async fn a_describe_is_answered_by_the_plugin_under_the_managers_term() {
    let place = Place::new();
    let plugin = TestPlugin::named("p");
    let (_backend, proxy) = proxied(&place, &plugin);
    let mut request = tonic::Request::new(describe("web"));
    metadata::stamp(&mut request, 99, "forged");
    request.metadata_mut().append(metadata::TERM, "98".parse().unwrap());
    request.metadata_mut().insert("x-user", "kept".parse().unwrap());
    let answer = soon("the answer", client(&proxy).describe(request)).await.unwrap().into_inner();
    let summary = answer.service.unwrap().summary.unwrap();
    assert_eq!((summary.name.as_str(), summary.kind.as_str()), ("web", "p"));
    let seen = plugin.seen.lock().unwrap().remove(0);
    assert_eq!(seen.get_all(metadata::TERM).iter().collect::<Vec<_>>(), ["7"]);
    assert_eq!(seen.get_all(metadata::CLUSTER).iter().collect::<Vec<_>>(), ["c7"]);
    assert_eq!(seen["x-user"], "kept");
}

#[tokio::test]
async fn fields_that_this_version_does_not_know_survive_in_both_directions() {
    let place = Place::new();
    // Echoes the message, with a trailer of its own.
    let backend = serve_raw(&place.path("p"), |request| async move {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let trailers = [("grpc-status", "0"), ("x-newer", "yes")].map(|(name, value)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
        });
        let frames =
            [http_body::Frame::data(body), http_body::Frame::trailers(trailers.into_iter().collect())];
        let body = StreamBody::new(tokio_stream::iter(frames.map(Ok::<_, Status>)));
        Response::builder().header("content-type", "application/grpc").body(Body::new(body)).unwrap()
    });
    let upstream = backend.upstream();
    let proxy = serve_proxy(&place.path("m"), &Drain::new(), move |_| Route::Local(passage(&upstream)));
    let mut message = describe("web").encode_to_vec();
    // Field 900, bytes: no message of this version has it.
    message.extend([0xa2, 0x38, 4, 0xde, 0xad, 0xbe, 0xef]);
    let sent = framed(0, &message);
    let answer = raw(&proxy, DESCRIBE, sent.clone()).await;
    let collected = soon("the echo", answer.into_body().collect()).await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-newer"], "yes");
    assert_eq!(collected.to_bytes(), sent);
}

#[tokio::test]
async fn the_router_is_told_service_and_action() {
    let place = Place::new();
    let proxy = serve_proxy(&place.path("m"), &Drain::new(), |call| {
        let text = format!("{} {:?} {:?}", call.path, call.service(), call.action());
        Route::Refuse(Error::new(Reason::Refused, text))
    });
    let status = describer(&proxy, "web").await.unwrap_err();
    assert_eq!(status.message(), r#"/om.v1.ServicePlugin/Describe Some("web") None"#);
    let status = soon("run", client(&proxy).run(run_request("logs", 1, 1))).await.unwrap_err();
    assert_eq!(status.message(), r#"/om.v1.ServicePlugin/Run Some("web") Some("logs")"#);
}

#[tokio::test]
async fn a_message_that_comes_in_pieces_is_routed_and_whole() {
    let place = Place::new();
    let plugin = TestPlugin::named("p");
    let (_backend, proxy) = proxied(&place, &plugin);
    let bytes = framed(0, &describe("a-rather-long-name").encode_to_vec());
    let pieces: Vec<_> =
        bytes.iter().map(|byte| Ok::<_, Status>(http_body::Frame::data(vec![*byte].into()))).collect();
    let body = Body::new(StreamBody::new(tokio_stream::iter(pieces)));
    let answer = soon("the answer", proxy.upstream().oneshot(raw_request(DESCRIBE, body))).await.unwrap();
    let (status, bytes) = outcome(answer).await;
    assert_eq!(status.code(), tonic::Code::Ok);
    let answer = v1::DescribeResponse::decode(&bytes[5..]).unwrap();
    assert_eq!(answer.service.unwrap().summary.unwrap().name, "a-rather-long-name");
}

#[tokio::test]
async fn refusals_carry_their_details() {
    let place = Place::new();
    let proxy = serve_proxy(&place.path("m"), &Drain::new(), |call| match call.service() {
        Some("elsewhere") => {
            let (name, endpoint) = ("b".to_owned(), "unix:///run/b".to_owned());
            Route::Elsewhere(Leader { name, endpoint, term: 9 })
        }
        Some("nobody") => Route::Nobody { why: "the leader file is empty".to_owned() },
        _ => Route::Refuse(Error::new(Reason::NotFound, "no service x").hint("om ls")),
    });
    let error = |name| {
        let proxy = &proxy;
        async move { Error::from_status(&describer(proxy, name).await.unwrap_err()).unwrap() }
    };
    let elsewhere = error("elsewhere").await;
    assert_eq!(elsewhere.reason, Reason::NotLeader);
    let named = ["leader", "endpoint", "term"].map(|key| elsewhere.metadata[key].as_str());
    assert_eq!(named, ["b", "unix:///run/b", "9"]);
    let nobody = error("nobody").await;
    assert_eq!((nobody.reason, nobody.message.as_str()), (Reason::NoLeader, "the leader file is empty"));
    let refused = error("x").await;
    assert_eq!((refused.reason, refused.hint.as_str()), (Reason::NotFound, "om ls"));
}

#[tokio::test]
async fn the_servers_own_methods_are_not_asked_about() {
    let place = Place::new();
    let proxy = unasked(&place);
    let mut client = client(&proxy);
    let handshake = soon("handshake", client.handshake(v1::HandshakeRequest::default())).await.unwrap();
    assert_eq!(handshake.into_inner().name, "own");
    soon("list", client.list(v1::ListRequest::default())).await.unwrap();
    soon("free", client.free(v1::FreeRequest::default())).await.unwrap();
    for path in ["/om.v1.Manager/Status", "/om.v1.Newer/Thing", "/grpc.health.v1.Health/Check"] {
        let (status, _) = outcome(raw(&proxy, path, framed(0, b"")).await).await;
        assert_eq!(status.code(), tonic::Code::Unimplemented, "{path}");
    }
}

#[tokio::test]
async fn a_run_that_is_the_servers_own_gets_its_whole_request() {
    let place = Place::new();
    let proxy = serve_proxy(&place.path("m"), &Drain::new(), |call| {
        assert_eq!(call.action(), Some("backup"));
        Route::Own
    });
    let mut answers =
        soon("run", client(&proxy).run(run_request("backup", 3, 10))).await.unwrap().into_inner();
    for index in 0..3 {
        assert_eq!(soon("a message", answers.message()).await.unwrap(), Some(output(index, 10)));
    }
    assert_eq!(soon("the end", answers.message()).await.unwrap(), None);
}

#[tokio::test]
async fn what_cannot_be_looked_into_is_left_to_the_server() {
    let place = Place::new();
    let proxy = unasked(&place);
    let name = describe("web").encode_to_vec();
    let huge = [0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3].to_vec();
    let odd: [(&str, Vec<u8>); 8] = [
        ("nothing", Vec::new()),
        ("half a prefix", vec![0, 0]),
        ("half a message", framed(0, &name)[..7].to_vec()),
        ("compressed", framed(1, &name).to_vec()),
        ("an unknown flag", framed(9, &name).to_vec()),
        ("a huge announced length", huge),
        ("no protobuf", framed(0, &[0xff; 9]).to_vec()),
        ("a name that is no text", framed(0, &[0x0a, 2, 0xff, 0xff]).to_vec()),
    ];
    for (what, body) in odd {
        let (status, _) = outcome(raw(&proxy, DESCRIBE, body).await).await;
        assert_ne!(status.code(), tonic::Code::Ok, "{what}");
        assert!(Error::from_status(&status).is_none(), "{what}: the router was asked: {status:?}");
    }
}

#[tokio::test]
async fn a_compressed_answer_passes_as_it_is() {
    let place = Place::new();
    let backend = serve_raw(&place.path("p"), |_| async {
        let packed = framed(1, b"as good as gzip");
        let trailers = http::HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), 0.into())]);
        let frames = [http_body::Frame::data(packed), http_body::Frame::trailers(trailers)];
        let body = StreamBody::new(tokio_stream::iter(frames.map(Ok::<_, Status>)));
        Response::builder().header("grpc-encoding", "gzip").body(Body::new(body)).unwrap()
    });
    let upstream = backend.upstream();
    let proxy = serve_proxy(&place.path("m"), &Drain::new(), move |_| Route::Local(passage(&upstream)));
    let answer = raw(&proxy, DESCRIBE, framed(0, &describe("web").encode_to_vec())).await;
    assert_eq!(answer.headers()["grpc-encoding"], "gzip");
    assert_eq!(outcome(answer).await.1, framed(1, b"as good as gzip"));
}

#[tokio::test]
async fn a_foreign_service_is_routed_by_its_kind() {
    let place = Place::new();
    let backend = serve_raw(&place.path("p"), |request| async move {
        let path = request.uri().path().to_owned();
        let body = request.into_body();
        // Compressed or not: nobody looks.
        Response::builder().header("x-path", path).header("grpc-status", "0").body(body).unwrap()
    });
    let upstream = backend.upstream();
    let proxy = serve_proxy(&place.path("m"), &Drain::new(), move |call| {
        assert!(call.first.is_none());
        match call.kind() {
            Some("postgres") => Route::Local(passage(&upstream)),
            _ => Route::Own,
        }
    });
    let mut request = raw_request("/pg.v1.Admin/Dump", Body::new(Full::new(framed(1, b"x"))));
    request.headers_mut().insert(metadata::KIND, HeaderValue::from_static("postgres"));
    let answer = soon("the answer", proxy.upstream().oneshot(request)).await.unwrap();
    assert_eq!(answer.headers()["x-path"], "/pg.v1.Admin/Dump");
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), framed(1, b"x"));
    let (status, _) = outcome(raw(&proxy, "/pg.v1.Admin/Dump", framed(0, b"x")).await).await;
    assert_eq!(status.code(), tonic::Code::Unimplemented);
}

#[tokio::test]
async fn a_thousand_calls_at_once_are_all_answered() {
    let place = Place::new();
    let plugin = TestPlugin::named("p");
    let (_backend, proxy) = proxied(&place, &plugin);
    let client = client(&proxy);
    let mut calls = tokio::task::JoinSet::new();
    for index in 0..1000 {
        let mut client = client.clone();
        calls.spawn(async move {
            let name = format!("s{index}");
            let answer = client.describe(describe(&name)).await.unwrap().into_inner();
            assert_eq!(answer.service.unwrap().summary.unwrap().name, name);
        });
    }
    soon("a thousand answers", calls.join_all()).await;
    assert_eq!(plugin.seen.lock().unwrap().len(), 1000);
}

#[test]
fn what_is_between_two_hops_stays_there() {
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("te", "gzip"), ("connection", "x"), ("content-length", "9"), ("grpc-timeout", "2S")]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let onward = onward(headers, 3, "c");
    assert_eq!(onward["te"], "trailers");
    assert_eq!(onward["grpc-timeout"], "2250m");
    assert!(!onward.contains_key("connection") && !onward.contains_key("content-length"));
    let long = HeaderMap::from_iter([(
        HeaderName::from_static("grpc-timeout"),
        HeaderValue::from_static("99999999H"),
    )]);
    assert_eq!(super::onward(long, 3, "c")["grpc-timeout"], "99999999S");
}

#[tokio::test]
async fn the_router_is_asked_once_a_call() {
    let place = Place::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let proxy = serve_proxy(&place.path("m"), &Drain::new(), move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Route::Own
    });
    assert_eq!(describer(&proxy, "web").await.unwrap(), "own");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
