//! How calls end before their time: the term, the deadline, the plugin.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;

use super::*;

fn timed<T>(message: T, timeout: &str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
    request
}

fn reason(status: &Status) -> Reason {
    Error::from_status(status).unwrap_or_else(|| panic!("not ours: {status:?}")).reason
}

/// A proxy under a term that the token ends.
fn ruled(place: &Place, plugin: &TestPlugin) -> (Running, Running, CancellationToken) {
    let backend = serve_plugin(&place.path("p"), plugin.clone());
    let until = CancellationToken::new();
    let way = Passage { until: until.clone(), ..passage(&backend.upstream()) };
    let proxy = serve_proxy(&place.path("m"), &Drain::new(), move |_| Route::Local(way.clone()));
    (backend, proxy, until)
}

#[tokio::test]
async fn a_stream_is_cut_when_the_term_ends() {
    let place = Place::new();
    let plugin = TestPlugin::named("p");
    let (_backend, proxy, until) = ruled(&place, &plugin);
    let mut answers =
        soon("run", client(&proxy).run(run_request("follow", 1, 1))).await.unwrap().into_inner();
    soon("the first message", answers.message()).await.unwrap();
    until.cancel();
    let status = soon("the cut", answers.message()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (tonic::Code::Unavailable, Reason::NoLeader));
    assert_eq!(status.message(), "leadership was lost");
    soon("the plugin's stream to end", plugin.streams.subscribe().wait_for(|open| *open == 0)).await.unwrap();
}

#[tokio::test]
async fn a_call_without_an_answer_yet_is_cut_when_the_term_ends() {
    let place = Place::new();
    let plugin = TestPlugin::named("p");
    let (_backend, proxy, until) = ruled(&place, &plugin);
    let mut streams = plugin.streams.subscribe();
    let ending = async {
        streams.wait_for(|open| *open == 1).await.unwrap();
        until.cancel();
    };
    let (answer, ()) = soon("the cut", futures_util::future::join(describer(&proxy, "wait"), ending)).await;
    assert_eq!(reason(&answer.unwrap_err()), Reason::NoLeader);
    soon("the plugin's call to end", streams.wait_for(|open| *open == 0)).await.unwrap();
}

