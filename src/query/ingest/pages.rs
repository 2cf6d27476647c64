//! Walks the page headers of a Parquet file before anything is decoded, so that no page can claim a memory that
//! its few bytes do not show.
//!
//! The reader allocates what a page header announces, and some encodings and codecs expand without any announced
//! bound; neither can be limited through its interface. Hence this small reader of headers (Thrift compact
//! protocol, parquet-format `PageHeader`), which refuses what it does not know.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek as _, SeekFrom},
};

use datafusion::parquet::{
    basic::Compression,
    file::metadata::{ColumnChunkMetaData, ParquetMetaData},
};

/// Most bytes of one page, decompressed.
const MAX_PAGE: i64 = 256 << 20;
/// Most bytes of the largest pages of a row group's columns together: what reading it may hold at once.
const MAX_HELD: i64 = 1 << 30;
/// Most values of a page: some decoders keep four bytes for each, whatever they take in the file.
const MAX_VALUES: i64 = 32 << 20;
/// Most values of a dictionary: each is kept in up to 32 bytes.
const MAX_DICTIONARY: i64 = 4 << 20;
/// Most bytes of a page header, statistics included.
const MAX_HEADER: u64 = 4 << 20;
/// `PLAIN`, `PLAIN_DICTIONARY`, `RLE`, `DELTA_BINARY_PACKED`, `RLE_DICTIONARY`, `BYTE_STREAM_SPLIT`. Not among them
/// are `DELTA_BYTE_ARRAY`, whose values share prefixes, so that a small page can decode to terabytes, and
/// `DELTA_LENGTH_BYTE_ARRAY`, whose reader allocates for a number of values that no header bounds.
const ENCODINGS: [i64; 6] = [0, 2, 3, 5, 8, 9];

/// Checks every page of the file and returns the bytes of all, decompressed, which the footer need not have told.
/// The refusal says what is wrong, without data.
pub(super) fn check(file: &File, metadata: &ParquetMetaData) -> Result<i64, String> {
    let mut total = 0_i64;
    for group in metadata.row_groups() {
        let mut held = 0_i64;
        for column in group.columns() {
            check_codec(column.compression())?;
            let sizes = chunk(file, column).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => error.to_string(),
                _ => "a page header cannot be read".to_owned(),
            })?;
            held = held.saturating_add(sizes.held);
            total = total.saturating_add(sizes.total);
        }
        if held > MAX_HELD {
            return Err("a row group's pages are too large to be read together".to_owned());
        }
    }
    Ok(total)
}

/// Bytes of a column chunk, decompressed.
#[derive(Debug, PartialEq, Eq)]
struct Sizes {
    /// Its largest page and its dictionary: what reading it holds at once.
    held: i64,
    /// All its pages.
    total: i64,
}

/// Only codecs whose output the reader bounds by the announced size.
fn check_codec(codec: Compression) -> Result<(), String> {
    match codec {
        Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_) | Compression::LZ4_RAW => Ok(()),
        _ => Err("only the codecs none, snappy, zstd and lz4_raw are accepted: write the file with one of them".into()),
    }
}

fn chunk(file: &File, column: &ColumnChunkMetaData) -> io::Result<Sizes> {
    let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    match (u64::try_from(start), u64::try_from(column.compressed_size())) {
        (Ok(offset), Ok(length)) => check_pages(file, offset, length),
        _ => Err(invalid("a column chunk has a negative place")),
    }
}

/// Walks the pages in `remaining` bytes from `offset`.
fn check_pages(file: &File, mut offset: u64, mut remaining: u64) -> io::Result<Sizes> {
    let (mut largest, mut dictionaries, mut total) = (0_i64, 0_i64, 0_i64);
    let mut input = BufReader::with_capacity(512, file);
    while remaining > 0 {
        input.seek(SeekFrom::Start(offset))?;
        let mut header = Header { input: (&mut input).take(MAX_HEADER.min(remaining)), page: Page::default() };
        header.structure(0)?;
        let length = MAX_HEADER.min(remaining) - header.input.limit();
        let page = header.page;
        let compressed = u64::try_from(page.compressed.unwrap_or(-1)).map_err(|_| invalid("a page has no size"))?;
        let size = page.uncompressed.filter(|size| *size >= 0).ok_or_else(|| invalid("a page has no size"))?;
        let most_values = if page.dictionary { MAX_DICTIONARY } else { MAX_VALUES };
        if size > MAX_PAGE || page.values > most_values {
            return Err(invalid("a page is too large"));
        }
        total = total.saturating_add(size);
        if page.dictionary {
            dictionaries = dictionaries.saturating_add(size);
        } else {
            largest = largest.max(size);
        }
        remaining =
            remaining.checked_sub(length + compressed).ok_or_else(|| invalid("a page exceeds its column chunk"))?;
        offset += length + compressed;
    }
    Ok(Sizes { held: largest.saturating_add(dictionaries), total })
}

fn invalid(detail: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, detail)
}

/// What matters of a page header.
#[derive(Debug, Default)]
struct Page {
    uncompressed: Option<i64>,
    compressed: Option<i64>,
    values: i64,
    dictionary: bool,
}

struct Header<R> {
    input: R,
    page: Page,
}

