//! Puts the suppression of small groups into a guarded plan.
//!
//! Bottom-up: each scan of an aggregate-only dataset gains the hidden column that identifies the row's subject, every
//! node up to the aggregate carries it, the aggregate counts it with `at_least_k`, [`KSuppress`] drops the groups that
//! are too small for any of the datasets joined, and a projection drops the flags. The SQL was resolved before, so no
//! text can name a hidden column.

use std::{collections::HashSet, sync::Arc};

use datafusion::{
    common::tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    common::{Column, TableReference},
    datasource::{provider_as_source, source_as_provider},
    error::{DataFusionError, Result},
    logical_expr::{
        Aggregate, AggregateUDF, Expr, Extension, Filter, Join, LogicalPlan, Projection, SubqueryAlias, TableScan,
        TableScanBuilder,
    },
};

use super::{at_least_k::AtLeastK, scan::GovernedTable, suppress::KSuppress};

/// A hidden column on its way up.
#[derive(Debug, Clone)]
struct Hidden {
    column: Column,
    k: u32,
}

/// Adds suppression to every aggregate over aggregate-only data.
pub(super) fn protect(plan: LogicalPlan) -> Result<LogicalPlan> {
    let (plan, hidden) = Rewrite::default().node(plan)?;
    if hidden.is_empty() { Ok(plan) } else { Err(escaped()) }
}

/// Carries the column that identifies the subject of each row to the top of `plan`, which reads one dataset for
/// aggregates only and does not aggregate it yet.
pub(super) fn with_subject(plan: LogicalPlan) -> Result<(LogicalPlan, Column)> {
    let (plan, mut hidden) = Rewrite::default().node(plan)?;
    match (hidden.pop(), hidden.is_empty()) {
        (Some(one), true) => Ok((plan, one.column)),
        _ => Err(escaped()),
    }
}

/// Guard and rewrite disagree; nothing may run.
fn escaped() -> DataFusionError {
    DataFusionError::Internal("aggregate-only rows would leave without an aggregate".to_owned())
}

#[derive(Default)]
struct Rewrite {
    scans: usize,
    flags: usize,
}

impl Rewrite {
    fn node(&mut self, plan: LogicalPlan) -> Result<(LogicalPlan, Vec<Hidden>)> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => {
                let (input, mut hidden) = self.node(Arc::unwrap_or_clone(alias.input))?;
                for it in &mut hidden {
                    it.column.relation = Some(alias.alias.clone());
                }
                Ok((LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), alias.alias)?), hidden))
            }
            LogicalPlan::Projection(projection) => {
                let (input, hidden) = self.node(Arc::unwrap_or_clone(projection.input))?;
                let mut exprs = projection.expr;
                exprs.extend(hidden.iter().map(|it| Expr::Column(it.column.clone())));
                Ok((LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?), hidden))
            }
            LogicalPlan::Filter(filter) => {
                let (input, hidden) = self.node(Arc::unwrap_or_clone(filter.input))?;
                Ok((LogicalPlan::Filter(Filter::try_new(filter.predicate, Arc::new(input))?), hidden))
            }
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            other => {
                let mut leaked = false;
                let plan = other.map_children(|child| {
                    let (child, hidden) = self.node(child)?;
                    leaked |= !hidden.is_empty();
                    Ok(Transformed::yes(child))
                })?;
                if leaked { Err(escaped()) } else { Ok((plan.data, Vec::new())) }
            }
        }
    }

    fn scan(&mut self, scan: TableScan) -> Result<(LogicalPlan, Vec<Hidden>)> {
        let provider = source_as_provider(&scan.source)?;
        let table = provider.downcast_ref::<GovernedTable>().ok_or_else(escaped)?;
        let Some(k) = table.dataset().k else { return Ok((LogicalPlan::TableScan(scan), Vec::new())) };
        if scan.projection.is_some() || !scan.filters.is_empty() || scan.fetch.is_some() {
            return Err(escaped());
        }
        let name = format!("__odh_subject_{}", self.scans);
        self.scans += 1;
        let source = provider_as_source(Arc::new(table.with_hidden(&name)));
        let column = Column::new(Some(scan.table_name.clone()), name);
        let scan = TableScanBuilder::new(scan.table_name, source).build()?;
        Ok((LogicalPlan::TableScan(scan), vec![Hidden { column, k }]))
    }

    fn join(&mut self, join: Join) -> Result<(LogicalPlan, Vec<Hidden>)> {
        let (left, mut hidden) = self.node(Arc::unwrap_or_clone(join.left))?;
        let (right, more) = self.node(Arc::unwrap_or_clone(join.right))?;
        hidden.extend(more);
        let join = Join::try_new(
            Arc::new(left),
            Arc::new(right),
            join.on,
            join.filter,
            join.join_type,
            join.join_constraint,
            join.null_equality,
            join.null_aware,
        )?;
        Ok((LogicalPlan::Join(join), hidden))
    }

    fn aggregate(&mut self, aggregate: Aggregate) -> Result<(LogicalPlan, Vec<Hidden>)> {
        let (input, hidden) = self.node(Arc::unwrap_or_clone(aggregate.input))?;
        let input = Arc::new(input);
        if hidden.is_empty() {
            let same = Aggregate::try_new(input, aggregate.group_expr, aggregate.aggr_expr)?;
            return Ok((LogicalPlan::Aggregate(same), hidden));
        }
        let visible: Vec<Expr> = aggregate.schema.columns().into_iter().map(Expr::Column).collect();
        // The strictest k binds for every dataset that is joined.
        let k = hidden.iter().map(|it| it.k).max().unwrap_or(2);
        let at_least_k = Arc::new(AggregateUDF::from(AtLeastK::new(k)));
        let mut aggregates = aggregate.aggr_expr;
        let mut flags = Vec::new();
        for it in hidden {
            let name = format!("__odh_k_{}", self.flags);
            self.flags += 1;
            aggregates.push(at_least_k.call(vec![Expr::Column(it.column)]).alias(&name));
            flags.push(Expr::Column(Column::new(None::<TableReference>, name)));
        }
        let counted = LogicalPlan::Aggregate(Aggregate::try_new(input, aggregate.group_expr, aggregates)?);
        let suppressed = LogicalPlan::Extension(Extension { node: Arc::new(KSuppress::new(counted, flags)) });
        let projected = Projection::try_new(visible, Arc::new(suppressed))?;
        Ok((LogicalPlan::Projection(projected), Vec::new()))
    }
}

/// The governed tables that `plan` reads, by their place among the query's datasets.
pub(super) fn tables_read(plan: &LogicalPlan) -> Result<HashSet<usize>> {
    let mut read = HashSet::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source)?;
            read.insert(provider.downcast_ref::<GovernedTable>().ok_or_else(escaped)?.index());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(read)
}
