//! Where a service was made: remembered before anything is made, so that it is never made twice.

use om_plugin_sdk::{Failed, Service};
use serde::{Deserialize, Serialize};

use crate::engine::{Engine, Role, Trouble};

const VERSION: u32 = 1;

/// Where a service is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Place {
    /// In the Swarm of this identity.
    Swarm(String),
    /// At an engine without a Swarm: that of the host of this identity, or that of this URL.
    Engine(String),
}

#[derive(Serialize, Deserialize)]
struct State {
    version: u32,
    place: Place,
}

impl Place {
    /// Reads what was saved; `None` if nothing ever was.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Self>, Failed> {
        if bytes.is_empty() {
            return Ok(None);
        }
        // The version first: a newer state may not even fit the type.
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let unreadable =
            |cause| Failed(format!("the saved state cannot be read, and is left as it is: {cause}"));
        let Version { version } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if version != VERSION {
            return Err(Failed(format!(
                "the saved state has format {version}, this program knows {VERSION}: use the version that wrote it"
            )));
        }
        let State { place, .. } = serde_json::from_slice(bytes).map_err(unreadable)?;
        Ok(Some(place))
    }

    fn write(&self) -> Result<Vec<u8>, Failed> {
        let state = State { version: VERSION, place: self.clone() };
        serde_json::to_vec(&state).map_err(|cause| Failed(format!("cannot write down the state: {cause}")))
    }

    /// What a service that was made nowhere yet would be made as, just now.
    pub(crate) fn of(role: &Role, engine: &Engine, host: &str) -> Result<Self, Trouble> {
        match role {
            Role::Alone => Ok(Self::here(engine, host)),
            Role::Manager(swarm) => Ok(Self::Swarm(swarm.clone())),
            Role::Other(why) => Err(Trouble::Refused(why.clone())),
        }
    }

    fn here(engine: &Engine, host: &str) -> Self {
        Self::Engine(if engine.host.is_local() { host.to_owned() } else { engine.host.url().to_owned() })
    }

    /// Where the service is, which this engine can be asked about; it is saved before anything is made there.
    pub(crate) async fn settle(service: &Service, engine: &Engine) -> Result<Self, Trouble> {
        let role = engine.role().await?;
        if let Some(place) = Self::read(&service.state())? {
            place.is_reached(&role, engine, service.host())?;
            return Ok(place);
        }
        let place = Self::of(&role, engine, service.host())?;
        service.save(place.write()?).await?;
        Ok(place)
    }

    /// Whether the engine, such as it is, can be asked about what is in this place.
    pub(crate) fn is_reached(&self, role: &Role, engine: &Engine, host: &str) -> Result<(), Trouble> {
        let at = engine.host.url();
        match (self, role) {
            (Self::Swarm(made), Role::Manager(id)) if made == id => Ok(()),
            (Self::Swarm(_), Role::Other(why)) => Err(Trouble::Refused(why.clone())),
            (Self::Swarm(made), Role::Manager(id)) => Err(Trouble::Elsewhere(format!(
                "it is in the Swarm {made}; the engine at {at} is in another one, {id}"
            ))),
            (Self::Swarm(made), Role::Alone) => Err(Trouble::Elsewhere(format!(
                "it is in the Swarm {made}; the engine at {at} is in none: docker swarm join"
            ))),
            (Self::Engine(_), _) if *self == Self::here(engine, host) => Ok(()),
            (Self::Engine(made), _) => Err(Trouble::Elsewhere(format!(
                "its containers are at the engine of {made}; nothing is started at {at}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::DockerFlags;

    fn engine(url: &str) -> Engine {
        let flags = DockerFlags { docker_host: Some(url.to_owned()), ..Default::default() };
        Engine { host: flags.resolve().unwrap() }
    }

    #[test]
    fn nothing_saved_is_not_an_error_but_garbage_and_the_future_are() {
        assert_eq!(Place::read(b"").unwrap(), None);
        assert!(Place::read(b"{").is_err());
        assert!(Place::read(br#"{"version": 2, "pods": []}"#).unwrap_err().0.contains("format 2"));
        let place = Place::Swarm("abc".to_owned());
        assert_eq!(Place::read(&place.write().unwrap()).unwrap(), Some(place));
    }

    #[test]
    fn what_was_made_elsewhere_is_not_made_again_here() {
        let (local, far) = (engine("unix:///run/s"), engine("tcp://far:2375"));
        let manager = Role::Manager("abc".to_owned());
        let swarm = Place::of(&manager, &local, "here").unwrap();
        assert!(swarm.is_reached(&manager, &far, "there").is_ok(), "by any manager of it");
        let others = [Role::Alone, Role::Manager("xyz".to_owned()), Role::Other("locked".to_owned())];
        assert!(others.iter().all(|role| swarm.is_reached(role, &local, "here").is_err()));
        let here = Place::of(&Role::Alone, &local, "here").unwrap();
        assert!(here.is_reached(&manager, &local, "here").is_ok(), "an engine that joined later");
        assert!(here.is_reached(&Role::Alone, &local, "there").is_err());
        let remote = Place::of(&Role::Alone, &far, "here").unwrap();
        assert!(remote.is_reached(&Role::Alone, &far, "there").is_ok(), "the engine counts, not who asks");
    }
}
