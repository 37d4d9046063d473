//! The file store beside `fdatasync`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use om_api::clock::since_boot;
use om_store::file::FileStore;
use om_store::file::disk::{Disk, DiskFile, RealDisk};

use super::{Args, Held, MANY, Row, SERVICE_BYTES, in_turn, row, rows_by_size};
use crate::figures::Figures;

pub(super) async fn measure(args: &Args) -> Result<Vec<Row>> {
    // Beside the programs, for a temporary directory may be memory.
    let dir = tempfile::tempdir_in(std::env::current_exe()?.parent().unwrap_or(Path::new(".")))?;
    let syncs = Arc::new(AtomicUsize::new(0));
    let disk = Counting { disk: RealDisk, syncs: syncs.clone() };
    let one = Held::claim(FileStore::with_disk(dir.path().join("one"), Arc::new(disk))).await?;
    let bare = File::create(dir.path().join("bare"))?;
    let (mut of_disk, mut of_store) = (Figures::default(), Figures::default());
    for number in 0..args.commits {
        let begun = since_boot();
        bare.write_all_at(&[b'x'; SERVICE_BYTES], (number * SERVICE_BYTES) as u64)?;
        bare.sync_data()?;
        of_disk.rounds.push(since_boot() - begun);
        of_store.rounds.push(one.commit(number).await?);
    }
    let mut rows = vec![
        row("a write of 1.15 kB and `fdatasync`", &of_disk, None),
        row("a commit of as much, 1 client", &of_store, Some((&of_disk, "fdatasync"))),
    ];

    let before = syncs.load(Ordering::Relaxed);
    let many = one.many(args.commits * MANY, MANY).await?;
    let synced = syncs.load(Ordering::Relaxed) - before;
    let what = format!("a commit, {MANY} clients: {} commits, {synced} syncs", many.rounds.len());
    rows.push(row(&what, &many, Some((&of_disk, "fdatasync"))));
    let cells = [format!("{:.1}", ratio(many.rounds.len(), synced)), String::new(), String::new()];
    rows.push(Row { what: format!("commits a sync, {MANY} clients"), p50: None, cells });

    let mut held = Vec::new();
    for services in &args.services {
        let mut one = Held::claim(FileStore::open(dir.path().join(services.to_string()))).await?;
        one.fill(*services).await?;
        held.push(one);
    }
    let figures = in_turn(&held, args.commits).await?;
    rows.extend(rows_by_size(&args.services, &figures));
    Ok(rows)
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
fn ratio(of: usize, to: usize) -> f64 {
    of as f64 / to.max(1) as f64
}

/// Counts how often files are made durable.
struct Counting {
    disk: RealDisk,
    syncs: Arc<AtomicUsize>,
}

struct CountingFile {
    file: Box<dyn DiskFile>,
    syncs: Arc<AtomicUsize>,
}

impl DiskFile for CountingFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync()
    }
}

impl Disk for Counting {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn read(&self, path: &Path, offset: u64, limit: u64) -> io::Result<Vec<u8>> {
        self.disk.read(path, offset, limit)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk.create(path)?;
        Ok(Box::new(CountingFile { file, syncs: self.syncs.clone() }))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.disk.sync(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
}
