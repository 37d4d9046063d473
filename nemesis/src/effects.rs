//! What the plugins wrote down of what they did.

use std::path::Path;
use std::time::Duration;

use om_checker::{Deed, What};
use om_system_tests::record::{self, SteeringLine};

use crate::history::History;

/// Adds the whole record.
pub(crate) fn add(record: &Path, history: &History) {
    for line in record::lines::<SteeringLine>(record) {
        let SteeringLine { service, term, revision, what, pid, at } = line;
        let deed = if what == "destroy" { Deed::Destroy } else { Deed::Steer };
        let (plugin, kind) = (pid.to_string(), "record".to_owned());
        let acted = What::Acted { plugin, kind, service, term, revision, deed };
        history.add_at(Duration::from_micros(at), acted);
    }
}
