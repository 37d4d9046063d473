//! `om snapshot`: the whole declared state as a file.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal as _, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use om_api::snapshot;
use om_api::v1::{
    ExportSnapshotRequest, ExportSnapshotResponse, ImportSnapshotRequest, ImportSnapshotResponse,
    SnapshotHeader, SnapshotService,
};
use serde::Serialize;
use tonic::Streaming;

use super::Context;
use crate::connect::{manager, request_id};
use crate::document::Node;
use crate::failure::{Exit, Failure, Result, reason};
use crate::output::table::{Table, number};
use crate::output::{self, Out, text};

const PIECE: usize = 256 * 1024;

#[derive(Serialize)]
struct Saved {
    file: String,
    bytes: u64,
    revision: u64,
    services: u64,
}

pub(super) async fn save(mut context: Context, path: &Path) -> Result<()> {
    let to_stdout = path.as_os_str() == "-";
    if to_stdout && std::io::stdout().is_terminal() {
        return Err(
            Failure::usage("a snapshot is no text for a terminal").hint("send it into a file or a pipe")
        );
    }
    if path.is_dir() {
        return Err(Failure::usage(format!("{} is a directory", path.display())).hint("name a file in it"));
    }
    let call = |channel, request| async move { manager(channel).export_snapshot(request).await };
    let mut pieces: Streaming<ExportSnapshotResponse> =
        context.client.call(&ExportSnapshotRequest {}, call).await?;
    // What is no regular file (a pipe, a device) cannot be replaced: it is written to.
    let special = !to_stdout && path.exists() && !path.is_file();
    if to_stdout || special {
        let mut special = if special { Some(File::create(path).map_err(cannot_write(path))?) } else { None };
        while let Some(piece) = context.client.next(&mut pieces).await? {
            match &mut special {
                Some(file) => file.write_all(&piece.data).map_err(cannot_write(path))?,
                None => output::write(&piece.data)?,
            }
        }
        return Ok(());
    }
    let mut file = Replacement::new(path)?;
    let mut bytes = 0;
    while let Some(piece) = context.client.next(&mut pieces).await? {
        file.write(&piece.data)?;
        bytes += piece.data.len() as u64;
    }
    let header = file.finish()?;
    let saved = Saved {
        file: path.display().to_string(),
        bytes,
        revision: header.revision,
        services: header.services,
    };
    context.out.show(&saved, |_| {
        format!(
            "saved {} at revision {} to {} ({} bytes)\n",
            text::count(saved.services, "service"),
            saved.revision,
            saved.file,
            saved.bytes
        )
    })
}

fn cannot_write(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    move |cause| Failure::file(format!("cannot write {}: {cause}", path.display()))
}

/// A file that takes another's place when it is whole, checked and on the disk; before that the other stays.
struct Replacement {
    target: PathBuf,
    temporary: PathBuf,
    file: File,
    done: bool,
}

impl Replacement {
    fn new(path: &Path) -> Result<Self> {
        // A link is followed: what it points to is replaced.
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let name =
            target.file_name().ok_or_else(|| Failure::usage(format!("{} names no file", path.display())))?;
        let temporary = target.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(cannot_write(path))?;
        Ok(Self { target, temporary, file, done: false })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(cannot_write(&self.target))
    }

