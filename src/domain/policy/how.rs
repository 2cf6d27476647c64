//! How a permitted use is limited: the terms that the query engine enforces, and how two sets of them add up.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::Text;
use crate::{
    domain::{ColumnType, Filter, Name, Value},
    error::Error,
};

/// How a permitted use is limited; each is enforced by the query engine inside the scan or above it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct How {
    /// Only rows for which this is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row_filter: Option<Filter>,
    /// What a column's values are replaced with, wherever it is mentioned.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub masks: BTreeMap<String, Mask>,
    /// Only aggregates, each over at least this many distinct subjects (rows, without a subject key); at least 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate_only: Option<u32>,
    /// Only aggregates with calibrated noise, from a budget that is never refunded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privacy: Option<Privacy>,
    /// At most this many rows per answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<u64>,
    /// At most this many queries under one grant, ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queries: Option<u64>,
    /// At most this many queries of one participant in each interval; several intervals hold together.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rate: BTreeMap<Interval, u32>,
    /// Columns on which no query may join.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub no_join_on: BTreeSet<String>,
    /// Leave out a group whose subjects differ by fewer than the smallest group from those of an earlier answer to the
    /// same participant. Needs `aggregate_only`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub difference_check: bool,
    /// Only these queries, by name; absent permits free SQL, an empty map no query at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub templates: Option<BTreeMap<Name, Template>>,
    /// Only rows of subjects who consented to the purpose, whatever the legal basis of the rule.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub consent_required: bool,
    /// Refuse callers that use a token without a certificate.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub certificate_required: bool,
}

impl How {
    /// True if nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Both limits at once: the stricter of each. Two masks on one column become [`Mask::Null`].
    #[must_use]
    pub fn join(&self, floor: &Self) -> Self {
        let row_filter = match (&self.row_filter, &floor.row_filter) {
            (Some(a), Some(b)) => Some(Filter::All(vec![a.clone(), b.clone()])),
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        Self {
            row_filter,
            masks: both(&self.masks, &floor.masks, |a, b| if a == b { a.clone() } else { Mask::Null }),
            aggregate_only: self.aggregate_only.max(floor.aggregate_only),
            privacy: either(self.privacy.as_ref(), floor.privacy.as_ref(), Privacy::join),
            max_rows: either(self.max_rows.as_ref(), floor.max_rows.as_ref(), |a, b| *a.min(b)),
            max_queries: either(self.max_queries.as_ref(), floor.max_queries.as_ref(), |a, b| *a.min(b)),
            rate: both(&self.rate, &floor.rate, |a, b| *a.min(b)),
            no_join_on: self.no_join_on.union(&floor.no_join_on).cloned().collect(),
            difference_check: self.difference_check || floor.difference_check,
            templates: either(self.templates.as_ref(), floor.templates.as_ref(), |a, b| {
                a.iter()
                    .filter(|(name, template)| b.get(*name) == Some(template))
                    .map(|(n, t)| (n.clone(), t.clone()))
                    .collect()
            }),
            consent_required: self.consent_required || floor.consent_required,
            certificate_required: self.certificate_required || floor.certificate_required,
        }
    }
}

/// What one side says, or what both say together.
fn either<T: Clone>(a: Option<&T>, b: Option<&T>, join: impl FnOnce(&T, &T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(join(a, b)),
        (a, b) => a.or(b).cloned(),
    }
}

/// [`either`], key by key.
fn both<K: Ord + Clone, V: Clone>(
    a: &BTreeMap<K, V>,
    b: &BTreeMap<K, V>,
    join: impl Fn(&V, &V) -> V,
) -> BTreeMap<K, V> {
    let mut all = a.clone();
    for (key, value) in b {
        let joined = a.get(key).map_or_else(|| value.clone(), |own| join(own, value));
        all.insert(key.clone(), joined);
    }
    all
}

/// A span over which queries are counted; it begins with the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// Sixty seconds.
    Minute,
    /// Sixty minutes.
    Hour,
    /// Twenty-four hours.
    Day,
}

impl Interval {
    /// Every interval.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// The name used in manifests and the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// Its length in seconds.
    pub const fn seconds(self) -> u32 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }
}

/// An exact number of billionths from 0 to 1,000, written as a decimal text (`"0.5"`) so that no floating-point number
/// enters a policy's digest or a budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Billionths(u64);

/// A privacy loss, the ε of differential privacy.
pub type Epsilon = Billionths;

/// The probability with which a privacy loss may be exceeded, the δ of differential privacy.
pub type Delta = Billionths;

impl Billionths {
    const ONE: u64 = 1_000_000_000;
    const MOST: u64 = 1_000 * Self::ONE;

    /// This many billionths, if that is not above 1,000.
    pub fn new(billionths: u64) -> Option<Self> {
        (billionths <= Self::MOST).then_some(Self(billionths))
    }

    /// How many billionths.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Billionths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / Self::ONE, self.0 % Self::ONE);
        if part == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{part:09}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl FromStr for Billionths {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed = || Error::invalid("number", "not a decimal from 0 to 1000 with at most nine decimals");
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits =
            |part: &str, most: usize| (1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole, 4) || !digits(part, 9) {
            return Err(malformed());
        }
        let whole: u64 = whole.parse().map_err(|_| malformed())?;
        let part: u64 = format!("{part:0<9}").parse().map_err(|_| malformed())?;
        Self::new(whole * Self::ONE + part).ok_or_else(malformed)
    }
}

