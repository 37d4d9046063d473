//! Where everything is: hosts with a replica and a plugin each, and the clients.

use std::path::PathBuf;

use om_api::socket::Address;

use crate::hub::Place;

/// Where the clients are.
pub(crate) const CLIENTS: Place = Place(50);

/// A host's name.
pub(crate) fn host(place: Place) -> String {
    format!("h{}", place.0)
}

/// The name of a host's replica.
pub(crate) fn replica(place: Place) -> String {
    format!("r{}", place.0)
}

/// Where a host's sockets are.
pub(crate) fn plugins(place: Place) -> PathBuf {
    PathBuf::from(format!("/h{}/plugins", place.0))
}

/// Where others reach a host's replica.
pub(crate) fn endpoint(place: Place) -> Address {
    Address::Tcp { host: host(place), port: 7000 }
}
