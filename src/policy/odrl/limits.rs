//! How a use is limited: every term of [`How`] as one constraint, masks one a column.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{
    constraints::{Atom, atom},
    literal::{json_literal, read_json_literal, read_texts, read_typed, typed},
    node::Node,
    terms::Left,
};
use crate::{
    domain::{How, Interval, Mask, Name, Template},
    error::Result,
};

/// A mask and the column that it hides, in the one structure of `odh:mask`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnMask {
    column: String,
    mask: Mask,
}

/// A query and its name, in the structures of `odh:template`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedTemplate {
    name: Name,
    template: Template,
}

const RATES: [(Interval, Left); 3] = [
    (Interval::Minute, Left::QueriesPerMinute),
    (Interval::Hour, Left::QueriesPerHour),
    (Interval::Day, Left::QueriesPerDay),
];

/// The constraints for all that is limited.
pub(super) fn write(how: &How) -> Result<Vec<Json>> {
    let How {
        row_filter,
        masks,
        aggregate_only,
        privacy,
        max_rows,
        max_queries,
        rate,
        no_join_on,
        difference_check,
        templates,
        consent_required,
        certificate_required,
    } = how;
    let mut out = Vec::new();
    if let Some(filter) = row_filter {
        out.push(atom(Left::RowFilter, "eq", json_literal(filter)?));
    }
    for (column, mask) in masks {
        let mask = ColumnMask { column: column.clone(), mask: mask.clone() };
        out.push(atom(Left::Mask, "eq", json_literal(&mask)?));
    }
    if let Some(k) = aggregate_only {
        out.push(atom(Left::MinimumGroupSize, "gteq", typed("integer", k)));
    }
    if let Some(privacy) = privacy {
        out.push(atom(Left::DifferentialPrivacy, "eq", json_literal(privacy)?));
    }
    let mut at_most = |left, most: Option<u64>| {
        out.extend(most.map(|most| atom(left, "lteq", typed("integer", most))));
    };
    at_most(Left::MaxRows, *max_rows);
    at_most(Left::Count, *max_queries);
    for (interval, left) in RATES {
        at_most(left, rate.get(&interval).copied().map(u64::from));
    }
    if !no_join_on.is_empty() {
        out.push(atom(Left::JoinColumn, "isNoneOf", no_join_on.iter().cloned().collect::<Json>()));
    }
    if let Some(templates) = templates {
        let named = |(name, template): (&Name, &Template)| {
            json_literal(&NamedTemplate { name: name.clone(), template: template.clone() })
        };
        out.push(atom(Left::Template, "isAnyOf", templates.iter().map(named).collect::<Result<Vec<_>>>()?));
    }
    for (left, wanted) in [
        (Left::DifferenceCheck, *difference_check),
        (Left::ConsentRequired, *consent_required),
        (Left::CertificateRequired, *certificate_required),
    ] {
        out.extend(wanted.then(|| atom(left, "eq", typed("boolean", true))));
    }
    Ok(out)
}

/// Reads one constraint of those that [`write()`] writes. The caller sees to it that none but a mask comes twice.
pub(super) fn read(atom: &Atom<'_>, how: &mut How) -> Result<()> {
    let Atom { left, name, operator, right } = atom;
    let at_most = || {
        operator.must_be("lteq")?;
        read_typed::<u64>(right, "integer")
    };
    let per = |interval| -> Result<(Interval, u32)> {
        operator.must_be("lteq")?;
        Ok((interval, read_typed::<u32>(right, "integer")?))
    };
    match left {
        Left::RowFilter => {
            operator.must_be("eq")?;
            how.row_filter = Some(read_json_literal(right)?);
        }
        Left::Mask => {
            operator.must_be("eq")?;
            let ColumnMask { column, mask } = read_json_literal(right)?;
            if how.masks.insert(column, mask).is_some() {
                return Err(right.refuse_below("/@value/column", "a second mask of this column"));
            }
        }
        Left::MinimumGroupSize => {
            operator.must_be("gteq")?;
            how.aggregate_only = Some(read_typed(right, "integer")?);
        }
        Left::DifferentialPrivacy => {
            operator.must_be("eq")?;
            how.privacy = Some(read_json_literal(right)?);
        }
        Left::MaxRows => how.max_rows = Some(at_most()?),
        Left::Count => how.max_queries = Some(at_most()?),
        Left::QueriesPerMinute => how.rate.extend([per(Interval::Minute)?]),
        Left::QueriesPerHour => how.rate.extend([per(Interval::Hour)?]),
        Left::QueriesPerDay => how.rate.extend([per(Interval::Day)?]),
        Left::JoinColumn => {
            operator.must_be("isNoneOf")?;
            how.no_join_on = read_texts(right, |text| Some(text.to_owned()))?;
            if how.no_join_on.is_empty() {
                return Err(right.refuse("an empty list: leave the constraint out"));
            }
        }
        Left::Template => {
            operator.must_be("isAnyOf")?;
            how.templates = Some(read_templates(right)?);
        }
        Left::DifferenceCheck => how.difference_check = yes(operator, right)?,
        Left::ConsentRequired => how.consent_required = yes(operator, right)?,
        Left::CertificateRequired => how.certificate_required = yes(operator, right)?,
        Left::Recipient
        | Left::Kind
        | Left::Industry
        | Left::Country
        | Left::Accreditation
        | Left::Role
        | Left::Column
        | Left::Purpose
        | Left::DateTime => return Err(name.refuse("does not limit a use: it belongs to a rule")),
    }
    Ok(())
}

fn read_templates(list: &Node<'_>) -> Result<BTreeMap<Name, Template>> {
    let mut templates = BTreeMap::new();
    for node in list.items()? {
        let NamedTemplate { name, template } = read_json_literal(&node)?;
        if templates.insert(name, template).is_some() {
            return Err(node.refuse_below("/@value/name", "a second template of this name"));
        }
    }
    Ok(templates)
}

/// What is wanted is said; what is not wanted is left out.
fn yes(operator: &Node<'_>, right: &Node<'_>) -> Result<bool> {
    operator.must_be("eq")?;
    if read_typed::<bool>(right, "boolean")? {
        Ok(true)
    } else {
        Err(right.refuse_below("/@value", "only `true` can be asked: leave the constraint out"))
    }
}
