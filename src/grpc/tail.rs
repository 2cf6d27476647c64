//! The stream of `TailEntries`: entries as they come.

use futures::Stream;
use tonic::Status;

use super::{audit::entry_message, call::Call, pb};
use crate::service::EntryFilter;

/// Entries after `after` until the caller hangs up, or may no longer read them, which is an error of the stream.
pub(super) fn stream(
    call: Call,
    filter: EntryFilter,
    after: Option<u64>,
) -> impl Stream<Item = Result<pb::TailEntriesResponse, Status>> + Send {
    futures::stream::unfold(Some((call, filter, after)), |state| async move {
        let (call, filter, after) = state?;
        loop {
            let next = match call.caller() {
                Ok(caller) => call.services().next_entries(caller, &filter, after).await,
                Err(error) => Err(error),
            };
            match next {
                Ok((entries, _)) if entries.is_empty() => {}
                Ok((entries, checkpoint)) => {
                    let after = entries.last().map(|event| event.index);
                    let entries = entries.into_iter().map(entry_message).collect();
                    return Some((Ok(pb::TailEntriesResponse { entries, checkpoint }), Some((call, filter, after))));
                }
                Err(error) => return Some((Err(call.refuse(error).await), None)),
            }
        }
    })
}
