//! Authority that was handed out and may still be in use.
//!
//! Before a plugin gets authority, the grant is recorded. So a new leader knows which plugins of the old one might
//! still act, and starts nothing of their kinds before each has stopped. What proves that:
//!
//! * the old leader said so when it released its claim, or bequeathed it;
//! * the plugin itself, by its word in a session under the new term;
//! * the plugin itself, by the secret of its will;
//! * a socket on this host that nobody listens at any more: its plugin is dead;
//! * the deadline: no authority outlives the old claim by more than its length. The old leader confirmed its claim
//!   before it was replaced, and the deadline counts from before the confirmation. Where terms are won in an election,
//!   the election says when it is over.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use om_api::clock::wall_unix_ms;
use om_api::socket::{Address, Security};
use om_store::{Change, Expect};
use prost::Message;
use tokio::sync::watch;
use tracing::{debug, info};

use super::opening::Opening;
use super::{Realm, Reign};
use crate::office::{Before, Granted};
use crate::records::{GRANTS, GrantRecord, key};
use crate::wills;

/// How often a silent plugin of the old leader is looked for again.
const LOOK: Duration = Duration::from_millis(50);

struct Old {
    grant: GrantRecord,
    modified: u64,
}

/// Authority of this reign.
#[derive(Clone)]
pub(super) struct Own {
    pub(super) grant: GrantRecord,
    /// The secret of its will.
    secret: Vec<u8>,
    /// Recorded, and not handed out yet.
    fresh: bool,
    /// The plugin said that it has stopped, or nothing was handed to it yet.
    returned: bool,
}

/// What earlier leaders handed out, and what this one did.
pub(super) struct Grants {
    old: Mutex<BTreeMap<String, Old>>,
    changed: watch::Sender<u64>,
    own: Mutex<BTreeMap<String, Own>>,
    /// The plugins that were ever known to serve a kind, as far as it is recorded.
    known: BTreeMap<String, String>,
    /// When the claim was made, at the latest.
    claimed_at: Duration,
    before: Before,
}

impl Grants {
    pub(super) fn inherit(realm: &Realm, granted: &Granted, opening: Opening) -> Self {
        let before = granted.before;
        let claimed_at = (realm.clock)();
        let (mut old, mut known) = (BTreeMap::new(), BTreeMap::new());
        for (key, grant, modified) in opening.before {
            known.extend(grant.kinds.iter().map(|kind| (kind.clone(), grant.plugin.clone())));
            if before != Before::Stopped {
                old.insert(key, Old { grant, modified });
            }
        }
        Self {
            old: Mutex::new(old),
            changed: watch::Sender::new(0),
            own: Mutex::new(opening.own),
            known,
            claimed_at,
            before,
        }
    }

    /// Whether every plugin that got authority in this reign said that it has stopped.
    pub(super) fn all_returned(&self) -> bool {
        lock(&self.old).is_empty() && lock(&self.own).values().all(|own| own.returned)
    }

    /// The plugin that served this kind when a grant was last recorded.
    pub(super) fn plugin_of(&self, kind: &str) -> Option<String> {
        let own = lock(&self.own);
        let serving = own.values().find(|own| own.grant.kinds.iter().any(|served| served == kind));
        serving.map(|own| own.grant.plugin.clone()).or_else(|| self.known.get(kind).cloned())
    }

    /// When nothing proves any sooner that the authority is over.
    fn runs_out(&self, grant: &GrantRecord) -> Duration {
        match self.before {
            Before::Until(moment) => moment,
            Before::Stopped => self.claimed_at,
            Before::Unknown => {
                let authority = Duration::from_millis(grant.authority_ms);
                // An eighth more, for clocks of two hosts that do not run at the same rate.
                self.claimed_at + authority + authority / 8
            }
        }
    }

    fn discharged(&self, key: &str) -> Option<u64> {
        let old = lock(&self.old).remove(key)?;
        self.changed.send_modify(|n| *n += 1);
        debug!(plugin = %old.grant.plugin, host = %old.grant.host, "its authority is over");
        Some(old.modified)
    }

