//! The metadata (gRPC headers) that calls carry beside their message.

use tonic::Request;
use tonic::metadata::MetadataValue;

/// The term of the manager that calls a plugin, decimal. On every call from a manager to a plugin.
pub const TERM: &str = "om-term";

/// The identity of the store that the term belongs to. On every call from a manager to a plugin.
pub const CLUSTER: &str = "om-cluster";

/// Names the kind whose plugin a call of a foreign service (one that is not `om.v1`) is passed to.
pub const KIND: &str = "om-kind";

/// The term in the metadata of a request; `None` if there is none or it is no number.
#[must_use]
pub fn term<T>(request: &Request<T>) -> Option<u64> {
    request.metadata().get(TERM)?.to_str().ok()?.parse().ok()
}

/// The store's identity in the metadata of a request.
#[must_use]
pub fn cluster<T>(request: &Request<T>) -> Option<String> {
    Some(request.metadata().get(CLUSTER)?.to_str().ok()?.to_owned())
}

/// Stamps a request with the caller's term and store.
pub fn stamp<T>(request: &mut Request<T>, term: u64, cluster: &str) {
    request.metadata_mut().insert(TERM, MetadataValue::from(term));
    if let Ok(value) = MetadataValue::try_from(cluster) {
        request.metadata_mut().insert(CLUSTER, value);
    }
}
