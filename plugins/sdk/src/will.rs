//! The last word about a session that broke: that nothing of it acts any more.
//!
//! A leader leaves it with the plugin at `open`, for the case that it dies: whoever takes over waits for the word instead
//! of for the deadline. What must hold: it is never said before everything of the session, and of those before it, has
//! stopped, however long that takes. To say it once too often does no harm.
//!
//! Nobody is connected to before. By TLS that makes the word 2 ms later (on one machine, unoptimized; in the clear
//! 0.2 ms), and the takeover that it is for takes longer; lines held open for the whole of a session would have to be
//! watched and renewed.

use std::sync::Arc;
use std::time::Duration;

use om_api::socket::{Address, ClientTls, Dialer, Security, connect_by};
use om_api::v1;
use om_api::v1::attend_request as to;
use om_api::v1::peer_client::PeerClient;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::admit::Shell;
use crate::backoff::Backoff;
use crate::crew::Crew;
use crate::session::{Opener, Session};

/// Connecting and asking, together: three round trips between far places.
const ATTEMPT: Duration = Duration::from_millis(500);
/// The deadline of the authority has passed long ago by then: nobody waits for the word any more.
const BOUND: Duration = Duration::from_secs(10);
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Whom to tell that the session is over, and by what they believe it.
pub(crate) struct Will {
    word: v1::TestifyRequest,
    endpoints: Vec<Address>,
    security: Security,
}

impl Will {
    /// What the manager of a session left; none where nobody is to be told.
    pub(crate) fn left_by(opener: &Opener, will: to::Will) -> Option<Arc<Self>> {
        let manager = &opener.manager;
        let mut endpoints: Vec<Address> = Vec::new();
        for url in &will.endpoints {
            match url.parse() {
                Ok(address) => endpoints.push(address),
                Err(error) => {
                    tracing::warn!(manager, "this replica will not be told of its end: {error}");
                }
            }
        }
        let (cluster, term) = (opener.cluster.clone(), opener.term);
        let word = v1::TestifyRequest { cluster, term, grant: will.grant, token: will.token };
        let security = match &will.ca_pem[..] {
            // The leader says so, for it speaks so to the others itself.
            [] => Security::Insecure,
            pem => match ClientTls::new(pem, None) {
                Ok(tls) => Security::Tls(tls),
                Err(error) => {
                    tracing::warn!(manager, "no other host will be told of its end: {error}");
                    endpoints.retain(|address| matches!(address, Address::Unix(_)));
                    Security::Clear
                }
            },
        };
        (!endpoints.is_empty()).then(|| Arc::new(Self { word, endpoints, security }))
    }

    /// Tells everybody, until somebody knows of a higher term.
    async fn testify(self: &Arc<Self>, dialer: &Dialer) {
        let known = CancellationToken::new();
        let mut telling = JoinSet::new();
        for address in &self.endpoints {
            telling.spawn(self.clone().tell(dialer.clone(), address.clone(), known.clone()));
        }
        let all = async { while telling.join_next().await.is_some() {} };
        let ended = tokio::time::timeout(BOUND, all).await;
        let term = self.word.term;
        if ended.is_ok() || known.is_cancelled() {
            tracing::info!(term, "it is told that this term is over here; a newer one has begun");
        } else {
            tracing::warn!(
                term,
                "for {BOUND:?} no replica knew of a newer term; none is told any more that this one is over here"
            );
        }
    }

    /// Tells one of them, until it knows of a higher term. When another one does, this one is told once more: it may be
    /// the one that waits for the word, and have missed it so far.
    async fn tell(self: Arc<Self>, dialer: Dialer, address: Address, known: CancellationToken) {
        let mut pauses = Backoff::between(SHORTEST_PAUSE, LONGEST_PAUSE);
        let mut line = None;
        loop {
            let last = known.is_cancelled();
            let said = tokio::time::timeout(ATTEMPT, self.say(&dialer, &address, &mut line)).await;
            match said.unwrap_or_else(|_| Err(format!("no answer within {ATTEMPT:?}"))) {
                Ok(term) if term > self.word.term => return known.cancel(),
                Ok(_) => {}
                Err(why) => {
                    tracing::debug!(term = self.word.term, "{address} was not told: {why}");
                    line = None;
                }
            }
            if last {
                return;
            }
            tokio::select! {
                () = known.cancelled() => {}
                () = tokio::time::sleep(pauses.pause()) => {}
            }
        }
    }

    /// The newest term known there. Connects unless there is a line.
    async fn say(
        &self,
        dialer: &Dialer,
        address: &Address,
        line: &mut Option<Channel>,
    ) -> Result<u64, String> {
        let channel = match line {
            Some(channel) => channel.clone(),
            None => {
                let made = connect_by(dialer, address, &self.security, ATTEMPT).await;
                line.insert(made.map_err(|error| error.to_string())?).clone()
            }
        };
        let answer = PeerClient::new(channel).testify(self.word.clone()).await;
        answer.map(|answer| answer.into_inner().term).map_err(|status| status.to_string())
    }
}

/// Has it said that `session` is over, as soon as `crews` are gone: all that were left when it had ended.
pub(crate) async fn execute(shell: &Shell, session: &Session, crews: Vec<Arc<Crew>>) {
    let Some(will) = session.will() else { return };
    let executed = async {
        for crew in &crews {
            crew.gone().await;
        }
        // Whoever is opening the next session is told there, unless it goes away over it.
        drop(shell.gate.lock().await);
        will.testify(&shell.dialer).await;
    };
    tokio::select! {
        biased;
        () = session.superseded.cancelled() => {}
        () = shell.cut.cancelled() => {}
        () = executed => {}
    }
}
