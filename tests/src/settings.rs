//! What the examples come with for systemd: units, and the files of variables that they read.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{Bed, Output};

/// Variables and their values.
pub type Settings = BTreeMap<String, String>;

/// The lines `NAME=VALUE` of a file for systemd.
///
/// # Panics
/// If it is something else.
#[must_use]
pub fn environment(file: &Path) -> Settings {
    let name = file.display();
    let text = fs::read_to_string(file).unwrap_or_else(|cause| panic!("{name}: {cause}"));
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    lines.map(|line| pair(line).unwrap_or_else(|| panic!("{name}: {line}"))).collect()
}

/// The same, with what lies in one directory in another.
///
/// # Panics
/// If that is no text.
#[must_use]
pub fn moved(settings: Settings, from: &str, to: &Path) -> Settings {
    let to = to.to_str().expect("text");
    settings.into_iter().map(|(name, value)| (name, value.replace(from, to))).collect()
}

impl Bed {
    /// What a manager of this mode with these settings, and no others, would run by.
    #[track_caller]
    pub fn resolved(&self, mode: &str, settings: &Settings) -> Output {
        let mut command = Command::new(self.binary("om-manager"));
        command.env_clear().env("HOME", self.path("home")).envs(settings).args([mode, "--print-config"]);
        self.run(command, "")
    }

    /// Every setting is one that a manager of this mode knows, and holds.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn check_settings(&self, mode: &str, settings: &Settings) {
        let shown = self.resolved(mode, settings);
        assert_eq!(shown.code, 0, "{shown:?}");
        for variable in settings.keys() {
            let source = format!("# environment {variable}\n");
            assert!(shown.stdout.contains(&source), "{variable} is not used: {}", shown.stdout);
        }
    }

    /// `systemd-analyze` finds nothing wrong with a unit for the workspace's programs.
    ///
    /// # Panics
    /// If it does.
    #[track_caller]
    pub fn check_unit(&self, unit: &Path) {
        let text = fs::read_to_string(unit).unwrap_or_else(|cause| panic!("{}: {cause}", unit.display()));
        let programs = self.binary("om");
        let here = text.replace("/usr/local/bin", programs.parent().and_then(Path::to_str).expect("text"));
        let name = unit.file_name().and_then(|name| name.to_str()).expect("a name");
        let mut command = Command::new("systemd-analyze");
        command.arg("verify").arg(self.write(name, here));
        let verified = self.run(command, "");
        assert!(verified.code == 0 && verified.stderr.is_empty(), "{verified:?}");
    }
}