impl<R: BufRead> Header<R> {
    /// Reads a struct that is field `parent` of the page header; 0 is the header itself.
    fn structure(&mut self, parent: i64) -> io::Result<()> {
        let mut id = 0_i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(());
            }
            id = match head >> 4 {
                0 => self.signed()?,
                delta => id + i64::from(delta),
            };
            if !(1..=i64::from(i16::MAX)).contains(&id) {
                return Err(invalid("a page header holds an unknown field"));
            }
            match head & 0x0f {
                1 | 2 => {}
                3 => drop(self.byte()?),
                4..=6 => {
                    let value = self.signed()?;
                    self.integer(parent, id, value)?;
                }
                7 => self.skip(8)?,
                8 => {
                    let length = self.unsigned()?;
                    self.skip(length)?;
                }
                12 if parent == 0 => {
                    self.page.dictionary |= id == 7;
                    self.structure(id)?;
                }
                // The statistics of a data page; nothing in them matters here.
                12 if parent > 0 => self.structure(-1)?,
                _ => return Err(invalid("a page header holds an unknown field")),
            }
        }
    }

    fn integer(&mut self, parent: i64, id: i64, value: i64) -> io::Result<()> {
        // The reader keeps 32 bits and takes counts as unsigned: what it would see otherwise is refused.
        if parent >= 0 && !(0..=i64::from(i32::MAX)).contains(&value) && (parent, id) != (0, 4) {
            return Err(invalid("a page header holds an implausible number"));
        }
        let page = &mut self.page;
        match (parent, id) {
            (0, 2) if page.uncompressed.is_none() => page.uncompressed = Some(value),
            (0, 3) if page.compressed.is_none() => page.compressed = Some(value),
            (0, 2 | 3) => return Err(invalid("a page header states a size twice")),
            (5 | 7 | 8, 1) => page.values = page.values.max(value),
            (5 | 7, 2) | (8, 4) if !ENCODINGS.contains(&value) => {
                return Err(invalid("an encoding is not accepted: write the file without DELTA_..._BYTE_ARRAY"));
            }
            _ => {}
        }
        Ok(())
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.input.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn unsigned(&mut self) -> io::Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(invalid("a page header holds an endless number"))
    }

    /// A zigzag-encoded number.
    fn signed(&mut self) -> io::Result<i64> {
        let value = self.unsigned()?;
        let magnitude = i64::try_from(value >> 1).map_err(|_| invalid("a page header holds an endless number"))?;
        Ok(if value & 1 == 0 { magnitude } else { !magnitude })
    }

    fn skip(&mut self, length: u64) -> io::Result<()> {
        let skipped = io::copy(&mut (&mut self.input).take(length), &mut io::sink())?;
        if skipped == length { Ok(()) } else { Err(invalid("a page header is cut off")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(bytes: &[u8]) -> io::Result<Page> {
        let mut header = Header { input: bytes, page: Page::default() };
        header.structure(0).map(|()| header.page)
    }

    #[test]
    fn sizes_values_and_encoding_are_read_from_a_header() {
        // type 0, uncompressed 300, compressed 3, data page header { values 5, encoding 8, statistics {} }
        let mut header = [0x15, 0, 0x15, 0xd8, 4, 0x15, 6, 0x2c, 0x15, 10, 0x15, 16, 0x3c, 0, 0, 0];
        let read = page(&header).unwrap();
        assert_eq!((read.uncompressed, read.compressed, read.values), (Some(300), Some(3), 5));
        assert!(!read.dictionary);
        for encoding in [6, 7] {
            header[11] = encoding * 2;
            assert!(page(&header).is_err(), "{encoding}");
        }
        header[11] = 16;
        header[9] = 9;
        assert!(page(&header).is_err(), "a negative number of values, which the reader takes for a great one");
    }

    #[test]
    fn a_page_that_announces_too_much_is_refused_before_anything_is_allocated() {
        let announce = |size: [u8; 5], values: [u8; 5]| {
            let mut file = tempfile::tempfile().unwrap();
            let mut bytes = vec![0x15, 0, 0x15];
            bytes.extend(size);
            bytes.extend([0x15, 2, 0x2c, 0x15]);
            bytes.extend(values);
            bytes.extend([0, 0, b'x']);
            std::io::Write::write_all(&mut file, &bytes).unwrap();
            check_pages(&file, 0, u64::try_from(bytes.len()).unwrap()).map_err(|error| error.to_string())
        };
        let (small, great) = ([0x80, 0x80, 0x80, 0x80, 0], [0xfe, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(announce(small, small), Ok(Sizes { held: 0, total: 0 }));
        assert_eq!(announce(great, small), Err("a page is too large".to_owned()));
        assert_eq!(announce(small, great), Err("a page is too large".to_owned()));
    }

    #[test]
    fn what_is_unknown_cut_off_or_repeated_is_refused() {
        assert!(page(&[0x19, 0]).is_err(), "a list");
        assert!(page(&[0x25]).is_err(), "cut off");
        assert!(page(&[0x25, 2, 0x05, 4, 2, 0]).is_err(), "the same size twice");
        assert!(page(&[0x25, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).is_err(), "endless");
    }
}
