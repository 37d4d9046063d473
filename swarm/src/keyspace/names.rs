//! What is ours in a Swarm, by name.
//!
//! A name of a config object has 64 characters at most. Objects of another cluster can begin as ours do: the label
//! says whose one is.

use uuid::Uuid;

use crate::engine::Config;

/// Whose an object is.
const CLUSTER: &str = "openmanage.cluster";
/// What an object is: `page`, `lease`, `bell`.
const KIND: &str = "openmanage.kind";
/// The version of the Swarm that the one swap which may name a page compares with.
const BASE: &str = "openmanage.base";
/// Of a lease: how long it lasts without being kept alive, in seconds.
pub(super) const TTL: &str = "openmanage.ttl";
/// Of a lease: how often it was kept alive.
pub(super) const KEPT: &str = "openmanage.kept";
/// Of a lease: it ran out.
pub(super) const ENDED: &str = "openmanage.ended";
/// Of the bell: the revision for which it was rung last.
pub(super) const REVISION: &str = "openmanage.revision";

/// Names longer than this are cut.
const LONGEST: usize = 24;
/// Pages are looked for one part of so many at a time, by the first digit of what they are unique by.
pub(super) const PARTS: usize = 16;

/// The names of one cluster.
#[derive(Clone, Debug)]
pub(super) struct Names {
    cluster: String,
    root: String,
    /// The Swarm's label.
    pub(super) label: String,
}

impl Names {
    pub(super) fn of(cluster: &str) -> Self {
        let fits = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
        let root = if cluster.len() <= LONGEST && cluster.chars().all(fits) {
            format!("om-{cluster}")
        } else {
            let kept: String = cluster.chars().filter(|char| fits(*char)).take(LONGEST - 9).collect();
            format!("om-{kept}.{:08x}", hash(cluster) >> 32)
        };
        Self { cluster: cluster.to_owned(), root, label: format!("openmanage.{cluster}") }
    }

    /// What the names of all config objects begin with.
    pub(super) fn all(&self) -> String {
        format!("{}-", self.root)
    }

    pub(super) fn bell(&self) -> String {
        format!("{}-bell", self.root)
    }

    /// What the names of the leases begin with.
    pub(super) fn leases(&self) -> String {
        format!("{}-lease-", self.root)
    }

    pub(super) fn lease(&self, id: i64) -> String {
        format!("{}{id:016x}", self.leases())
    }

    /// Which lease a name is that of.
    pub(super) fn lease_of(&self, name: &str) -> Option<i64> {
        i64::from_str_radix(name.strip_prefix(&self.leases())?, 16).ok()
    }

    /// A new name for a page.
    pub(super) fn page(&self) -> String {
        let unique = Uuid::new_v4().simple().to_string();
        format!("{}-page-{}", self.root, &unique[..24])
    }

    /// What the names of the pages of one part begin with.
    pub(super) fn pages(&self, part: usize) -> String {
        format!("{}-page-{:x}", self.root, part % PARTS)
    }

    /// The labels of an object.
    pub(super) fn labels(&self, kind: &str) -> Vec<(&'static str, String)> {
        vec![(CLUSTER, self.cluster.clone()), (KIND, kind.to_owned())]
    }

    /// The labels of a page that only the swap with this version may name.
    pub(super) fn page_labels(&self, base: u64) -> Vec<(&'static str, String)> {
        let mut labels = self.labels("page");
        labels.push((BASE, base.to_string()));
        labels
    }

    pub(super) fn is_ours(&self, config: &Config) -> bool {
        config.label(CLUSTER) == Some(&self.cluster)
    }

    /// The version that a page's swap compares with; `None`: this is no page of ours.
    pub(super) fn base_of(&self, config: &Config) -> Option<u64> {
        let ours = self.is_ours(config) && config.label(KIND) == Some("page");
        config.label(BASE).filter(|_| ours)?.parse().ok()
    }
}

/// FNV-1a: the same on every machine and in every version.
pub(super) fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_whatever_the_cluster_is_called() {
        let long = "a cluster with a long name, and with spaces".repeat(3);
        for cluster in ["c", "production-eu.west_1", &long, "ümläut", ""] {
            let names = Names::of(cluster);
            for name in [names.bell(), names.lease(-1), names.page()] {
                assert!(name.len() <= 64, "{name}");
                assert!(
                    name.chars().all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char)),
                    "{name}"
                );
            }
        }
        assert_ne!(Names::of(&format!("{long}1")).bell(), Names::of(&format!("{long}2")).bell());
        let names = Names::of("c");
        assert_eq!(names.lease_of(&names.lease(0x7fff_0000_0000_0001)), Some(0x7fff_0000_0000_0001));
        assert_eq!(names.lease_of(&names.bell()), None);
    }
}
