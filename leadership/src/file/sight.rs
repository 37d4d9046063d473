//! One look at the leader file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::content;

/// What one look saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// This name.
    Named(String),
    /// No file, or nothing in it.
    Void,
    /// Something that tells nothing. Says what it is, and what to do.
    Unreadable(String),
}

/// Looks at `path`. May block as long as the file system does, but never for a FIFO or a device.
pub(super) fn look(path: &Path) -> Sight {
    match read(path) {
        Ok(bytes) => match content::name(&bytes) {
            Ok(Some(name)) => Sight::Named(name.to_owned()),
            Ok(None) => Sight::Void,
            Err(wrong) => Sight::Unreadable(format!(
                "the leader file {} is no name: {wrong}; write the leader's name into it, as one line of text",
                path.display()
            )),
        },
        Err(Fault::Missing) => Sight::Void,
        Err(Fault::Io(error)) => Sight::Unreadable(format!(
            "cannot read the leader file {}: {error}; {}",
            path.display(),
            advice(&error)
        )),
        Err(Fault::Is(what)) => Sight::Unreadable(format!(
            "the leader file {} is {what}; put a file there that holds the leader's name",
            path.display()
        )),
    }
}

enum Fault {
    Missing,
    Is(String),
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Missing } else { Self::Io(error) }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let mut again = 3;
    loop {
        match read_once(path) {
            // Replaced on another machine just now: the new one is there under the same name.
            Err(Fault::Io(error)) if again > 0 && error.kind() == io::ErrorKind::StaleNetworkFileHandle => {}
            Err(Fault::Missing) => match std::fs::read_link(path) {
                // A link to what is not there yet, or not mounted, is not "nobody": unless it was replaced just now.
                Ok(_) if again > 0 => {}
                Ok(target) => {
                    return Err(Fault::Is(format!("a link to {}, which does not exist", target.display())));
                }
                Err(_) => return Err(Fault::Missing),
            },
            done => return done,
        }
        again -= 1;
    }
}

fn read_once(path: &Path) -> Result<Vec<u8>, Fault> {
    // Asked before it is opened, since opening a device can do something; and again after, since it can be another.
    no_special(&std::fs::metadata(path)?)?;
    // NONBLOCK: a FIFO would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?);
    no_special(&file.metadata()?)?;
    let mut bytes = Vec::new();
    file.take(content::MOST_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn no_special(metadata: &std::fs::Metadata) -> Result<(), Fault> {
    let kind = metadata.file_type();
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(Fault::Is(what.to_owned()))
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "let this program's user read it",
        io::ErrorKind::NotADirectory => "a part of its path is not a directory: correct the path",
        io::ErrorKind::InvalidFilename => "correct the path",
        _ => "check the file system it is on",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn why(path: &Path) -> String {
        match look(path) {
            Sight::Unreadable(why) => why,
            other => panic!("{} should be unreadable, is {other:?}", path.display()),
        }
    }

    #[test]
    fn each_thing_that_can_stand_there_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);

        assert_eq!(look(&at("missing")), Sight::Void);
        assert_eq!(look(&at("no/such/parent")), Sight::Void);
        std::fs::write(at("empty"), "").unwrap();
        assert_eq!(look(&at("empty")), Sight::Void);
        std::fs::write(at("blank"), " \r\n").unwrap();
        assert_eq!(look(&at("blank")), Sight::Void);
        std::fs::write(at("named"), "service\r\n").unwrap();
        assert_eq!(look(&at("named")), Sight::Named("service".to_owned()));
        symlink("named", at("link")).unwrap();
        assert_eq!(look(&at("link")), Sight::Named("service".to_owned()));

        symlink("nowhere", at("dangling")).unwrap();
        assert!(why(&at("dangling")).contains("a link to nowhere, which does not exist"));
        symlink("loop", at("loop")).unwrap();
        assert!(why(&at("loop")).contains("cannot read the leader file"));
        std::fs::create_dir(at("dir")).unwrap();
        assert!(why(&at("dir")).contains("is a directory; put a file there"));
        assert!(why(&at("named/child")).contains("correct the path"));
        assert!(why(Path::new("/dev/zero")).contains("is a device"));
        std::fs::write(at("latin"), b"caf\xe9").unwrap();
        let latin = why(&at("latin"));
        assert!(latin.contains("latin") && latin.contains("not UTF-8"), "{latin}");
        std::fs::write(at("long"), vec![b'x'; 1 << 20]).unwrap();
        assert!(why(&at("long")).contains("more than 4096 bytes"));
        // Its first page is not mapped: reading it is a real I/O error.
        assert!(
            why(Path::new("/proc/self/mem"))
                .contains("Input/output error (os error 5); check the file system")
        );
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        assert!(why(&at("socket")).contains("is a socket"));
    }

    #[test]
    fn a_fifo_without_a_writer_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        make_fifo(&path);
        assert!(why(&path).contains("is a FIFO"));
    }

    fn make_fifo(path: &Path) {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .unwrap();
    }
}
