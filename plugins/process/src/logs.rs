//! Logs of members: files that members write to by themselves, for they outlive this program.
//!
//! A member has its log open for appending and never hears of a rotation, so the file cannot be renamed away under it.
//! Instead its beginning is copied to `log.1` and then cut off in place (`FALLOC_FL_COLLAPSE_RANGE`), which loses
//! nothing, however fast the member writes. Where a file system cannot do that (it can on ext4 and XFS), the whole is
//! copied and the file truncated: what is written in the instant between the last read and the truncation is lost. A
//! crash between copying and cutting leaves lines twice, never none. Nobody rotates while nobody looks after the
//! service.
//!
//! A rotation cuts anywhere, also within a line: `log.2`, `log.1` and `log`, read in a row, are the output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use om_plugin_sdk::Failed;
use rustix::fs::{FallocateFlags, fallocate};

/// When and how far logs are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// A log of so many bytes is rotated.
    pub(crate) bytes: u64,
    /// So many files are kept for a member, `log` among them.
    pub(crate) files: u32,
}

/// The n-th file of a member, 0 being the one that is written to.
fn file(home: &Path, number: u32) -> PathBuf {
    home.join(if number == 0 { "log".to_owned() } else { format!("log.{number}") })
}

const COPY: &str = "log.copy-";

/// Rotates a member's log if it is long enough.
///
/// # Errors
/// Files cannot be written, or the permission has lapsed; the log is whole.
pub(crate) async fn rotate(
    home: &Path,
    limits: Limits,
    permit: &(dyn Fn() -> Result<(), Failed> + Send + Sync),
) -> Result<(), Failed> {
    let log = file(home, 0);
    let Ok(found) = fs::metadata(&log) else { return Ok(()) };
    if found.len() < limits.bytes.max(1) {
        return Ok(());
    }
    permit()?;
    // The long part may go on after it was given up: it only writes a file of a name of its own.
    let copy = home.join(format!("{COPY}{}", uuid::Uuid::new_v4().simple()));
    let (from, to) = (log.clone(), copy.clone());
    let home_too = home.to_owned();
    let copied = tokio::task::spawn_blocking(move || {
        drop_copies(&home_too)?;
        copy_beginning(&from, &to, found.len(), found.blksize())
    });
    let copied = copied.await.map_err(|cause| Failed(cause.to_string()))??;
    permit()?;
    for number in (1..limits.files.saturating_sub(1)).rev() {
        match fs::rename(file(home, number), file(home, number + 1)) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause.into()),
            _ => {}
        }
    }
    let mut log = OpenOptions::new().read(true).write(true).open(&log)?;
    let kept = if limits.files > 1 {
        fs::rename(&copy, file(home, 1))?;
        Some(file(home, 1))
    } else {
        fs::remove_file(&copy)?;
        None
    };
    if copied > 0 && fallocate(&log, FallocateFlags::COLLAPSE_RANGE, 0, copied).is_ok() {
        return Ok(());
    }
    // Copy the rest, then truncate: the gap is the time between these two calls.
    if let Some(kept) = kept {
        let mut kept = OpenOptions::new().append(true).open(kept)?;
        log.seek(SeekFrom::Start(copied))?;
        io::copy(&mut log, &mut kept)?;
    }
    log.set_len(0)?;
    Ok(())
}

