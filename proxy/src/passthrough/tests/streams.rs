//! Streams: their bytes, their flow control, and who holds up whom.

use tokio_stream::StreamExt as _;

use super::*;

#[tokio::test]
async fn sixteen_megabytes_pass_at_the_readers_pace() {
    const COUNT: usize = 256;
    const SIZE: usize = 64 * 1024;
    /// Of 64 KiB each: two sockets, two send buffers and two windows lie between plugin and reader.
    const UNDER_WAY: usize = 64;
    let place = Place::new();
    let plugin = TestPlugin::named("p");
    let (_backend, proxy) = proxied(&place, &plugin);
    let mut answers =
        soon("run", client(&proxy).run(run_request("dump", COUNT, SIZE))).await.unwrap().into_inner();
    for index in 0..COUNT {
        let message = soon("a message", answers.message()).await.unwrap();
        assert!(message == Some(output(index, SIZE)), "message {index} differs");
        let ahead = *plugin.sent.borrow() - index;
        assert!(ahead <= UNDER_WAY, "{ahead} messages are buffered between plugin and reader");
    }
    assert_eq!(soon("the end", answers.message()).await.unwrap(), None);
}

#[tokio::test]
async fn readers_that_stall_hold_up_no_other_call() {
    let place = Place::new();
    let plugin = TestPlugin::named("p");
    let (_backend, proxy) = proxied(&place, &plugin);
    let mut stalled = Vec::new();
    for _ in 0..40 {
        // A connection of its own each: what one client does not read is that client's.
        stalled.push(soon("run", client(&proxy).run(run_request("dump", 64, 64 * 1024))).await.unwrap());
    }
    for _ in 0..10 {
        assert_eq!(describer(&proxy, "web").await.unwrap(), "p");
    }
    let mut first = stalled.remove(0).into_inner();
    let mut count = 0;
    while soon("a message", first.next()).await.transpose().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 64);
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_plugins_stream() {
    let place = Place::new();
    let plugin = TestPlugin::named("p");
    let (_backend, proxy) = proxied(&place, &plugin);
    let mut streams = plugin.streams.subscribe();
    let mut answers =
        soon("run", client(&proxy).run(run_request("follow", 1, 1))).await.unwrap().into_inner();
    soon("the first message", answers.message()).await.unwrap();
    assert_eq!(*streams.borrow(), 1);
    drop(answers);
    soon("the plugin's stream to end", streams.wait_for(|open| *open == 0)).await.unwrap();
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_answer_ends_the_plugins_call() {
    let place = Place::new();
    let plugin = TestPlugin::named("p");
    let (_backend, proxy) = proxied(&place, &plugin);
    let mut client = client(&proxy);
    let mut streams = plugin.streams.subscribe();
    {
        let call = client.describe(describe("wait"));
        tokio::pin!(call);
        soon("the plugin to see the call", async {
            tokio::select! { answer = &mut call => panic!("answered: {answer:?}"), _ = streams.wait_for(|open| *open == 1) => {} }
        })
        .await;
    }
    soon("the plugin's call to end", streams.wait_for(|open| *open == 0)).await.unwrap();
    assert_eq!(describer(&proxy, "web").await.unwrap(), "p");
}

/// A plugin that answers with what it is sent, as long as it is sent anything.
#[tokio::test]
async fn a_cut_ends_the_plugins_side_though_the_client_goes_on_sending() {
    let place = Place::new();
    let (ended, mut over) = tokio::sync::watch::channel(false);
    let backend = serve_raw(&place.path("p"), move |request| {
        let ended = ended.clone();
        async move {
            let mut body = request.into_body();
            let (echo, echoed) = tokio::sync::mpsc::channel(4);
            let first = body.frame().await.unwrap();
            echo.send(first).await.unwrap();
            let rest = async move {
                // Until the proxy breaks it off.
                while let Some(Ok(frame)) = body.frame().await {
                    if echo.send(Ok(frame)).await.is_err() {
                        break;
                    }
                }
                ended.send_replace(true);
            };
            let frames = tokio_stream::wrappers::ReceiverStream::new(echoed);
            let mut work = tokio::task::JoinSet::new();
            work.spawn(rest);
            let frames = frames.map(move |frame| {
                let _until_dropped = &work;
                frame
            });
            Response::new(Body::new(StreamBody::new(frames)))
        }
    });
    let until = CancellationToken::new();
    let way = Passage { until: until.clone(), ..passage(&backend.upstream()) };
    let proxy = serve_proxy(&place.path("m"), &Drain::new(), move |_| Route::Local(way.clone()));
    let (send, sending) = tokio::sync::mpsc::channel(4);
    send.send(Ok::<_, Status>(http_body::Frame::data(framed(0, b"one")))).await.unwrap();
    let body = Body::new(StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(sending)));
    let answer = soon("the answer", proxy.upstream().oneshot(raw_request("/x.Y/Chat", body))).await.unwrap();
    let mut answer = answer.into_body();
    let echoed = soon("the echo", answer.frame()).await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(echoed, framed(0, b"one"));
    until.cancel();
    let trailers = soon("the cut", answer.frame()).await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(Status::from_header_map(&trailers).unwrap().code(), tonic::Code::Unavailable);
    soon("the plugin's side to end", over.wait_for(|over| *over)).await.unwrap();
    drop(send);
}

#[tokio::test]
async fn clients_that_give_up_in_crowds_cost_the_others_nothing() {
    let place = Place::new();
    let plugin = TestPlugin::named("p");
    let backend = serve_plugin(&place.path("p"), plugin.clone());
    let upstream = backend.upstream();
    let number = upstream.connect().await.unwrap();
    let link = upstream.link();
    let proxy = serve_proxy(&place.path("m"), &Drain::new(), move |_| Route::Local(passage(&upstream)));
    let mut steady = soon("run", client(&proxy).run(run_request("follow", 0, 0))).await.unwrap().into_inner();
    for _ in 0..20 {
        let client = client(&proxy);
        let crowd: Vec<_> = (0..100)
            .map(|_| {
                let mut client = client.clone();
                Box::pin(async move { client.describe(describe("wait")).await })
            })
            .collect();
        let mut crowd = futures_util::future::select_all(crowd);
        soon("the crowd to be seen", async {
            tokio::select! {
                (answer, ..) = &mut crowd => panic!("answered: {answer:?}"),
                _ = async { plugin.streams.subscribe().wait_for(|open| *open > 1).await.map(|_| ()) } => {}
            }
        })
        .await;
        drop(crowd);
    }
    assert_eq!(describer(&proxy, "web").await.unwrap(), "p");
    assert_eq!(*link.borrow(), crate::Link::Up(number), "the connection was broken");
    let still = tokio::time::timeout(std::time::Duration::from_millis(10), steady.message()).await;
    assert!(still.is_err(), "the steady stream ended: {still:?}");
}
