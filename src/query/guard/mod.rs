//! The guard: walks a planned query and refuses every node that is not on the list.
//!
//! The matches on plans and expressions name every variant, so that a new one of DataFusion fails to compile instead
//! of slipping through. Row-level data may go nearly anywhere; the rows of an aggregate-only dataset are *pending*
//! until exactly one aggregate turns them into groups, and until then only a narrow fragment is accepted.

mod aggregate;
mod exprs;
mod join;

use std::collections::BTreeSet;

use datafusion::{
    common::DFSchema,
    datasource::source_as_provider,
    logical_expr::{Distinct, Expr, LogicalPlan, Projection, TableScan, utils::split_conjunction},
};

use super::{
    admit::{MAX_RELATIONS, MAX_UNIONS, is_reserved},
    failure::{failed, quote, reject},
    lineage::{CLOSED, Lineage, Origin},
    scan::GovernedTable,
};
use crate::error::{Error, Result};

/// What the guard must know of the datasets of a query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Whether any dataset is for aggregates only.
    pub(super) aggregate_only: bool,
    /// Whether one of these belongs to somebody else than the caller.
    pub(super) of_others: bool,
}

/// Checks `plan` as SQL planning left it.
pub(super) fn check(plan: &LogicalPlan, rules: Rules) -> Result<()> {
    let mut guard = Guard { rules, scans: 0, sides: 0, outer: Vec::new() };
    let flow = guard.plan(plan)?;
    if flow.pending {
        return Err(aggregates_only("its rows may leave in aggregates only: add count, sum or avg"));
    }
    Ok(())
}

/// The refusal of a join on a column that its owner lets no query join on.
fn no_join_on() -> Error {
    reject("no_join_on", "the owner of a column that this joins on lets no query join on it")
}

/// The refusal of what aggregate-only data does not allow.
fn aggregates_only(detail: &str) -> Error {
    reject("aggregate_only", format!("a dataset of this query is for aggregates only: {detail}"))
}

struct Guard {
    rules: Rules,
    scans: usize,
    /// How many tables stand beside closed data.
    sides: u32,
    /// The surroundings of the subqueries that are being walked, outermost first.
    outer: Vec<(DFSchema, Vec<Origin>)>,
}

/// What flows out of a node.
struct Flow {
    columns: Vec<Origin>,
    /// Rows of an aggregate-only dataset flow here.
    pending: bool,
    /// The aggregate-only datasets of others whose rows flow here, by their place among the query's datasets.
    guarded: BTreeSet<usize>,
    /// Groups of an aggregate-only dataset flow here.
    released: bool,
}

/// An expression's surroundings.
#[derive(Clone, Copy)]
struct Scope<'a> {
    schema: &'a DFSchema,
    columns: &'a [Origin],
    /// Whether an expression that fails on some row could tell something about a hidden one.
    strict: bool,
}

impl Guard {
    fn scope<'a>(&self, schema: &'a DFSchema, flow: &'a Flow) -> Scope<'a> {
        Scope { schema, columns: &flow.columns, strict: self.rules.aggregate_only && !flow.released }
    }

    fn plan(&mut self, plan: &LogicalPlan) -> Result<Flow> {
        // However the text spells it: names of the engine's own columns are none of the caller's.
        if let Some(field) = plan.schema().fields().iter().find(|field| is_reserved(field.name())) {
            return Err(reject("unknown_column", format!("there is no column `{}` here", quote(field.name()))));
        }
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::EmptyRelation(empty) => Ok(Flow {
                columns: vec![Origin::plain(); empty.schema.fields().len()],
                pending: false,
                guarded: BTreeSet::new(),
                released: false,
            }),
            LogicalPlan::SubqueryAlias(alias) => self.plan(&alias.input),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Filter(filter) => {
                let flow = self.plan(&filter.input)?;
                // Conditions side by side are no condition on both: each stands for itself.
                for term in split_conjunction(&filter.predicate) {
                    unmarked(&self.expr(term, self.scope(filter.input.schema(), &flow))?)?;
                }
                Ok(flow)
            }
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Sort(sort) => {
                let flow = self.released(&sort.input, "ORDER BY comes after the aggregate")?;
                for key in &sort.expr {
                    self.expr(&key.expr, self.scope(sort.input.schema(), &flow))?;
                }
                Ok(flow)
            }
            LogicalPlan::Limit(limit) => {
                let flow = self.released(&limit.input, "LIMIT comes after the aggregate")?;
                let literals = limit.skip.iter().chain(&limit.fetch).all(|expr| matches!(**expr, Expr::Literal(..)));
                if literals { Ok(flow) } else { Err(reject("unsupported", "LIMIT and OFFSET take numbers")) }
            }
            LogicalPlan::Distinct(Distinct::All(input)) => self.released(input, "DISTINCT comes after the aggregate"),
            LogicalPlan::Union(union) => {
                let mut flows = Vec::new();
                for input in &union.inputs {
                    flows.push(self.released(input, "UNION comes after the aggregate")?);
                }
                if flows.len() > MAX_UNIONS + 1 {
                    return Err(reject("too_complex", format!("there are more than {MAX_UNIONS} set operations")));
                }
                union_of(&flows, union.schema.fields().len())
            }
            LogicalPlan::Window(_) => Err(reject("window", "window functions are not accepted")),
            LogicalPlan::RecursiveQuery(_) => Err(reject("recursive", "WITH RECURSIVE is not accepted")),
            LogicalPlan::Values(_) | LogicalPlan::Unnest(_) => {
                Err(reject("table_function", "only datasets and subqueries are accepted as relations"))
            }
            LogicalPlan::Statement(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_) => Err(reject("only_select", "only SELECT is accepted")),
            LogicalPlan::Distinct(Distinct::On(_))
            | LogicalPlan::Repartition(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::Extension(_) => Err(reject("unsupported", "this form of SQL is not supported")),
        }
    }