    fn finish(mut self) -> Result<SnapshotHeader> {
        self.file.sync_all().map_err(cannot_write(&self.target))?;
        let again = File::open(&self.temporary).map_err(cannot_write(&self.target))?;
        let header = check(again, "what the manager sent")?;
        std::fs::rename(&self.temporary, &self.target).map_err(cannot_write(&self.target))?;
        self.done = true;
        let directory = self.target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory =
            File::open(directory.unwrap_or(Path::new("."))).map_err(cannot_write(&self.target))?;
        directory.sync_all().map_err(cannot_write(&self.target))?;
        Ok(header)
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.done {
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

fn unusable(shown: &str) -> impl Fn(snapshot::Error) -> Failure {
    let shown = shown.to_owned();
    move |cause| match cause {
        snapshot::Error::Io(cause) => Failure::file(format!("cannot read {shown}: {cause}")),
        cause => Failure::new(Exit::Failed, reason::INVALID_SNAPSHOT, format!("{shown}: {cause}")),
    }
}

/// Reads all of a snapshot; only then it is known to be whole.
fn check(input: impl Read, shown: &str) -> Result<SnapshotHeader> {
    let mut services = snapshot::decode(input).map_err(unusable(shown))?;
    for service in &mut services {
        service.map_err(unusable(shown))?;
    }
    Ok(services.header().clone())
}

fn read(path: &Path) -> Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        read.map_err(|cause| Failure::file(format!("cannot read standard input: {cause}")))?;
        return Ok(("<stdin>".to_owned(), bytes));
    }
    let cannot = |cause| Failure::file(format!("cannot read {}: {cause}", path.display()));
    File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(cannot)?;
    Ok((path.display().to_string(), bytes))
}

#[derive(Serialize)]
struct Shown {
    cluster: String,
    term: u64,
    revision: u64,
    time: String,
    services: Vec<ShownService>,
}

#[derive(Serialize)]
struct ShownService {
    name: String,
    kind: String,
    revision: u64,
    labels: BTreeMap<String, String>,
    spec: Node,
    state_bytes: usize,
}

pub(super) fn show(out: &Out, path: &Path) -> Result<()> {
    let (shown, bytes) = read(path)?;
    let mut reader = snapshot::decode(bytes.as_slice()).map_err(unusable(&shown))?;
    let header = reader.header().clone();
    let services = reader
        .by_ref()
        .map(|service| service.map(show_service).map_err(unusable(&shown)))
        .collect::<Result<Vec<_>>>()?;
    let object = Shown {
        cluster: header.cluster,
        term: header.term,
        revision: header.revision,
        time: text::time(header.time_unix_ms),
        services,
    };
    out.show(&object, |out| {
        let mut table = Table::new(&["NAME", "KIND", "REVISION", "LABELS"]);
        for service in &object.services {
            let labels = text::labels(&service.labels);
            table.row([
                (&service.name).into(),
                (&service.kind).into(),
                number(service.revision),
                labels.into(),
            ]);
        }
        output::note(&format!(
            "{} at revision {}, term {}, taken {}",
            text::count(object.services.len() as u64, "service"),
            object.revision,
            object.term,
            if object.time.is_empty() { "at an unknown time" } else { &object.time }
        ));
        if object.services.is_empty() { String::new() } else { table.render(out) }
    })
}

fn show_service(service: SnapshotService) -> ShownService {
    let declaration = service.service.unwrap_or_default();
    ShownService {
        spec: Node::from_json(&declaration.spec_json).unwrap_or(Node::Null),
        name: declaration.name,
        kind: declaration.kind,
        revision: service.revision,
        labels: declaration.labels.into_iter().collect(),
        state_bytes: service.state.len(),
    }
}

#[derive(Serialize)]
struct Restored {
    revision: u64,
    services: u64,
    freed: Vec<String>,
}

pub(super) async fn restore(mut context: Context, path: &Path, replace: bool) -> Result<()> {
    let (shown, bytes) = read(path)?;
    check(bytes.as_slice(), &shown)?;
    let mut pieces: Vec<ImportSnapshotRequest> = bytes
        .chunks(PIECE)
        .map(|piece| ImportSnapshotRequest { data: piece.to_vec().into(), ..Default::default() })
        .collect();
    if let Some(first) = pieces.first_mut() {
        first.request_id = request_id();
        first.replace = replace;
    }
    let call = |channel, request: tonic::Request<Vec<ImportSnapshotRequest>>| async move {
        manager(channel).import_snapshot(request.map(tokio_stream::iter)).await
    };
    let answer: ImportSnapshotResponse = context.client.call(&pieces, call).await?;
    let restored = Restored { revision: answer.revision, services: answer.services, freed: answer.freed };
    context.out.show(&restored, |_| {
        let mut said = format!(
            "restored {}, at revision {}\n",
            text::count(restored.services, "service"),
            restored.revision
        );
        for name in &restored.freed {
            said +=
                &format!("{} freed: it is not in the snapshot, and was left running\n", text::clean(name));
        }
        said
    })
}
