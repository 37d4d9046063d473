//! A stream to a client that can always be given a last word: the end of a stream without an error means success, so a
//! stream that is cut must be able to say so, also to one who reads slowly.

use tokio::sync::mpsc::{self, OwnedPermit, Receiver, Sender};
use tonic::Status;

type Word<T> = Result<T, Status>;

/// A place in the queue that is kept for the end.
pub(crate) struct LastWord<T>(Option<OwnedPermit<Word<T>>>);

/// A queue of so many pieces, and a place for the last word.
pub(crate) fn outlet<T: Send>(pieces: usize) -> (Sender<Word<T>>, LastWord<T>, Receiver<Word<T>>) {
    let (out, run) = mpsc::channel(pieces + 1);
    // Cannot fail: the queue is new, and its reader is in our hands.
    let last = out.clone().try_reserve_owned().ok();
    (out, LastWord(last), run)
}

impl<T> LastWord<T> {
    /// Says it.
    pub(crate) fn say(self, word: Word<T>) {
        if let Some(place) = self.0 {
            place.send(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_word_finds_its_place_in_a_full_queue() {
        let (out, last, mut run) = outlet(1);
        out.try_send(Ok(1)).expect("room");
        assert!(out.try_send(Ok(2)).is_err(), "full");
        last.say(Err(Status::unavailable("cut")));
        drop(out);
        assert_eq!(run.recv().await.map(Result::ok), Some(Some(1)));
        assert!(run.recv().await.is_some_and(|word| word.is_err()));
        assert!(run.recv().await.is_none());
    }
}
