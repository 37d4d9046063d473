//! Serving a plugin on its socket.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use om_api::clock::Clock;
use om_api::socket::{BindError, BoundSocket, Dialer, SocketOptions, system};
use om_api::v1::service_plugin_server::ServicePluginServer;
use om_api::{MAX_MESSAGE_BYTES, names, places, v1};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use crate::Plugin;
use crate::admit::Shell;
use crate::guard::caught_call;

/// Calls under way get this long to finish before those that only read are cut off.
const GRACE: Duration = Duration::from_secs(3);
/// Calls at the same time on one connection. A manager has only one, for thousands of services and whoever reads logs.
const STREAMS: u32 = 16 * 1024;
/// All of the stopping is bounded by this; a supervisor kills after 10 s.
const STOPPING: Duration = Duration::from_secs(8);

/// Where and as what a plugin serves.
#[derive(Clone)]
pub struct Options {
    /// The plugin's name and its socket's.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// The directory that the socket is made in.
    pub plugins_dir: PathBuf,
    /// Permission bits of the socket: `0o600`.
    pub socket_mode: u32,
    /// Group of the socket, by name or number.
    pub socket_group: Option<String>,
    /// Identity of this host: members that the plugin starts belong to it.
    pub host: String,
    /// What deadlines are read from.
    pub clock: Clock,
}

/// Why a plugin is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The name cannot be a socket's.
    #[error("{0}")]
    Name(String),
    /// The plugin says something about its kinds that cannot be.
    #[error("the plugin's kinds are not usable: {0}")]
    Kinds(String),
    /// No socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The server failed.
    #[error("the server failed: {0}")]
    Server(#[from] tonic::transport::Error),
    /// Reflection could not be set up.
    #[error("cannot set up reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// A plugin on its socket: connections are taken from now on, and answered once it [runs](Serving::run).
pub struct Serving {
    shell: Arc<Shell>,
    socket: BoundSocket,
}

/// Makes the socket. Must be called within a tokio runtime.
///
/// # Errors
/// [`ServeError`].
pub fn bind(plugin: Arc<dyn Plugin>, options: &Options) -> Result<Serving, ServeError> {
    bind_apart(plugin, options, Handle::current())
}

/// The same, with the plugin's own code on another runtime than the calls that are answered and the renewals that are
/// asked for: work that fills all threads does not cost the authority, which may last no longer than a fifth of a second.
///
/// # Errors
/// [`ServeError`].
pub fn bind_apart(plugin: Arc<dyn Plugin>, options: &Options, works: Handle) -> Result<Serving, ServeError> {
    let shell = shell(plugin, options, system(), works)?;
    let path = places::socket(&options.plugins_dir, &options.name);
    let how = SocketOptions { mode: options.socket_mode, group: options.socket_group.clone() };
    let socket = om_api::socket::bind(&path, &how)?;
    Ok(Serving { shell, socket })
}

/// Serves a plugin on connections of the caller's, and connects to others by a way of the caller's: for a simulation.
/// `options` say no more than who it is.
///
/// # Errors
/// [`ServeError`].
pub async fn serve_on<I, C>(
    plugin: Arc<dyn Plugin>,
    options: Options,
    incoming: I,
    dialer: Dialer,
    shutdown: CancellationToken,
) -> Result<(), ServeError>
where
    I: Stream<Item = io::Result<C>>,
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    C::ConnectInfo: Clone + Send + Sync + 'static,
{
    answer(shell(plugin, &options, dialer, Handle::current())?, incoming, shutdown).await
}

fn shell(
    plugin: Arc<dyn Plugin>,
    options: &Options,
    dialer: Dialer,
    works: Handle,
) -> Result<Arc<Shell>, ServeError> {
    names::check_socket(&options.name).map_err(ServeError::Name)?;
    let kinds =
        caught_call(|| plugin.kinds()).map_err(|panic| ServeError::Kinds(format!("it panicked: {panic}")))?;
    check(&kinds).map_err(ServeError::Kinds)?;
    Ok(Shell::new(plugin, kinds, options, dialer, works))
}

/// Serves a plugin until `shutdown`; then stops steering (members stay), says so to the manager, lets calls finish, and
/// returns within some seconds. Keeps no global state: several plugins can be served in one process.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    plugin: Arc<dyn Plugin>,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    bind(plugin, &options)?.run(shutdown).await
}

impl Serving {
    /// Where it serves.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.socket.path()
    }

    /// Answers calls until `shutdown`: see [`serve`].
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ServeError> {
        answer(self.shell, self.socket, shutdown).await
    }
}

async fn answer<I, C>(shell: Arc<Shell>, incoming: I, shutdown: CancellationToken) -> Result<(), ServeError>
where
    I: Stream<Item = io::Result<C>>,
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    C::ConnectInfo: Clone + Send + Sync + 'static,
{
    let service = ServicePluginServer::new(crate::server::Server(shell.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<ServicePluginServer<crate::server::Server>>().await;
    let leave = CancellationToken::new();
    let serving = om_api::socket::server()
        .max_concurrent_streams(STREAMS)
        .add_service(service)
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .serve_with_incoming_shutdown(incoming, leave.clone().cancelled_owned());
    let mut serving = Box::pin(serving);

    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        () = shutdown.cancelled() => {}
    }
    // Answered while it stops: the manager has to hear that it did.
    let stopping = async {
        shell.release("the plugin is stopping").await;
        shell.tasks.close();
        leave.cancel();
        if tokio::time::timeout(GRACE, shell.tasks.wait()).await.is_err() {
            shell.cut.cancel();
        }
        shell.tasks.wait().await;
    };
    let both = async { tokio::join!(serving, stopping).0 };
    match tokio::time::timeout(STOPPING, both).await {
        Ok(ended) => Ok(ended?),
        Err(_) => {
            tracing::warn!("some calls did not end within {STOPPING:?} and were cut off");
            Ok(())
        }
    }
}

fn check(kinds: &[v1::Kind]) -> Result<(), String> {
    let json = |what: String, text: &str| match text {
        "" => Ok(()),
        text => serde_json::from_str::<serde_json::Value>(text)
            .map(drop)
            .map_err(|cause| format!("{what} is no JSON: {cause}")),
    };
    for (index, kind) in kinds.iter().enumerate() {
        names::check_service(&kind.name).map_err(|why| format!("kind: {why}"))?;
        if kinds[..index].iter().any(|other| other.name == kind.name) {
            return Err(format!("the kind {} is there twice", kind.name));
        }
        json(format!("the schema of the kind {}", kind.name), &kind.spec_schema)?;
        for action in &kind.actions {
            json(
                format!("the schema of the action {} of the kind {}", action.name, kind.name),
                &action.args_schema,
            )?;
        }
    }
    if kinds.is_empty() { Err("there are none".to_owned()) } else { Ok(()) }
}
