//! Replaces the aggregate over a dataset with differential privacy by its release.
//!
//! `rows -> one row per subject and group, tallied -> PrivateAggregate`. Everything above sees released figures only.
//! Exactly one such aggregate over exactly one scan of exactly one such dataset: what a second one would reveal of the
//! same individuals, and what a join of the rows of two of them would, no sensitivity here accounts for.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        Column, TableReference,
        tree_node::{Transformed, TreeNode as _},
    },
    datasource::source_as_provider,
    error::DataFusionError,
    functions_aggregate::expr_fn::{count, sum},
    logical_expr::{
        Aggregate, Cast, Expr, ExprSchemable as _, Extension, LogicalPlan, Projection, ScalarUDF, TableScan, TryCast,
        expr::AggregateFunction, lit,
    },
};

use super::{
    Declared, PrivacyLoss,
    mechanism::{Groups, Mechanism, Output, Tally, combinations},
    not_private,
    quantise::{Quantise, Quantiser},
    release::PrivateAggregate,
};
use crate::{
    error::{Error, Result},
    query::{
        failure::failed,
        rewrite::{Protected, with_subject},
        scan::GovernedTable,
    },
};

/// The plan with its private aggregate, the searches that come before it, and what it costs; unchanged and free if it
/// reads no such dataset.
pub(in crate::query) fn privatise(plan: LogicalPlan) -> Result<(Protected, Option<PrivacyLoss>)> {
    let (private, others) = scans(&plan)?;
    match (private, others) {
        (0, _) => return Ok((Protected { plan, checks: Vec::new() }, None)),
        (1, 0) => {}
        (1, _) => return Err(not_private("it is not joined with another dataset that is for aggregates only")),
        _ => return Err(not_private("it is read once in a query, and no other such dataset with it")),
    }
    let mut loss = None;
    let mut checks = Vec::new();
    let mut problem = None;
    let done = plan.transform_up(|node| match node {
        LogicalPlan::Aggregate(aggregate) => match scans(&aggregate.input) {
            Ok((1, _)) if loss.is_none() => match release(aggregate, &mut checks) {
                Ok((node, cost)) => {
                    loss = Some(cost);
                    Ok(Transformed::yes(node))
                }
                Err(error) => stop(&mut problem, error),
            },
            Ok(_) => Ok(Transformed::no(LogicalPlan::Aggregate(aggregate))),
            Err(error) => stop(&mut problem, error),
        },
        other => Ok(Transformed::no(other)),
    });
    match (done, problem, loss) {
        (_, Some(error), _) => Err(error),
        (Ok(done), None, Some(loss)) => Ok((Protected { plan: done.data, checks }, Some(loss))),
        _ => Err(failed("private rows would leave without a release")),
    }
}

fn stop<T>(problem: &mut Option<Error>, error: Error) -> Result<T, DataFusionError> {
    *problem = Some(error);
    Err(DataFusionError::Internal("stopped".to_owned()))
}

/// How many scans of private datasets are below `plan`, and how many of others that are for aggregates only.
fn scans(plan: &LogicalPlan) -> Result<(usize, usize)> {
    let (mut private, mut others, mut foreign) = (0, 0, false);
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            match source_as_provider(&scan.source)?.downcast_ref::<GovernedTable>() {
                Some(table) if table.dataset().private.is_some() => private += 1,
                Some(table) => others += usize::from(table.dataset().k.is_some()),
                None => foreign = true,
            }
        }
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    });
    if walked.is_err() || foreign { Err(failed("foreign table")) } else { Ok((private, others)) }
}

/// Names within the tallying plan; no text can name them.
fn hidden(name: &str, number: usize) -> String {
    format!("__odh_{name}_{number}")
}

fn column(name: impl Into<String>) -> Expr {
    Expr::Column(Column::new(None::<TableReference>, name))
}

