//! The composition root: a configuration becomes a replica that serves, and later stops in order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use om_api::clock;
use om_api::socket::{self, Credentials, SocketOptions};
use om_leadership::{Campaign, Office};
use om_plugin_process::{ProcessOptions, ProcessPlugin};
use om_proxy::discovery::{Registry, RegistryOptions};
use om_proxy::{Drain, Lane};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::config::{Config, Listen, Mode, Network};
use crate::ground::{Ground, Incoming};
use crate::handover::Handover;
use crate::machinery::{Election, Machinery};
use crate::reign::Realm;
use crate::replica::Replica;
use crate::serve::{Listener, Service, serve};
use crate::wills::Wills;
use crate::{renewal, succession};

/// How long the reign may take to end.
const END_PATIENCE: Duration = Duration::from_secs(4);
/// How long the calls under way may take to end when the program stops.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);
/// How long the connections may take to close after that.
const CLOSE_PATIENCE: Duration = Duration::from_millis(500);

/// A replica that is ready to run.
pub struct App {
    config: Config,
    ground: Ground,
    listeners: Vec<Listener>,
}

impl App {
    /// Takes the addresses that it is to serve at. Nothing else is touched yet.
    ///
    /// # Errors
    /// An address that cannot be had: in use by a live program, too long, not permitted.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        let options = SocketOptions { mode: config.socket_mode, group: config.socket_group.clone() };
        let own = om_api::places::socket(&config.plugins_dir, &config.name);
        let mut listeners = vec![Listener::Socket(socket::bind(&own, &options)?)];
        for listen in &config.listen {
            match listen {
                Listen::Unix(path) => listeners.push(Listener::Socket(socket::bind(path, &options)?)),
                Listen::Tcp { host, port } => {
                    let bound = TcpListener::bind((host.as_str(), *port)).await;
                    let bound = bound.with_context(|| format!("cannot listen at tcp://{host}:{port}"))?;
                    listeners.push(Listener::Port(bound));
                }
            }
        }
        let ground = Ground::machine(&config);
        Ok(Self { config, ground, listeners })
    }

    /// A replica on other ground than this machine: it serves the connections that it is given.
    #[must_use]
    pub fn on(config: Config, ground: Ground, incoming: Vec<Incoming>) -> Self {
        let listeners = incoming.into_iter().map(Listener::Given).collect();
        Self { config, ground, listeners }
    }

    /// Serves until `stop` is cancelled, then resigns, frees, drains and returns.
    ///
    /// # Errors
    /// What keeps it from serving at all.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { config, ground, listeners } = self;
        let wills = Arc::new(Wills::default());
        let Machinery { store, detector, office, writes, election, attendant } =
            Machinery::build(&config, &ground)?;
        let Ground { clock, alarm, dialer, directory, before_store, .. } = ground;
        let store = before_store.map_or_else(|| store.clone(), |stand| stand(store.clone()));
        let looked_for = RegistryOptions {
            dir: config.plugins_dir.clone(),
            only: config.proxy_for.clone(),
            own_name: config.name.clone(),
            caller: config.name.clone(),
        };
        let registry = Arc::new(Registry::look_in(directory, dialer.clone(), looked_for));
        info!(
            name = %config.name,
            detector = %detector.describe(),
            store = %store.location(),
            plugins = %config.plugins_dir.display(),
            "manager starting"
        );
        let judge: Arc<dyn Office> = office.clone();
        let campaign =
            Arc::new(Campaign::start(detector.clone(), judge, config.timing, (clock.clone(), alarm)));

        let (reign_now, reign) = watch::channel(None);
        let (head_now, head) = watch::channel(None);
        let replica = Replica {
            name: config.name.clone(),
            mode: config.mode.name(),
            endpoint: config.advertise.clone(),
            host: config.host.clone(),
            detector: detector.describe(),
            store: store.clone(),
            registry: registry.clone(),
            standing: campaign.standing(),
            reign,
            head: head.clone(),
            places: election.as_ref().and_then(|election| election.places.clone()),
            handover: election.as_ref().map(|election| Handover {
                election: election.detector.clone(),
                campaign: campaign.clone(),
                clock: clock.clone(),
            }),
            tasks: TaskTracker::new(),
        };
        let peers = election.as_ref().map(|election| election.front(wills.clone(), head));
        let realm = Realm {
            name: config.name.clone(),
            endpoint: config.advertise.clone(),
            host: config.host.clone(),
            authority: config.longest_authority(),
            wills,
            heirs: election.as_ref().map(|election| election.heirs(&config)),
            clock,
            dialer,
            writes,
            store: store.clone(),
            registry,
        };

        let mut tasks = JoinSet::new();
        let abdicate = CancellationToken::new();
        tasks.spawn(succession::keep_warm(store.clone()));
        if let Some(election) = &election {
            tasks.spawn(election.warm_up());
        }
        let term = election.as_ref().map(|election| election.detector.term());
        tasks.spawn(succession::look_at_head(store, campaign.standing(), term, head_now));
        if let (Some(attendant), Some(handover)) = (attendant, &replica.handover) {
            tasks.spawn(attendant.attend(replica.clone(), handover.clone()));
        }
        if let Network::Tls(credentials) = &config.network {
            tasks.spawn(renewal::renew(credentials.clone()));
        }
        let mut ruling = JoinSet::new();
        ruling.spawn(succession::succeed(realm, office, campaign.standing(), reign_now, abdicate.clone()));
        let unplug = CancellationToken::new();
        let mut plugins = embedded_plugins(&config, &unplug);

        let close = CancellationToken::new();
        let drain = Drain::new();
        let tls = config.network.credentials().map(Credentials::server);
        let is_socket = |listener: &Listener| matches!(listener, Listener::Socket(_));
        let lane = listeners.iter().any(is_socket).then(Lane::start).transpose();
        let lane = lane.context("cannot start a thread")?;
        let carrier = lane.as_ref().map_or_else(Handle::current, |lane| lane.handle().clone());
        let service = Service { replica: replica.clone(), peers, drain: drain.clone(), close: close.clone() };
        let mut servers = serve(&service, listeners, &carrier, tls.as_ref());
        info!(endpoint = %replica.endpoint, "listening");
        tasks.spawn(say_when_ready(election));

        let failed = tokio::select! {
            () = stop.cancelled() => None,
            Some(ended) = servers.join_next() => Some(format!("cannot serve any more: {ended:?}")),
            Some(ended) = plugins.join_next() => Some(format!("the embedded plugin ended: {ended:?}")),
            Some(ended) = ruling.join_next() => Some(format!("the succession ended: {ended:?}")),
        };
        info!(failed, "stopping: resigning, freeing, draining");
        notify_supervisor(&[sd_notify::NotifyState::Stopping]);
        if let Some(handover) = &replica.handover {
            handover.leave(&replica).await;
        }
        campaign.resign().await;
        abdicate.cancel();
        let ended =
            tokio::time::timeout(END_PATIENCE, async { while ruling.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            warn!("the reign does not end; its writes are fenced, and its plugins stop by themselves");
            ruling.shutdown().await;
        }
        drain.close();
        let cut = drain.wait(DRAIN_PATIENCE).await;
        if cut > 0 {
            warn!(calls = cut, "calls that did not end in time are cut");
        }
        close.cancel();
        // Connections that a client keeps open without a call.
        let _ = tokio::time::timeout(CLOSE_PATIENCE, async { while servers.join_next().await.is_some() {} })
            .await;
        drop(servers);
        unplug.cancel();
        let _ = tokio::time::timeout(CLOSE_PATIENCE, async { while plugins.join_next().await.is_some() {} })
            .await;
        drop((campaign, plugins));
        tasks.shutdown().await;
        info!("stopped");
        failed.map_or(Ok(()), |why| Err(anyhow::anyhow!(why)))
    }
}

