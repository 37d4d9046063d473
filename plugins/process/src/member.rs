//! One member's process: made as a gate, let through, found again.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use om_plugin_sdk::Failed;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::gate::{self, GO};
use crate::group::{Handle, Target};
use crate::procfs;
use crate::spec;
use crate::template::Launch;
use crate::text;

/// A process that waits to become the member. Dropped, it ends without having run anything.
#[derive(Debug)]
pub(crate) struct Gate {
    /// What to remember of it.
    pub(crate) target: Target,
    child: Child,
    input: ChildStdin,
    back: ChildStdout,
    handle: Handle,
}

/// A running member.
#[derive(Debug)]
pub(crate) struct Process {
    /// To watch and signal it.
    pub(crate) handle: Handle,
    /// Only if this very program started it; then its exit code can be known.
    pub(crate) child: Option<Child>,
}

/// Why a member could not be started. For people.
pub(crate) type Why = String;

impl Gate {
    /// Makes the process. It runs nothing yet.
    ///
    /// # Errors
    /// A directory, the log or the process cannot be made.
    pub(crate) async fn make(
        program: &Path,
        root: &Path,
        service: &str,
        index: u32,
        launch: Launch,
    ) -> Result<Self, Why> {
        let member = spec::member_name(service, index);
        let home = spec::member_dir(root, service, index);
        make_dir(&home)?;
        if launch.own_dir {
            make_dir(&launch.order.dir)?;
        }
        let log =
            open_log(&home).map_err(|cause| format!("cannot open the log in {}: {cause}", home.display()))?;
        let mut order = launch.order;
        let run = new_run();
        order.env.insert(gate::MARK.to_owned(), run.clone());
        let mut child = Command::new(program)
            .arg0("om-member-gate")
            .args([gate::ARGUMENT, &member])
            .env(gate::MARK, &run)
            .env(gate::WAITING, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|cause| format!("cannot make a process of {}: {cause}", program.display()))?;
        let gone = || "the new process ended at once".to_owned();
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).ok_or_else(gone)?;
        let (Some(mut input), Some(back)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(gone());
        };
        let looked = procfs::stat(pid).map_err(|cause| format!("cannot look at the new process: {cause}"))?;
        let start = looked.ok_or_else(gone)?.start;
        let handle =
            Handle::open(pid, start).map_err(|cause| format!("cannot watch the new process: {cause}"))?;
        let mut line = serde_json::to_vec(&order).map_err(|cause| cause.to_string())?;
        line.push(b'\n');
        input.write_all(&line).await.map_err(|cause| format!("the new process does not listen: {cause}"))?;
        Ok(Self { target: Target { pid, start, run }, child, input, back, handle: handle.ok_or_else(gone)? })
    }

    /// Lets it through: from here on the member runs. To be called once it is remembered, right after a permission.
    /// The pipe tells how the execution went: see [`executed`].
    ///
    /// # Errors
    /// The gate is gone.
    pub(crate) async fn release(mut self) -> Result<(Process, ChildStdout), Failed> {
        self.input.write_all(&[GO]).await?;
        Ok((Process { handle: self.handle, child: Some(self.child) }, self.back))
    }
}

/// Waits until the command was executed, or says why it could not be.
pub(crate) async fn executed(mut back: ChildStdout) -> Result<(), Why> {
    let mut reason = Vec::new();
    let _ = (&mut back).take(4096).read_to_end(&mut reason).await;
    if reason.is_empty() { Ok(()) } else { Err(String::from_utf8_lossy(&reason).into_owned()) }
}

/// Another value for each start of each member.
fn new_run() -> String {
    let mut run = uuid::Uuid::new_v4().simple().to_string();
    run.truncate(16);
    run
}

fn make_dir(path: &Path) -> Result<(), Why> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|cause| format!("cannot make the directory {}: {cause}", path.display()))
}

fn open_log(home: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(home.join("log"))
}

/// Takes over a remembered process, if it is a member that still runs.
///
/// One that is still a gate is not: whoever made it may no longer let it through, or is about to find out. It is killed,
/// so that even one who was stopped between his permission and the byte starts nothing.
///
/// # Errors
/// `/proc` cannot be read, or the permission has lapsed.
pub(crate) async fn adopt(
    target: &Target,
    permit: &(dyn Fn() -> Result<(), Failed> + Send + Sync),
) -> Result<Option<Process>, Failed> {
    let Some(handle) = Handle::open(target.pid, target.start)? else { return Ok(None) };
    if procfs::variable(target.pid, gate::WAITING).is_some() {
        permit()?;
        handle.signal(Signal::KILL)?;
        handle.ended().await;
        return Ok(None);
    }
    Ok(Some(Process { handle, child: None }))
}

/// How a process ended, for people.
pub(crate) fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("killed by {}", text::signal_name(signal)),
        (None, None) => "ended".to_owned(),
    }
}
