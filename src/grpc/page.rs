//! Pages of lists on the wire (AIP-158).

use prost::Message;

use super::{call::Call, pb};
use crate::{
    domain::{Digest, PageRequest},
    error::{Error, Result},
};

/// A request for a page of a list.
pub(super) trait Paged: Message + Clone {
    /// Its `page_size` and `page_token`.
    fn page(&mut self) -> (&mut i32, &mut String);
}

macro_rules! paged {
    ($($request:ident),+ $(,)?) => {$(
        impl Paged for pb::$request {
            fn page(&mut self) -> (&mut i32, &mut String) {
                (&mut self.page_size, &mut self.page_token)
            }
        }
    )+};
}

paged!(
    ListParticipantsRequest,
    ListMembersRequest,
    ListCertificatesRequest,
    ListDatasetsRequest,
    ListSnapshotsRequest,
    ListPoliciesRequest,
    ListPurposesRequest,
    ListAccessRequestsRequest,
    ListGrantsRequest,
    ListEntriesRequest,
);

/// A list in progress: which page is asked for, and what its tokens are bound to.
#[derive(Debug)]
pub(super) struct List {
    /// The page asked for.
    pub(super) page: PageRequest,
    binding: Digest,
}

impl Call {
    /// Reads which page a request asks for.
    pub(super) fn list(&self, asked: &impl Paged) -> Result<List> {
        let mut asked = asked.clone();
        let (size, token) = asked.page();
        let (size, token) = (std::mem::take(size), std::mem::take(token));
        // What is left is the same for each page of the list.
        let bound =
            [self.caller()?.subject().as_bytes(), b"\n", self.method().as_bytes(), b"\n", &asked.encode_to_vec()]
                .concat();
        let binding = Digest::of(&bound);
        let after = if token.is_empty() { None } else { Some(self.pages().open(binding, &token)?) };
        Ok(List { page: PageRequest { size: page_size(size)?, after }, binding })
    }

    /// The token of the page after this one; empty if there is none.
    pub(super) fn next(&self, list: &List, next: Option<String>) -> Result<String> {
        next.map_or_else(|| Ok(String::new()), |key| self.pages().seal(list.binding, &key))
    }
}

impl List {
    /// A page of items that are all at hand, in the order of their keys.
    pub(super) fn cut<T>(&self, items: Vec<T>, key: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
        let after = self.page.after.as_ref().and_then(|after| items.iter().position(|item| key(item) == *after));
        let rest = items.into_iter().skip(after.map_or(0, |position| position + 1)).collect();
        let page = crate::domain::Page::from_rows(rest, self.page.size, key);
        (page.items, page.next)
    }
}

fn page_size(asked: i32) -> Result<u32> {
    match u32::try_from(asked) {
        Ok(0) => Ok(PageRequest::DEFAULT_SIZE),
        Ok(size) => Ok(size.min(PageRequest::MAX_SIZE)),
        Err(_) => Err(Error::invalid("page_size", "it is negative")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_50_items_by_default_and_1000_at_most() {
        assert_eq!(page_size(0).unwrap(), 50);
        assert_eq!(page_size(7).unwrap(), 7);
        assert_eq!(page_size(i32::MAX).unwrap(), 1_000);
        assert!(page_size(-1).is_err());
    }

    #[test]
    fn items_at_hand_are_cut_into_pages_without_loss() {
        let mut list = List { page: PageRequest { size: 2, after: None }, binding: Digest::of(b"") };
        let mut seen = Vec::new();
        loop {
            let (items, next) = list.cut(vec![1, 2, 3, 4, 5], ToString::to_string);
            seen.extend(items);
            match next {
                Some(next) => list.page.after = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, [1, 2, 3, 4, 5]);
    }
}
