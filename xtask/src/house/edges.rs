//! Which crate may know which.
//!
//! `leadership`, `store` and `proxy` never know each other, so that each can be understood, tested and replaced alone;
//! only `manager` knows all three. `kv` is the port to where the keys are kept, which both `leadership` and `store` need; `etcd` is one way to it. The task runner knows nobody, for it runs before anything else compiles.

use super::{Kind, Member, Workspace};

/// What a crate may know.
struct Allowed {
    name: &'static str,
    /// In what it ships, and in its build script.
    ships: &'static [&'static str],
    /// In its tests, beside these.
    tests: &'static [&'static str],
}

const ALLOWED: &[Allowed] = &[
    Allowed { name: "om-api", ships: &[], tests: &[] },
    Allowed { name: "om-kv", ships: &[], tests: &[] },
    Allowed { name: "om-checker", ships: &[], tests: &[] },
    Allowed { name: "om-etcd", ships: &["om-kv"], tests: &[] },
    Allowed { name: "om-swarm", ships: &["om-kv"], tests: &[] },
    Allowed { name: "om-leadership", ships: &["om-kv"], tests: &["om-etcd"] },
    Allowed { name: "om-store", ships: &["om-kv"], tests: &["om-etcd", "om-swarm"] },
    Allowed { name: "om-proxy", ships: &["om-api"], tests: &[] },
    Allowed { name: "om-client", ships: &["om-api"], tests: &[] },
    Allowed { name: "om-cli", ships: &["om-api", "om-client"], tests: &[] },
    Allowed { name: "om-plugin-sdk", ships: &["om-api"], tests: &[] },
    Allowed {
        name: "om-manager",
        ships: &[
            "om-api",
            "om-kv",
            "om-etcd",
            "om-swarm",
            "om-leadership",
            "om-store",
            "om-proxy",
            "om-plugin-sdk",
            "om-plugin-process",
        ],
        tests: &[],
    },
    Allowed { name: "om-examples", ships: &["om-api", "om-plugin-sdk"], tests: &[] },
    Allowed {
        name: "om-system-tests",
        ships: &["om-api", "om-client", "om-kv", "om-etcd", "om-swarm", "om-plugin-sdk"],
        tests: &["om-store"],
    },
    Allowed {
        name: "om-bench",
        ships: &["om-api", "om-client", "om-kv", "om-etcd", "om-plugin-sdk", "om-store", "om-system-tests"],
        tests: &[],
    },
    // A second account of the rules: what it shared with the first it could not judge.
    Allowed { name: "om-model", ships: &[], tests: &[] },
    Allowed { name: "om-nemesis", ships: &["om-api", "om-checker", "om-system-tests"], tests: &[] },
    Allowed {
        name: "om-sim",
        ships: &[
            "om-api",
            "om-checker",
            "om-kv",
            "om-etcd",
            "om-leadership",
            "om-store",
            "om-proxy",
            "om-plugin-sdk",
            "om-manager",
        ],
        tests: &[],
    },
    Allowed { name: "xtask", ships: &[], tests: &[] },
];

/// What any plugin that we ship may know.
const PLUGIN: Allowed = Allowed { name: "", ships: &["om-api", "om-plugin-sdk"], tests: &[] };

/// Edges that may not be.
pub(super) fn broken(house: &Workspace) -> Vec<String> {
    let mut broken = Vec::new();
    for member in &house.crates {
        let Some(allowed) = allowed(member, house) else {
            broken.push(format!(
                "{}: nobody said what this crate may depend on: xtask/src/house/edges.rs",
                member.name
            ));
            continue;
        };
        for edge in &member.edges {
            let to = edge.to.as_str();
            let fine = match edge.kind {
                Kind::Normal | Kind::Build => allowed.ships.contains(&to),
                // A crate may name itself, to turn on a feature in its own tests.
                Kind::Dev => to == member.name || allowed.ships.contains(&to) || allowed.tests.contains(&to),
            };
            if !fine {
                let kind = match edge.kind {
                    Kind::Normal => "",
                    Kind::Build => ", in its build script",
                    Kind::Dev => ", in its tests",
                };
                broken.push(format!("{} must not depend on {to}{kind}", member.name));
            }
        }
    }
    broken
}

fn allowed(member: &Member, house: &Workspace) -> Option<&'static Allowed> {
    let named = ALLOWED.iter().find(|allowed| allowed.name == member.name);
    named.or_else(|| member.dir.starts_with(house.root.join("plugins")).then_some(&PLUGIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A crate: its name, its directory, and what it depends on, as what.
    type Crate<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

    fn house(crates: &[Crate<'_>]) -> Workspace {
        let packages: Vec<_> = crates
            .iter()
            .map(|(name, dir, edges)| {
                let edges: Vec<_> = edges
                    .iter()
                    .map(|(to, kind)| json!({"name": to, "kind": if *kind == "normal" { json!(null) } else { json!(kind) }}))
                    .collect();
                json!({"name": name, "manifest_path": format!("/house/{dir}/Cargo.toml"), "dependencies": edges})
            })
            .collect();
        Workspace::from_metadata(&json!({"workspace_root": "/house", "packages": packages})).unwrap()
    }

    #[test]
    fn a_good_house_is_fine() {
        let good = house(&[
            ("om-api", "api", &[("om-api", "dev"), ("tokio", "normal")]),
            ("om-proxy", "proxy", &[("om-api", "normal"), ("tempfile", "dev")]),
            ("om-plugin-sdk", "plugins/sdk", &[("om-api", "normal")]),
            ("om-plugin-postgres", "plugins/postgres", &[("om-api", "normal"), ("om-plugin-sdk", "normal")]),
        ]);
        assert_eq!(broken(&good), [""; 0]);
    }

    #[test]
    fn a_forbidden_edge_is_found_whatever_it_is_for() {
        for (kind, said) in [("normal", ""), ("build", ", in its build script"), ("dev", ", in its tests")] {
            let bad = house(&[
                ("om-store", "store", &[("om-leadership", kind)]),
                ("om-leadership", "leadership", &[]),
            ]);
            assert_eq!(broken(&bad), [format!("om-store must not depend on om-leadership{said}")]);
        }
    }

    #[test]
    fn a_plugin_does_not_know_the_manager() {
        let bad = house(&[
            ("om-plugin-postgres", "plugins/postgres", &[("om-manager", "normal")]),
            ("om-manager", "manager", &[]),
        ]);
        assert_eq!(broken(&bad), ["om-plugin-postgres must not depend on om-manager"]);
    }

    #[test]
    fn a_crate_that_nobody_spoke_of_is_asked_about() {
        assert_eq!(broken(&house(&[("om-types", "types", &[])])).len(), 1);
    }
}
