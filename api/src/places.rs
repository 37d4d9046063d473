//! Where things are found when nobody says: the plugins directory and the state directory.
//!
//! Pure functions over an explicit [`Env`], so that only the edge of a program reads its environment. What a user gave
//! (`--plugins-dir`, `OM_PLUGINS_DIR`, `--state-dir`, `OM_STATE_DIR`) comes first and never gets here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The part of a program's environment that places depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Env {
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// `XDG_STATE_HOME`.
    pub state_home: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// Whether the program runs as root.
    pub uid_is_root: bool,
}

impl Env {
    /// Reads this process's environment.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment for places")]
    pub fn from_process() -> Self {
        Self {
            runtime_dir: usable(std::env::var_os("XDG_RUNTIME_DIR")),
            state_home: usable(std::env::var_os("XDG_STATE_HOME")),
            home: usable(std::env::var_os("HOME")),
            uid_is_root: rustix::process::geteuid().is_root(),
        }
    }
}

/// The XDG base directory specification: an empty or relative value counts as not set.
fn usable(value: Option<OsString>) -> Option<PathBuf> {
    value.map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The directory with one socket per program: `$XDG_RUNTIME_DIR/openmanage/plugins`, else `/run/openmanage/plugins`
/// (root), else `~/.openmanage/plugins`.
///
/// # Errors
/// Nothing tells where; the text says what to do.
pub fn plugins_dir(env: &Env) -> Result<PathBuf, String> {
    if let Some(dir) = &env.runtime_dir {
        return Ok(dir.join("openmanage/plugins"));
    }
    if env.uid_is_root {
        return Ok(PathBuf::from("/run/openmanage/plugins"));
    }
    let home = env.home.as_ref().ok_or(
        "cannot tell where the plugins directory is: neither XDG_RUNTIME_DIR nor HOME is set; give --plugins-dir",
    )?;
    Ok(home.join(".openmanage/plugins"))
}

/// The directory of the state: `/var/lib/openmanage` (root), else `$XDG_STATE_HOME/openmanage`, which stands for
/// `~/.local/state/openmanage` when it is not set.
///
/// # Errors
/// Nothing tells where; the text says what to do.
pub fn state_dir(env: &Env) -> Result<PathBuf, String> {
    if env.uid_is_root {
        return Ok(PathBuf::from("/var/lib/openmanage"));
    }
    if let Some(dir) = &env.state_home {
        return Ok(dir.join("openmanage"));
    }
    let home = env.home.as_ref().ok_or(
        "cannot tell where the state directory is: neither XDG_STATE_HOME nor HOME is set; give --state-dir",
    )?;
    Ok(home.join(".local/state/openmanage"))
}

/// The socket of the program `name` in a plugins directory.
#[must_use]
pub fn socket(plugins_dir: &Path, name: &str) -> PathBuf {
    plugins_dir.join(name)
}

/// An identity of this host that survives reboots: `/etc/machine-id`, else the host's name.
#[must_use]
pub fn host_id() -> String {
    let machine_id = std::fs::read_to_string("/etc/machine-id").ok();
    let system = rustix::system::uname();
    choose_host_id(machine_id.as_deref(), &system.nodename().to_string_lossy())
}

/// While a machine is first set up, its `machine-id` may be empty or say `uninitialized` (machine-id(5)).
fn choose_host_id(machine_id: Option<&str>, hostname: &str) -> String {
    let usable = |id: &&str| !id.is_empty() && *id != "uninitialized";
    machine_id.map(str::trim).filter(usable).unwrap_or(hostname).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(runtime: &str, state: &str, home: &str, uid_is_root: bool) -> Env {
        let path = |text: &str| usable(Some(OsString::from(text)));
        Env { runtime_dir: path(runtime), state_home: path(state), home: path(home), uid_is_root }
    }

    #[test]
    fn the_runtime_directory_beats_root_and_home() {
        let of = |env| plugins_dir(&env).map(|dir| dir.display().to_string());
        assert_eq!(of(env("/run/user/7", "", "/home/a", false)).unwrap(), "/run/user/7/openmanage/plugins");
        assert_eq!(of(env("/run/user/0", "", "/root", true)).unwrap(), "/run/user/0/openmanage/plugins");
        assert_eq!(of(env("", "", "/root", true)).unwrap(), "/run/openmanage/plugins");
        assert_eq!(of(env("", "", "/home/a", false)).unwrap(), "/home/a/.openmanage/plugins");
        assert!(of(env("", "", "", false)).unwrap_err().contains("--plugins-dir"));
    }

    #[test]
    fn a_state_directory_falls_back_to_the_users_home() {
        let of = |env| state_dir(&env).map(|dir| dir.display().to_string());
        assert_eq!(of(env("", "/s", "/root", true)).unwrap(), "/var/lib/openmanage");
        assert_eq!(of(env("", "/s", "/home/a", false)).unwrap(), "/s/openmanage");
        assert_eq!(of(env("", "", "/home/a", false)).unwrap(), "/home/a/.local/state/openmanage");
        assert!(of(env("", "", "", false)).unwrap_err().contains("--state-dir"));
    }

    #[test]
    fn a_relative_xdg_directory_counts_as_not_set() {
        let dir = plugins_dir(&env("run", "", "/home/a", false)).unwrap();
        assert_eq!(dir, Path::new("/home/a/.openmanage/plugins"));
    }

    #[test]
    fn a_host_without_a_machine_id_is_known_by_its_name() {
        assert_eq!(choose_host_id(Some("0123\n"), "host"), "0123");
        for unusable in [None, Some("\n"), Some("uninitialized\n")] {
            assert_eq!(choose_host_id(unusable, "host"), "host", "{unusable:?}");
        }
        assert!(!host_id().is_empty());
    }
}
