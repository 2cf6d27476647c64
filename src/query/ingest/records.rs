//! Reads CSV (RFC 4180) strictly, record by record, with the line of every cell.
//!
//! Own code because the `csv` crate repairs what an owner must hear about: it accepts an unterminated quote, text
//! after a closing quote and a lone carriage return without a word, and it buffers a record of any length. Memory
//! here is bounded by the limits on a row's cells. Knows nothing of types or columns beyond their number.

use std::io::{self, BufRead};

use crate::error::{Error, Reason, Result};

/// A refusal of the file at a 1-based line. `detail` must not quote the file's cells.
pub(super) fn malformed(line: u64, detail: impl std::fmt::Display) -> Error {
    Error::new(Reason::UploadMalformed).with("line", line).with("detail", detail)
}

/// Bounds of one record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Most bytes in a cell.
    pub cell: usize,
    /// Most cells in a record.
    pub cells: usize,
}

/// One record: its cells, each checked to be UTF-8, and where they start.
#[derive(Debug, Default)]
pub(super) struct Record {
    text: Vec<u8>,
    /// Per cell the end in `text`, and the line on which the cell starts.
    cells: Vec<(usize, u64)>,
}

impl Record {
    /// Number of cells.
    pub(super) const fn len(&self) -> usize {
        self.cells.len()
    }

    /// Each cell with the line it starts on.
    pub(super) fn iter(&self) -> impl Iterator<Item = Result<(&str, u64)>> {
        let mut start = 0;
        self.cells.iter().map(move |&(end, line)| {
            let bytes = self.text.get(start..end).unwrap_or_default();
            start = end;
            str::from_utf8(bytes).map(|text| (text, line)).map_err(|_| malformed(line, "a cell is not valid UTF-8"))
        })
    }

    /// The line of the record's first cell.
    pub(super) fn line(&self) -> u64 {
        self.cells.first().map_or(0, |&(_, line)| line)
    }

    /// Whether it is an empty line.
    pub(super) const fn is_blank(&self) -> bool {
        self.cells.len() == 1 && self.text.is_empty()
    }

    fn clear(&mut self) {
        self.text.clear();
        self.cells.clear();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte of a cell.
    CellStart,
    /// In a cell without quotes.
    Bare,
    /// In a quoted cell.
    Quoted,
    /// After a quote in a quoted cell: its end, or the first half of an escaped quote.
    QuoteInQuoted,
    /// After a carriage return outside quotes: only a line feed may follow.
    CarriageReturn,
}

/// A source of records.
#[derive(Debug)]
pub(super) struct Records<R> {
    input: R,
    separator: u8,
    line: u64,
}

impl<R: BufRead> Records<R> {
    /// Skips a byte order mark and finds out whether `,` or `;` separates the cells of the header.
    pub(super) fn new(mut input: R) -> Result<Self> {
        let head = input.fill_buf().map_err(Error::internal)?;
        let mark = if head.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let separator = sniff(&head[mark..]);
        input.consume(mark);
        Ok(Self { input, separator, line: 1 })
    }

    /// Reads the next record into `record`; false at the end of the file.
    pub(super) fn read(&mut self, record: &mut Record, bounds: Bounds) -> Result<bool> {
        record.clear();
        let mut cell = Cell { state: State::CellStart, start: 0, line: self.line };
        loop {
            let buffer = match self.input.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::internal(error)),
            };
            if buffer.is_empty() {
                return cell.end_of_file(record, bounds, self.line);
            }
            let (used, ended) = cell.take(buffer, record, bounds, self.separator, &mut self.line)?;
            self.input.consume(used);
            if ended {
                return Ok(true);
            }
        }
    }
}

/// The cell being read.
struct Cell {
    state: State,
    /// Where it starts in the record's text.
    start: usize,
    /// The line it starts on.
    line: u64,
}

impl Cell {
    /// Takes bytes up to the end of the record or of `buffer`; says how many, and whether the record ended.
    fn take(
        &mut self,
        buffer: &[u8],
        record: &mut Record,
        bounds: Bounds,
        separator: u8,
        line: &mut u64,
    ) -> Result<(usize, bool)> {
        let mut at = 0;
        while let Some(&byte) = buffer.get(at) {
            let run = self.plain_run(&buffer[at..], separator);
            if run > 0 {
                let bytes = &buffer[at..at + run];
                self.grow(record, bytes, bounds)?;
                if self.state == State::Quoted {
                    *line += bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
                }
                if self.state == State::CellStart {
                    self.state = State::Bare;
                }
                at += run;
                continue;
            }
            at += 1;
            match (self.state, byte) {
                (State::CellStart, b'"') => self.state = State::Quoted,
                (State::Quoted, b'"') => self.state = State::QuoteInQuoted,
                (State::QuoteInQuoted, b'"') => {
                    self.grow(record, b"\"", bounds)?;
                    self.state = State::Quoted;
                }
                (State::CarriageReturn | State::CellStart | State::Bare | State::QuoteInQuoted, b'\n') => {
                    self.close(record, bounds, *line)?;
                    *line += 1;
                    return Ok((at, true));
                }
                (State::CarriageReturn, _) => {
                    return Err(malformed(*line, "a carriage return is not followed by a line feed"));
                }
                (_, b'\r') => self.state = State::CarriageReturn,
                (State::Bare, b'"') => {
                    return Err(malformed(*line, "a quote stands inside a cell that does not begin with one"));
                }
                (_, byte) if byte == separator => self.close(record, bounds, *line)?,
                _ => return Err(malformed(*line, "text follows a closing quote")),
            }
        }
        Ok((at, false))
    }

