//! `cargo xtask setup`: installs what building and testing need and this machine lacks.
//!
//! A part is there if its [probe](Part::probe) works, however it came; only what is missing is installed.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{capture, run as run_command, which};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only say what is missing; exit 1 if something is
    #[arg(long)]
    check: bool,
}

/// Something that this checkout needs from the system.
struct Part {
    name: &'static str,
    what_for: &'static str,
    /// Fails with the reason why the part does not work.
    probe: fn() -> Result<()>,
    /// The Debian packages that bring it.
    packages: &'static [&'static str],
}

/// Where daemons are too.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const PARTS: &[Part] = &[
    Part {
        name: "protoc, with Google's include files",
        what_for: "compiles api/proto",
        probe: protoc,
        packages: &["protobuf-compiler", "libprotobuf-dev"],
    },
    Part {
        name: "python3",
        what_for: "the web server of the quick start and of tests",
        probe: || capture(Command::new("python3").args(["-c", "import http.server"])).map(drop),
        packages: &["python3"],
    },
    Part {
        name: "openssl",
        what_for: "the test of how docs/tls.md makes certificates",
        probe: || capture(Command::new("openssl").arg("version")).map(drop),
        packages: &["openssl"],
    },
    Part {
        name: "setpriv and unshare",
        what_for: "tests of missing rights and full disks",
        probe: || {
            capture(Command::new("setpriv").arg("--version"))?;
            capture(Command::new("unshare").arg("--version")).map(drop)
        },
        packages: &["util-linux"],
    },
    Part {
        name: "etcd and etcdctl",
        what_for: "tests and benchmarks of the election by etcd",
        probe: || {
            capture(Command::new("etcd").arg("--version"))?;
            capture(Command::new("etcdctl").arg("version").env("ETCDCTL_API", "3")).map(drop)
        },
        packages: &["etcd-server", "etcd-client"],
    },
    Part {
        name: "ip",
        what_for: "hosts as network namespaces, in tests and benchmarks",
        probe: || capture(Command::new("ip").arg("-V")).map(drop),
        packages: &["iproute2"],
    },
    Part {
        name: "dockerd and docker",
        what_for: "tests of the kind container and of the mode swarm, with engines of their own",
        probe: || {
            capture(Command::new("dockerd").arg("--version").env("PATH", SYSTEM_PATH))?;
            capture(Command::new("docker").arg("--version")).map(drop)
        },
        packages: &["docker.io", "iptables"],
    },
    Part {
        name: "busybox",
        what_for: "the image of these tests, for which no registry is asked",
        probe: || capture(Command::new("busybox").arg("--list")).map(drop),
        packages: &["busybox-static"],
    },
];

/// What only benchmarks need: not everybody who builds wants it, for as Debian packages it serves at once.
const FOR_BENCHMARKS: &[Part] = &[Part {
    name: "nginx and HAProxy",
    what_for: "the proxies that ours is measured beside",
    probe: || {
        capture(Command::new("nginx").arg("-v").env("PATH", SYSTEM_PATH))?;
        capture(Command::new("haproxy").arg("-v").env("PATH", SYSTEM_PATH)).map(drop)
    },
    packages: &["nginx-light", "haproxy"],
}];

/// Compiles a file that imports one of Google's, which needs the include files too.
fn protoc() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let source = "syntax = \"proto3\";\nimport \"google/protobuf/timestamp.proto\";\n\
                  message Probe { google.protobuf.Timestamp at = 1; }\n";
    std::fs::write(dir.path().join("probe.proto"), source)?;
    capture(
        Command::new("protoc")
            .current_dir(dir.path())
            .args(["--descriptor_set_out=probe.bin", "probe.proto"]),
    )
    .map(drop)
}

/// How the missing parts come.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// By apt-get, as root.
    Apt,
    /// By apt-get, through sudo.
    Sudo,
    /// The user has to run this.
    Ask(String),
    /// Not by us.
    None,
}

