//! The guard's rules for aggregates: what may be grouped by, what may be aggregated, and how.

use std::collections::BTreeSet;

use datafusion::logical_expr::{Aggregate, Expr, expr::AggregateFunction};

use super::{Flow, Guard, Scope, aggregates_only, unmarked};
use crate::{
    error::Result,
    query::{
        failure::{quote, reject},
        functions,
        lineage::{Lineage, Origin},
    },
};

impl Guard {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Flow> {
        let flow = self.plan(&aggregate.input)?;
        if flow.released {
            return Err(aggregates_only("its groups are not aggregated again"));
        }
        let scope = self.scope(aggregate.input.schema(), &flow);
        let mut columns = Vec::new();
        for group in &aggregate.group_expr {
            if let Expr::GroupingSet(set) = group {
                if scope.strict {
                    return Err(aggregates_only("ROLLUP, CUBE and GROUPING SETS are not accepted"));
                }
                for expr in set.distinct_expr() {
                    self.expr(expr, scope)?;
                }
                continue;
            }
            let origin = self.output(group, scope)?;
            if flow.pending {
                unmarked(&origin)?;
                group_by(&origin.lineage)?;
            }
            columns.push(if flow.pending { origin.released() } else { origin });
        }
        if columns.len() < aggregate.group_expr.len() {
            // Of grouping sets each column may be any of those that are grouped by.
            let sets =
                aggregate.group_expr.iter().try_fold(Origin::plain(), |all, expr| self.mixed(all, expr, scope))?;
            columns.resize(aggregate.schema.fields().len() - aggregate.aggr_expr.len(), sets.with(Lineage::Plain));
        }
        for expr in &aggregate.aggr_expr {
            columns.push(self.aggregated(expr, scope, flow.pending)?.released());
        }
        columns.resize(aggregate.schema.fields().len(), Origin::plain());
        Ok(Flow { columns, pending: false, guarded: BTreeSet::new(), released: flow.pending })
    }

    /// What comes of `all` and every column of a grouping set together.
    fn mixed(&mut self, all: Origin, expr: &Expr, scope: Scope<'_>) -> Result<Origin> {
        let Expr::GroupingSet(set) = expr else { return Ok(all) };
        set.distinct_expr().into_iter().try_fold(all, |all, expr| Ok(all.combine(&self.expr(expr, scope)?)))
    }

    fn aggregated(&mut self, expr: &Expr, scope: Scope<'_>, pending: bool) -> Result<Origin> {
        let expr = expr.clone().unalias_nested().data;
        let Expr::AggregateFunction(AggregateFunction { func, params }) = &expr else {
            return Err(reject("unsupported", "this form of aggregate is not supported"));
        };
        let name = func.name();
        if !functions::is_aggregate(name) {
            return Err(reject("function", format!("`{}` is not one of the functions of this hub", quote(name))));
        }
        if !params.order_by.is_empty() || params.null_treatment.is_some() {
            return Err(reject("function", format!("`{name}` takes plain arguments only")));
        }
        if pending {
            if params.filter.is_some() {
                return Err(aggregates_only("FILTER is not accepted in an aggregate: use WHERE"));
            }
            return pending_argument(name, &params.args, params.distinct, scope);
        }
        if let Some(filter) = &params.filter {
            self.expr(filter, scope)?;
        }
        self.all(&params.args, scope)
    }
}

fn group_by(lineage: &Lineage) -> Result<()> {
    if lineage.is_subject() {
        return Err(reject("subject_key", "the subject key is joined on and counted only"));
    }
    if lineage.is_groupable() {
        return Ok(());
    }
    Err(aggregates_only("only dimensions and keys may be grouped by, not measures"))
}

/// An argument over pending rows is one plain column of such a dataset: no CASE, no arithmetic, no constant that carries
/// a weight, and no column that the caller can choose, whose gaps or values would mark a person.
fn pending_argument(name: &str, args: &[Expr], distinct: bool, scope: Scope<'_>) -> Result<Origin> {
    let [arg] = args else {
        return Err(aggregates_only("an aggregate takes one plain column"));
    };
    let origin = match arg {
        Expr::Column(column) => scope.origin(column)?,
        // `count(*)` is planned as the count of a literal.
        Expr::Literal(value, _) if name == "count" && !distinct && !value.is_null() => return Ok(Origin::plain()),
        _ => return Err(aggregates_only("an aggregate takes a plain column, not an expression")),
    };
    match (name, &origin.lineage) {
        // How many different values there are tells of the one that a single person has.
        ("count", lineage) if distinct && !lineage.is_subject() => {
            Err(aggregates_only("count(DISTINCT ..) takes the subject key"))
        }
        ("count", Lineage::Dimension | Lineage::Key | Lineage::Measure | Lineage::Subject(_)) => Ok(origin.clone()),
        ("count", _) => Err(aggregates_only("count takes `*` or a column of such a dataset")),
        ("sum" | "avg", Lineage::Measure) if !distinct => Ok(origin.clone()),
        ("sum" | "avg", Lineage::Subject(_)) => {
            Err(reject("subject_key", "the subject key is joined on and counted only"))
        }
        // A measure that the caller can see would be a weight chosen per subject, which reads subjects one by one.
        ("sum" | "avg", _) => Err(aggregates_only("sum and avg take a measure of such a dataset, without DISTINCT")),
        _ => Err(aggregates_only("only count, sum and avg are accepted")),
    }
}
