//! The labels by which the plugin knows what it made, and when.

use std::collections::HashMap;

use om_plugin_sdk::Service;
use serde_json::{Map, Value};

use crate::engine::Trouble;

const PREFIX: &str = "openmanage.";
const SERVICE: &str = "openmanage.service";
const CLUSTER: &str = "openmanage.cluster";
const TERM: &str = "openmanage.term";
const REVISION: &str = "openmanage.revision";
/// Of a container: its place among the service's.
pub(crate) const INDEX: &str = "openmanage.index";
/// Of a container: what it was made from.
pub(crate) const HASH: &str = "openmanage.spec";

/// Whether a label is the plugin's own.
pub(crate) fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Who made something, for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    service: String,
    cluster: String,
    term: u64,
    revision: u64,
}

impl Stamp {
    /// Ours, as of now.
    pub(crate) fn of(service: &Service, revision: u64) -> Result<Self, Trouble> {
        let term = service.permit()?;
        Ok(Self { service: service.name().to_owned(), cluster: service.cluster().to_owned(), term, revision })
    }

    /// The labels that say whose it is: these never change.
    pub(crate) fn owner(&self) -> Map<String, Value> {
        let label = |name: &str, value: &str| (name.to_owned(), Value::from(value));
        Map::from_iter([label(SERVICE, &self.service), label(CLUSTER, &self.cluster)])
    }

    /// All of them.
    pub(crate) fn labels(&self) -> Map<String, Value> {
        let mut labels = self.owner();
        labels.insert(TERM.to_owned(), self.term.to_string().into());
        labels.insert(REVISION.to_owned(), self.revision.to_string().into());
        labels
    }

    /// What a list of the service's objects is filtered by.
    pub(crate) fn filters(&self) -> HashMap<String, Vec<String>> {
        let labels = vec![format!("{SERVICE}={}", self.service), format!("{CLUSTER}={}", self.cluster)];
        HashMap::from([("label".to_owned(), labels)])
    }

    /// Judges an object of this name by its labels: an error unless it is ours to change. `what` names it.
    pub(crate) fn may_change(
        &self,
        what: &str,
        labels: Option<&HashMap<String, String>>,
    ) -> Result<(), Trouble> {
        let label = |name: &str| labels.and_then(|labels| labels.get(name)).map(String::as_str);
        match (label(SERVICE), label(CLUSTER)) {
            (Some(service), Some(cluster)) if service == self.service && cluster == self.cluster => {}
            (Some(_), Some(cluster)) if cluster != self.cluster => {
                return Err(Trouble::Taken(format!(
                    "{what} belongs to another OpenManage (store {cluster}, not {}); destroy it there, or rename the service",
                    self.cluster
                )));
            }
            _ => {
                return Err(Trouble::Taken(format!(
                    "{what} is there and was not made by OpenManage, so it is left alone; remove it, or rename the service"
                )));
            }
        }
        let term = label(TERM).and_then(|term| term.parse::<u64>().ok()).unwrap_or(0);
        if term > self.term {
            return Err(Trouble::Fenced(format!(
                "{what} was last changed in term {term}, this is term {}: a newer leader is at work",
                self.term
            )));
        }
        Ok(())
    }
}

/// A short text that differs where the values do.
pub(crate) fn hash(value: &Value) -> String {
    // FNV-1a: stable over versions of Rust. Nobody gains by a collision but who may declare the service anyway.
    let text = value.to_string();
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(term: u64) -> Stamp {
        Stamp { service: "web".to_owned(), cluster: "here".to_owned(), term, revision: 7 }
    }

    fn labels(of: &Stamp) -> HashMap<String, String> {
        let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
        of.labels().into_iter().map(|(name, value)| (name, text(value))).collect()
    }

    #[test]
    fn only_what_is_ours_and_of_no_later_term_may_be_changed() {
        let ours = labels(&stamp(3));
        assert!(stamp(3).may_change("web", Some(&ours)).is_ok());
        assert!(stamp(4).may_change("web", Some(&ours)).is_ok());
        assert!(matches!(stamp(2).may_change("web", Some(&ours)), Err(Trouble::Fenced(_))));
        assert!(matches!(stamp(3).may_change("web", None), Err(Trouble::Taken(_))));
        let elsewhere = labels(&Stamp { cluster: "there".to_owned(), ..stamp(3) });
        assert!(matches!(stamp(3).may_change("web", Some(&elsewhere)), Err(Trouble::Taken(_))));
        let other = labels(&Stamp { service: "api".to_owned(), ..stamp(3) });
        assert!(matches!(stamp(3).may_change("web", Some(&other)), Err(Trouble::Taken(_))));
    }

    #[test]
    fn a_hash_stays_the_same_over_versions() {
        assert_eq!(hash(&Value::from("a")), "d4272417d7c77eea");
    }
}