    /// Waits until no other plugin can act on these kinds.
    async fn others_stopped(&self, mine: &str, kinds: &BTreeSet<String>) {
        let mut changes = self.changed.subscribe();
        loop {
            changes.borrow_and_update();
            let shared = |grant: &GrantRecord| grant.kinds.iter().any(|kind| kinds.contains(kind));
            if !lock(&self.old).iter().any(|(key, old)| key != mine && shared(&old.grant)) {
                return;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the grant of the plugin behind a socket is kept.
pub(super) fn grant_key(host: &str, socket: &str) -> String {
    key(GRANTS, &format!("{host}{socket}"))
}

pub(super) fn grant(realm: &Realm, plugin: &str, socket: &str, kinds: &BTreeSet<String>) -> GrantRecord {
    GrantRecord {
        plugin: plugin.to_owned(),
        host: realm.host.clone(),
        socket: socket.to_owned(),
        kinds: kinds.iter().cloned().collect(),
        authority_ms: u64::try_from(realm.authority.as_millis()).unwrap_or(u64::MAX),
        will: Vec::new(),
    }
}

impl Own {
    pub(super) fn new(grant: GrantRecord) -> Self {
        let secret = wills::secret();
        let grant = GrantRecord { will: wills::digest_of(&secret), ..grant };
        Self { grant, secret, fresh: true, returned: true }
    }

    /// The secret, if the same authority is recorded and was not handed out yet.
    fn hand_out(&mut self, wanted: &GrantRecord) -> Option<Vec<u8>> {
        let same = self.grant.plugin == wanted.plugin && self.grant.kinds == wanted.kinds;
        if !(self.fresh && same) {
            return None;
        }
        (self.fresh, self.returned) = (false, false);
        Some(self.secret.clone())
    }
}

impl Reign {
    /// Records that authority is about to be handed to a plugin, each time anew: the last word of an earlier session must
    /// not count for this one. Gives the grant's key and the secret of its will.
    pub(super) async fn grant(
        &self,
        plugin: &str,
        socket: &str,
        kinds: &BTreeSet<String>,
    ) -> Result<(String, Vec<u8>), om_store::Error> {
        let realm = &self.0.realm;
        let mut new = Own::new(grant(realm, plugin, socket, kinds));
        let key = grant_key(&realm.host, socket);
        let fresh = lock(&self.0.grants.own).get_mut(&key).and_then(|own| own.hand_out(&new.grant));
        if let Some(secret) = fresh {
            return Ok((key, secret));
        }
        self.append(Change::at(wall_unix_ms()).put(key.clone(), new.grant.encode_to_vec())).await?;
        let secret = new.secret.clone();
        (new.fresh, new.returned) = (false, false);
        lock(&self.0.grants.own).insert(key.clone(), new);
        Ok((key, secret))
    }

    /// The plugin with this grant says in a session of this term that nothing of older ones goes on in it.
    pub(super) fn stopped(&self, key: &str) {
        self.0.grants.discharged(key);
    }

    /// Returns when no other plugin can act on these kinds by authority of the leaders before. The one with this grant sees
    /// to it by itself that of one service nothing begins before what went on has ended.
    pub(super) async fn others_stopped(&self, key: &str, kinds: &BTreeSet<String>) {
        self.0.grants.others_stopped(key, kinds).await;
    }

    /// The plugin said that it has stopped, with everything of earlier sessions, or is dead.
    pub(super) fn returned(&self, key: &str) {
        self.0.grants.discharged(key);
        if let Some(own) = lock(&self.0.grants.own).get_mut(key) {
            own.returned = true;
        }
    }
}

/// Sees every old grant to its end.
pub(super) async fn discharge(reign: Reign) {
    let grants = &reign.0.grants;
    let realm = &reign.0.realm;
    if !lock(&grants.old).is_empty() {
        info!(
            count = lock(&grants.old).len(),
            "the leader before did not say that its plugins stopped; finding out"
        );
    }
    let mut words = realm.wills.changes();
    loop {
        words.borrow_and_update();
        let left: Vec<(String, GrantRecord)> =
            lock(&grants.old).iter().map(|(key, old)| (key.clone(), old.grant.clone())).collect();
        let mut over = Vec::new();
        for (key, grant) in left {
            let said = realm.wills.tell_of(&key, &grant, reign.cluster());
            if said || (realm.clock)() >= grants.runs_out(&grant) || dead(&grant, realm).await {
                over.push(key);
            }
        }
        for key in over {
            let Some(modified) = grants.discharged(&key) else { continue };
            // This reign's own record stands in its place.
            if lock(&grants.own).contains_key(&key) {
                continue;
            }
            // Forget the record, unless the plugin has got new authority meanwhile.
            let change = Change::at(wall_unix_ms())
                .delete(key.as_str())
                .expect(key.as_str(), Expect::Modified(modified));
            if let Err(error) = reign.append(change).await {
                debug!(%error, key, "the old grant stays recorded");
            }
        }
        if lock(&grants.old).is_empty() {
            return;
        }
        let next =
            lock(&grants.old).values().map(|old| grants.runs_out(&old.grant)).min().unwrap_or_default();
        let pause = next.saturating_sub((realm.clock)()).clamp(Duration::from_millis(1), LOOK);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = words.changed() => {}
        }
    }
}

/// Whether nobody listens at the socket of a plugin of this host. A socket file that is gone proves nothing.
async fn dead(grant: &GrantRecord, realm: &Realm) -> bool {
    if grant.host != realm.host {
        return false;
    }
    // A plugin that hangs accepts nothing, and the queue before it may be full: that is an error too, but another. Nor is
    // an answer waited for: others' deadlines are looked at in turn with this.
    let socket = Address::Unix(PathBuf::from(&grant.socket));
    let connected = tokio::time::timeout(LOOK, (realm.dialer)(&socket, &Security::Clear)).await;
    connected.is_ok_and(|it| it.is_err_and(|cause| cause.kind() == ErrorKind::ConnectionRefused))
}
