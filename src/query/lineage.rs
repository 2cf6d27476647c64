//! What the guard knows about a column of an intermediate result.

use crate::domain::ColumnRole;

/// A column's or an expression's lineage, the scans that it comes from, and whether it may be joined on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) lineage: Lineage,
    /// One bit for each scan, in the order of the walk.
    pub(super) scans: u64,
    /// Derived from a column that its owner lets no query join on.
    pub(super) no_join: bool,
    /// Who is behind it among those whose rows wait for their aggregate: one bit for all data that is closed to the
    /// caller, one for each other table. Zero where nothing waits.
    pub(super) sides: u64,
}

/// The side of whatever is closed to the caller.
pub(super) const CLOSED: u64 = 1;

impl Origin {
    /// Of a value that no scan has a part in.
    pub(super) const fn plain() -> Self {
        Self { lineage: Lineage::Plain, scans: 0, no_join: false, sides: 0 }
    }

    /// The same value with another lineage.
    pub(super) fn with(self, lineage: Lineage) -> Self {
        Self { lineage, ..self }
    }

    /// The same value once its rows are groups.
    pub(super) fn released(self) -> Self {
        Self { lineage: Lineage::Plain, sides: 0, ..self }
    }

    /// What an expression over both is.
    pub(super) fn combine(self, other: &Self) -> Self {
        Self {
            lineage: self.lineage.combine(&other.lineage),
            scans: self.scans | other.scans,
            no_join: self.no_join || other.no_join,
            sides: self.sides | other.sides,
        }
    }

    /// Whether it brings a table that the caller chose together with closed data, or with another such table.
    pub(super) const fn is_mark(&self) -> bool {
        self.sides.count_ones() > 1
    }

    /// Whether it brings a column that no query may join on together with another relation.
    pub(super) const fn is_hidden_join(&self) -> bool {
        self.no_join && self.scans.count_ones() > 1
    }
}

/// Where a column's values come from, as far as the rules for aggregate-only data care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lineage {
    /// Row-level data, literals and released aggregates: the caller may see the values.
    Plain,
    /// The subject key of a row-level dataset: visible, but it joins within its namespace only.
    PlainSubject(Option<String>),
    /// A column of an aggregate-only dataset that may be grouped by.
    Dimension,
    /// A public key of an aggregate-only dataset: joined on and grouped by.
    Key,
    /// A column of an aggregate-only dataset that may be aggregated.
    Measure,
    /// The subject key of an aggregate-only dataset: joined on and counted, nothing else.
    Subject(Option<String>),
    /// Computed from what may be grouped by.
    Bucket,
    /// Computed from measures: filtered on, neither grouped by nor aggregated.
    Opaque,
}

impl Lineage {
    /// The lineage of a visible column.
    pub(super) fn of(role: ColumnRole, namespace: Option<&String>, aggregate_only: bool) -> Self {
        match (role, aggregate_only) {
            (ColumnRole::SubjectKey, true) => Self::Subject(namespace.cloned()),
            (ColumnRole::SubjectKey, false) => Self::PlainSubject(namespace.cloned()),
            (_, false) => Self::Plain,
            (ColumnRole::Dimension, true) => Self::Dimension,
            (ColumnRole::Key, true) => Self::Key,
            (ColumnRole::Measure, true) => Self::Measure,
        }
    }

    /// Whether a group may be formed by it.
    pub(super) const fn is_groupable(&self) -> bool {
        matches!(self, Self::Plain | Self::PlainSubject(_) | Self::Dimension | Self::Key | Self::Bucket)
    }

    /// Whether it is a subject key of aggregate-only data.
    pub(super) const fn is_subject(&self) -> bool {
        matches!(self, Self::Subject(_))
    }

    /// Whether it is a subject key, of whatever data.
    pub(super) const fn is_person(&self) -> bool {
        self.namespace().is_some()
    }

    /// The namespace, for subject keys of either kind; the inner option is none if a mask made the key meaningless.
    const fn namespace(&self) -> Option<&Option<String>> {
        match self {
            Self::Subject(namespace) | Self::PlainSubject(namespace) => Some(namespace),
            _ => None,
        }
    }

    /// Whether equality of the two would compare subjects across namespaces.
    pub(super) fn crosses_namespaces(&self, other: &Self) -> bool {
        match (self.namespace(), other.namespace()) {
            (Some(a), Some(b)) => a != b,
            _ => false,
        }
    }

    /// Whether aggregate-only data may be joined on equality of the two.
    pub(super) fn joins(&self, other: &Self) -> bool {
        match (self.namespace(), other.namespace()) {
            (Some(Some(a)), Some(Some(b))) => a == b,
            (None, None) => matches!((self, other), (Self::Key | Self::Plain, Self::Key | Self::Plain)),
            _ => false,
        }
    }

    /// The more closed of two columns that are equal in every row: of a visible and an aggregate-only one the latter.
    pub(super) fn closer(&self, other: &Self) -> Self {
        if matches!(self, Self::Plain | Self::PlainSubject(_)) { other.clone() } else { self.clone() }
    }

    /// What an expression over both is.
    pub(super) fn combine(self, other: &Self) -> Self {
        match (&self, other) {
            (Self::Plain | Self::PlainSubject(_), Self::Plain | Self::PlainSubject(_)) => Self::Plain,
            (a, b) if a.is_groupable() && b.is_groupable() => Self::Bucket,
            _ => Self::Opaque,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_keys_join_within_one_namespace_only() {
        let (a, b) = (Some("nir".to_owned()), Some("meter".to_owned()));
        assert!(Lineage::Subject(a.clone()).joins(&Lineage::PlainSubject(a.clone())));
        assert!(!Lineage::Subject(a.clone()).joins(&Lineage::Subject(b.clone())));
        assert!(!Lineage::Subject(a.clone()).joins(&Lineage::Key));
        assert!(!Lineage::Subject(None).joins(&Lineage::Subject(None)), "a constant mask would join strangers");
        assert!(Lineage::PlainSubject(a).crosses_namespaces(&Lineage::PlainSubject(b)));
    }

    #[test]
    fn what_touches_a_measure_is_not_groupable() {
        assert_eq!(Lineage::Dimension.combine(&Lineage::Plain), Lineage::Bucket);
        assert_eq!(Lineage::Dimension.combine(&Lineage::Measure), Lineage::Opaque);
        assert!(!Lineage::Opaque.is_groupable());
    }
}
