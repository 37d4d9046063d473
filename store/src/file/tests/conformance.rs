//! The conformance suite, on a real directory.

use crate::Store;
use crate::file::FileStore;
use crate::testing::Site;

struct Folder(tempfile::TempDir);

impl Site for Folder {
    fn handle(&self) -> Box<dyn Store> {
        Box::new(FileStore::open(self.0.path().join("made/by the store")))
    }
}

fn folder() -> Folder {
    Folder(tempfile::tempdir().unwrap())
}

crate::conformance_tests!(folder);
