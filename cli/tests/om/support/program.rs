//! The program, run with nothing of this process's environment.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use om_api::clock::since_boot;
use serde_json::Value;

/// No command of these tests takes longer; one that does hangs.
pub(crate) const HANGS_AFTER: Duration = Duration::from_secs(60);

/// A run of `om` being prepared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Om {
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    stdin: Vec<u8>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Om {
    /// `om` with the plugins directory in the environment.
    pub(crate) fn within(directory: &Path) -> Self {
        Self::default().env("OM_PLUGINS_DIR", directory)
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    pub(crate) fn args<T: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_om"));
        command.env_clear().envs(self.env.iter().cloned()).args(&self.args);
        command
    }

    /// Starts it with pipes.
    pub(crate) fn spawn(&self) -> Child {
        let mut command = self.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Runs it to its end.
    pub(crate) fn run<T: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = T>) -> Ended {
        let mut child = self.clone().args(args).spawn();
        let mut stdin = child.stdin.take().unwrap();
        let bytes = self.stdin.clone();
        let writer = std::thread::spawn(move || {
            // The program may end without reading it.
            let _ = stdin.write_all(&bytes);
        });
        let ended = end(child);
        writer.join().unwrap();
        ended
    }
}

/// Waits for a child that was started with pipes.
pub(crate) fn end(mut child: Child) -> Ended {
    let read = |mut from: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            from.read_to_end(&mut bytes).unwrap();
            String::from_utf8(bytes).unwrap()
        })
    };
    let stdout = child.stdout.take().map(|stdout| read(Box::new(stdout)));
    let stderr = child.stderr.take().map(|stderr| read(Box::new(stderr)));
    let status = wait(&mut child);
    let text = |reader: Option<std::thread::JoinHandle<String>>| {
        reader.map(|reader| reader.join().unwrap()).unwrap_or_default()
    };
    Ended { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// Waits for the end of a process, and ends it if it hangs.
pub(crate) fn wait(child: &mut Child) -> std::process::ExitStatus {
    let give_up = since_boot() + HANGS_AFTER;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if since_boot() > give_up {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("om has not ended within {HANGS_AFTER:?}");
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = since_boot() + HANGS_AFTER;
    while !holds() {
        assert!(since_boot() < give_up, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(3));
    }
}

impl Ended {
    /// It went well, and said nothing beside its output.
    #[track_caller]
    pub(crate) fn fine(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        assert_eq!(self.stderr, "", "{self:#?}");
        self
    }

    /// It ended with this code.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Its output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|cause| panic!("{cause}: {self:#?}"))
    }

    /// Its error object: reason, message, hint.
    #[track_caller]
    pub(crate) fn error(&self) -> (String, String, String) {
        let line = self.stderr.lines().last().unwrap_or_default();
        let object: Value = serde_json::from_str(line).unwrap_or_else(|cause| panic!("{cause}: {self:#?}"));
        let text = |key: &str| object["error"][key].as_str().expect(key).to_owned();
        (text("reason"), text("message"), text("hint"))
    }
}
