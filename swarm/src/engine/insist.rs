//! Asking again beside a question that is not answered.
//!
//! Where a Swarm's leader goes, what waits for it is answered late, or not at all, though the next leader is there already:
//! whoever asks it anew is answered at once.

use std::future::Future;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::Trouble;

/// Asks what changes nothing, for `time` at most, and after each pause asks again beside it: the pauses begin with `pace`, and
/// each is twice as long. `ask` is given how much time is left. The first that is answered counts; who stays silent is not waited
/// for by the others.
///
/// # Errors
/// What the first to be refused met with, or the last to stay silent.
pub(crate) async fn insist<T, F>(
    pace: Duration,
    time: Duration,
    ask: impl Fn(Duration) -> F,
) -> Result<T, Trouble>
where
    F: Future<Output = Result<T, Trouble>>,
{
    let (begun, mut pause) = (Instant::now(), pace);
    let (end, mut next) = (begun + time, begun + pace);
    let mut asked = FuturesUnordered::new();
    asked.push(ask(time));
    loop {
        tokio::select! {
            biased;
            Some(answer) = asked.next() => match answer {
                Err(Trouble::Silent(_)) if !asked.is_empty() => {}
                answer => return answer,
            },
            () = sleep_until(next), if next < end => {
                asked.push(ask(end.saturating_duration_since(Instant::now())));
                pause *= 2;
                next += pause;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn silent() -> Trouble {
        Trouble::Silent("no answer".to_owned())
    }

    /// Each question by its number: after how long it is answered, and how; and how often it was asked.
    async fn asked(answers: &[(u32, Result<u32, Trouble>)]) -> (Result<u32, Trouble>, Duration, usize) {
        let (begun, count) = (Instant::now(), Cell::new(0));
        let ask = |left: Duration| {
            let number = count.replace(count.get() + 1);
            async move {
                let Some((after, answer)) = answers.get(number) else {
                    tokio::time::sleep(left).await;
                    return Err(silent());
                };
                tokio::time::sleep(MS * *after).await;
                answer.clone()
            }
        };
        let answer = insist(100 * MS, 1000 * MS, ask).await;
        (answer, begun.elapsed(), count.get())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_answered_in_time_is_asked_once() {
        assert_eq!(asked(&[(90, Ok(1))]).await, (Ok(1), 90 * MS, 1));
        let refused = Trouble::Said { status: 503, message: "no".to_owned() };
        assert_eq!(asked(&[(90, Err(refused.clone()))]).await, (Err(refused), 90 * MS, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn beside_one_that_hangs_another_is_asked_less_and_less_often() {
        assert_eq!(asked(&[(5000, Ok(1)), (5, Ok(2))]).await, (Ok(2), 105 * MS, 2));
        assert_eq!(asked(&[(120, Ok(1)), (50, Ok(2))]).await, (Ok(1), 120 * MS, 2), "late, and the first");
        let (answer, took, count) = asked(&[]).await;
        assert_eq!((answer, took, count), (Err(silent()), 1000 * MS, 4), "at 0, 100, 300 and 700 ms");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_cut_off_does_not_end_what_others_may_still_answer() {
        let (answer, took, _) = asked(&[(400, Ok(1)), (10, Err(silent()))]).await;
        assert_eq!((answer, took), (Ok(1), 400 * MS));
    }
}
