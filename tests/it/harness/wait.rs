//! Waiting without guessing how long: bounded polling.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// Asks again, every 10 ms, until there is an answer. Panics, saying what was awaited, after `most`.
pub(crate) async fn eventually<T, F>(what: &str, most: Duration, mut ask: impl FnMut() -> F + Send) -> T
where
    F: Future<Output = Option<T>> + Send,
    T: Send,
{
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < most, "{what}: not within {most:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
