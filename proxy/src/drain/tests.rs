use om_api::v1;
use om_api::v1::service_plugin_client::ServicePluginClient;

use super::*;
use crate::testing::*;
use crate::{Route, Upstream};

fn reason(status: &Status) -> Reason {
    Error::from_status(status).unwrap_or_else(|| panic!("not ours: {status:?}")).reason
}

struct Scene {
    place: Place,
    plugin: TestPlugin,
    drain: Drain,
    running: Vec<Running>,
}

impl Scene {
    fn new() -> Self {
        let (place, plugin, drain) = (Place::new(), TestPlugin::named("p"), Drain::new());
        let backend = serve_plugin(&place.path("p"), plugin.clone());
        let upstream = backend.upstream();
        let proxy = serve_proxy(&place.path("m"), &drain, move |_| Route::Local(passage(&upstream)));
        Self { place, plugin, drain, running: vec![backend, proxy] }
    }

    fn client(&self) -> ServicePluginClient<Upstream> {
        ServicePluginClient::new(Upstream::new(self.place.path("m")))
    }

    async fn describe(&self, name: &str) -> Result<v1::DescribeResponse, Status> {
        let request = v1::DescribeRequest { name: name.to_owned() };
        Ok(soon("the answer", self.client().describe(request)).await?.into_inner())
    }

    async fn calls(&self, expected: usize) {
        let mut counts = self.drain.0.under_way.subscribe();
        let right = |counts: &Counts| counts.calls + counts.streams == expected;
        soon("the count of calls", counts.wait_for(right)).await.unwrap();
    }
}

#[tokio::test]
async fn a_call_under_way_is_waited_for_and_new_ones_are_refused() {
    let scene = Scene::new();
    scene.describe("web").await.unwrap();
    scene.calls(0).await;
    let stopping = async {
        scene.calls(1).await;
        scene.drain.close();
        let status = scene.describe("web").await.unwrap_err();
        assert_eq!((status.code(), reason(&status)), (tonic::Code::Unavailable, Reason::NoLeader));
        assert!(status.message().contains("stopping"), "{status:?}");
        assert_eq!(scene.drain.wait(Duration::from_millis(50)).await, 1, "it is not over");
        scene.plugin.sent.send_replace(1);
    };
    let (answer, ()) = soon("both", futures_util::future::join(scene.describe("wait"), stopping)).await;
    assert_eq!(answer.unwrap().service.unwrap().summary.unwrap().name, "wait");
    assert_eq!(scene.drain.wait(Duration::from_secs(20)).await, 0);
}

#[tokio::test]
async fn streams_are_cut_when_draining_begins() {
    let scene = Scene::new();
    let mut client = scene.client();
    let mut run = soon("run", client.run(run_request("follow", 1, 1))).await.unwrap().into_inner();
    soon("its message", run.message()).await.unwrap();
    let mut watch = soon("watch", client.watch(v1::WatchRequest::default())).await.unwrap().into_inner();
    scene.calls(2).await;
    scene.drain.close();
    for status in
        [soon("a cut", run.message()).await.map(|_| ()), soon("a cut", watch.message()).await.map(|_| ())]
    {
        let status = status.unwrap_err();
        assert_eq!((status.code(), reason(&status)), (tonic::Code::Unavailable, Reason::NoLeader));
    }
    assert_eq!(scene.drain.wait(Duration::from_secs(20)).await, 0);
    soon("the plugin's stream to end", scene.plugin.streams.subscribe().wait_for(|open| *open == 0))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_stream_of_a_foreign_service_is_cut_too() {
    use tower::ServiceExt as _;
    let place = Place::new();
    let backend = serve_raw(&place.path("p"), |_| async {
        Response::new(Body::new(http_body_util::StreamBody::new(tokio_stream::pending::<
            Result<http_body::Frame<bytes::Bytes>, Status>,
        >())))
    });
    let (drain, upstream) = (Drain::new(), backend.upstream());
    let proxy = serve_proxy(&place.path("m"), &drain, move |_| Route::Local(passage(&upstream)));
    let call = proxy.upstream().oneshot(raw_request("/x.Y/Follow", Body::empty()));
    let answer = soon("the answer", call).await.unwrap();
    assert_eq!(drain.calls(), 1);
    drain.close();
    assert_eq!(drain.wait(Duration::from_secs(20)).await, 0);
    let collected = soon("the end", http_body_util::BodyExt::collect(answer.into_body())).await.unwrap();
    let status = Status::from_header_map(collected.trailers().unwrap()).unwrap();
    assert_eq!(status.code(), tonic::Code::Unavailable);
}

#[tokio::test]
async fn a_client_that_goes_away_is_no_longer_counted() {
    let scene = Scene::new();
    let mut client = scene.client();
    let run = soon("run", client.run(run_request("follow", 1, 1))).await.unwrap();
    scene.calls(1).await;
    drop(run);
    scene.calls(0).await;
    assert_eq!(scene.running.len(), 2);
}

#[tokio::test]
async fn health_is_answered_to_the_end() {
    use tower::ServiceExt as _;
    let scene = Scene::new();
    scene.drain.close();
    let request = raw_request(HEALTH, Body::new(http_body_util::Full::new(framed(0, b""))));
    let answer = soon("the answer", Upstream::new(scene.place.path("m")).oneshot(request)).await.unwrap();
    // The test's proxy has no health service: what answers is the server behind the drain.
    assert_eq!(Status::from_header_map(answer.headers()).unwrap().code(), tonic::Code::Unimplemented);
}

#[tokio::test]
async fn a_client_that_does_not_read_does_not_hold_up_the_end() {
    let scene = Scene::new();
    let mut client = scene.client();
    // More than fits between plugin and client; nobody reads.
    let _unread = soon("run", client.run(run_request("dump", 256, 64 * 1024))).await.unwrap();
    scene.calls(1).await;
    scene.drain.close();
    // Without an end of its own it would wait for good, and this for the test's.
    let left = soon("the wait to be over", scene.drain.wait(Duration::from_secs(3600))).await;
    assert!(left <= 1);
}
