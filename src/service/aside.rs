//! Work that computes for long: away from the tasks that answer calls, and few pieces at a time (P5).

use std::{num::NonZero, sync::Arc};

use tokio::sync::Semaphore;

use super::Services;
use crate::error::{Error, Result};

/// The places for such work: half as many as there are processors, so that the other half answers calls.
#[derive(Debug)]
pub struct Aside(Arc<Semaphore>);

impl Default for Aside {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self(Arc::new(Semaphore::new((processors / 2).max(1))))
    }
}

impl Services {
    /// Runs `work` on a thread of its own as soon as a place is free. A caller that goes away while it waits is
    /// forgotten; work that has begun keeps its place to its end, so each piece has a bound of its own.
    pub(super) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let place = Arc::clone(&self.inner.aside.0).acquire_owned().await;
        let place = place.map_err(|e| Error::internal(format_args!("aside: {e}")))?;
        let services = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            work(&services)
        });
        done.await.map_err(|e| Error::internal(format_args!("aside: {e}")))?
    }
}
