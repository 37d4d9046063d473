//! The thread that looks: when it hangs, fails, is kept busy, and when it ends.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

use super::*;

#[tokio::test]
async fn the_poll_goes_on_while_something_else_stirs_in_the_directory() {
    let place = Place::new();
    place.write("leader", "service");
    let looks = Arc::new(AtomicUsize::new(0));
    let (path, counted) = (place.at("leader"), Arc::clone(&looks));
    let options = FileOptions { poll: Duration::from_millis(300), ..FileOptions::default() };
    let detector = FileDetector::start_with(path.clone(), "service".to_owned(), options, move || {
        let (mut look, events) = eye::looker(&path, true);
        let counted = Arc::clone(&counted);
        let look = move |cause| {
            let sight = look(cause);
            counted.fetch_add(usize::from(cause == Cause::Time && sight.is_some()), Ordering::SeqCst);
            sight
        };
        (Box::new(look), events)
    });
    until(&mut detector.leadership(), leading()).await;
    let stop = Arc::new(AtomicUsize::new(0));
    place.write("noise", "x");
    let (here, there, stopped) = (place.at("noise"), place.at("elsewhere"), Arc::clone(&stop));
    let noisy = tokio::task::spawn_blocking(move || {
        while stopped.load(Ordering::SeqCst) == 0 {
            std::fs::rename(&here, &there).unwrap();
            std::fs::rename(&there, &here).unwrap();
        }
    });
    let before = looks.load(Ordering::SeqCst);
    let polled = async {
        while looks.load(Ordering::SeqCst) < before + 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let polled = tokio::time::timeout(PATIENCE, polled).await;
    stop.store(1, Ordering::SeqCst);
    noisy.await.unwrap();
    assert!(polled.is_ok(), "the poll was kept off");
}

#[tokio::test]
async fn a_file_system_that_hangs_becomes_unknown_and_is_looked_at_again_when_it_comes_back() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let at_the_gate = Arc::clone(&gate);
    let options = FileOptions { patience: Duration::from_millis(20), ..by_poll() };
    let detector = FileDetector::start_with("/dead".into(), "service".to_owned(), options, move || {
        let gate = Arc::clone(&at_the_gate);
        let mut looks = 0;
        let look = move |_| {
            looks += 1;
            if looks == 1 {
                let shut = gate.0.lock().unwrap();
                drop(gate.1.wait_while(shut, |open| !*open).unwrap());
                // Read before it hung: not to be believed any more.
                return Some(Sight::Named("service".to_owned()));
            }
            Some(Sight::Named("service2".to_owned()))
        };
        (Box::new(look), None)
    });
    let mut seen = detector.leadership();
    until_unknown(&mut seen, "takes longer than 20ms").await;
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    seen.changed().await.unwrap();
    assert_eq!(*seen.borrow(), following("service2"));
}

#[tokio::test]
async fn a_thread_that_fails_is_started_anew() {
    let mut starts = 0;
    let detector = FileDetector::start_with("/odd".into(), "service".to_owned(), by_poll(), move || {
        starts += 1;
        let fails = starts == 1;
        let look = move |_| if fails { panic!("as the test wants it") } else { Some(Sight::Void) };
        (Box::new(look), None)
    });
    let mut seen = detector.leadership();
    until(&mut seen, nobody()).await;
}

#[tokio::test]
async fn dropping_the_detector_ends_its_thread_and_its_watches() {
    let place = Place::new();
    place.write("leader", "service");
    let watches: Arc<Mutex<std::sync::Weak<trail::Events>>> = Arc::default();
    let (path, kept) = (place.at("leader"), Arc::clone(&watches));
    let detector = FileDetector::start_with(path.clone(), "service".to_owned(), by_events(), move || {
        let (look, events) = eye::looker(&path, true);
        *kept.lock().unwrap() = Arc::downgrade(events.as_ref().unwrap());
        (look, events)
    });
    until(&mut detector.leadership(), leading()).await;
    // The thread's look holds the descriptor: when nobody holds it, both are gone.
    let held = || watches.lock().unwrap().strong_count();
    assert!(held() > 0);
    drop(detector);
    let gone = async {
        while held() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, gone).await.is_ok(), "{} still hold it", held());
}
