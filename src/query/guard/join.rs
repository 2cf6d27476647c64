//! The guard's rules for joins: on what, and of which kind.

use datafusion::{
    common::JoinType,
    logical_expr::{BinaryExpr, Expr, Join, Operator, utils::split_conjunction},
};

use super::{Flow, Guard, Scope, aggregates_only, no_join_on};
use crate::{
    error::{Error, Result},
    query::{
        failure::reject,
        lineage::{CLOSED, Origin},
    },
};

impl Guard {
    pub(super) fn join(&mut self, join: &Join) -> Result<Flow> {
        let mut left = self.plan(&join.left)?;
        let mut right = self.plan(&join.right)?;
        let pending = left.pending || right.pending;
        if pending && (left.released || right.released) {
            return Err(aggregates_only("its groups are not joined below another aggregate"));
        }
        for flow in [&mut left, &mut right] {
            if pending && !flow.pending {
                let sides = self.side();
                flow.columns.iter_mut().for_each(|column| column.sides = sides);
            }
        }
        let closed = |flow: &Flow| flow.pending && (!flow.guarded.is_empty() || !self.rules.of_others);
        if join.join_type == JoinType::Left && closed(&right) {
            return Err(reject("join", "an aggregate-only dataset stands on the left of a LEFT JOIN"));
        }
        let mut flow = Flow {
            columns: left.columns.iter().chain(&right.columns).cloned().collect(),
            pending,
            guarded: left.guarded.union(&right.guarded).copied().collect(),
            released: left.released && right.released || (!pending && (left.released || right.released)),
        };
        // The condition sees both sides, whatever the join lets out.
        let both = join.left.schema().join(join.right.schema()).map_err(|_| ambiguous())?;
        let scope = self.scope(&both, &flow);
        if pending {
            let equal = pending_pairs(join, scope, left.columns.len())?;
            unmarked_pairs(&flow.columns, &equal)?;
            if !left.guarded.is_disjoint(&right.guarded) {
                return Err(reject("join", "an aggregate-only dataset is not joined with itself"));
            }
            let people = |(a, b): &(usize, usize)| {
                flow.columns[*a].lineage.is_subject() && flow.columns[*b].lineage.is_subject()
            };
            if !left.guarded.is_empty() && !right.guarded.is_empty() && !equal.iter().any(people) {
                return Err(reject("join", "two aggregate-only datasets are joined on their subject keys"));
            }
            if join.join_type == JoinType::Inner {
                for (a, b) in equal {
                    // What equals a closed column is as closed as that.
                    let lineage = flow.columns[a].lineage.closer(&flow.columns[b].lineage);
                    flow.columns[a].lineage = lineage.clone();
                    flow.columns[b].lineage = lineage;
                }
            }
            return Ok(flow);
        }
        for (a, b) in &join.on {
            let (a, b) = (self.expr(a, scope)?, self.expr(b, scope)?);
            if a.lineage.crosses_namespaces(&b.lineage) {
                return Err(namespaces());
            }
            if a.no_join || b.no_join {
                return Err(no_join_on());
            }
        }
        if let Some(filter) = &join.filter
            && self.expr(filter, scope)?.no_join
        {
            return Err(no_join_on());
        }
        let columns = match join.join_type {
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => flow.columns,
            JoinType::LeftSemi | JoinType::LeftAnti => left.columns,
            JoinType::RightSemi | JoinType::RightAnti => right.columns,
            JoinType::LeftMark | JoinType::RightMark => {
                return Err(reject("unsupported", "this form of SQL is not supported"));
            }
        };
        Ok(Flow { columns, ..flow })
    }
}

/// The places of the columns that a join of aggregate-only data sets equal, each pair across the two sides.
fn pending_pairs(join: &Join, scope: Scope<'_>, left: usize) -> Result<Vec<(usize, usize)>> {
    let mut pairs = join.on.iter().map(|(left, right)| (left, right)).collect();
    only_equalities(join, &mut pairs)?;
    let mut places = Vec::with_capacity(pairs.len());
    for (a, b) in pairs {
        let ((a, of_a), (b, of_b)) = (side(a, scope)?, side(b, scope)?);
        if of_a.no_join || of_b.no_join {
            return Err(no_join_on());
        }
        if (a < left) == (b < left) || !of_a.lineage.joins(&of_b.lineage) {
            return Err(no_join());
        }
        places.push((a.min(b), a.max(b)));
    }
    Ok(places)
}

/// Equalities mark people like any other expression: a row of the caller's that meets one person in one commune alone
/// tells where that person lives. So what one side is compared by is either people or not, and of one table.
fn unmarked_pairs(columns: &[Origin], pairs: &[(usize, usize)]) -> Result<()> {
    let side = |of: fn(&(usize, usize)) -> usize| {
        pairs.iter().fold(Origin::plain(), |all, pair| all.combine(&columns[of(pair)]))
    };
    let (left, right) = (side(|pair| pair.0), side(|pair| pair.1));
    let people = pairs.iter().filter(|pair| columns[pair.0].lineage.is_person()).count();
    let chosen = (left.sides | right.sides) != CLOSED;
    if left.is_mark() || right.is_mark() || (chosen && people > 0 && people < pairs.len()) {
        return Err(reject("join", "a table joins aggregate-only data by subject keys or by public keys, not by both"));
    }
    Ok(())
}

/// The equalities of an inner or left join of aggregate-only data; anything else in its condition is refused.
fn only_equalities<'a>(join: &'a Join, pairs: &mut Vec<(&'a Expr, &'a Expr)>) -> Result<()> {
    match join.join_type {
        JoinType::Inner | JoinType::Left => {}
        JoinType::Right
        | JoinType::Full
        | JoinType::LeftSemi
        | JoinType::RightSemi
        | JoinType::LeftAnti
        | JoinType::RightAnti
        | JoinType::LeftMark
        | JoinType::RightMark => return Err(no_join()),
    }
    for term in join.filter.iter().flat_map(split_conjunction) {
        match term {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => pairs.push((left, right)),
            _ => return Err(no_join()),
        }
    }
    if pairs.is_empty() { Err(no_join()) } else { Ok(()) }
}

/// The place and origin of a side of an equality, which is a plain column.
fn side<'a>(expr: &Expr, scope: Scope<'a>) -> Result<(usize, &'a Origin)> {
    let Expr::Column(column) = expr else { return Err(no_join()) };
    let at = scope.schema.maybe_index_of_column(column).ok_or_else(no_join)?;
    Ok((at, scope.columns.get(at).ok_or_else(no_join)?))
}

fn no_join() -> Error {
    reject(
        "join",
        "an aggregate-only dataset is joined by INNER or LEFT JOIN, ON equality of subject keys of one namespace or of \
         public keys, and nothing else",
    )
}

/// The refusal of a comparison of subjects that different authorities named.
pub(super) fn namespaces() -> Error {
    reject("subject_key", "subject keys of different namespaces are not comparable")
}

fn ambiguous() -> Error {
    reject("ambiguous_column", "the sides of a join have columns of the same name: give them aliases")
}
