//! Denials in the log: of a member one by one before the answer, of strangers together once a second.

use std::{collections::BTreeMap, sync::Mutex};

use super::Services;
use crate::{
    domain::{Caller, EntryDraft, EntryKind},
    error::{Code, Error, Result},
};

/// Most distinct kinds of denials of strangers that wait at a time; more are counted under one name.
const MOST_KINDS: usize = 100;

/// A denial, as the transport saw it.
#[derive(Debug, Clone)]
pub struct Denied<'a> {
    /// Who was denied, if it proved who it is.
    pub caller: Option<&'a Caller>,
    /// Which call, for example `AccessService/RevokeGrant`.
    pub call: &'a str,
    /// Why.
    pub error: &'a Error,
}

/// Denials of callers without identity, counted until they are logged.
#[derive(Debug, Default)]
pub struct Strangers {
    waiting: Mutex<BTreeMap<(String, &'static str), u64>>,
}

impl Services {
    /// Logs a denial. Of a member this returns once it is durable; if that fails, so does the call (P1).
    pub async fn log_denial(&self, denied: &Denied<'_>) -> Result<()> {
        let reason = denied.error.conceals().unwrap_or_else(|| denied.error.reason());
        if !matches!(reason.code(), Code::PermissionDenied | Code::Unauthenticated) {
            return Ok(());
        }
        // A query that is denied has its own DECISION entry already.
        if denied.caller.is_some() && denied.call == "QueryService/Execute" {
            return Ok(());
        }
        let Some(caller) = denied.caller else {
            self.inner.strangers.count(denied.call, reason.name());
            return Ok(());
        };
        let mut entry =
            EntryDraft::by(EntryKind::CallDenied, caller).fact("call", denied.call).fact("reason", reason.name());
        if let Some(dataset) = denied.error.params().get("dataset").and_then(|id| id.parse().ok()) {
            entry = entry.about(&dataset);
        }
        self.change_by_hub(move |_| Box::pin(async move { Ok(((), vec![entry])) })).await.map(|_| ())
    }

    /// Logs what [`Strangers`] has counted; called once a second and at the end.
    pub async fn log_strangers(&self) -> Result<()> {
        for ((call, reason), count) in self.inner.strangers.take() {
            let entry = EntryDraft::new(EntryKind::CallDenied)
                .fact("call", call)
                .fact("reason", reason)
                .fact("count", count.to_string());
            self.change_by_hub(move |_| Box::pin(async move { Ok(((), vec![entry])) })).await?;
        }
        Ok(())
    }
}

impl Strangers {
    fn count(&self, call: &str, reason: &'static str) {
        let Ok(mut waiting) = self.waiting.lock() else { return };
        let known = waiting.len() < MOST_KINDS || waiting.contains_key(&(call.to_owned(), reason));
        let call = if known { call } else { "other" };
        *waiting.entry((call.to_owned(), reason)).or_default() += 1;
    }

    fn take(&self) -> BTreeMap<(String, &'static str), u64> {
        self.waiting.lock().map(|mut waiting| std::mem::take(&mut *waiting)).unwrap_or_default()
    }
}
