//! WHO seems to lead.
//!
//! A [`Detector`] says what it sees: [`Leadership`]. That is advice; the store is the judge. The [`Elector`] decides,
//! purely, what to do about it; one task, the [`Campaign`], owns the elector, asks the [`Office`] (the manager's side
//! of the store) for claims and confirmations, and publishes a [`Standing`]. While it leads, the standing holds a
//! [`Mandate`]: the term, and until when the leadership is confirmed.
//!
//! What must hold:
//!
//! * A mandate exists only after the office granted a claim, and ends for good when the claim is found fenced, when
//!   the detector names somebody else, or when no confirmation arrived in time.
//! * A mandate's deadline is counted from *before* the confirmation was asked for, by a clock that runs on while the
//!   machine sleeps.
//! * `Unknown` is held until the deadline, not longer.
//!
//! [`FileDetector`] reads a leader file, [`Solo`] always leads. The `testing` feature has a scripted detector and office,
//! and the conformance suite that every detector passes.

mod campaign;
mod detector;
pub mod election;
mod elector;
mod file;
mod mandate;
mod office;
mod solo;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod timing;

pub use campaign::{Alarm, Campaign};
pub use detector::{Detector, Leadership};
pub use elector::{Elector, Input, Lost, Output};
pub use file::{FileDetector, FileOptions};
pub use mandate::{Mandate, Standing};
pub use office::{Office, OfficeError};
pub use solo::Solo;
pub use timing::{Timing, TimingError};

use std::sync::Arc;
use std::time::Duration;

/// A clock for deadlines: time since some fixed moment, never going back, running on during suspend.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;