/// In `dev` mode the process plugin lives in this process, at a socket like any other.
fn embedded_plugins(
    config: &Config,
    shutdown: &CancellationToken,
) -> JoinSet<Result<(), om_plugin_sdk::ServeError>> {
    let mut plugins = JoinSet::new();
    if let Mode::Dev { process_dir } = &config.mode {
        let plugin = Arc::new(ProcessPlugin::new(ProcessOptions::new(process_dir)));
        let options = om_plugin_sdk::Options {
            name: "process".to_owned(),
            version: crate::VERSION.to_owned(),
            plugins_dir: config.plugins_dir.clone(),
            socket_mode: config.socket_mode,
            socket_group: config.socket_group.clone(),
            host: config.host.clone(),
            clock: clock::boot(),
        };
        plugins.spawn(om_plugin_sdk::serve(plugin, options, shutdown.clone()));
    }
    plugins
}

/// Tells the supervisor when this replica can do its part: where replicas elect, once the election was seen.
async fn say_when_ready(election: Option<Election>) {
    if let Some(election) = election {
        let waiting = format!("waiting for {}", election.kept_in());
        notify_supervisor(&[sd_notify::NotifyState::Status(&waiting)]);
        election.detector.seen().await;
        notify_supervisor(&[sd_notify::NotifyState::Status("")]);
    }
    notify_supervisor(&[sd_notify::NotifyState::Ready]);
}

fn notify_supervisor(state: &[sd_notify::NotifyState<'_>]) {
    // No supervisor is no error.
    let _ = sd_notify::notify(state);
}
