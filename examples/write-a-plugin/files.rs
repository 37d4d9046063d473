//! The effects.
//!
//! Plain calls of the standard library on purpose. The files are small, and a call that does not `await` is either over
//! or not begun when the plugin must stop; `tokio::fs` would hand it to another thread, where nobody could tell. What
//! takes long belongs into a process or a thread that is stopped by what the state remembers of it.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use om_plugin_sdk::Failed;

use crate::spec::FileSpec;

/// What is found at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing.
    Empty,
    /// A file with the declared content.
    AsDeclared,
    /// Something else.
    Foreign,
}

pub(crate) fn look(spec: &FileSpec) -> Result<Place, Failed> {
    match fs::read(&spec.path) {
        Ok(found) if found == spec.content.as_bytes() => Ok(Place::AsDeclared),
        Ok(_) => Ok(Place::Foreign),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(Place::Empty),
        Err(cause) => Err(failed("read", &spec.path, &cause)),
    }
}

/// Beside it first, then in its place: a reader sees the old content or the new one, never half.
pub(crate) fn write(spec: &FileSpec) -> Result<(), Failed> {
    let mut beside = spec.path.clone().into_os_string();
    beside.push(".new");
    let beside = Path::new(&beside);
    let written = fs::File::create(beside).and_then(|mut file| {
        file.write_all(spec.content.as_bytes())?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(beside, &spec.path)).map_err(|cause| failed("write", &spec.path, &cause))
}

/// What is gone already is fine.
pub(crate) fn remove(path: &Path) -> Result<(), Failed> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => Err(failed("remove", path, &cause)),
        _ => Ok(()),
    }
}

pub(crate) fn content(path: &Path) -> Result<String, Failed> {
    let bytes = fs::read(path).map_err(|cause| failed("read", path, &cause))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn failed(what: &str, path: &Path, cause: &std::io::Error) -> Failed {
    Failed(format!("cannot {what} {}: {cause}", path.display()))
}
