//! `request_id` (AIP-155): a repeated request gets the first answer again, and nothing is done twice.

use prost::Message;
use tonic::{Response, Status};

use super::call::Call;
use crate::{
    domain::{Digest, RequestId},
    error::{Error, Reason, Result},
    service::RequestKey,
};

/// A change that may be repeated under a request id.
#[derive(Debug)]
pub(super) struct Change<'a, R> {
    /// The id that the caller chose; empty for none.
    pub(super) request_id: &'a str,
    /// Takes what is secret out of the reply before it is kept.
    pub(super) forget: fn(&mut R),
    /// Of a caller without identity, its one-time token.
    pub(super) token: Option<&'a str>,
}

impl<'a, R> Change<'a, R> {
    /// A change whose reply holds no secret.
    pub(super) fn under(request_id: &'a str) -> Self {
        Self { request_id, forget: |_| {}, token: None }
    }
}

impl Call {
    /// Answers with what the change yields, or has yielded when it was made.
    pub(super) async fn change<Q, R>(
        &self,
        change: Change<'_, R>,
        asked: &Q,
        run: impl Future<Output = Result<R>> + Send,
    ) -> Result<Response<R>, Status>
    where
        Q: Message,
        R: Message + Default + Clone,
    {
        let run = Box::pin(run);
        if change.request_id.is_empty() {
            return self.answer(run).await;
        }
        self.answer(self.once(change, asked, run)).await
    }

    async fn once<Q, R>(
        &self,
        change: Change<'_, R>,
        asked: &Q,
        run: impl Future<Output = Result<R>> + Send,
    ) -> Result<R>
    where
        Q: Message,
        R: Message + Default + Clone,
    {
        let key = self.key(change.request_id, change.token, asked)?;
        if let Some(kept) = self.services().earlier_reply(&key).await? {
            return decode(&kept);
        }
        match self.services().claiming(key.clone(), run).await {
            Ok(reply) => {
                let mut kept = reply.clone();
                (change.forget)(&mut kept);
                // The change is made; a reply that is not kept only makes a repetition answer less.
                if let Err(error) = self.services().keep_reply(&key, kept.encode_to_vec()).await {
                    tracing::warn!(%error, call = self.method(), "the reply to a request id was not kept");
                }
                Ok(reply)
            }
            // The same request may have been made at the same time, and claimed the id first.
            Err(error) if error.reason() == Reason::AlreadyExists => {
                self.services().earlier_reply(&key).await?.map_or(Err(error), |kept| decode(&kept))
            }
            Err(error) => Err(error),
        }
    }

    fn key<Q: Message>(&self, request_id: &str, token: Option<&str>, asked: &Q) -> Result<RequestKey> {
        let id: RequestId = request_id.parse()?;
        let caller = match token {
            Some(token) => format!("token/{}", Digest::of(token.as_bytes()).hex()),
            None => self.caller()?.subject(),
        };
        let request = [self.method().as_bytes(), b"\n", &asked.encode_to_vec()].concat();
        Ok(RequestKey { caller, id, digest: Digest::of(&request) })
    }
}

fn decode<R: Message + Default>(kept: &[u8]) -> Result<R> {
    R::decode(kept).map_err(|_| Error::internal("a kept reply is not one of this call"))
}
