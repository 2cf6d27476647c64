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
    functions_aggregate::expr_fn::count,
    logical_expr::{
        Aggregate, AggregateUDF, BinaryExpr, Expr, ExprFunctionExt as _, Extension, Filter, Join, LogicalPlan,
        LogicalPlanBuilder, Operator, Projection, SubqueryAlias, TableScan, TableScanBuilder, lit,
        utils::split_conjunction,
    },
};

use super::{at_least_k::AtLeastK, scan::GovernedTable, suppress::KSuppress};

/// A hidden column on its way up.
#[derive(Debug, Clone)]
struct Hidden {
    column: Column,
    k: u32,
    /// The dataset's place among those of the query.
    dataset: usize,
    /// Whether it is the caller's own.
    own: bool,
}

/// A plan with its suppressions, and the searches for repeated keys that come before it.
#[derive(Debug)]
pub(super) struct Protected {
    pub(super) plan: LogicalPlan,
    pub(super) checks: Vec<LogicalPlan>,
}

/// Adds suppression to every aggregate over aggregate-only data.
pub(super) fn protect(plan: LogicalPlan) -> Result<Protected> {
    let mut rewrite = Rewrite::default();
    let (plan, hidden) = rewrite.node(plan)?;
    if hidden.is_empty() { Ok(Protected { plan, checks: rewrite.checks }) } else { Err(escaped()) }
}

/// Carries the column that identifies the subject of each row to the top of `plan`, which reads one dataset for
/// aggregates only and does not aggregate it yet.
pub(super) fn with_subject(plan: LogicalPlan) -> Result<(Protected, Column)> {
    let mut rewrite = Rewrite::default();
    let (plan, mut hidden) = rewrite.node(plan)?;
    match (hidden.pop(), hidden.is_empty()) {
        (Some(one), true) => Ok((Protected { plan, checks: rewrite.checks }, one.column)),
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
    checks: Vec<LogicalPlan>,
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
        let (dataset, own) = (table.index(), table.dataset().own);
        Ok((LogicalPlan::TableScan(scan), vec![Hidden { column, k, dataset, own }]))
    }

    fn join(&mut self, join: Join) -> Result<(LogicalPlan, Vec<Hidden>)> {
        let (left, mut hidden) = self.node(Arc::unwrap_or_clone(join.left))?;
        let (right, more) = self.node(Arc::unwrap_or_clone(join.right))?;
        let guarded = |hidden: &[Hidden]| hidden.iter().any(|it| !it.own);
        match (guarded(&hidden), guarded(&more)) {
            (true, false) => self.checks.push(repeated_key(&right, &join.on, join.filter.as_ref())?),
            (false, true) => self.checks.push(repeated_key(&left, &join.on, join.filter.as_ref())?),
            (true, true) | (false, false) => {}
        }
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
        let mut figures: Vec<Expr> = Vec::new();
        for figure in aggregate.aggr_expr.iter().filter_map(figure) {
            if !figures.contains(&figure) {
                figures.push(figure);
            }
        }
        let mut aggregates = aggregate.aggr_expr;
        let (mut flags, mut datasets) = (Vec::new(), Vec::new());
        for it in &hidden {
            let people = at_least_k.call(vec![Expr::Column(it.column.clone())]);
            // Who has a value is in the group, so that the figures' flags are all that is needed.
            let mut counts: Vec<Expr> = Vec::new();
            for figure in &figures {
                counts.push(people.clone().filter(figure.clone().is_not_null()).build()?);
            }
            if counts.is_empty() {
                counts.push(people);
            }
            for count in counts {
                let name = format!("__odh_k_{}", self.flags);
                self.flags += 1;
                aggregates.push(count.alias(&name));
                flags.push(Expr::Column(Column::new(None::<TableReference>, name)));
                datasets.push(it.dataset);
            }
        }
        let counted = LogicalPlan::Aggregate(Aggregate::try_new(input, aggregate.group_expr, aggregates)?);
        let suppressed = LogicalPlan::Extension(Extension { node: Arc::new(KSuppress::new(counted, flags, datasets)) });
        let projected = Projection::try_new(visible, Arc::new(suppressed))?;
        Ok((LogicalPlan::Projection(projected), Vec::new()))
    }
}

/// What an aggregate is a figure of; none of `count(*)`.
fn figure(aggregate: &Expr) -> Option<Expr> {
    match aggregate {
        Expr::Alias(alias) => figure(&alias.expr),
        Expr::AggregateFunction(call) => call.params.args.iter().find(|arg| !matches!(arg, Expr::Literal(..))).cloned(),
        _ => None,
    }
}

/// A query that has a row if a side of a join repeats a key of the join's condition. A missing key meets nothing.
fn repeated_key(side: &LogicalPlan, on: &[(Expr, Expr)], filter: Option<&Expr>) -> Result<LogicalPlan> {
    let equalities = filter.into_iter().flat_map(split_conjunction).filter_map(|term| match term {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => Some((&**left, &**right)),
        _ => None,
    });
    let pairs = on.iter().map(|(left, right)| (left, right)).chain(equalities);
    let here = |expr: &&Expr| {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.into_iter().all(|column| side.schema().has_column(column))
    };
    let keys: Vec<Expr> = pairs.filter_map(|(a, b)| [a, b].into_iter().find(here)).cloned().collect();
    let known = keys.iter().map(|key| key.clone().is_not_null()).reduce(Expr::and).ok_or_else(escaped)?;
    let times = "__odh_times";
    LogicalPlanBuilder::from(side.clone())
        .filter(known)?
        .aggregate(keys, vec![count(lit(1_i64)).alias(times)])?
        .filter(Expr::Column(Column::from_name(times)).gt(lit(1_i64)))?
        .limit(0, Some(1))?
        .build()
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

/// Whether the query itself asks for a row without a table, as `SELECT 1` does, at the top or in a subquery.
pub(super) fn makes_a_row(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let walked = plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::EmptyRelation(empty) if empty.produce_one_row);
        Ok(TreeNodeRecursion::Continue)
    });
    found && walked.is_ok()
}