    /// The flow of an input in which no aggregate-only rows may be pending.
    fn released(&mut self, input: &LogicalPlan, detail: &str) -> Result<Flow> {
        let flow = self.plan(input)?;
        if flow.pending { Err(aggregates_only(detail)) } else { Ok(flow) }
    }

    fn scan(&mut self, scan: &TableScan) -> Result<Flow> {
        self.scans += 1;
        // A WITH that is used twice is planned twice, so that text of bounded size could grow without bound.
        if self.scans > MAX_RELATIONS {
            return Err(reject("too_complex", format!("there are more than {MAX_RELATIONS} relations")));
        }
        let provider = source_as_provider(&scan.source).map_err(|_| failed("foreign table"))?;
        let table = provider.downcast_ref::<GovernedTable>().ok_or_else(|| failed("foreign table"))?;
        if scan.projection.is_some() || !scan.filters.is_empty() || scan.fetch.is_some() {
            return Err(failed("scan was rewritten before the guard"));
        }
        let dataset = table.dataset();
        let bit = 1 << (self.scans - 1);
        let pending = dataset.k.is_some();
        let guarded = pending && !dataset.own;
        // Beside the data of others one's own is what the caller chose: its values weigh and mark nobody.
        let closed = if self.rules.of_others { guarded } else { pending };
        let sides = match (closed, pending) {
            (true, _) => CLOSED,
            (false, true) => self.side(),
            (false, false) => 0,
        };
        let columns = dataset.visible.iter().map(|column| Origin {
            lineage: Lineage::of(column.role, column.namespace.as_ref(), closed),
            scans: bit,
            no_join: column.no_join,
            sides,
        });
        Ok(Flow {
            columns: columns.collect(),
            pending,
            guarded: guarded.then(|| table.index()).into_iter().collect(),
            released: false,
        })
    }

    /// A side for a table that comes beside closed data.
    const fn side(&mut self) -> u64 {
        self.sides += 1;
        CLOSED << self.sides
    }

    fn projection(&mut self, projection: &Projection) -> Result<Flow> {
        let flow = self.plan(&projection.input)?;
        let scope = self.scope(projection.input.schema(), &flow);
        let mut columns = Vec::new();
        for expr in &projection.expr {
            let origin = self.output(expr, scope)?;
            unmarked(&origin)?;
            columns.push(origin);
        }
        Ok(Flow { columns, ..flow })
    }
}

/// Refuses what would mark people: a table of the caller's choice can name one person in each row, and together with a
/// closed column, or with a column that a closed one has chosen, the value of that person alone decides what comes out.
fn unmarked(origin: &Origin) -> Result<()> {
    if origin.is_mark() {
        return Err(aggregates_only("an expression takes columns of such datasets or of one other table, not of both"));
    }
    Ok(())
}

/// A set operation's columns keep what all of its parts agree on: nothing is pending below it.
fn union_of(flows: &[Flow], width: usize) -> Result<Flow> {
    let mut columns = Vec::with_capacity(width);
    for at in 0..width {
        let parts: Vec<&Origin> = flows.iter().filter_map(|flow| flow.columns.get(at)).collect();
        let whole = parts.iter().fold(Origin::plain(), |whole, part| whole.combine(part));
        // Grouping a union by such a column would join its parts.
        if whole.is_hidden_join() {
            return Err(no_join_on());
        }
        let first = parts.first().map_or(Lineage::Plain, |part| part.lineage.clone());
        let same = parts.len() == flows.len() && parts.iter().all(|part| part.lineage == first);
        columns.push(whole.with(if same { first } else { Lineage::Plain }));
    }
    // Released if any part is: the others may still be joined with pending rows.
    let released = flows.iter().any(|flow| flow.released);
    Ok(Flow { columns, pending: false, guarded: BTreeSet::new(), released })
}
