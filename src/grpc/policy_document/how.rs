//! The limits of a policy between the API and the domain: filters, masks, budgets, templates.

use std::collections::BTreeMap;

use super::{invalid, text, text_message};
use crate::{
    domain::{Billionths, Bounds, CompareOp, Filter, How, Interval, Mask, Name, Privacy, Template, Value},
    error::{Error, Result},
    grpc::{
        column_type,
        convert::{self, enums},
        pb,
    },
};

/// Most templates of a set of limits, values that a list names, and bytes of a template's text.
const MOST_TEMPLATES: usize = 100;
const MOST_VALUES: usize = 1_000;
const MOST_SQL: usize = 32 << 10;

enums! {
    /// Comparisons.
    op_message op CompareOp = pb::CompareOp { Eq => Eq, Ne => Ne, Lt => Lt, Le => Le, Gt => Gt, Ge => Ge }
    /// Intervals.
    interval_message interval Interval = pb::Interval { Minute => Minute, Hour => Hour, Day => Day }
}

pub(super) fn how(how: pb::How) -> Result<How> {
    let masks = how.masks.into_iter().map(|(column, one)| Ok((column, mask(one)?)));
    Ok(How {
        row_filter: how.row_filter.map(|row_filter| filter(row_filter, Filter::MAX_DEPTH)).transpose()?,
        masks: masks.collect::<Result<BTreeMap<_, _>>>()?,
        aggregate_only: how.aggregate_only.map(|only| only.k),
        privacy: how.privacy.map(privacy).transpose()?,
        max_rows: how.max_rows,
        max_queries: how.max_queries,
        rate: rate(&how.rates)?,
        no_join_on: convert::unique("no_join_on", how.no_join_on.into_iter().map(Ok))?,
        difference_check: how.difference_check,
        templates: how.templates.map(templates).transpose()?,
        consent_required: how.consent_required,
        certificate_required: how.certificate_required,
    })
}

pub(super) fn how_message(how: How) -> pb::How {
    pb::How {
        row_filter: how.row_filter.map(filter_message),
        masks: how.masks.into_iter().map(|(column, mask)| (column, mask_message(mask))).collect(),
        aggregate_only: how.aggregate_only.map(|k| pb::AggregateOnly { k }),
        max_rows: how.max_rows,
        certificate_required: how.certificate_required,
        consent_required: how.consent_required,
        privacy: how.privacy.map(privacy_message),
        max_queries: how.max_queries,
        rates: how.rate.into_iter().map(|(per, queries)| pb::Rate { queries, per: interval_message(per) }).collect(),
        no_join_on: how.no_join_on.into_iter().collect(),
        difference_check: how.difference_check,
        templates: how.templates.map(templates_message),
    }
}

/// Limits for the wire; unset if there are none.
pub(in crate::grpc) fn limits_message(how: How) -> Option<pb::How> {
    (!how.is_empty()).then(|| how_message(how))
}

fn rate(rates: &[pb::Rate]) -> Result<BTreeMap<Interval, u32>> {
    let mut rate = BTreeMap::new();
    for one in rates {
        if rate.insert(interval("per", one.per)?, one.queries).is_some() {
            return Err(invalid("/how/rate", "an interval is given twice"));
        }
    }
    Ok(rate)
}

fn privacy(privacy: pb::Privacy) -> Result<Privacy> {
    let number = |text: &str| text.parse::<Billionths>();
    let groups = privacy.groups.into_iter().map(|(column, list)| Ok((column, values(list.values)?)));
    let bounds = |bounds: pb::Bounds| Bounds { lower: bounds.lower, upper: bounds.upper };
    Ok(Privacy {
        epsilon: number(&privacy.epsilon)?,
        budget: number(&privacy.budget)?,
        total: number(&privacy.total)?,
        delta: privacy.delta.as_deref().map(number).transpose()?,
        max_groups: privacy.max_groups,
        max_rows: privacy.max_rows,
        bounds: privacy.bounds.into_iter().map(|(column, one)| (column, bounds(one))).collect(),
        groups: groups.collect::<Result<_>>()?,
    })
}

fn privacy_message(privacy: Privacy) -> pb::Privacy {
    let list = |values: Vec<Value>| pb::Values { values: values.into_iter().map(convert::value_message).collect() };
    let bounds = |bounds: Bounds| pb::Bounds { lower: bounds.lower, upper: bounds.upper };
    pb::Privacy {
        epsilon: privacy.epsilon.to_string(),
        budget: privacy.budget.to_string(),
        total: privacy.total.to_string(),
        delta: privacy.delta.map(|delta| delta.to_string()),
        max_groups: privacy.max_groups,
        max_rows: privacy.max_rows,
        bounds: privacy.bounds.into_iter().map(|(column, one)| (column, bounds(one))).collect(),
        groups: privacy.groups.into_iter().map(|(column, values)| (column, list(values))).collect(),
    }
}

fn values(values: Vec<pb::Value>) -> Result<Vec<Value>> {
    if values.len() > MOST_VALUES {
        return Err(invalid("/how/privacy/groups", format_args!("more than {MOST_VALUES} values")));
    }
    values.into_iter().map(|one| convert::value("values", Some(one))).collect()
}

fn templates(set: pb::Templates) -> Result<BTreeMap<Name, Template>> {
    if set.templates.len() > MOST_TEMPLATES {
        return Err(invalid("/how/templates", format_args!("more than {MOST_TEMPLATES} templates")));
    }
    set.templates.into_iter().map(|(name, one)| Ok((name.parse()?, template(one)?))).collect()
}

