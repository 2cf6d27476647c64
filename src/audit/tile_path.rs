//! The paths of C2SP tlog-tiles v0.1.0: read strictly, since a cache or a mirror takes them as names.

use std::{fmt, str::FromStr};

use super::{
    tile::{MAX_LEVEL, TILE_WIDTH, TileId},
    tree::MAX_SIZE,
};
use crate::error::{Error, Result};

/// A path that C2SP tlog-tiles defines, below the log's prefix and without a leading slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TilePath {
    /// `tile/L/N` or `tile/L/N.p/W`: hashes, 32 bytes each.
    Hashes {
        /// Which tile.
        id: TileId,
        /// How many of its hashes: 256 if the path names none.
        width: u64,
    },
    /// `tile/entries/N` or `tile/entries/N.p/W`: entries, each after its length in two big-endian bytes.
    Entries {
        /// Which bundle: the entries from `256 n` on.
        n: u64,
        /// How many of its entries: 256 if the path names none.
        width: u64,
    },
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, width) = match self {
            Self::Hashes { id, width } => {
                write!(f, "tile/{}/", id.level)?;
                (id.n, *width)
            }
            Self::Entries { n, width } => {
                f.write_str("tile/entries/")?;
                (*n, *width)
            }
        };
        let mut groups = vec![n % 1_000];
        let mut rest = n / 1_000;
        while rest > 0 {
            groups.push(rest % 1_000);
            rest /= 1_000;
        }
        for (at, group) in groups.iter().enumerate().rev() {
            let separator = if at == 0 { "" } else { "/" };
            write!(f, "{}{group:03}{separator}", if at == 0 { "" } else { "x" })?;
        }
        if width < TILE_WIDTH { write!(f, ".p/{width}") } else { Ok(()) }
    }
}

impl FromStr for TilePath {
    type Err = Error;

    /// Accepts the one text of each path and no other: no leading zeros, no empty or surplus groups.
    fn from_str(text: &str) -> Result<Self> {
        let malformed = || Error::invalid("tile", "not a path of C2SP tlog-tiles");
        let rest = text.strip_prefix("tile/").ok_or_else(malformed)?;
        let (kind, rest) = rest.split_once('/').ok_or_else(malformed)?;
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, width.parse().map_err(|_| malformed())?),
            None => (rest, TILE_WIDTH),
        };
        let n = tile_number(number).ok_or_else(malformed)?;
        let path = match kind {
            "entries" => Self::Entries { n, width },
            level => Self::Hashes { id: TileId { level: level.parse().map_err(|_| malformed())?, n }, width },
        };
        let fits = match path {
            Self::Hashes { id, .. } => id.level <= MAX_LEVEL,
            Self::Entries { .. } => true,
        };
        // Writing it again catches every other spelling at once.
        if fits && (1..=TILE_WIDTH).contains(&width) && path.to_string() == text { Ok(path) } else { Err(malformed()) }
    }
}

/// Reads `x001/x234/067`.
fn tile_number(text: &str) -> Option<u64> {
    let mut number = 0_u64;
    for group in text.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        number = number.checked_mul(1_000)?.checked_add(digits.parse().ok()?)?;
    }
    (number <= MAX_SIZE).then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        for (path, text) in [
            (TilePath::Hashes { id: TileId { level: 0, n: 0 }, width: 256 }, "tile/0/000"),
            (TilePath::Hashes { id: TileId { level: 1, n: 5 }, width: 17 }, "tile/1/005.p/17"),
            (TilePath::Hashes { id: TileId { level: 63, n: 999 }, width: 1 }, "tile/63/999.p/1"),
            (TilePath::Hashes { id: TileId { level: 0, n: 1_234_067 }, width: 256 }, "tile/0/x001/x234/067"),
            (TilePath::Entries { n: 1_000, width: 256 }, "tile/entries/x001/000"),
            (TilePath::Entries { n: 1_234_067, width: 255 }, "tile/entries/x001/x234/067.p/255"),
        ] {
            assert_eq!(path.to_string(), text);
            assert_eq!(text.parse::<TilePath>().unwrap(), path);
        }
    }

    #[test]
    fn other_spellings_of_a_path_are_refused() {
        for bad in [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/00",
            "tile/0/0000",
            "tile/00/000",
            "tile/+1/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/0/x000/000",
            "tile/0/001/000",
            "tile/0/x001/x000",
            "tile/0/x1/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/257",
            "tile/0/000.p/07",
            "tile/0/000.p/+7",
            "tile/0/000.p/",
            "tile/0/000.p",
            "tile/0/000/",
            "/tile/0/000",
            "tile/0/00a",
            "tile/0/\u{660}00",
            "tile/entries",
            "tile/entry/000",
            "tile/0/000.p/1/2",
            "tile/0/000.p/1.p/2",
            "tile/8/0/000",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert!(bad.parse::<TilePath>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parsing_a_path_never_panics_and_gives_it_back(text in "(tile/)?(entries|[0-9]{1,3})?/?(x?[0-9]{3}/?){0,9}(\\.p/[0-9]{0,4})?") {
            if let Ok(path) = text.parse::<TilePath>() {
                prop_assert_eq!(path.to_string(), text);
            }
        }

        #[test]
        fn parsing_any_text_never_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<TilePath>();
        }
    }
}
