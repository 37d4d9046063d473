//! The configuration: parsed once, cross-checked, and shown with its sources on request.
//!
//! Flags beat the environment, the environment beats the file, the file beats the defaults.

mod args;
mod etcd;
mod file;
mod network;
mod resolve;
mod swarm;

pub use args::{Args, Command};
pub use etcd::EtcdMode;
pub use network::{Listen, Network};
pub use resolve::{Config, Mode, resolve};
pub use swarm::SwarmMode;

use std::time::Duration;

/// Reads a duration such as `100ms`, `5s`, `1m30s` or `1h`.
///
/// # Errors
/// What is wrong with it, for people.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write it like 100ms, 5s or 2m");
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let part = match &rest[..letters] {
            "ms" => Some(Duration::from_millis(number)),
            "s" => Some(Duration::from_secs(number)),
            "m" => number.checked_mul(60).map(Duration::from_secs),
            "h" => number.checked_mul(3600).map(Duration::from_secs),
            _ => None,
        };
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = &rest[letters..];
    }
    Ok(total)
}

#[cfg(test)]
mod tests;
