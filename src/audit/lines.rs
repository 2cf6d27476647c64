//! Reading a file line by line in bounded memory, whatever is in it.

use std::io::{self, BufRead, Read as _};

/// Lines of bounded length, one at a time in one buffer.
pub(super) struct Lines<R> {
    reader: R,
    max: usize,
    /// The line that was read last.
    pub(super) line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// Lines of `reader` of at most `max` bytes.
    pub(super) const fn new(reader: R, max: usize) -> Self {
        Self { reader, max, line: Vec::new() }
    }

    /// The reader, at the beginning of a line.
    pub(super) fn into_inner(self) -> R {
        self.reader
    }

    /// Reads the next line without its newline. True if it is whole: not too long, and ended by a newline.
    pub(super) fn advance(&mut self) -> io::Result<Option<bool>> {
        self.line.clear();
        let limit = self.max as u64 + 1;
        let read = (&mut self.reader).take(limit).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        if self.line.pop_if(|byte| *byte == b'\n').is_some() {
            return Ok(Some(true));
        }
        self.reader.skip_until(b'\n')?;
        Ok(Some(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_too_long_or_unfinished_are_not_whole_and_the_next_is_read() {
        let mut lines = Lines::new(&b"1234\n12345\n\n1234567890123\n12"[..], 4);
        let mut seen = Vec::new();
        while let Some(whole) = lines.advance().unwrap() {
            assert!(lines.line.len() <= 5);
            seen.push((lines.line.len(), whole));
        }
        assert_eq!(seen, [(4, true), (5, false), (0, true), (5, false), (2, false)]);
    }
}