fn template(template: pb::Template) -> Result<Template> {
    if template.sql.len() > MOST_SQL {
        return Err(invalid("/how/templates", format_args!("a text of more than {MOST_SQL} bytes")));
    }
    let parameters = template.parameters.into_iter().map(|(name, one)| Ok((name.parse()?, column_type::read(one)?)));
    Ok(Template { sql: template.sql, parameters: parameters.collect::<Result<_>>()?, text: text(template.text)? })
}

fn templates_message(templates: BTreeMap<Name, Template>) -> pb::Templates {
    let named = templates.into_iter().map(|(name, one)| (name.to_string(), template_message(one)));
    pb::Templates { templates: named.collect() }
}

/// A template for the wire.
pub(in crate::grpc) fn template_message(template: Template) -> pb::Template {
    let parameters = template.parameters.into_iter();
    pb::Template {
        sql: template.sql,
        parameters: parameters.map(|(name, it)| (name.to_string(), column_type::message(it))).collect(),
        text: text_message(template.text),
    }
}

/// A filter of at most `depth` levels: the message could be nested more deeply than the hub looks.
fn filter(filter: pb::Filter, depth: usize) -> Result<Filter> {
    use pb::filter::Condition;
    let below = depth
        .checked_sub(1)
        .ok_or_else(|| invalid("/how/row_filter", format_args!("it is nested more than {} deep", Filter::MAX_DEPTH)))?;
    let many = |filters: pb::Filters| {
        if filters.filters.is_empty() {
            return Err(invalid("/how/row_filter", "a list of conditions is empty"));
        }
        filters.filters.into_iter().map(|one| self::filter(one, below)).collect::<Result<Vec<_>>>()
    };
    Ok(match convert::present("row_filter", filter.condition)? {
        Condition::Comparison(one) => {
            Filter::Compare { column: one.column, op: op("op", one.op)?, value: convert::value("value", one.value)? }
        }
        Condition::InList(list) => Filter::In {
            column: list.column,
            values: list.values.into_iter().map(|one| convert::value("values", Some(one))).collect::<Result<_>>()?,
        },
        Condition::StartsWith(one) => Filter::StartsWith { column: one.column, prefix: one.prefix },
        Condition::IsNull(column) => Filter::IsNull { column },
        Condition::IsNotNull(column) => Filter::IsNotNull { column },
        Condition::AllOf(filters) => Filter::All(many(filters)?),
        Condition::AnyOf(filters) => Filter::Any(many(filters)?),
        Condition::Negation(one) => Filter::Not(Box::new(self::filter(*one, below)?)),
    })
}

fn filter_message(filter: Filter) -> pb::Filter {
    use pb::filter::Condition;
    let many = |filters: Vec<Filter>| pb::Filters { filters: filters.into_iter().map(filter_message).collect() };
    let condition = match filter {
        Filter::Compare { column, op, value } => Condition::Comparison(pb::Comparison {
            column,
            op: op_message(op),
            value: Some(convert::value_message(value)),
        }),
        Filter::In { column, values } => {
            Condition::InList(pb::InList { column, values: values.into_iter().map(convert::value_message).collect() })
        }
        Filter::StartsWith { column, prefix } => Condition::StartsWith(pb::StartsWith { column, prefix }),
        Filter::IsNull { column } => Condition::IsNull(column),
        Filter::IsNotNull { column } => Condition::IsNotNull(column),
        Filter::All(filters) => Condition::AllOf(many(filters)),
        Filter::Any(filters) => Condition::AnyOf(many(filters)),
        Filter::Not(filter) => Condition::Negation(Box::new(filter_message(*filter))),
    };
    pb::Filter { condition: Some(condition) }
}

fn mask(mask: pb::Mask) -> Result<Mask> {
    use pb::mask::Mask as Wire;
    Ok(match convert::present("masks", mask.mask)? {
        Wire::Null(_) => Mask::Null,
        Wire::Constant(value) => Mask::Constant(convert::value("masks", Some(value))?),
        Wire::Hmac(_) => Mask::Hmac,
        Wire::PrefixLength(length) => Mask::Prefix(length),
        Wire::Year(_) => Mask::Year,
        Wire::BucketWidth(width) => Mask::Bucket(width),
    })
}

/// A mask for the wire.
pub(in crate::grpc) fn mask_message(mask: Mask) -> pb::Mask {
    use pb::mask::Mask as Wire;
    let mask = match mask {
        Mask::Null => Wire::Null(pb::NullMask {}),
        Mask::Constant(value) => Wire::Constant(convert::value_message(value)),
        Mask::Hmac => Wire::Hmac(pb::HmacMask {}),
        Mask::Prefix(length) => Wire::PrefixLength(length),
        Mask::Year => Wire::Year(pb::YearMask {}),
        Mask::Bucket(width) => Wire::BucketWidth(width),
    };
    pb::Mask { mask: Some(mask) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_nested_too_deeply_or_empty_is_refused() {
        let mut deep = Filter::IsNull { column: "a".to_owned() };
        for _ in 0..Filter::MAX_DEPTH {
            deep = Filter::Not(Box::new(deep));
        }
        assert!(filter(filter_message(deep), Filter::MAX_DEPTH).is_err());
        assert!(filter(filter_message(Filter::All(Vec::new())), Filter::MAX_DEPTH).is_err());
        assert!(filter(pb::Filter::default(), Filter::MAX_DEPTH).is_err());
    }

    #[test]
    fn an_interval_that_is_given_twice_or_not_stated_is_refused() {
        let hour = pb::Rate { queries: 1, per: pb::Interval::Hour.into() };
        assert!(rate(&[hour]).is_ok());
        assert!(rate(&[hour, hour]).is_err());
        assert!(rate(&[pb::Rate { queries: 1, per: 0 }]).is_err());
    }
}