fn release(aggregate: Aggregate, checks: &mut Vec<LogicalPlan>) -> Result<(LogicalPlan, PrivacyLoss)> {
    let wrong = |_: DataFusionError| failed("private rewrite");
    let source = table(&aggregate.input)?.ok_or_else(|| failed("no private table"))?;
    let declared = source.dataset().private.clone().ok_or_else(|| failed("no private table"))?;
    let mut planner = Planner { declared: &declared, input: &aggregate.input, values: Vec::new(), tallies: Vec::new() };
    let groups = planner.groups(&aggregate.group_expr)?;
    let outputs = aggregate.aggr_expr.iter().map(|expr| planner.output(expr)).collect::<Result<Vec<_>>>()?;
    let Planner { values, tallies, .. } = planner;
    let (mechanism, loss) = Mechanism::new(&declared, groups, tallies.iter().map(|it| it.0).collect(), outputs)?;

    let (rows, subject) = with_subject(Arc::unwrap_or_clone(aggregate.input)).map_err(wrong)?;
    let Protected { plan: input, checks: searches } = rows;
    // A table that the caller chose may no more repeat people here than where small groups are suppressed.
    checks.extend(searches);
    let mut exprs = vec![Expr::Column(subject).alias(hidden("s", 0))];
    let group = |at| hidden("g", at);
    exprs.extend(aggregate.group_expr.iter().enumerate().map(|(at, expr)| expr.clone().unalias().alias(group(at))));
    exprs.extend(values.into_iter().enumerate().map(|(at, value)| value.alias(hidden("v", at))));
    let rows = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input)).map_err(wrong)?);
    let mut keys = vec![column(hidden("s", 0))];
    keys.extend((0..aggregate.group_expr.len()).map(|at| column(group(at))));
    let tallied = tallies.iter().enumerate().map(|(at, (tally, value))| {
        let of = value.map_or_else(|| lit(1_i64), |value| column(hidden("v", value)));
        let tallied = match tally {
            Tally::Count => count(of),
            Tally::Sum { .. } => sum(of),
        };
        tallied.alias(hidden("t", at))
    });
    let tallied = Aggregate::try_new(Arc::new(rows), keys, tallied.collect()).map_err(wrong)?;
    let node = PrivateAggregate::new(LogicalPlan::Aggregate(tallied), Arc::new(mechanism), aggregate.schema)?;
    Ok((LogicalPlan::Extension(Extension { node: Arc::new(node) }), loss))
}

/// The private table below `plan`.
fn table(plan: &LogicalPlan) -> Result<Option<GovernedTable>> {
    let mut found = None;
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(table) = source_as_provider(&scan.source)?.downcast_ref::<GovernedTable>()
            && table.dataset().private.is_some()
        {
            found = Some(table.clone());
        }
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    });
    if walked.is_ok() { Ok(found) } else { Err(failed("foreign table")) }
}

/// Reads what an aggregate asks.
struct Planner<'a> {
    declared: &'a Declared,
    input: &'a LogicalPlan,
    /// What is computed of each row.
    values: Vec<Expr>,
    /// What is tallied, of which value; of none, rows.
    tallies: Vec<(Tally, Option<usize>)>,
}