fn drop_copies(home: &Path) -> io::Result<()> {
    for entry in fs::read_dir(home)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(COPY) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Copies as many whole blocks as can be cut off later (a cut must not reach the file's end); how many bytes.
fn copy_beginning(from: &Path, to: &Path, length: u64, block: u64) -> io::Result<u64> {
    let block = block.max(1);
    let length = length.saturating_sub(1) / block * block;
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let copied = io::copy(&mut File::open(from)?.take(length), &mut copy)?;
    copy.flush()?;
    Ok(copied / block * block)
}

/// The members of a service that have a log here, in order.
pub(crate) fn members(root: &Path, service: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(root.join(service)) else { return Vec::new() };
    let index = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let index = entry.file_name().to_str()?.strip_prefix(service)?.strip_prefix('-')?.parse().ok()?;
        file(&entry.path(), 0).exists().then_some(index)
    };
    let mut found: Vec<u32> = entries.filter_map(index).collect();
    found.sort_unstable();
    found
}

/// Reads a log from its last lines on.
#[derive(Debug)]
pub(crate) struct Reader {
    home: PathBuf,
    /// Where in `log` it has come to.
    at: u64,
    /// Which `log.1` there was: another one means that its length was cut off `log`.
    rotated: Option<u64>,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
}

/// Read at a time.
const PIECE: u64 = 64 * 1024;

impl Reader {
    /// The last lines of a member's log, over all its files, and the reader for what comes then.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn last(home: &Path, lines: usize) -> io::Result<(Vec<u8>, Self)> {
        let rotated = inode(home);
        let mut found: Vec<u8> = Vec::new();
        let mut at = 0;
        for number in 0.. {
            let mut file = match File::open(file(home, number)) {
                Ok(file) => file,
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => break,
                Err(other) => return Err(other),
            };
            let mut end = file.metadata()?.len();
            if number == 0 {
                at = end;
            }
            while end > 0 && !enough(&found, lines) {
                let begin = end.saturating_sub(PIECE);
                let mut piece = Vec::with_capacity(found.len() + usize::try_from(PIECE).unwrap_or(0));
                file.seek(SeekFrom::Start(begin))?;
                (&mut file).take(end - begin).read_to_end(&mut piece)?;
                piece.append(&mut found);
                found = piece;
                end = begin;
            }
            if enough(&found, lines) {
                break;
            }
        }
        let cut = beginning(&found, lines);
        found.drain(..cut);
        let ends = found.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let partial = found.split_off(ends);
        Ok((found, Self { home: home.to_owned(), at, rotated, partial }))
    }

    /// Whole lines that came since; the end of a line is waited for.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn more(&mut self) -> io::Result<Vec<u8>> {
        let mut came = std::mem::take(&mut self.partial);
        let rotated = inode(&self.home);
        if rotated != self.rotated {
            // What was cut off the log is all of `log.1`; its end may not have been read yet.
            if let Ok(mut cut) = File::open(file(&self.home, 1)) {
                let length = cut.metadata()?.len();
                if self.at < length {
                    cut.seek(SeekFrom::Start(self.at))?;
                    cut.read_to_end(&mut came)?;
                }
                self.at = self.at.saturating_sub(length);
            }
            self.rotated = rotated;
        }
        let mut log = match File::open(file(&self.home, 0)) {
            Ok(log) => log,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(came),
            Err(other) => return Err(other),
        };
        self.at = self.at.min(log.metadata()?.len());
        log.seek(SeekFrom::Start(self.at))?;
        let read = log.take(PIECE).read_to_end(&mut came)?;
        self.at += u64::try_from(read).unwrap_or(0);
        // A line longer than any sane one is passed on in parts.
        let whole = came.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if whole > 0 || came.len() < usize::try_from(PIECE).unwrap_or(0) {
            self.partial = came.split_off(whole);
        }
        Ok(came)
    }

    /// What is left of a line without its end.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.partial)
    }
}

fn inode(home: &Path) -> Option<u64> {
    fs::metadata(file(home, 1)).ok().map(|found| found.ino())
}

/// Ends of lines in here, the last one not counted if nothing comes after it.
fn enough(text: &[u8], lines: usize) -> bool {
    beginning(text, lines) > 0
}

/// Where the last lines begin; 0 if there are not more.
fn beginning(text: &[u8], lines: usize) -> usize {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    if lines == 0 {
        return text.len();
    }
    let ends = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    ends.map(|(at, _)| at + 1).nth(lines - 1).unwrap_or(0)
}

