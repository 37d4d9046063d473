//! The plugin of this world, by the real SDK: it makes nothing, and puts down whatever it is permitted to do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use om_api::socket::Address;
use om_api::v1;
use om_checker::{Deed, What};
use om_plugin_sdk::{Declared, Failed, Options, Output, Plugin, Rejected, Report, Service};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::hub::{Hub, Pid};
use crate::places;
use crate::plant::Plant;
use crate::process::Life;
use crate::world::TROUBLE;

/// The kind, and the plugin's name.
pub(crate) const KIND: &str = "sim";

/// How often it acts.
const EVERY: Duration = Duration::from_millis(25);

struct Recorder {
    hub: Hub,
    pid: Pid,
}

impl Recorder {
    /// One effect: asked for and done at one moment.
    fn act(&self, service: &Service, revision: u64, deed: Deed) -> Result<(), Failed> {
        let term = service.permit()?;
        self.hub.record(What::Acted {
            plugin: format!("{KIND}@{} {}", service.host(), self.pid.0),
            kind: KIND.to_owned(),
            service: service.name().to_owned(),
            term,
            revision,
            deed,
        });
        Ok(())
    }
}

impl Recorder {
    /// While there is trouble it is slow, hangs for a while, or fails.
    async fn hesitate(&self) -> Result<(), Failed> {
        if self.hub.now() > TROUBLE {
            return Ok(());
        }
        let (what, time) =
            self.hub.dice(|dice| (dice.roll(12), dice.within(Duration::ZERO, Duration::from_secs(3))));
        match what {
            // sleeps: that is the trouble
            0 => tokio::time::sleep(time).await,
            1 => return Err(Failed("it fails now and then".to_owned())),
            _ => {}
        }
        Ok(())
    }
}

#[async_trait]
impl Plugin for Recorder {
    fn kinds(&self) -> Vec<v1::Kind> {
        vec![v1::Kind { name: KIND.to_owned(), ..v1::Kind::default() }]
    }

    async fn plan(&self, wanted: &Declared, _: Option<&Declared>) -> Result<Vec<String>, Rejected> {
        match serde_json::from_slice::<serde_json::Value>(&wanted.spec) {
            Ok(_) => Ok(Vec::new()),
            Err(error) => Err(Rejected::field("spec", error.to_string())),
        }
    }

    async fn look_after(&self, service: Service) -> Result<(), Failed> {
        self.hesitate().await?;
        let mut declarations = service.declared();
        // What it remembers: how often it began.
        let begun = String::from_utf8_lossy(&service.state()).parse::<u64>().unwrap_or(0);
        service.save((begun + 1).to_string()).await?;
        loop {
            let revision = declarations.borrow_and_update().revision;
            self.act(&service, revision, Deed::Steer)?;
            service.report(Report { phase: v1::Phase::Ready, ..Report::default() });
            tokio::select! {
                changed = declarations.changed() => {
                    changed.map_err(|_| Failed("the declaration is gone".to_owned()))?;
                }
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn destroy(&self, service: Service) -> Result<(), Failed> {
        self.hesitate().await?;
        let revision = service.declared().borrow().revision;
        self.act(&service, revision, Deed::Destroy)
    }

    async fn run(&self, _: Service, _: &str, _: serde_json::Value, _: Output) -> Result<(), Failed> {
        Err(Failed("it has no actions".to_owned()))
    }
}

/// The program.
pub(crate) async fn main(life: Life) {
    let Life { hub, pid, place, mut clock, stop } = life;
    if hub.lock().plant == Some(Plant::NoDeadline) {
        let still = clock();
        clock = Arc::new(move || still);
    }
    let dir = places::plugins(place);
    let connections = hub.bind(pid, place, &Address::Unix(dir.join(KIND)));
    let options = Options {
        name: KIND.to_owned(),
        version: "0".to_owned(),
        plugins_dir: dir,
        socket_mode: 0o600,
        socket_group: None,
        host: places::host(place),
        clock,
    };
    let plugin = Arc::new(Recorder { hub: hub.clone(), pid });
    let incoming = ReceiverStream::new(connections).map(Ok::<_, std::io::Error>);
    let served = om_plugin_sdk::serve_on(plugin, options, incoming, hub.dialer(place), stop).await;
    hub.say(format_args!("plugin {pid:?} ended: {served:?}"));
}
