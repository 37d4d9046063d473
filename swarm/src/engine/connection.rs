//! One connection to an engine.

use std::error::Error as StdError;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls;

use super::Trouble;
use super::address::Way;

/// A connection; gone when dropped.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Why the connection ended, if that is not told to a request.
    driver: JoinSet<Option<String>>,
}

/// Why there is no answer.
pub(super) enum Unanswered {
    /// Nothing was sent.
    NotSent(String),
    /// The engine does not take our certificate: it reads no request.
    Refused(String),
    /// It was sent, at least in part.
    Sent(String),
}

impl Connection {
    pub(super) async fn open(way: &Way) -> Result<Self, Trouble> {
        let unreached = |error: std::io::Error| Trouble::Unreached(error.to_string());
        match way {
            Way::Unix(path) => Self::over(UnixStream::connect(path).await.map_err(unreached)?).await,
            Way::Tcp(at) => Self::over(tcp(at).await.map_err(unreached)?).await,
            Way::Tls(at, name, config) => {
                let stream = tcp(at).await.map_err(unreached)?;
                let connected = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream).await;
                Self::over(
                    connected.map_err(|error| {
                        refused(&error).map_or_else(|| unreached(error), Trouble::Untrusted)
                    })?,
                )
                .await
            }
        }
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Self, Trouble> {
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| Trouble::Unreached(error.to_string()))?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            let error = connection.await.err()?;
            tracing::debug!(%error, "a connection to the engine ended");
            refused(&error)
        });
        Ok(Self { sender, driver })
    }

    /// Whether it can take a request.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<http::Response<Incoming>, Unanswered> {
        if let Err(error) = self.sender.ready().await {
            return Err(self.not_sent(error.to_string()).await);
        }
        let mut error = match self.sender.try_send_request(request).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        if let Some(why) = refused(error.error()) {
            return Err(Unanswered::Refused(why));
        }
        let why = super::chain(error.error());
        if error.take_message().is_some() {
            Err(self.not_sent(why).await)
        } else {
            Err(Unanswered::Sent(why))
        }
    }

    /// A server looks at our certificate after we are through: what it says may come before a request is under way, and
    /// ends the connection.
    async fn not_sent(&mut self, why: String) -> Unanswered {
        match self.driver.join_next().await {
            Some(Ok(Some(refused))) => Unanswered::Refused(refused),
            _ => Unanswered::NotSent(why),
        }
    }
}

/// What is wrong between the two, if that is why.
fn refused(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // An error of I/O is not the cause of itself: what it holds is.
        let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let held = held.and_then(|held| held.downcast_ref());
        match held.or_else(|| error.downcast_ref()) {
            Some(rustls::Error::AlertReceived(alert)) => {
                return Some(format!("it does not take our certificate, or none of our ciphers ({alert:?})"));
            }
            Some(rustls::Error::InvalidMessage(_)) => return Some("it does not speak TLS".to_owned()),
            Some(rustls::Error::InvalidCertificate(why)) => {
                return Some(format!("its certificate does not count here: {why}"));
            }
            Some(other) => return Some(other.to_string()),
            None => cause = error.source(),
        }
    }
    None
}

async fn tcp(at: &str) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
