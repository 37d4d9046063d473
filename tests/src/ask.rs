//! Asking the programs: `om`, and gRPC.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use om_api::clock::since_boot;

use crate::{Bed, Client, Output, Spec};

// How long a run of `om` may take before it is taken for hung.
const RUN: Duration = Duration::from_secs(90);

impl Bed {
    /// A gRPC client of a program.
    #[must_use]
    pub fn client(&self, name: &str) -> Client {
        Client::of(&self.socket(name))
    }

    /// Runs `om --name NAME -o json ARGS` to its end.
    #[track_caller]
    pub fn om(&self, name: &str, args: &[&str]) -> Output {
        self.om_text(name, &[&["-o", "json"], args].concat(), "")
    }

    /// Runs `om --name NAME ARGS` to its end, with this input.
    #[track_caller]
    pub fn om_text(&self, name: &str, args: &[&str], input: &str) -> Output {
        self.run(self.command("om", &[&["--name", name], args].concat()), input)
    }

    /// Commits through `om`, as JSON on its input.
    #[track_caller]
    pub fn commit(&self, name: &str, spec: &Spec, more: &[&str]) -> Output {
        self.om_text(name, &[&["-o", "json", "commit", "-"], more].concat(), &spec.document())
    }

    /// Runs a command to its end, with this input.
    ///
    /// # Panics
    /// If it takes too long.
    #[track_caller]
    pub fn run(&self, mut command: Command, input: &str) -> Output {
        let asked = format!("{command:?}");
        let asked = asked.split_once("PATH=").map_or(asked.clone(), |(_, rest)| rest.to_owned());
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let file = |end: &str| self.path(&format!("run-{unique}.{end}"));
        let (stdin, stdout, stderr) = (file("in"), file("out"), file("err"));
        fs::write(&stdin, input).expect("a file");
        let create = |path: &Path| Stdio::from(fs::File::create(path).expect("a file"));
        command
            .stdin(fs::File::open(&stdin).expect("a file"))
            .stdout(create(&stdout))
            .stderr(create(&stderr));
        let mut child = command.spawn().unwrap_or_else(|cause| panic!("cannot run {asked}: {cause}"));
        let end = since_boot() + RUN;
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child") {
                break status;
            }
            if since_boot() > end {
                let _ = child.kill();
                let _ = child.wait();
                panic!("no end within {RUN:?}: {asked}");
            }
            std::thread::sleep(Duration::from_millis(3));
        };
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
        let output = Output { asked, code, stdout: read(&stdout), stderr: read(&stderr) };
        for path in [stdin, stdout, stderr] {
            let _ = fs::remove_file(path);
        }
        output
    }
}
