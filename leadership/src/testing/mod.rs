//! For tests: a detector and an office that do as they are told, a clock that can jump, and the exam for detectors.

mod clock;
mod detector;
mod office;
mod suite;

pub use clock::TestClock;
pub use detector::ScriptedDetector;
pub use office::{Mood, ScriptedOffice};
pub use suite::{Harness, detector_suite};