fn way(apt: bool, root: bool, sudo: bool, packages: &[&str]) -> Way {
    match (apt, root, sudo) {
        (false, _, _) => Way::None,
        (true, true, _) => Way::Apt,
        (true, false, true) => Way::Sudo,
        (true, false, false) => {
            Way::Ask(format!("apt-get update && apt-get install --yes {}", packages.join(" ")))
        }
    }
}

/// The command.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.check {
        let missing = missing(PARTS);
        for (part, why) in &missing {
            println!("{} ({}): {why:#}", part.name, part.what_for);
        }
        return if missing.is_empty() { Ok(()) } else { bail!("not everything is here: cargo xtask setup") };
    }
    ensure()
}

/// Installs what is missing, and says nothing if nothing is.
pub(crate) fn ensure() -> Result<()> {
    ensure_parts(PARTS)
}

/// The same for what only benchmarks need.
pub(crate) fn ensure_peers() -> Result<()> {
    ensure_parts(FOR_BENCHMARKS)
}

fn ensure_parts(parts: &'static [Part]) -> Result<()> {
    let missing = missing(parts);
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().flat_map(|(part, _)| part.packages.iter().copied()).collect();
    let names = missing.iter().map(|(part, _)| part.name).collect::<Vec<_>>().join("; ");
    let root = rustix::process::geteuid().is_root();
    let sudo =
        !root && Command::new("sudo").args(["-n", "true"]).output().is_ok_and(|out| out.status.success());
    match way(which("apt-get").is_some(), root, sudo, &packages) {
        Way::Apt => install(&names, &packages, false)?,
        Way::Sudo => install(&names, &packages, true)?,
        Way::Ask(command) => bail!("missing: {names}\nInstall it as root:\n\n    {command}\n"),
        Way::None => bail!(
            "missing: {names}\nThis system has no apt-get, so install these parts by its own means. Debian calls them {}.",
            packages.join(", ")
        ),
    }
    let still = self::missing(parts);
    if let Some((part, why)) = still.first() {
        bail!("{} was installed and does not work: {why:#}", part.name);
    }
    Ok(())
}

fn missing(parts: &'static [Part]) -> Vec<(&'static Part, anyhow::Error)> {
    parts.iter().filter_map(|part| (part.probe)().err().map(|why| (part, why))).collect()
}

/// Installs packages; with the lists as they are, and with fresh ones only if that fails.
fn install(names: &str, packages: &[&str], sudo: bool) -> Result<()> {
    println!("setup: installing {names}");
    let apt = |words: &[&str]| {
        let mut command = Command::new(if sudo { "sudo" } else { "env" });
        if sudo {
            command.args(["-n", "env"]);
        }
        command
            .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "Dpkg::Use-Pty=0"])
            .args(words);
        command
    };
    let wanted: Vec<&str> =
        ["install", "--yes", "--no-install-recommends"].iter().chain(packages).copied().collect();
    if capture(&mut apt(&wanted)).is_ok() {
        return Ok(());
    }
    run_command(&mut apt(&["update"])).context("cannot fetch the package lists")?;
    run_command(&mut apt(&wanted)).with_context(|| format!("cannot install {}", packages.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_installs_sudo_installs_and_anybody_else_is_told_one_command() {
        let packages = ["python3", "iproute2"];
        assert_eq!(way(true, true, false, &packages), Way::Apt);
        assert_eq!(way(true, false, true, &packages), Way::Sudo);
        let asked = "apt-get update && apt-get install --yes python3 iproute2";
        assert_eq!(way(true, false, false, &packages), Way::Ask(asked.to_owned()));
        assert_eq!(way(false, true, true, &packages), Way::None);
    }

    #[test]
    fn every_part_says_what_it_is_for_and_how_it_comes() {
        for part in PARTS.iter().chain(FOR_BENCHMARKS) {
            assert!(!part.what_for.is_empty() && !part.packages.is_empty(), "{}", part.name);
        }
    }
}