#[tokio::test]
async fn nothing_is_forwarded_under_a_term_that_has_ended() {
    let place = Place::new();
    let plugin = TestPlugin::named("p");
    let (_backend, proxy, until) = ruled(&place, &plugin);
    until.cancel();
    assert_eq!(reason(&describer(&proxy, "web").await.unwrap_err()), Reason::NoLeader);
    assert!(plugin.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_silent_stream_ends_at_its_deadline() {
    let place = Place::new();
    let plugin = TestPlugin::named("p");
    let (_backend, proxy) = proxied(&place, &plugin);
    let request = timed(run_request("follow", 1, 1), "1S");
    let mut answers = soon("run", client(&proxy).run(request)).await.unwrap().into_inner();
    assert!(soon("the first message", answers.message()).await.unwrap().is_some());
    let status = soon("the deadline", answers.message()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded, "{status:?}");
    soon("the plugin's stream to end", plugin.streams.subscribe().wait_for(|open| *open == 0)).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_always_has_more_ends_at_its_deadline() {
    let place = Place::new();
    let (_backend, proxy) = proxied(&place, &TestPlugin::named("p"));
    let request = timed(run_request("dump", usize::MAX, 1000), "1S");
    let mut answers = soon("run", client(&proxy).run(request)).await.unwrap().into_inner();
    let status = soon("the deadline", async {
        loop {
            if let Err(status) = answers.message().await {
                return status;
            }
        }
    });
    assert_eq!(status.await.code(), tonic::Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_stream_of_the_servers_own_ends_at_its_deadline() {
    let place = Place::new();
    let proxy = serve_proxy(&place.path("m"), &Drain::new(), |_| Route::Own);
    for own in [true, false] {
        let mut client = client(&proxy);
        let status = if own {
            let request = timed(v1::WatchRequest::default(), "1S");
            let mut answers = soon("watch", client.watch(request)).await.unwrap().into_inner();
            soon("the deadline", answers.message()).await.unwrap_err()
        } else {
            let request = timed(run_request("follow", 0, 0), "1S");
            let mut answers = soon("run", client.run(request)).await.unwrap().into_inner();
            soon("the deadline", answers.message()).await.unwrap_err()
        };
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded, "{status:?}");
    }
}

#[tokio::test]
async fn a_call_that_is_never_answered_ends_at_its_deadline() {
    let place = Place::new();
    let plugin = TestPlugin::named("p");
    let (_backend, proxy) = proxied(&place, &plugin);
    for _ in 0..20 {
        let request = timed(describe("wait"), "20m");
        let status = soon("the deadline", client(&proxy).describe(request)).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded, "{status:?}");
    }
    soon("the plugin's calls to end", plugin.streams.subscribe().wait_for(|open| *open == 0)).await.unwrap();
}

#[tokio::test]
async fn a_half_sent_question_ends_at_its_deadline() {
    let place = Place::new();
    let proxy = unasked(&place);
    let (_send, sending) = tokio::sync::mpsc::channel::<Result<http_body::Frame<bytes::Bytes>, Status>>(1);
    let body = Body::new(StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(sending)));
    let mut request = raw_request(DESCRIBE, body);
    request.headers_mut().insert("grpc-timeout", HeaderValue::from_static("50m"));
    let answer = soon("the deadline", proxy.upstream().oneshot(request)).await.unwrap();
    let status = Status::from_header_map(answer.headers()).unwrap();
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_plugin_that_dies_in_a_stream_is_named() {
    let place = Place::new();
    let (backend, proxy) = proxied(&place, &TestPlugin::named("p"));
    let mut answers =
        soon("run", client(&proxy).run(run_request("follow", 1, 1))).await.unwrap().into_inner();
    soon("the first message", answers.message()).await.unwrap();
    backend.kill();
    let status = soon("the loss", answers.message()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (tonic::Code::Unavailable, Reason::PluginUnavailable));
    assert!(status.message().contains(place.path("p").to_str().unwrap()), "{status:?}");
}

#[tokio::test]
async fn a_restarted_plugin_is_reached_by_the_next_call() {
    let place = Place::new();
    let (backend, proxy) = proxied(&place, &TestPlugin::named("p"));
    assert_eq!(describer(&proxy, "web").await.unwrap(), "p");
    let path = backend.path.clone();
    backend.kill();
    assert_eq!(reason(&describer(&proxy, "web").await.unwrap_err()), Reason::PluginUnavailable);
    let _again = serve_plugin(&path, TestPlugin::named("p").instance("second"));
    let answer = soon("the answer", client(&proxy).describe(describe("web"))).await.unwrap().into_inner();
    assert_eq!(answer.service.unwrap().summary.unwrap().message, "second");
}

#[tokio::test]
async fn a_peer_that_speaks_no_grpc_is_unavailable() {
    let place = Place::new();
    let path = place.path("p");
    let listener = UnixListener::bind(&path).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut greeting = [0; 24];
            let _ = stream.read(&mut greeting).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    let upstream = Upstream::new(&path);
    let proxy = serve_proxy(&place.path("m"), &Drain::new(), move |_| Route::Local(passage(&upstream)));
    let status = describer(&proxy, "web").await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (tonic::Code::Unavailable, Reason::PluginUnavailable));
    assert!(status.message().contains(path.to_str().unwrap()), "{status:?}");
}

#[tokio::test]
async fn a_peer_that_never_says_anything_costs_a_call_its_deadline_only() {
    let place = Place::new();
    let silent = UnixListener::bind(place.path("silent")).unwrap();
    let (_silent, backend) = (silent, serve_plugin(&place.path("p"), TestPlugin::named("p")));
    let ways = [Upstream::new(place.path("silent")), backend.upstream()].map(|upstream| passage(&upstream));
    let proxy = serve_proxy(&place.path("m"), &Drain::new(), move |call| {
        Route::Local(ways[usize::from(call.service() == Some("web"))].clone())
    });
    let request = timed(describe("silent"), "1S");
    let mut hanging = client(&proxy);
    let hanging = hanging.describe(request);
    let others = async {
        for _ in 0..20 {
            assert_eq!(describer(&proxy, "web").await.unwrap(), "p");
        }
    };
    let (status, ()) = soon("all of it", futures_util::future::join(hanging, others)).await;
    assert_eq!(status.unwrap_err().code(), tonic::Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_plugin_that_gives_a_call_up_says_so_itself() {
    let place = Place::new();
    let backend = serve_raw(&place.path("p"), |_| async {
        tonic::Status::with_details(tonic::Code::Aborted, "no", bytes::Bytes::from_static(b"why")).into_http()
    });
    let upstream = backend.upstream();
    let proxy = serve_proxy(&place.path("m"), &Drain::new(), move |_| Route::Local(passage(&upstream)));
    let status = describer(&proxy, "web").await.unwrap_err();
    assert_eq!(
        (status.code(), status.message(), status.details()),
        (tonic::Code::Aborted, "no", &b"why"[..])
    );
}
