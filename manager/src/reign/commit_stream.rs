//! The commits of one session, over one stream: what a call of its own costs each, they share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use om_api::v1;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status};

use super::{Reign, Session};

/// Commits that may wait to be sent.
const BACKLOG: usize = 64;

/// What became of a commit.
type Answer = Result<v1::CommitResponse, Status>;

/// A session's way to commit.
#[derive(Clone, Default)]
pub(crate) struct CommitStream(Arc<Mutex<Way>>);

#[derive(Default)]
enum Way {
    /// Nothing was committed yet, or the stream broke off.
    #[default]
    New,
    Open(Opened),
    /// The plugin knows no stream, or does not answer on it.
    Calls,
}

#[derive(Clone)]
struct Opened {
    questions: mpsc::Sender<v1::CommitRequest>,
    waiting: Arc<Mutex<Waiting>>,
}

/// Who waits for an answer, in the order of the questions.
enum Waiting {
    Open(VecDeque<oneshot::Sender<Answer>>),
    /// Why it is over.
    Over(Status),
}

impl CommitStream {
    /// Asks over the stream, which is opened if need be. `None`: there is none; it takes a call.
    pub(super) async fn ask(
        &self,
        reign: &Reign,
        session: &Session,
        commit: impl FnOnce() -> v1::CommitRequest,
    ) -> Option<Answer> {
        let stream = self.stream(reign, session)?;
        let answer = stream.ask(commit()).await;
        let unknown = answer.as_ref().is_err_and(|status| status.code() == Code::Unimplemented);
        if unknown {
            self.by_calls();
        }
        (!unknown).then_some(answer)
    }

    /// From now on each commit is a call.
    pub(super) fn by_calls(&self) {
        *lock(&self.0) = Way::Calls;
    }

    fn stream(&self, reign: &Reign, session: &Session) -> Option<Opened> {
        let mut way = lock(&self.0);
        match &*way {
            Way::Calls => return None,
            Way::Open(stream) if !stream.questions.is_closed() => return Some(stream.clone()),
            Way::Open(_) | Way::New => {}
        }
        let (questions, asked) = mpsc::channel(BACKLOG);
        let waiting = Arc::new(Mutex::new(Waiting::Open(VecDeque::new())));
        let stream = Opened { questions, waiting: waiting.clone() };
        *way = Way::Open(stream.clone());
        drop(way);
        let (carrying, session, end) = (reign.clone(), session.clone(), End(waiting));
        reign.spawn(async move {
            let carried = session.closed.run_until_cancelled(carry(&carrying, &session, asked, &end)).await;
            end.come(carried.unwrap_or_else(broken));
        });
        Some(stream)
    }
}

impl Opened {
    async fn ask(&self, commit: v1::CommitRequest) -> Answer {
        let room = self.questions.reserve().await;
        let (to, answer) = oneshot::channel();
        match &mut *lock(&self.waiting) {
            Waiting::Over(why) => return Err(why.clone()),
            // Where nothing can be sent any more, the end of the stream is about to be told.
            Waiting::Open(waiting) => {
                waiting.push_back(to);
                if let Ok(room) = room {
                    room.send(commit);
                }
            }
        }
        answer.await.unwrap_or_else(|_| Err(broken()))
    }
}

/// Carries questions and answers. Returns why it ends.
async fn carry(
    reign: &Reign,
    session: &Session,
    asked: mpsc::Receiver<v1::CommitRequest>,
    end: &End,
) -> Status {
    let mut request = Request::new(ReceiverStream::new(asked));
    om_api::metadata::stamp(&mut request, reign.term(), reign.cluster());
    let mut client = session.client();
    let mut answers = match client.commit_many(request).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => return status,
    };
    loop {
        match answers.message().await {
            Ok(Some(answer)) => end.answered(answer.into_result()),
            Ok(None) => return broken(),
            Err(status) => return status,
        }
    }
}

fn broken() -> Status {
    Status::unavailable("the stream of commits broke off")
}

/// Tells all who wait that the stream is over, whatever ended it.
struct End(Arc<Mutex<Waiting>>);

impl End {
    fn answered(&self, answer: Answer) {
        if let Waiting::Open(waiting) = &mut *lock(&self.0)
            && let Some(first) = waiting.pop_front()
        {
            // Who asked may have given up.
            let _ = first.send(answer);
        }
    }

    fn come(&self, why: Status) {
        let before = std::mem::replace(&mut *lock(&self.0), Waiting::Over(why.clone()));
        if let Waiting::Open(waiting) = before {
            waiting.into_iter().for_each(|to| drop(to.send(Err(why.clone()))));
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if matches!(&*lock(&self.0), Waiting::Open(_)) {
            self.come(broken());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
