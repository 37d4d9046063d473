//! With real files. Where events are meant to tell, the poll is an hour away; where the poll is, events are off.

use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

mod exam;
mod thread;

const HOUR: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(20);

fn by_events() -> FileOptions {
    FileOptions { poll: HOUR, ..FileOptions::default() }
}

fn by_poll() -> FileOptions {
    FileOptions { poll: Duration::from_millis(5), events: false, ..FileOptions::default() }
}

fn leading() -> Leadership {
    Leadership::Leading
}

fn following(leader: &str) -> Leadership {
    Leadership::Following { leader: Some(leader.to_owned()) }
}

fn nobody() -> Leadership {
    Leadership::Following { leader: None }
}

async fn until_it(seen: &mut watch::Receiver<Leadership>, what: &str, is: impl Fn(&Leadership) -> bool) {
    let found = tokio::time::timeout(PATIENCE, seen.wait_for(|seen| is(seen))).await;
    let found = found.is_ok_and(|found| found.is_ok());
    assert!(found, "{what}: still {:?}", *seen.borrow());
}

async fn until(seen: &mut watch::Receiver<Leadership>, wanted: Leadership) {
    until_it(seen, &format!("waiting for {wanted:?}"), |seen| *seen == wanted).await;
}

async fn until_unknown(seen: &mut watch::Receiver<Leadership>, because: &str) {
    until_it(
        seen,
        &format!("waiting for unknown, {because}"),
        |seen| matches!(seen, Leadership::Unknown { why } if why.contains(because)),
    )
    .await;
}

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.at(name), content).unwrap();
    }

    fn replace(&self, name: &str, content: &str) {
        self.write("new", content);
        std::fs::rename(self.at("new"), self.at(name)).unwrap();
    }

    fn watch(&self, name: &str, options: FileOptions) -> (FileDetector, watch::Receiver<Leadership>) {
        let detector = FileDetector::start(self.at(name), "service", options);
        let seen = detector.leadership();
        (detector, seen)
    }
}

#[tokio::test]
async fn a_file_that_is_missing_at_start_is_nobody_until_it_appears() {
    let place = Place::new();
    let (_detector, mut seen) = place.watch("leader", by_events());
    until(&mut seen, nobody()).await;
    place.write("leader", "service\n");
    until(&mut seen, leading()).await;
}

#[tokio::test]
async fn an_empty_file_and_one_of_white_space_are_nobody() {
    let place = Place::new();
    place.write("leader", "");
    let (_detector, mut seen) = place.watch("leader", by_events());
    until(&mut seen, nobody()).await;
    place.write("leader", "service");
    until(&mut seen, leading()).await;
    place.write("leader", " \r\n\t\n");
    until(&mut seen, nobody()).await;
}

#[tokio::test]
async fn a_foreign_name_is_followed_as_it_stands_there() {
    let place = Place::new();
    place.write("leader", "service2\n");
    let (_detector, mut seen) = place.watch("leader", by_events());
    until(&mut seen, following("service2")).await;
    place.write("leader", "  Some Body Else  \r\n");
    until(&mut seen, following("Some Body Else")).await;
    place.write("leader", "servic");
    until(&mut seen, following("servic")).await;
}

