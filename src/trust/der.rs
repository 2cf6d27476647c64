//! DER (X.690) as a cursor over bytes: definite lengths in their shortest form, tags of one byte, nothing copied.

use crate::error::{Error, Result};

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
pub(super) const CONTEXT_0: u8 = 0xa0;

/// Values that follow one another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Der<'a>(&'a [u8]);

/// One value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a> {
    /// With its tag and length.
    pub(super) whole: &'a [u8],
    /// Without them.
    pub(super) content: &'a [u8],
}

impl<'a> Value<'a> {
    /// The values in it.
    pub(super) const fn inside(self) -> Der<'a> {
        Der(self.content)
    }
}

impl<'a> Der<'a> {
    /// The values in the one value of this tag that all the bytes are.
    pub(super) fn only(bytes: &'a [u8], tag: u8) -> Result<Self> {
        let mut all = Self(bytes);
        let value = all.take(tag)?;
        if all.is_empty() { Ok(value.inside()) } else { Err(malformed()) }
    }

    /// Whether no value is left.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next value, which must have this tag.
    pub(super) fn take(&mut self, tag: u8) -> Result<Value<'a>> {
        self.take_if(tag)?.ok_or_else(malformed)
    }

    /// The next value if it has this tag.
    pub(super) fn take_if(&mut self, tag: u8) -> Result<Option<Value<'a>>> {
        if self.0.first() == Some(&tag) { self.take_any().map(Some) } else { Ok(None) }
    }

    /// The next value.
    pub(super) fn take_any(&mut self) -> Result<Value<'a>> {
        let bytes = self.0;
        let (&[tag, first], rest) = bytes.split_first_chunk::<2>().ok_or_else(malformed)?;
        // A tag of several bytes has all low bits set.
        if tag & 0x1f == 0x1f {
            return Err(malformed());
        }
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80)).ok_or_else(malformed)?;
                let length = digits.iter().fold(0_usize, |length, digit| length << 8 | usize::from(*digit));
                if length < 0x80 || digits.first() == Some(&0) {
                    return Err(malformed());
                }
                (length, rest)
            }
            _ => return Err(malformed()),
        };
        let (content, rest) = rest.split_at_checked(length).ok_or_else(malformed)?;
        self.0 = rest;
        let whole = bytes.get(..bytes.len() - rest.len()).ok_or_else(malformed)?;
        Ok(Value { whole, content })
    }
}

/// A value of this tag with these parts.
pub(super) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    if let Ok(short @ 0..=0x7f) = u8::try_from(content.len()) {
        out.push(short);
    } else {
        let digits: Vec<u8> = content.len().to_be_bytes().into_iter().skip_while(|digit| *digit == 0).collect();
        out.push(0x80 | u8::try_from(digits.len()).unwrap_or(8));
        out.extend(digits);
    }
    out.extend(content);
    out
}

fn malformed() -> Error {
    Error::invalid("timestamp", "it is not well-formed DER")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read_again(length in 0_usize..70_000) {
            let value = tlv(OCTETS, &[&vec![7; length]]);
            let mut der = Der(&value);
            let read = der.take(OCTETS).unwrap();
            prop_assert_eq!((read.whole.len(), read.content.len(), der.is_empty()), (value.len(), length, true));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut der = Der(&bytes);
            while der.take_any().is_ok() {}
        }
    }

    #[test]
    fn lengths_that_are_not_the_shortest_or_have_no_end_are_refused() {
        for bad in [&[4, 0x81, 1, 0][..], &[4, 0x82, 0, 200], &[4, 0x80, 0, 0], &[4, 2, 0], &[0x1f, 1, 0], &[4], &[]] {
            assert!(Der(bad).take_any().is_err(), "{bad:?}");
        }
        assert!(Der::only(&[0x30, 0, 0], SEQUENCE).is_err());
    }
}
