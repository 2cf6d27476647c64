//! Runs parsing and planning away from everybody else: on a thread of its own with a big stack, under a watchdog.
//!
//! Both recurse over what the caller wrote, and neither can be interrupted. A thread that outlives its time
//! keeps its place among the few that may exist, so slow queries starve each other and nobody else.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Semaphore, oneshot};

use super::failure::{failed, reject};
use crate::error::{Error, Reason, Result};

const STACK_BYTES: usize = 64 * 1024 * 1024;

/// Runs `work` on a fresh thread for at most `limit`; `places` bounds how many such threads exist.
pub(super) async fn run<T, F>(places: &Arc<Semaphore>, limit: Duration, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let waiting = tokio::time::timeout(limit, Arc::clone(places).acquire_owned());
    let Ok(Ok(place)) = waiting.await else { return Err(Error::new(Reason::Overloaded)) };
    let (send, receive) = oneshot::channel();
    let thread = std::thread::Builder::new().name("odh-plan".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        let result = work();
        drop(place);
        // The receiver is gone when the watchdog fired; there is nobody left to tell.
        let _ = send.send(result);
    });
    if thread.is_err() {
        return Err(Error::new(Reason::Overloaded));
    }
    match tokio::time::timeout(limit, receive).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(failed("planner panicked")),
        Err(_) => Err(reject("too_complex", "planning this query takes too long; make it simpler")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_does_not_end_is_abandoned_and_keeps_its_place() {
        let places = Arc::new(Semaphore::new(1));
        let (release, hold) = std::sync::mpsc::channel::<()>();
        let slow = run(&places, Duration::from_millis(20), move || {
            let _ = hold.recv();
            Ok(())
        });
        assert_eq!(slow.await.unwrap_err().params()["rule"], "too_complex");
        let next = run(&places, Duration::from_millis(20), || Ok(())).await;
        assert_eq!(next.unwrap_err().reason(), Reason::Overloaded);
        drop(release);
        assert!(run(&places, Duration::from_secs(5), || Ok(())).await.is_ok());
    }

    #[tokio::test]
    async fn a_panic_is_a_plain_failure() {
        let places = Arc::new(Semaphore::new(1));
        let result = run::<(), _>(&places, Duration::from_secs(5), || panic!("boom")).await;
        assert_eq!(result.unwrap_err().reason(), Reason::QueryFailed);
        assert_eq!(places.available_permits(), 1);
    }
}
