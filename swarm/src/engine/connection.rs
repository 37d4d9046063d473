//! One connection to an engine.

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

use super::Trouble;
use super::address::Way;

/// A connection; gone when dropped.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _driver: JoinSet<()>,
}

/// Why there is no answer.
pub(super) enum Unanswered {
    /// Nothing was sent.
    NotSent(String),
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
                let connector = TlsConnector::from(Arc::clone(config));
                Self::over(connector.connect(name.clone(), stream).await.map_err(unreached)?).await
            }
        }
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Self, Trouble> {
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| Trouble::Unreached(error.to_string()))?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the engine ended");
            }
        });
        Ok(Self { sender, _driver: driver })
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
            return Err(Unanswered::NotSent(error.to_string()));
        }
        self.sender.try_send_request(request).await.map_err(|mut error| {
            let sent = error.take_message().is_none();
            let why = super::chain(error.error());
            if sent { Unanswered::Sent(why) } else { Unanswered::NotSent(why) }
        })
    }
}

async fn tcp(at: &str) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