    fn grow(&self, record: &mut Record, bytes: &[u8], bounds: Bounds) -> Result<()> {
        if record.text.len() - self.start + bytes.len() > bounds.cell {
            return Err(malformed(self.line, format_args!("a cell is longer than {} bytes", bounds.cell)));
        }
        record.text.extend_from_slice(bytes);
        Ok(())
    }

    /// How many bytes from here belong to the cell as they are.
    fn plain_run(&self, bytes: &[u8], separator: u8) -> usize {
        let end = match self.state {
            State::CellStart | State::Bare => {
                bytes.iter().position(|&b| b == separator || b == b'\n' || b == b'"' || b == b'\r')
            }
            State::Quoted => bytes.iter().position(|&b| b == b'"'),
            State::QuoteInQuoted | State::CarriageReturn => Some(0),
        };
        end.unwrap_or(bytes.len())
    }

    fn close(&mut self, record: &mut Record, bounds: Bounds, line: u64) -> Result<()> {
        if record.cells.len() >= bounds.cells {
            return Err(malformed(line, format_args!("the row has more than {} cells", bounds.cells)));
        }
        record.cells.push((record.text.len(), self.line));
        *self = Self { state: State::CellStart, start: record.text.len(), line };
        Ok(())
    }

    /// The last record need not end with a line feed; a quote must.
    fn end_of_file(&mut self, record: &mut Record, bounds: Bounds, line: u64) -> Result<bool> {
        match self.state {
            State::Quoted => Err(malformed(self.line, "a quoted cell that starts here never ends")),
            State::CarriageReturn => Err(malformed(line, "a carriage return is not followed by a line feed")),
            State::CellStart if record.cells.is_empty() => Ok(false),
            State::CellStart | State::Bare | State::QuoteInQuoted => self.close(record, bounds, line).map(|()| true),
        }
    }
}

/// The separator that the header line uses more often outside quotes; `,` when there is neither.
fn sniff(head: &[u8]) -> u8 {
    let (mut commas, mut semicolons, mut quoted) = (0_usize, 0_usize, false);
    for byte in head {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => break,
            b',' if !quoted => commas += 1,
            b';' if !quoted => semicolons += 1,
            _ => {}
        }
    }
    if semicolons > commas { b';' } else { b',' }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    const BOUNDS: Bounds = Bounds { cell: 10, cells: 3 };

    /// All records of `text`, read through a buffer so small that every state meets its end.
    fn read(text: &[u8]) -> Result<Vec<(Vec<String>, u64)>> {
        let head = Records::new(text)?.separator;
        let mut records = Records::new(BufReader::with_capacity(4, text))?;
        records.separator = head;
        let (mut record, mut out) = (Record::default(), Vec::new());
        while records.read(&mut record, BOUNDS)? {
            let cells = record.iter().map(|cell| cell.map(|(text, _)| text.to_owned())).collect::<Result<_>>()?;
            out.push((cells, record.line()));
        }
        Ok(out)
    }

    fn line_of(text: &[u8]) -> String {
        let error = read(text).unwrap_err();
        assert_eq!(error.reason(), Reason::UploadMalformed);
        error.params()["line"].clone()
    }

    #[test]
    fn quotes_separators_and_line_ends_are_read_as_rfc_4180_has_them() {
        let records = read(b"\xef\xbb\xbfa;b\r\n\"x;\"\"y\n\";2\n;\n3;4").unwrap();
        let cells: Vec<_> = records.iter().map(|(cells, line)| (cells.join("|"), *line)).collect();
        let expected = [("a|b", 1), ("x;\"y\n|2", 2), ("|", 4), ("3|4", 5)];
        assert_eq!(cells, expected.map(|(text, line)| (text.to_owned(), line)));
    }

    #[test]
    fn each_malformation_is_refused_with_its_line() {
        assert_eq!(line_of(b"a,b\n1,2\n3,\"4\n\n\n"), "3");
        assert_eq!(line_of(b"a,b\n1,\"2\"x\n"), "2");
        assert_eq!(line_of(b"a,b\n\n1,2\"\n"), "3");
        assert_eq!(line_of(b"a,b\n1,2\r3,4\n"), "2");
        assert_eq!(line_of(b"a,b\n1,12345678901\n"), "2");
        assert_eq!(line_of(b"a,b\n1,\"\n\n\n\n\n\n\n\n\n\n\n\n\"\n"), "2");
        assert_eq!(line_of(b"a,b\n1,2,3,4\n"), "2");
        assert_eq!(line_of(b"a,b\n\"1\n2\",\xff\n"), "3");
    }
}
