//! The last word of plugins whose leader died.
//!
//! At `open` a leader leaves each plugin a will: whom to tell, and a secret that proves the right to. Only the secret's
//! digest is stored, with the grant; so whoever can read the store cannot say that a plugin has stopped.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use om_api::v1;
use ring::digest::{SHA256, digest};
use tokio::sync::watch;
use tracing::debug;

use crate::records::GrantRecord;

/// So many words are kept; each counts for one grant of one term, and a replica has few plugins.
const KEPT: usize = 1024;
/// A secret of two random UUIDs.
const SECRET: usize = 32;

/// Other replicas, as a will names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heirs {
    pub(crate) endpoints: Vec<String>,
    /// The authorities that signed their certificates, PEM; empty: in the clear.
    pub(crate) ca_pem: Vec<u8>,
}

/// Gives the heirs of this moment.
pub(crate) type FindHeirs = std::sync::Arc<dyn Fn() -> Heirs + Send + Sync>;

/// A new secret.
pub(crate) fn secret() -> Vec<u8> {
    let [a, b] = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
    [a.as_bytes().as_slice(), b.as_bytes()].concat()
}

/// What is stored of a secret.
pub(crate) fn digest_of(secret: &[u8]) -> Vec<u8> {
    digest(&SHA256, secret).as_ref().to_vec()
}

/// What plugins testified to this replica.
#[derive(Default)]
pub(crate) struct Wills {
    heard: Mutex<VecDeque<v1::TestifyRequest>>,
    changed: watch::Sender<u64>,
}

impl Wills {
    /// Takes a word in, whether or not this replica leads: it may do so next.
    pub(crate) fn hear(&self, word: v1::TestifyRequest) {
        if word.token.len() != SECRET {
            return;
        }
        debug!(grant = word.grant, term = word.term, "a plugin says that it has stopped");
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.contains(&word) {
            return;
        }
        heard.push_back(word);
        if heard.len() > KEPT {
            heard.pop_front();
        }
        drop(heard);
        self.changed.send_modify(|n| *n += 1);
    }

    /// Every word that comes from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether the plugin of a grant said that it has stopped.
    pub(crate) fn tell_of(&self, key: &str, grant: &GrantRecord, cluster: &str) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut words = heard.iter().filter(|word| word.grant == key);
        words.any(|word| word.cluster == cluster && digest_of(&word.token) == grant.will)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(token: Vec<u8>, term: u64) -> v1::TestifyRequest {
        v1::TestifyRequest { cluster: "x".into(), term, grant: "grant/h/s".into(), token: token.into() }
    }

    #[test]
    fn only_the_secret_of_this_very_grant_counts() {
        let own = secret();
        let grant = GrantRecord { will: digest_of(&own), ..Default::default() };
        let wills = Wills::default();
        wills.hear(word(secret(), 7));
        wills.hear(word(grant.will.clone(), 7));
        assert!(!wills.tell_of("grant/h/s", &grant, "x"));
        wills.hear(word(own, 7));
        assert!(wills.tell_of("grant/h/s", &grant, "x"));
        assert!(!wills.tell_of("grant/h/other", &grant, "x") && !wills.tell_of("grant/h/s", &grant, "y"));
    }

    #[test]
    fn a_grant_without_a_will_is_ended_by_nobody() {
        let grant = GrantRecord::default();
        let wills = Wills::default();
        wills.hear(word(Vec::new(), 7));
        wills.hear(word(secret(), 7));
        assert!(!wills.tell_of("grant/h/s", &grant, "x"));
    }
}