#[tokio::test]
async fn white_space_around_our_name_does_not_matter() {
    let place = Place::new();
    for content in ["service\n", "service\r\n", "  service  ", "\u{feff}service\r\n"] {
        place.write("leader", "other");
        let (_detector, mut seen) = place.watch("leader", by_events());
        until(&mut seen, following("other")).await;
        place.write("leader", content);
        until(&mut seen, leading()).await;
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_unknown_and_never_nobody() {
    let place = Place::new();
    place.write("leader", "service");
    let (_detector, mut seen) = place.watch("leader", by_events());
    until(&mut seen, leading()).await;

    let remove = || std::fs::remove_file(place.at("leader")).unwrap();
    place.write("leader", b"\xff\x00\xff");
    until_unknown(&mut seen, "not UTF-8").await;
    place.write("leader", "service\nservice2\n");
    until_unknown(&mut seen, "more than one line").await;
    place.write("leader", vec![b'x'; 5000]);
    until_unknown(&mut seen, "more than 4096 bytes").await;
    remove();
    std::fs::create_dir(place.at("leader")).unwrap();
    until_unknown(&mut seen, "a directory").await;
    std::fs::remove_dir(place.at("leader")).unwrap();
    symlink("nowhere", place.at("leader")).unwrap();
    until_unknown(&mut seen, "a link to nowhere").await;
    // The link's target appears: seen, though nothing about the link changes.
    place.write("nowhere", "service");
    until(&mut seen, leading()).await;
    remove();
    let fifo = rustix::fs::FileType::Fifo;
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, place.at("leader"), fifo, mode, 0).unwrap();
    until_unknown(&mut seen, "a FIFO").await;
    remove();
    place.write("leader", "service");
    until(&mut seen, leading()).await;
}

#[tokio::test]
async fn a_file_replaced_by_rename_or_rewritten_in_place_or_deleted_is_seen() {
    let place = Place::new();
    place.write("leader", "service");
    let (_detector, mut seen) = place.watch("leader", by_events());
    until(&mut seen, leading()).await;
    for round in 0..5 {
        let other = format!("other{round}");
        place.replace("leader", &other);
        until(&mut seen, following(&other)).await;
        place.write("leader", "service");
        until(&mut seen, leading()).await;
    }
    std::fs::remove_file(place.at("leader")).unwrap();
    until(&mut seen, nobody()).await;
    std::fs::rename(place.dir.path(), place.dir.path().with_extension("away")).unwrap();
    std::fs::create_dir(place.dir.path()).unwrap();
    place.write("leader", "service");
    until(&mut seen, leading()).await;
    std::fs::remove_dir_all(place.dir.path().with_extension("away")).unwrap();
}

#[tokio::test]
async fn a_file_kept_open_and_written_again_is_seen() {
    use std::os::unix::fs::FileExt;
    let place = Place::new();
    place.write("leader", "service2");
    let file = std::fs::OpenOptions::new().write(true).open(place.at("leader")).unwrap();
    let (_detector, mut seen) = place.watch("leader", by_events());
    until(&mut seen, following("service2")).await;
    file.write_all_at(b"service ", 0).unwrap();
    until(&mut seen, leading()).await;
}

#[tokio::test]
async fn a_directory_removed_and_made_again_is_watched_again() {
    let place = Place::new();
    std::fs::create_dir_all(place.at("a/b")).unwrap();
    place.write("a/b/leader", "service");
    let (_detector, mut seen) = place.watch("a/b/leader", by_events());
    for _ in 0..3 {
        until(&mut seen, leading()).await;
        std::fs::remove_dir_all(place.at("a")).unwrap();
        until(&mut seen, nobody()).await;
        std::fs::create_dir(place.at("a")).unwrap();
        std::fs::create_dir(place.at("a/b")).unwrap();
        place.write("a/b/leader", "service2");
        until(&mut seen, following("service2")).await;
        place.write("a/b/leader", "service");
    }
    // One further up is moved away, and another into its place.
    until(&mut seen, leading()).await;
    std::fs::create_dir_all(place.at("c/b")).unwrap();
    place.write("c/b/leader", "service3");
    std::fs::rename(place.at("a"), place.at("old")).unwrap();
    std::fs::rename(place.at("c"), place.at("a")).unwrap();
    until(&mut seen, following("service3")).await;
}

#[tokio::test]
async fn links_on_the_way_may_be_swapped() {
    let place = Place::new();
    // As a Kubernetes volume does it: leader -> ..data/leader, ..data -> one of two directories.
    for (dir, name) in [("one", "service"), ("two", "service2")] {
        std::fs::create_dir(place.at(dir)).unwrap();
        place.write(&format!("{dir}/leader"), name);
    }
    symlink("one", place.at("..data")).unwrap();
    symlink("..data/leader", place.at("leader")).unwrap();
    let (_detector, mut seen) = place.watch("leader", by_events());
    until(&mut seen, leading()).await;
    for (dir, wanted) in [("two", following("service2")), ("one", leading()), ("two", following("service2"))]
    {
        symlink(dir, place.at("swap")).unwrap();
        std::fs::rename(place.at("swap"), place.at("..data")).unwrap();
        until(&mut seen, wanted).await;
    }
    // The last link itself, to an absolute path that goes up and down.
    symlink(place.at("two/../one/leader"), place.at("swap")).unwrap();
    std::fs::rename(place.at("swap"), place.at("leader")).unwrap();
    until(&mut seen, leading()).await;
    place.write("one/leader", "service4");
    until(&mut seen, following("service4")).await;
}

#[tokio::test]
async fn the_poll_sees_changes_where_no_event_comes() {
    let place = Place::new();
    let (_detector, mut seen) = place.watch("leader", by_poll());
    until(&mut seen, nobody()).await;
    place.write("leader", "service");
    until(&mut seen, leading()).await;
    place.replace("leader", "other");
    until(&mut seen, following("other")).await;
    std::fs::remove_file(place.at("leader")).unwrap();
    until(&mut seen, nobody()).await;
}

#[tokio::test]
async fn the_moment_in_which_a_rewritten_file_is_empty_is_not_taken_for_nobody() {
    let place = Place::new();
    place.write("leader", "service");
    let options = FileOptions { settle: Duration::from_secs(60), ..by_events() };
    let (_detector, mut seen) = place.watch("leader", options);
    until(&mut seen, leading()).await;
    seen.mark_unchanged();
    for _ in 0..200 {
        place.write("leader", "");
        tokio::task::yield_now().await;
        std::fs::remove_file(place.at("leader")).unwrap();
        tokio::task::yield_now().await;
        place.write("leader", "service");
    }
    place.write("leader", "");
    place.write("leader", "other");
    seen.changed().await.unwrap();
    assert_eq!(*seen.borrow(), following("other"), "nothing else was said in between");
}

#[tokio::test]
async fn a_flood_of_rewrites_ends_with_the_right_answer() {
    let place = Place::new();
    place.write("leader", "nobody-yet");
    let (_detector, mut seen) = place.watch("leader", by_events());
    until(&mut seen, following("nobody-yet")).await;
    let path = place.at("leader");
    tokio::task::spawn_blocking(move || {
        for round in 0..10_000 {
            std::fs::write(&path, if round % 3 == 0 { "service" } else { "service2" }).unwrap();
        }
        std::fs::write(&path, "the-last").unwrap();
    })
    .await
    .unwrap();
    until(&mut seen, following("the-last")).await;
}

#[tokio::test]
async fn resigning_leaves_the_file_as_it_is() {
    let place = Place::new();
    place.write("leader", "service");
    let (detector, mut seen) = place.watch("leader", by_events());
    until(&mut seen, leading()).await;
    detector.resign().await;
    assert_eq!(std::fs::read_to_string(place.at("leader")).unwrap(), "service");
    assert_eq!(detector.describe(), format!("file {}", place.at("leader").display()));
}
