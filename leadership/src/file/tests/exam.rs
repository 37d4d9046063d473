//! The exam for detectors.

use super::*;
use crate::testing::{Harness, detector_suite};

struct FileHarness {
    place: Place,
    options: FileOptions,
    by_rename: bool,
}

#[async_trait]
impl Harness for FileHarness {
    type Detector = FileDetector;

    async fn start(&mut self, name: &str) -> FileDetector {
        FileDetector::start(self.place.at("leader"), name, self.options)
    }

    async fn name(&mut self, name: &str) {
        if self.by_rename {
            let _ = std::fs::remove_dir(self.place.at("leader"));
            self.place.replace("leader", name);
        } else {
            let _ = std::fs::remove_dir(self.place.at("leader"));
            self.place.write("leader", format!("{name}\n"));
        }
    }

    async fn name_nobody(&mut self) {
        let _ = std::fs::remove_file(self.place.at("leader"));
    }

    async fn blind(&mut self) {
        let _ = std::fs::remove_file(self.place.at("leader"));
        std::fs::create_dir(self.place.at("leader")).unwrap();
    }
}

#[tokio::test]
async fn it_passes_the_exam_by_events() {
    for by_rename in [true, false] {
        detector_suite(|| FileHarness { place: Place::new(), options: by_events(), by_rename }).await;
    }
}

#[tokio::test]
async fn it_passes_the_exam_by_polling() {
    for by_rename in [true, false] {
        detector_suite(|| FileHarness { place: Place::new(), options: by_poll(), by_rename }).await;
    }
}
