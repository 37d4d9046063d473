//! What every crate's manifest takes from the workspace: one version, one table of dependencies, one set of lints.

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::{Workspace, read};

/// Keys of `[package]` that are said once, for all.
const INHERITED: &[&str] = &["version", "edition", "rust-version", "license", "publish"];

/// The one crate that may use `unsafe`, and so has lints of its own: it stands in for functions of the C library, so that
/// chance and time follow from a seed. Nobody ships it.
const UNSAFE: &str = "om-sim";

/// Manifests that say for themselves what the workspace says.
pub(super) fn broken(house: &Workspace) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    for member in &house.crates {
        let path = member.dir.join("Cargo.toml");
        let manifest = read(&path)?.parse::<Table>().with_context(|| format!("{}", path.display()))?;
        broken.extend(judge(&manifest).into_iter().map(|what| format!("{}: {what}", house.short(&path))));
    }
    Ok(broken)
}

fn judge(manifest: &Table) -> Vec<String> {
    let mut broken = Vec::new();
    let package = manifest.get("package").and_then(Value::as_table).cloned().unwrap_or_default();
    for key in INHERITED {
        if !inherits(package.get(*key)) {
            broken.push(format!("write {key}.workspace = true"));
        }
    }
    if package.get("description").and_then(Value::as_str).is_none_or(str::is_empty) {
        broken.push("a crate has a description".to_owned());
    }
    let name = package.get("name").and_then(Value::as_str);
    if !inherits(manifest.get("lints")) && name != Some(UNSAFE) {
        broken.push("write workspace = true under [lints]".to_owned());
    }
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flatten();
    let tables = targets.filter_map(|(_, table)| table.as_table()).chain([manifest]);
    for table in tables {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, dependency) in table.get(section).and_then(Value::as_table).into_iter().flatten() {
                let itself = package.get("name").and_then(Value::as_str) == Some(name);
                if !inherits(Some(dependency)) && !itself {
                    broken.push(format!(
                        "{section}.{name}: its version belongs into the table of the root Cargo.toml"
                    ));
                }
            }
        }
    }
    broken
}

fn inherits(value: Option<&Value>) -> bool {
    value.and_then(|value| value.get("workspace")).and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [package]
        name = "om-good"
        description = "As it should be"
        version.workspace = true
        edition.workspace = true
        rust-version.workspace = true
        license.workspace = true
        publish.workspace = true
        [dependencies]
        tokio = { workspace = true, features = ["test-util"] }
        [target.'cfg(unix)'.dependencies]
        rustix.workspace = true
        [dev-dependencies]
        om-good = { path = ".", features = ["testing"] }
        [lints]
        workspace = true
    "#;

    fn judged(manifest: &str) -> Vec<String> {
        judge(&manifest.parse().unwrap())
    }

    #[test]
    fn a_manifest_that_takes_everything_from_the_workspace_is_fine() {
        assert_eq!(judged(GOOD), [""; 0]);
    }

    #[test]
    fn whatever_a_manifest_says_for_itself_is_found() {
        for (from, to) in [
            ("version.workspace = true\n        edition", "version = \"0.1.0\"\n        edition"),
            ("license.workspace = true", "license = \"MIT\""),
            ("description = \"As it should be\"", ""),
            ("[lints]\n        workspace = true", ""),
            ("[lints]\n        workspace = true", "[lints.rust]\n        unsafe_code = \"allow\""),
            ("{ workspace = true, features = [\"test-util\"] }", "\"1\""),
            ("rustix.workspace = true", "rustix = { version = \"1\" }"),
            ("rustix.workspace = true", "om-api = { path = \"../api\" }"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            assert_eq!(judged(&GOOD.replacen(from, to, 1)).len(), 1, "{from} -> {to}");
        }
    }
}
