//! The rules of the house that a machine can check. CONTRIBUTING.md says why they are rules.
//!
//! Each rule is a function from what it reads to what is broken, a line each; so a test can show it a bad house.

mod code;
mod edges;
mod lock;
mod manifests;
mod named;
mod protos;
mod sources;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run;

/// The crates of the workspace and what they say of each other.
pub(crate) struct Workspace {
    root: PathBuf,
    crates: Vec<Member>,
}

/// One crate.
struct Member {
    name: String,
    dir: PathBuf,
    edges: Vec<Edge>,
}

/// A dependency on another crate of the workspace.
struct Edge {
    to: String,
    kind: Kind,
}

/// What the dependency is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Build,
    Dev,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn read() -> Result<Self> {
        Self::from_metadata(&run::metadata()?)
    }

    /// Reads what `cargo metadata --no-deps` says.
    fn from_metadata(metadata: &Value) -> Result<Self> {
        let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
        let names: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
        let member = |package: &Value| -> Result<Member> {
            let manifest = package["manifest_path"].as_str().context("a package without a manifest")?;
            let edges = package["dependencies"].as_array().context("a package without dependencies")?.iter();
            let edges = edges.filter_map(|edge| {
                let to = edge["name"].as_str()?;
                let kind = match edge["kind"].as_str() {
                    Some("dev") => Kind::Dev,
                    Some("build") => Kind::Build,
                    _ => Kind::Normal,
                };
                names.contains(&to).then(|| Edge { to: to.to_owned(), kind })
            });
            Ok(Member {
                name: package["name"].as_str().context("a package without a name")?.to_owned(),
                dir: Path::new(manifest).parent().context("a manifest without a directory")?.to_owned(),
                edges: edges.collect(),
            })
        };
        let root = metadata["workspace_root"].as_str().context("cargo metadata names no root")?;
        Ok(Self { root: PathBuf::from(root), crates: packages.iter().map(member).collect::<Result<_>>()? })
    }

    /// A path as people name it: from the root on.
    fn short<'p>(&self, path: &'p Path) -> std::path::Display<'p> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

/// Everything that is broken, a line each.
pub(crate) fn broken(house: &Workspace) -> Result<Vec<String>> {
    let mut broken = edges::broken(house);
    broken.extend(manifests::broken(house)?);
    broken.extend(lock::broken(&read(&house.root.join("Cargo.lock"))?)?);
    let mut functions = BTreeSet::new();
    for member in &house.crates {
        for file in files(&member.dir)? {
            let name = house.short(&file).to_string();
            match file.extension().and_then(|ext| ext.to_str()) {
                Some("rs") => {
                    let text = read(&file)?;
                    functions.extend(named::functions(&text).map(str::to_owned));
                    broken.extend(sources::broken(&name, &text));
                }
                Some("proto") => broken.extend(protos::broken(&name, &read(&file)?)),
                _ => {}
            }
        }
    }
    let page = house.root.join("docs/reliability.md");
    broken.extend(named::broken("docs/reliability.md", &read(&page)?, &functions));
    Ok(broken)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The files of a crate, in order, without what is hidden or built, and without crates within it.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut entries = std::fs::read_dir(dir)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .with_context(|| format!("cannot list {}", dir.display()))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (name, path) = (entry.file_name(), entry.path());
        if name.as_encoded_bytes().starts_with(b".") || name == "target" {
            continue;
        }
        if path.is_dir() {
            if !path.join("Cargo.toml").exists() {
                found.extend(files(&path)?);
            }
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_keeps_the_rules_of_the_house() {
        let broken = broken(&Workspace::read().unwrap()).unwrap();
        assert!(broken.is_empty(), "{} broken:\n{}", broken.len(), broken.join("\n"));
    }

    #[test]
    fn every_crate_is_looked_at() {
        let house = Workspace::read().unwrap();
        let names: Vec<&str> = house.crates.iter().map(|member| member.name.as_str()).collect();
        for name in ["om-api", "om-store", "om-manager", "om-plugin-sdk", "xtask"] {
            assert!(names.contains(&name), "{name} is missing in {names:?}");
        }
        let xtask = house.crates.iter().find(|member| member.name == "xtask").unwrap();
        assert!(files(&xtask.dir).unwrap().iter().any(|file| file.ends_with("house/mod.rs")));
    }
}
