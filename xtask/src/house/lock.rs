//! One version of everything that crates talk to each other through. Two of them compile, and then a `Body` is not a
//! `Body`. cargo-deny looks at all the others.

use anyhow::{Context, Result};
use toml::{Table, Value};

const ONE: &[&str] = &["tokio", "hyper", "h2", "http", "tonic", "prost", "rustls", "tower", "axum"];

/// Crates of which the lock file holds two versions.
pub(super) fn broken(lock: &str) -> Result<Vec<String>> {
    let lock: Table = lock.parse().context("Cargo.lock is not TOML")?;
    let packages = lock.get("package").and_then(Value::as_array).context("Cargo.lock names no packages")?;
    let versions = |name: &str| -> Vec<&str> {
        let named =
            packages.iter().filter(|package| package.get("name").and_then(Value::as_str) == Some(name));
        named.filter_map(|package| package.get("version")?.as_str()).collect()
    };
    let twice = |name: &&str| {
        let found = versions(name);
        (found.len() > 1).then(|| format!("Cargo.lock: one version of {name}, not {}", found.join(" and ")))
    };
    Ok(ONE.iter().filter_map(twice).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_versions_of_one_of_them_are_found() {
        let lock = |second: &str| {
            let one = "[[package]]\nname = \"http\"\nversion = \"1.5.0\"\n";
            format!("version = 4\n{one}[[package]]\nname = \"{second}\"\nversion = \"0.2.12\"\n")
        };
        assert_eq!(broken(&lock("http")).unwrap(), ["Cargo.lock: one version of http, not 1.5.0 and 0.2.12"]);
        assert_eq!(broken(&lock("syn")).unwrap(), [""; 0]);
    }
}
