//! Pages of a list. How a token looks on the wire is the transport's business.

/// What a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// At most this many items, 1 to 1,000.
    pub size: u32,
    /// Continue after the item with this key.
    pub after: Option<String>,
}

impl PageRequest {
    /// Size when the caller names none.
    pub const DEFAULT_SIZE: u32 = 50;
    /// Largest size; a larger wish is cut down to it (AIP-158).
    pub const MAX_SIZE: u32 = 1_000;

    /// Everything that fits into the largest page.
    pub const fn first(size: u32) -> Self {
        Self { size, after: None }
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Key of the last item if more follow.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Builds a page from `size + 1` rows at most: a row too many means that more follow.
    pub fn from_rows(mut items: Vec<T>, size: u32, key: impl Fn(&T) -> String) -> Self {
        let size = size as usize;
        let more = items.len() > size;
        items.truncate(size);
        let next = if more { items.last().map(key) } else { None };
        Self { items, next }
    }

    /// The same page of other items.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(convert).collect(), next: self.next }
    }
}