impl TryFrom<String> for Billionths {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Billionths> for String {
    fn from(number: Billionths) -> Self {
        number.to_string()
    }
}

/// Differential privacy for one individual more or less: what an answer may reveal, and what it is computed from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Privacy {
    /// What one query spends.
    pub epsilon: Epsilon,
    /// What all queries under one grant may spend together.
    pub budget: Epsilon,
    /// What all queries of everybody may spend together, whatever the snapshot.
    pub total: Epsilon,
    /// What one query may spend besides to release groups that are not listed in `groups`; absent releases only those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<Delta>,
    /// In at most this many groups of an answer one individual counts; at least 1.
    pub max_groups: u32,
    /// At most this many rows of one individual count in a group; at least 1.
    pub max_rows: u32,
    /// Between which values a measure is clamped before it is summed or averaged. A measure without bounds is only
    /// counted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bounds: BTreeMap<String, Bounds>,
    /// The values of a dimension that everybody knows: exactly these groups appear in an answer, empty ones included.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, Vec<Value>>,
}

impl Privacy {
    /// Both at once: the smaller of each, the narrower bounds, the values that both list.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        Self {
            epsilon: self.epsilon.min(other.epsilon),
            budget: self.budget.min(other.budget),
            total: self.total.min(other.total),
            delta: self.delta.min(other.delta),
            max_groups: self.max_groups.min(other.max_groups),
            max_rows: self.max_rows.min(other.max_rows),
            bounds: both(&self.bounds, &other.bounds, |a, b| a.narrower(*b)),
            groups: both(&self.groups, &other.groups, |a, b| a.iter().filter(|v| b.contains(v)).cloned().collect()),
        }
    }
}

/// The values between which a measure is clamped, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// The smallest.
    pub lower: i64,
    /// The largest; not below `lower`.
    pub upper: i64,
}

impl Bounds {
    /// What lies in both; the larger of the lower bounds alone if nothing does. Total, since a policy that nobody has
    /// checked yet may have its bounds the wrong way round.
    fn narrower(self, other: Self) -> Self {
        let lower = self.lower.max(other.lower);
        Self { lower, upper: self.upper.min(other.upper).max(lower) }
    }
}

/// A query that the owner has approved, with places for typed values: `$name` in its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Its text, one query.
    pub sql: String,
    /// The type of each value that the caller gives.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<Name, ColumnType>,
    /// What it asks, in words.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    pub text: Text,
}

/// What replaces the values of a column. A missing value stays missing under a prefix, a year and a bucket; under a
/// constant and under pseudonyms it is a value like any other, except in a subject key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mask {
    /// No value at all.
    Null,
    /// This value.
    Constant(Value),
    /// A keyed pseudonym (HMAC-SHA-256, base64url), different for each grantee and purpose. Text columns.
    Hmac,
    /// The first characters. Text columns.
    Prefix(u32),
    /// The first of January of the year. Date and timestamp columns.
    Year,
    /// The largest multiple of this width that is not greater. Integer columns; at least 2.
    Bucket(i64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn billionths_are_exact_decimals_and_nothing_else() {
        for (text, billionths) in [("0", 0), ("0.5", 500_000_000), ("1000", 1_000_000_000_000), ("0.000000001", 1)] {
            let number: Billionths = text.parse().unwrap();
            assert_eq!((number.get(), number.to_string().as_str()), (billionths, text));
        }
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1000.1", "1001", "0.0000000001", "1,5", " 1"] {
            assert!(text.parse::<Billionths>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_floor_only_ever_tightens() {
        let privacy = |epsilon: &str, delta: Option<&str>, upper| Privacy {
            epsilon: epsilon.parse().unwrap(),
            budget: "5".parse().unwrap(),
            total: "50".parse().unwrap(),
            delta: delta.map(|delta| delta.parse().unwrap()),
            max_groups: 3,
            max_rows: 2,
            bounds: [("cost".to_owned(), Bounds { lower: 0, upper })].into(),
            groups: BTreeMap::new(),
        };
        let rule = How {
            privacy: Some(privacy("1", Some("0.000001"), 100)),
            rate: [(Interval::Hour, 10)].into(),
            max_queries: Some(7),
            ..How::default()
        };
        let floor = How {
            privacy: Some(privacy("0.5", None, 50)),
            rate: [(Interval::Hour, 20), (Interval::Day, 30)].into(),
            no_join_on: ["commune".to_owned()].into(),
            difference_check: true,
            ..How::default()
        };
        let both = rule.join(&floor);
        assert_eq!(both, floor.join(&rule));
        assert_eq!(both.privacy, Some(privacy("0.5", None, 50)));
        assert_eq!(both.rate, [(Interval::Hour, 10), (Interval::Day, 30)].into());
        assert_eq!((both.max_queries, both.difference_check), (Some(7), true));
        assert!(both.no_join_on.contains("commune"));
    }

    #[test]
    fn templates_of_rule_and_floor_leave_those_that_both_approve() {
        let template = |sql: &str| Template { sql: sql.to_owned(), parameters: BTreeMap::new(), text: Text::default() };
        let how = |names: &[(&str, &str)]| How {
            templates: Some(names.iter().map(|(n, sql)| (n.parse().unwrap(), template(sql))).collect()),
            ..How::default()
        };
        let (a, b) = (how(&[("x", "select 1"), ("y", "select 2")]), how(&[("x", "select 1"), ("y", "select 3")]));
        assert_eq!(a.join(&b), how(&[("x", "select 1")]));
        assert_eq!(a.join(&How::default()), a);
        assert_eq!(a.join(&how(&[])), how(&[]), "nothing in common permits no query, not free SQL");
    }
}
