//! Asks every member of the service for a page, many times a second, and remembers what came of it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock;

/// Between two questions to the same member.
pub(super) const EVERY: Duration = Duration::from_millis(50);

/// How long an answer may take before it counts as none.
const PATIENCE: Duration = Duration::from_secs(2);

/// One question to one member.
#[derive(Clone, Copy)]
struct Sample {
    port: u16,
    at: Duration,
    answered: bool,
}

/// Answers and failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) answers: usize,
    pub(super) failures: usize,
}

/// Asks until it is dropped.
pub(super) struct Prober {
    samples: Arc<Mutex<Vec<Sample>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Prober {
    /// Begins to ask, each port by a thread of its own.
    pub(super) fn new(ports: impl IntoIterator<Item = u16>) -> Self {
        let samples = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let ask = |port| {
            let (samples, stop) = (Arc::clone(&samples), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let at = clock::now();
                    let sample = Sample { port, at, answered: answers(port) };
                    samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
                    std::thread::sleep(EVERY);
                }
            })
        };
        let threads = ports.into_iter().map(ask).collect();
        Self { samples, stop, threads }
    }

    /// Questions that were asked from `since` on, of the ports that `of` picks.
    pub(super) fn count(&self, since: Duration, of: impl Fn(u16) -> bool) -> Count {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = samples.iter().filter(|sample| sample.at >= since && of(sample.port));
        counted.fold(Count::default(), |count, sample| Count {
            answers: count.answers + usize::from(sample.answered),
            failures: count.failures + usize::from(!sample.answered),
        })
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Whether a web server answers with success.
fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream =
            TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(64 * 1024).read_to_end(&mut answer)?;
        let first = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
        Ok(first.starts_with(b"HTTP/1.") && first.windows(5).any(|word| word == b" 200 "))
    };
    ask().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const SAYS: [&str; 4] = ["HTTP/1.0 200 OK\r\n\r\nhello", "HTTP/1.0 500 Oh\r\n\r\n", "", "SSH-2.0-x\r\n"];

    /// A server that gives these answers, one after another, and then none.
    fn server(listener: TcpListener) -> JoinHandle<()> {
        std::thread::spawn(move || {
            for answer in SAYS {
                let (mut stream, _) = listener.accept().unwrap();
                let mut question = [0; 256];
                assert!(stream.read(&mut question).unwrap() > 0);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        })
    }

    #[test]
    fn only_a_success_is_an_answer() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = server(listener);
        assert_eq!(SAYS.map(|_| answers(port)), [true, false, false, false]);
        server.join().unwrap();
        assert!(!answers(port), "nobody listens any more");
    }

    #[test]
    fn answers_and_failures_are_counted_by_time_and_port() {
        let sample = |port, at, answered| Sample { port, at: Duration::from_secs(at), answered };
        let samples = vec![sample(1, 1, false), sample(1, 2, true), sample(2, 3, false), sample(1, 3, true)];
        let prober =
            Prober { samples: Arc::new(Mutex::new(samples)), stop: Arc::default(), threads: Vec::new() };
        let all = prober.count(Duration::ZERO, |_| true);
        assert_eq!(all, Count { answers: 2, failures: 2 });
        let later = prober.count(Duration::from_secs(2), |port| port == 1);
        assert_eq!(later, Count { answers: 2, failures: 0 });
    }
}
