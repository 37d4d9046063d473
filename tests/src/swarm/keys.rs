//! What a group of replicas keeps in a Swarm.

use std::collections::BTreeMap;
use std::time::Duration;

use om_kv::{Keyspace, Range};
use om_swarm::{Engine, EngineOptions, SwarmKeyspace, SwarmOptions};

use super::Swarm;

/// A Swarm without a leader does not answer, and that is its answer.
const GLANCE: Duration = Duration::from_secs(2);

impl Swarm {
    /// The keys of a group that begin so, with what they hold, by the first engine that answers.
    ///
    /// # Errors
    /// If none does.
    pub fn keys(&self, cluster: &str, prefix: &str) -> Result<BTreeMap<String, String>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|cause| cause.to_string())?;
        let mut last = "there is no engine".to_owned();
        for engine in self.engines() {
            let options = EngineOptions { host: engine.url(), ..EngineOptions::default() };
            let engine = Engine::new(&options).map_err(|error| error.to_string())?;
            let found = runtime.block_on(async {
                let keyspace = SwarmKeyspace::new(engine, cluster, SwarmOptions::default());
                keyspace.range(&Range::prefix(prefix), GLANCE).await
            });
            match found {
                Ok(found) => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    return Ok(found.kvs.iter().map(|kv| (kv.key.clone(), text(&kv.value))).collect());
                }
                Err(error) => last = error.to_string(),
            }
        }
        Err(last)
    }
}
