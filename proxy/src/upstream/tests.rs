use std::sync::atomic::{AtomicUsize, Ordering};

use om_api::v1::service_plugin_client::ServicePluginClient;
use om_api::v1::{DescribeRequest, HandshakeRequest};
use tokio::io::AsyncReadExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::*;
use crate::testing::*;

async fn instance(upstream: &Upstream) -> Result<String, Status> {
    let mut client = ServicePluginClient::new(upstream.clone());
    Ok(soon("the handshake", client.handshake(HandshakeRequest::default())).await?.into_inner().instance)
}

/// Passes bytes on to `to`, and counts connections and what is open.
fn counted(path: &Path, to: &Path) -> (JoinSet<()>, Arc<AtomicUsize>) {
    let listener = UnixListener::bind(path).unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let (to, counting) = (to.to_owned(), count.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut splices = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            counting.fetch_add(1, Ordering::SeqCst);
            let mut server = UnixStream::connect(&to).await.unwrap();
            splices.spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        }
    });
    (tasks, count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_come_together_share_one_connection() {
    let place = Place::new();
    let _backend = serve_plugin(&place.path("p"), TestPlugin::named("p"));
    let (_splice, connections) = counted(&place.path("counted"), &place.path("p"));
    let upstream = Upstream::new(place.path("counted"));
    let mut calls = JoinSet::new();
    for _ in 0..200 {
        let upstream = upstream.clone();
        calls.spawn(async move { instance(&upstream).await.unwrap() });
    }
    assert!(soon("all answers", calls.join_all()).await.iter().all(|instance| instance == "first"));
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_told_from_one_that_nobody_serves() {
    let place = Place::new();
    let path = place.path("p");
    let upstream = Upstream::new(&path);
    let missing = instance(&upstream).await.unwrap_err();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let stale = instance(&upstream).await.unwrap_err();
    for (status, why) in [(missing, "there is no such socket"), (stale, "nobody serves it")] {
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(Error::from_status(&status).unwrap().reason, Reason::PluginUnavailable);
        assert!(status.message().contains(path.to_str().unwrap()), "{status:?}");
        assert!(status.message().contains(why), "{status:?}");
    }
}

#[tokio::test]
async fn a_loss_is_noticed_without_a_call() {
    let place = Place::new();
    let path = place.path("p");
    let backend = serve_plugin(&path, TestPlugin::named("p"));
    let upstream = Upstream::new(&path);
    assert_eq!(*upstream.link().borrow(), Link::Down);
    let first = upstream.connect().await.unwrap();
    assert_eq!(upstream.connect().await.unwrap(), first, "it stands already");
    assert_eq!(*upstream.link().borrow(), Link::Up(first));
    backend.kill();
    soon("the loss to show", upstream.closed(first)).await;
    assert_eq!(*upstream.link().borrow(), Link::Down);
    assert!(instance(&upstream).await.is_err());
}

#[tokio::test]
async fn a_connection_that_was_given_up_lets_its_calls_end() {
    let place = Place::new();
    let path = place.path("p");
    let plugin = TestPlugin::named("p");
    let _backend = serve_plugin(&path, plugin.clone());
    let upstream = Upstream::new(&path);
    let first = upstream.connect().await.unwrap();
    let mut client = ServicePluginClient::new(upstream.clone());
    let waiting = client.describe(DescribeRequest { name: "wait".to_owned() });
    let giving_up = async {
        plugin.streams.subscribe().wait_for(|open| *open == 1).await.unwrap();
        upstream.reset();
        soon("the notice", upstream.closed(first)).await;
        assert!(upstream.connect().await.unwrap() > first);
        plugin.sent.send_replace(1);
    };
    let (answer, ()) = soon("the answer", futures_util::future::join(waiting, giving_up)).await;
    assert_eq!(answer.unwrap().into_inner().service.unwrap().summary.unwrap().name, "wait");
}

#[tokio::test]
async fn the_connection_ends_with_its_last_handle() {
    let place = Place::new();
    let path = place.path("p");
    let listener = UnixListener::bind(&path).unwrap();
    let upstream = Upstream::new(&path);
    upstream.connect().await.unwrap();
    let (mut stream, _) = soon("the connection", listener.accept()).await.unwrap();
    let other = upstream.clone();
    drop(upstream);
    assert!(matches!(*other.link().borrow(), Link::Up(_)));
    drop(other);
    let mut sent = Vec::new();
    soon("its end", stream.read_to_end(&mut sent)).await.unwrap();
}

#[tokio::test]
async fn a_call_that_may_have_arrived_is_not_sent_again() {
    let place = Place::new();
    let path = place.path("p");
    let listener = UnixListener::bind(&path).unwrap();
    let arrived = Arc::new(AtomicUsize::new(0));
    let count = arrived.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // The client's preface, then its first frames; then the connection breaks.
            let mut bytes = [0; 4096];
            let mut read = 0;
            while read < 200 {
                read += stream.read(&mut bytes).await.unwrap();
            }
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let upstream = Upstream::new(&path);
    let request = raw_request("/x.Y/Z", Body::new(http_body_util::Full::new(framed(0, &[0; 300]))));
    let status = soon("the failure", upstream.oneshot(request)).await.map(|_| ()).unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(arrived.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_restart_fails_no_call_once_the_loss_is_noticed() {
    let place = Place::new();
    let path = place.path("p");
    let upstream = Upstream::new(&path);
    for round in 0..20 {
        let name = format!("i{round}");
        let backend = serve_plugin(&path, TestPlugin::named("p").instance(&name));
        assert_eq!(instance(&upstream).await.unwrap(), name);
        let number = upstream.connect().await.unwrap();
        backend.kill();
        soon("the notice", upstream.closed(number)).await;
    }
}

#[tokio::test]
async fn a_body_that_is_dropped_resets_its_stream_only() {
    let place = Place::new();
    let plugin = TestPlugin::named("p");
    let _backend = serve_plugin(&place.path("p"), plugin.clone());
    let upstream = Upstream::new(place.path("p"));
    let number = upstream.connect().await.unwrap();
    let mut client = ServicePluginClient::new(upstream.clone());
    let answers = soon("run", client.run(run_request("follow", 1, 1))).await.unwrap().into_inner();
    drop(answers);
    soon("the stream to end", plugin.streams.subscribe().wait_for(|open| *open == 0)).await.unwrap();
    assert_eq!(instance(&upstream).await.unwrap(), "first");
    assert_eq!(*upstream.link().borrow(), Link::Up(number));
}

#[tokio::test]
async fn who_runs_apart_has_one_more_connection_which_is_given_up_with_the_first() {
    let place = Place::new();
    let _backend = serve_plugin(&place.path("p"), TestPlugin::named("p"));
    let (_splice, connections) = counted(&place.path("counted"), &place.path("p"));
    let upstream = Upstream::new(place.path("counted"));
    for _ in 0..3 {
        instance(&upstream).await.unwrap();
        instance(upstream.apart()).await.unwrap();
        instance(upstream.clone().apart()).await.unwrap();
    }
    assert_eq!(connections.load(Ordering::SeqCst), 2);
    upstream.reset();
    instance(upstream.apart()).await.unwrap();
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}
