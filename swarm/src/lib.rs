//! draft
mod state;
mod wire;
