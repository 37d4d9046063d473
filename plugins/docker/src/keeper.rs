//! Looks after one service: looks, does what is missing, tells, and looks again.
//!
//! A look takes no input but what is declared and what is there, so it does not matter what was missed, and nothing is
//! kept between two looks that could not be lost.

use std::sync::Arc;
use std::time::Duration;

use om_api::v1::Phase;
use om_plugin_sdk::{Declared, Failed, Report, Service};
use tokio::time::timeout;

use crate::check;
use crate::engine::{Engine, Trouble};
use crate::local::Local;
use crate::outlook::Outlook;
use crate::place::Place;
use crate::spec::Spec;
use crate::swarm::Swarm;

/// Between two looks while something is under way.
const BUSY: Duration = Duration::from_millis(250);
/// Between two looks while all is well: somebody may change something by hand.
const CALM: Duration = Duration::from_secs(1);
/// An engine that does not answer is asked again after this, doubled up to [`LONGEST`].
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(8);

enum Keeper {
    Swarm(Swarm),
    Local(Local),
}

/// Reads what is declared.
pub(crate) fn read(declared: &Declared) -> Result<Spec, Failed> {
    check::read(&declared.spec).map_err(|why| Failed(format!("{}: {}", why.field, why.message)))
}

impl Keeper {
    async fn find(engine: &Engine, service: &Service) -> Result<Self, Trouble> {
        Ok(match Place::settle(service, engine).await? {
            Place::Swarm(_) => Self::Swarm(Swarm::new(engine.clone(), service.clone())),
            Place::Engine(_) => Self::Local(Local::new(engine.clone(), service.clone())),
        })
    }

    async fn pass(&mut self, spec: &Spec, revision: u64) -> Result<Outlook, Trouble> {
        match self {
            Self::Swarm(swarm) => swarm.pass(spec, revision).await,
            Self::Local(local) => local.pass(spec, revision).await,
        }
    }
}

/// Looks after a service until dropped.
pub(crate) async fn look_after(service: Service, engine: Engine) -> Result<(), Failed> {
    let mut declared = service.declared();
    let mut keeper = None;
    let mut last = Report::default();
    let mut pause = SHORTEST;
    loop {
        let now: Arc<Declared> = declared.borrow_and_update().clone();
        let spec = read(&now)?;
        let looked = async {
            if keeper.is_none() {
                keeper = Some(Keeper::find(&engine, &service).await?);
            }
            match &mut keeper {
                Some(keeper) => keeper.pass(&spec, now.revision).await,
                None => Err(Failed("nobody looks".to_owned()).into()),
            }
        };
        let next = match looked.await {
            Ok(outlook) => {
                pause = SHORTEST;
                last = outlook.report();
                service.report_at(now.revision, last.clone());
                if outlook.is_ready() { CALM } else { BUSY }
            }
            Err(Trouble::Lapsed(lapsed)) => return Err(lapsed.into()),
            Err(trouble) => {
                tracing::warn!(service = service.name(), "{trouble}");
                service.report_at(now.revision, troubled(&trouble, &last));
                // What the engine is may be what has changed.
                keeper = None;
                let now = pause;
                pause = (pause * 2).min(LONGEST);
                now
            }
        };
        match timeout(next, declared.changed()).await {
            Ok(Ok(())) => pause = SHORTEST,
            Ok(Err(_)) => return Ok(()),
            Err(_) => {}
        }
    }
}

/// What was seen last stays in view, though nobody knows whether it is still so.
fn troubled(trouble: &Trouble, last: &Report) -> Report {
    let works = last.members.iter().any(|member| member.phase == "running");
    let elsewhere = matches!(trouble, Trouble::Elsewhere(_));
    let phase = if works || elsewhere { Phase::Degraded } else { Phase::Failed };
    Report { phase, message: trouble.to_string(), members: last.members.clone() }
}

/// Removes all of a service. An error says what is in the way.
pub(crate) async fn destroy(service: &Service, engine: &Engine) -> Result<(), Failed> {
    let Some(place) = Place::read(&service.state())? else {
        // Nothing was ever made: that is remembered before it is done.
        return Ok(());
    };
    let role = engine.role().await?;
    place.is_reached(&role, engine, service.host())?;
    match place {
        Place::Swarm(_) => Swarm::new(engine.clone(), service.clone()).remove().await?,
        Place::Engine(_) => Local::new(engine.clone(), service.clone()).remove().await?,
    }
    Ok(())
}