/// The same with a prefix before every line.
pub(crate) fn prefixed(prefix: &str, text: &[u8]) -> Vec<u8> {
    if prefix.is_empty() {
        return text.to_vec();
    }
    let mut out = Vec::with_capacity(text.len() + text.len() / 4);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    fn home() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn the_last_lines_reach_over_rotated_files() {
        let home = home();
        fs::write(file(home.path(), 2), "1\n2\n").unwrap();
        fs::write(file(home.path(), 1), "3\n4 be").unwrap();
        fs::write(file(home.path(), 0), "gan\n5\n").unwrap();
        for (lines, wanted) in [
            (0, ""),
            (1, "5\n"),
            (2, "4 began\n5\n"),
            (4, "2\n3\n4 began\n5\n"),
            (99, "1\n2\n3\n4 began\n5\n"),
        ] {
            let (found, _) = Reader::last(home.path(), lines).unwrap();
            assert_eq!(text(found), wanted, "{lines} lines");
        }
    }

    #[test]
    fn a_reader_gets_whole_lines_as_they_come() {
        let home = home();
        fs::write(file(home.path(), 0), "one\ntw").unwrap();
        let (found, mut reader) = Reader::last(home.path(), 10).unwrap();
        assert_eq!(text(found), "one\n");
        assert_eq!(text(reader.more().unwrap()), "");
        OpenOptions::new().append(true).open(file(home.path(), 0)).unwrap().write_all(b"o\nthree\n").unwrap();
        assert_eq!(text(reader.more().unwrap()), "two\nthree\n");
    }

    #[tokio::test]
    async fn a_rotation_loses_nothing_of_what_a_writer_appends_and_a_reader_follows_it() {
        let home = home();
        let limits = Limits { bytes: 40_000, files: 3 };
        let mut writer = OpenOptions::new().append(true).create(true).open(file(home.path(), 0)).unwrap();
        let mut expected = String::new();
        let (_, mut reader) = Reader::last(home.path(), 0).unwrap();
        let mut followed = Vec::new();
        for number in 0..12_000 {
            let line = format!("line {number}\n");
            writer.write_all(line.as_bytes()).unwrap();
            expected.push_str(&line);
            if number % 1000 == 999 {
                rotate(home.path(), limits, &|| Ok(())).await.unwrap();
                followed.extend(reader.more().unwrap());
            }
        }
        assert!(!file(home.path(), 3).exists(), "only three files are kept");
        let kept: String =
            [2, 1, 0].map(|number| fs::read_to_string(file(home.path(), number)).unwrap()).concat();
        assert!(kept.len() > 80_000 && kept.len() < 3 * 60_000, "{} bytes are kept", kept.len());
        assert!(expected.ends_with(&kept), "lines are missing or twice");
        followed.extend(reader.more().unwrap());
        assert!(expected == text(followed), "the reader lost its way");
    }

    #[tokio::test]
    async fn a_log_without_the_permission_or_the_length_is_left_alone() {
        let home = home();
        fs::write(file(home.path(), 0), "x".repeat(100)).unwrap();
        rotate(home.path(), Limits { bytes: 101, files: 3 }, &|| Ok(())).await.unwrap();
        let lapsed = || Err(Failed("lapsed".to_owned()));
        assert!(rotate(home.path(), Limits { bytes: 1, files: 3 }, &lapsed).await.is_err());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
        rotate(home.path(), Limits { bytes: 1, files: 1 }, &|| Ok(())).await.unwrap();
        assert_eq!(fs::read_to_string(file(home.path(), 0)).unwrap(), "");
    }

    #[test]
    fn members_are_found_in_order() {
        let root = home();
        for name in ["web-10", "web-9", "web-x", "other-1"] {
            let home = root.path().join("web").join(name);
            fs::create_dir_all(&home).unwrap();
            fs::write(home.join("log"), "").unwrap();
        }
        assert_eq!(members(root.path(), "web"), [9, 10]);
    }

    #[test]
    fn every_line_gets_its_prefix() {
        assert_eq!(text(prefixed("web-0 | ", b"a\n\nb\n")), "web-0 | a\nweb-0 | \nweb-0 | b\n");
        assert_eq!(text(prefixed("", b"a\n")), "a\n");
    }
}
