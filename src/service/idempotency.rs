//! Repeating a change safely (AIP-155): which request id did what, claimed in the transaction of the change itself.
//!
//! A use case does not know that it runs under a request id: [`Services::claiming`] says so to its task, and the one
//! change that the use case makes claims the id. So of two calls with one id only one takes effect, also across
//! replicas and crashes. The reply holds the receipt of that commit and is therefore kept right after it.

use std::time::Duration;

use super::Services;
use crate::{
    audit::Committed,
    domain::{Digest, RequestId},
    error::{Error, Reason, Result},
    store::{Job, Tx, request},
};

/// How often and how long to wait for the reply of a call with the same id that is being made right now.
const WAITS: u32 = 10;
const WAIT: Duration = Duration::from_millis(50);

tokio::task_local! {
    static CLAIM: RequestKey;
}

/// A change that a caller may repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// Who asks: a member, or the digest of a one-time token.
    pub caller: String,
    /// The id that the caller chose.
    pub id: RequestId,
    /// Digest of the whole request.
    pub digest: Digest,
}

impl Services {
    /// The reply that was given under this request id; none if it was not used.
    ///
    /// [`Reason::RequestIdReused`] if another request was made under it. [`Reason::AlreadyExists`] if the change was
    /// made but its reply could not be kept: the caller finds the result by reading.
    pub async fn earlier_reply(&self, key: &RequestKey) -> Result<Option<Vec<u8>>> {
        for _ in 0..WAITS {
            let mut tx = self.read().await?;
            let Some(earlier) = request::lookup(&mut tx, &key.caller, key.id).await? else { return Ok(None) };
            drop(tx);
            if earlier.digest != key.digest.to_string() {
                return Err(Error::new(Reason::RequestIdReused));
            }
            if earlier.reply.is_some() {
                return Ok(earlier.reply);
            }
            tokio::time::sleep(WAIT).await;
        }
        Err(Error::new(Reason::AlreadyExists).with("object", format_args!("the result of request {}", key.id)))
    }

    /// Runs a use case under a request id: the change that it makes claims the id, or fails if it is taken.
    pub async fn claiming<F: Future>(&self, key: RequestKey, run: F) -> F::Output {
        CLAIM.scope(key, run).await
    }

    /// Keeps the reply for a repeated request. It must hold no secret.
    pub async fn keep_reply(&self, key: &RequestKey, reply: Vec<u8>) -> Result<()> {
        let key = key.clone();
        let writer = self.inner.store.writer();
        writer.stage(move |tx| Box::pin(async move { request::keep_reply(tx, &key.caller, key.id, reply).await })).await
    }

    /// Hands a change to the writer, with the claim of the request id that it runs under, if any.
    pub(super) async fn submit<T, F>(&self, run: F) -> Result<(T, Committed)>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> futures::future::BoxFuture<'t, Job<T>> + Send + 'static,
    {
        let writer = self.inner.store.writer();
        let Ok(key) = CLAIM.try_with(Clone::clone) else { return writer.submit(run).await };
        let now = self.now();
        writer
            .submit(move |tx| {
                Box::pin(async move {
                    request::claim(tx, &key.caller, key.id, &key.digest.to_string(), now).await?;
                    run(tx).await
                })
            })
            .await
    }
}
