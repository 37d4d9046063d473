use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

/// Counts the calls of the system.
struct Counted {
    stream: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

fn gathered(room: usize) -> (Gathered<Counted>, DuplexStream, Arc<AtomicUsize>) {
    let (near, far) = duplex(room);
    let writes = Arc::new(AtomicUsize::new(0));
    (Gathered::new(Counted { stream: near, writes: writes.clone() }), far, writes)
}

#[tokio::test]
async fn what_tasks_that_wake_one_another_write_leaves_by_one_call() {
    let (mut near, mut far, writes) = gathered(1024);
    let (told, telling) = tokio::sync::oneshot::channel();
    let tasks = TaskTracker::new();
    let writer = tasks.spawn(async move {
        near.write_all(b"headers, ").await.unwrap();
        near.flush().await.unwrap();
        telling.await.unwrap();
        near.write_all(b"message").await.unwrap();
        near
    });
    tasks.spawn(async { told.send(()) });
    let mut heard = [0; 16];
    far.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"headers, message");
    assert_eq!(writes.load(Ordering::SeqCst), 1);
    drop(writer.await.unwrap());
}

#[tokio::test]
async fn large_and_small_writes_in_any_order_arrive_whole_and_in_order_through_any_room() {
    for room in [7, 1000, 9000, 20_000, 1_000_000] {
        let (mut near, mut far, _) = gathered(room);
        let mut sent = Vec::new();
        for round in 0..40_usize {
            let size = [3, LARGE, 100, LARGE - 1, 2 * LARGE + 1][round * 7 % 5];
            sent.push(vec![u8::try_from(round).unwrap(); size]);
        }
        let all = sent.concat();
        let tasks = TaskTracker::new();
        let writer = tasks.spawn(async move {
            for piece in sent {
                near.write_all(&piece).await.unwrap();
            }
            near.shutdown().await.unwrap();
        });
        let mut heard = Vec::new();
        far.read_to_end(&mut heard).await.unwrap();
        assert!(heard == all, "room for {room}: {} of {} bytes", heard.len(), all.len());
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn what_is_large_leaves_at_once_and_takes_along_what_waits() {
    let (mut near, mut far, writes) = gathered(1_000_000);
    near.write_all(b"headers, ").await.unwrap();
    near.write_all(&[b'x'; LARGE]).await.unwrap();
    assert_eq!(writes.load(Ordering::SeqCst), 1);
    let mut heard = [0; 9 + LARGE];
    far.read_exact(&mut heard).await.unwrap();
    assert!(heard.starts_with(b"headers, xxx"));
}

#[tokio::test]
async fn a_writer_waits_for_a_reader_who_does_not_read_and_nothing_is_lost_or_kept() {
    let (mut near, mut far, _) = gathered(1000);
    let sent: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    let all = sent.clone();
    let tasks = TaskTracker::new();
    let writer = tasks.spawn(async move {
        near.write_all(&all).await.unwrap();
        near
    });
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(!writer.is_finished(), "a million bytes do not fit");
    let mut heard = vec![0; sent.len()];
    far.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, sent);
    let near = writer.await.unwrap();
    assert!(lock(&near.0).waiting.capacity() <= KEPT);
}

#[tokio::test]
async fn what_waits_when_the_connection_is_dropped_or_shut_down_still_leaves() {
    for shut_down in [false, true] {
        let (mut near, mut far, _) = gathered(1024);
        near.write_all(b"the last word").await.unwrap();
        if shut_down {
            near.shutdown().await.unwrap();
        }
        drop(near);
        let mut heard = String::new();
        far.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "the last word");
    }
}

#[tokio::test]
async fn a_connection_that_is_dropped_does_not_wait_for_a_reader() {
    let (mut near, mut far, _) = gathered(4);
    near.write_all(b"more than fits").await.unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    drop(near);
    tokio::task::yield_now().await;
    let mut heard = String::new();
    far.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "more");
}

#[tokio::test]
async fn who_writes_to_a_reader_that_is_gone_hears_of_it() {
    let (mut near, far, _) = gathered(1024);
    drop(far);
    near.write_all(b"taken").await.unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(near.flush().await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}
