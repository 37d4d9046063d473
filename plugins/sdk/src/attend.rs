//! The session with a manager: opened, kept while its authority is renewed, ended so that nothing of it is left.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use om_api::v1::attend_request::{Message, Open, Renewed, StateSaved};
use om_api::v1::attend_response::{Opened, Released};
use om_api::v1::{AttendRequest, AttendResponse};
use om_api::{Error, Reason};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::admit::{Shell, fenced};
use crate::authority::Asks;
use crate::crew::Crew;
use crate::session::{Opener, Session};
use crate::terms::Standing;
use crate::will;

/// What the manager reads.
pub(crate) type Outgoing = ReceiverStream<Result<AttendResponse, Status>>;

/// A manager that opens a stream and says nothing is not waited for longer.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);
/// A task that does not stop by then blocks its thread. It holds up its own service only: see `crew`.
pub(crate) const STOP_BOUND: Duration = Duration::from_secs(2);
/// So many services are stopped at a time, and waited for so long before the next are.
const STOPPED_AT_ONCE: usize = 256;
const TURN: Duration = Duration::from_millis(20);
/// The deadline is looked at least this often, for a clock that ran on while timers stood still.
const LOOK: Duration = Duration::from_millis(50);
/// How long a manager that does not read is given to take the last message of a session.
const LAST_WORD: Duration = Duration::from_secs(1);

impl Shell {
    /// Opens a session, after the authority of the one before has ended for good. What that one began may still be on its way
    /// to an end: of each service nothing new begins before (see `crew`), and the manager is told once all of it has ended.
    pub(crate) async fn attend(
        self: &Arc<Self>,
        request: Request<Streaming<AttendRequest>>,
    ) -> Result<Response<Outgoing>, Status> {
        self.admit(&request)?;
        let mut incoming = request.into_inner();
        let first = tokio::time::timeout(FIRST_MESSAGE, incoming.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("attend: no `open` came"))??;
        let Some(Message::Open(open)) = first.and_then(|request| request.message) else {
            return Err(Status::invalid_argument("attend: the first message must be `open`"));
        };
        Ok(Response::new(self.open(open, incoming).await?))
    }

    async fn open(
        self: &Arc<Self>,
        open: Open,
        incoming: Streaming<AttendRequest>,
    ) -> Result<Outgoing, Status> {
        if open.term == 0 || open.cluster.is_empty() || open.authority_ms == 0 {
            return Err(Status::invalid_argument("attend: `open` needs a term, a cluster and authority_ms"));
        }
        let _alone = self.gate.lock().await;
        if self.stopping.is_cancelled() {
            return Err(Error::new(Reason::PluginUnavailable, "this plugin is stopping").into());
        }
        let earlier = self.session();
        let standing = earlier.as_deref().map(|session| Standing {
            cluster: &session.cluster,
            manager: &session.manager,
            held: session.authority.check().is_ok(),
        });
        let opening = self.terms.lock().unwrap_or_else(PoisonError::into_inner).open(
            &open.cluster,
            open.term,
            standing,
        );
        opening.map_err(|refusal| fenced(refusal.to_string()))?;

        if let Some(earlier) = &earlier {
            earlier.authority.end(format!("term {} of {} has begun", open.term, open.manager));
        }
        tracing::info!(term = open.term, manager = open.manager, "attended");
        let number = earlier.as_ref().map_or(1, |earlier| earlier.number + 1);
        let opener = Opener { cluster: open.cluster, manager: open.manager, term: open.term };
        let session = Session::new(number, opener, self.host.clone(), self.clock.clone(), self.feed.clone());
        open.will.into_iter().for_each(|will| session.leave(will));
        session.outbox.opened(Opened { instance: self.instance.clone() });
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(session.clone());
        if let Some(earlier) = earlier.as_ref().filter(|earlier| earlier.cluster == session.cluster) {
            earlier.superseded.cancel();
        }
        self.tasks.spawn(tell_of_the_end(self.clone(), earlier, session.clone()));

        let (sender, outgoing) = mpsc::channel(1);
        let authority = Duration::from_millis(open.authority_ms.into());
        let asks = Asks::new(authority, self.now());
        let speaking = self.tasks.spawn(speak(session.clone(), sender));
        let shell = self.clone();
        self.tasks.spawn(async move {
            drive(&shell, &session, incoming, authority, asks).await;
            let (left, released) = stop(&shell, &session).await;
            // What was given back needs no more words, if its manager lived to hear it.
            if !released || !speaking.await.unwrap_or_default() {
                will::execute(&shell, &session, left).await;
            }
        });
        Ok(ReceiverStream::new(outgoing))
    }

    /// Ends the session that stands, by agreement, and lets no other one open.
    pub(crate) async fn release(&self, why: &str) {
        self.stopping.cancel();
        let _alone = self.gate.lock().await;
        if let Some(session) = self.session() {
            session.release(why);
            session.stopped.cancelled().await;
        }
    }
}