impl Planner<'_> {
    fn groups(&self, exprs: &[Expr]) -> Result<Groups> {
        if exprs.is_empty() {
            return Ok(Groups::One);
        }
        let mut listed = Vec::new();
        for expr in exprs {
            if matches!(expr, Expr::GroupingSet(_)) {
                return Err(not_private("ROLLUP, CUBE and GROUPING SETS are not accepted"));
            }
            let values = match expr.clone().unalias() {
                Expr::Column(column) => match self.origin(&column) {
                    Some(name) => self.declared.listed(&name)?,
                    None => None,
                },
                _ => None,
            };
            listed.extend(values);
        }
        if listed.len() == exprs.len() {
            return Ok(Groups::Listed(combinations(&listed)?));
        }
        if self.declared.privacy.delta.is_some() {
            return Ok(Groups::Found);
        }
        let names: Vec<_> = self.declared.privacy.groups.keys().map(String::as_str).collect();
        Err(not_private(format_args!(
            "only columns whose values the policy lists are grouped by: [{}]",
            names.join(", ")
        )))
    }

    fn output(&mut self, expr: &Expr) -> Result<Output> {
        let expr = expr.clone().unalias_nested().data;
        let Expr::AggregateFunction(AggregateFunction { func, params }) = &expr else {
            return Err(failed("private aggregate"));
        };
        let [arg] = params.args.as_slice() else { return Err(failed("private aggregate")) };
        match (func.name(), uncast(arg), params.distinct) {
            ("count", Expr::Column(column), true) => {
                if self.is_subject(column) {
                    return Ok(Output::Subjects);
                }
                Err(not_private("count(DISTINCT ..) takes the subject key"))
            }
            ("count", Expr::Literal(value, _), false) if !value.is_null() => {
                Ok(Output::Count(self.tally(Tally::Count, None)))
            }
            ("count", Expr::Column(column), false) => {
                let value = self.value(Expr::Column(column.clone()));
                Ok(Output::Count(self.tally(Tally::Count, Some(value))))
            }
            ("sum", Expr::Column(column), false) => {
                let quantiser = self.quantiser(column)?;
                let Quantiser { lower, upper, .. } = quantiser;
                let value = self.quantised(column, quantiser, 0);
                Ok(Output::Sum(self.tally(Tally::Sum { lower, upper }, Some(value)), quantiser))
            }
            ("avg", Expr::Column(column), false) => {
                let quantiser = self.quantiser(column)?;
                let middle = quantiser.middle();
                let value = self.quantised(column, quantiser, middle);
                let bounds = Tally::Sum { lower: quantiser.lower - middle, upper: quantiser.upper - middle };
                let sum = self.tally(bounds, Some(value));
                Ok(Output::Average(sum, self.tally(Tally::Count, Some(value)), quantiser))
            }
            _ => Err(not_private("only count, sum and avg are accepted")),
        }
    }

    fn tally(&mut self, tally: Tally, value: Option<usize>) -> usize {
        let wanted = (tally, value);
        self.tallies.iter().position(|it| *it == wanted).unwrap_or_else(|| {
            self.tallies.push(wanted);
            self.tallies.len() - 1
        })
    }

    fn value(&mut self, expr: Expr) -> usize {
        self.values.iter().position(|it| *it == expr).unwrap_or_else(|| {
            self.values.push(expr);
            self.values.len() - 1
        })
    }

    fn quantised(&mut self, column: &Column, quantiser: Quantiser, minus: i64) -> usize {
        let function = Arc::new(ScalarUDF::from(Quantise::new(quantiser, minus)));
        self.value(function.call(vec![Expr::Column(column.clone())]))
    }

    fn quantiser(&self, column: &Column) -> Result<Quantiser> {
        let data_type =
            Expr::Column(column.clone()).get_type(self.input.schema()).map_err(|_| failed("type of a measure"))?;
        let found = match self.origin(column) {
            Some(name) => self.declared.quantiser(&name, &data_type)?,
            None => None,
        };
        found.ok_or_else(|| {
            let names: Vec<_> = self.declared.privacy.bounds.keys().map(String::as_str).collect();
            not_private(format_args!("sum and avg take a measure with declared bounds: [{}]", names.join(", ")))
        })
    }

    fn is_subject(&self, column: &Column) -> bool {
        let key = self.input.schema().maybe_index_of_column(column).and_then(|at| origin(self.input, at));
        key.is_some_and(|(table, name)| {
            table.dataset().private.is_some() && table.dataset().subject_column.as_deref() == Some(&name)
        })
    }

    /// The name in the private dataset of the column that this one is.
    fn origin(&self, column: &Column) -> Option<String> {
        let at = self.input.schema().maybe_index_of_column(column)?;
        let (table, name) = origin(self.input, at)?;
        table.dataset().private.is_some().then_some(name)
    }
}

/// What a cast that coercion put around a column is about.
fn uncast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field })
            if *field.data_type() == DataType::Float64 =>
        {
            uncast(expr)
        }
        other => other,
    }
}

/// The table and its column that the column `at` of `plan` is, if it is nothing but that.
fn origin(plan: &LogicalPlan, at: usize) -> Option<(GovernedTable, String)> {
    match plan {
        LogicalPlan::TableScan(TableScan { source, projected_schema, .. }) => {
            let provider = source_as_provider(source).ok()?;
            Some((provider.downcast_ref::<GovernedTable>()?.clone(), projected_schema.field(at).name().clone()))
        }
        LogicalPlan::SubqueryAlias(alias) => origin(&alias.input, at),
        LogicalPlan::Filter(filter) => origin(&filter.input, at),
        LogicalPlan::Projection(projection) => match projection.expr.get(at)?.clone().unalias() {
            Expr::Column(column) => {
                origin(&projection.input, projection.input.schema().maybe_index_of_column(&column)?)
            }
            _ => None,
        },
        LogicalPlan::Join(join) => {
            let left = join.left.schema().fields().len();
            if at < left { origin(&join.left, at) } else { origin(&join.right, at - left) }
        }
        _ => None,
    }
}
