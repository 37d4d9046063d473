//! draft
mod engine;
mod state;
mod wire;
pub use engine::{DEFAULT_HOST, Engine, EngineOptions, OptionsError};