/// Keeps the session until its authority ends.
async fn drive(
    shell: &Shell,
    session: &Session,
    mut incoming: Streaming<AttendRequest>,
    authority: Duration,
    mut asks: Asks,
) {
    let began = shell.now();
    loop {
        let now = shell.now();
        let end = session.authority.deadline().unwrap_or(began + authority);
        if now >= end {
            // Says why by itself if it had been confirmed.
            let _ = session.authority.check();
            session.authority.end(format!("term {} was not confirmed in time", session.term));
        }
        if let Some(ask) = asks.due(now) {
            session.outbox.ask(ask);
        }
        let wait = end.min(asks.next()).saturating_sub(now).clamp(Duration::from_millis(1), LOOK);
        tokio::select! {
            biased;
            () = session.authority.over().cancelled() => break,
            message = incoming.message() => match message {
                Ok(Some(request)) => heard(session, &mut asks, authority, request),
                Ok(None) => session.authority.end("the manager closed the session"),
                Err(status) => session.authority.end(format!("the session broke: {}", status.message())),
            },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn heard(session: &Session, asks: &mut Asks, authority: Duration, request: AttendRequest) {
    match request.message {
        Some(Message::Renewed(Renewed { ask, remaining_ms: 0 })) => {
            session.authority.end(format!("the manager has no authority left (ask {ask})"));
        }
        Some(Message::Renewed(Renewed { ask, remaining_ms })) => {
            let remaining = Duration::from_millis(remaining_ms.into()).min(authority);
            if let Some(sent) = asks.answered(ask) {
                session.authority.renew(sent, remaining);
                asks.renewed(sent + remaining, session.authority.now());
            }
        }
        Some(Message::StateSaved(StateSaved { save, error })) => session.saves.answered(save, error),
        Some(Message::Will(will)) => session.leave(will),
        Some(Message::Release(_)) => session.release("released at the manager's wish"),
        Some(Message::Open(_)) => session.authority.end("the manager opened the session twice"),
        None => tracing::debug!("a message of a newer manager was passed over"),
    }
}

/// Drops and joins whatever acts for the session, then says so. Returns what does not stop, and whether the session was given
/// back as a whole.
async fn stop(shell: &Shell, session: &Session) -> (Vec<Arc<Crew>>, bool) {
    session.saves.close();
    let begun = Instant::now();
    // In order, and some at a time: the first services of the next session need not wait for the last of this one.
    let crews: Vec<Arc<Crew>> = session.services.all().iter().map(|record| record.crew()).collect();
    for some in crews.chunks(STOPPED_AT_ONCE) {
        some.iter().for_each(|crew| crew.stop());
        // Whoever takes longer is waited for below, and when it takes long everybody is.
        if begun.elapsed() < STOP_BOUND / 2 {
            let _ = tokio::time::timeout(TURN, gone(some)).await;
        }
    }
    drop(crews);
    let at_work = || shell.at_work(session.number).into_iter();
    // Also what is left of earlier sessions.
    let left: Vec<_> = at_work().map(|(_, crew)| crew).inspect(|crew| crew.stop()).collect();
    let all_gone = tokio::time::timeout_at(begun + STOP_BOUND, gone(&left)).await.is_ok();
    let why = session.authority.why_ended();
    tracing::info!(term = session.term, manager = session.manager, all_gone, "attendance ended: {why}");
    let (hanging, left): (Vec<_>, Vec<_>) = at_work().unzip();
    let released = hanging.is_empty() && session.is_releasing();
    session.outbox.close(match hanging.first() {
        None if released => Ok(Some(Released {})),
        None => Err(fenced(format!("the session is over: {why}")).into()),
        Some(name) => {
            tracing::error!(service = &**name, "a task does not stop: it blocks its thread");
            Err(fenced(format!("the session is over: {why}; {name} does not stop: its task blocks")).into())
        }
    });
    session.stopped.cancel();
    (left, released)
}

/// Returns when all of these are gone.
async fn gone(crews: &[Arc<Crew>]) {
    for crew in crews {
        crew.gone().await;
    }
}

/// Tells the manager of `session` once nothing of earlier ones goes on, if it lives to see that.
async fn tell_of_the_end(shell: Arc<Shell>, earlier: Option<Arc<Session>>, session: Arc<Session>) {
    let over = session.stopped.clone();
    let everything = async {
        if let Some(earlier) = earlier {
            earlier.stopped.cancelled().await;
        }
        let left: Vec<_> = shell.at_work(session.number - 1).into_iter().map(|(_, crew)| crew).collect();
        gone(&left).await;
        session.outbox.stopped();
    };
    over.run_until_cancelled(everything).await;
}

/// Passes on what the session has to say, as fast as the manager reads. Returns whether the last of it was taken.
async fn speak(session: Arc<Session>, sender: mpsc::Sender<Result<AttendResponse, Status>>) -> bool {
    let speaking = async {
        while let Some(item) = session.outbox.next().await {
            if sender.send(item).await.is_err() {
                return false;
            }
        }
        true
    };
    let patience = async {
        session.stopped.cancelled().await;
        tokio::time::sleep(LAST_WORD).await;
    };
    let taken = tokio::select! {
        biased;
        taken = speaking => taken,
        () = sender.closed() => false,
        () = patience => false,
    };
    session.authority.end("the manager went away");
    taken
}
