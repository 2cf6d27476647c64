//! The guard's rules for joins: on what, and of which kind.

use datafusion::{
    common::JoinType,
    logical_expr::{BinaryExpr, Expr, Join, Operator, utils::split_conjunction},
};

use super::{Flow, Guard, Scope, aggregates_only};
use crate::{
    error::{Error, Result},
    query::{failure::reject, lineage::Lineage},
};

impl Guard {
    pub(super) fn join(&mut self, join: &Join) -> Result<Flow> {
        let left = self.plan(&join.left)?;
        let right = self.plan(&join.right)?;
        let pending = left.pending || right.pending;
        if pending && (left.released || right.released) {
            return Err(aggregates_only("its groups are not joined below another aggregate"));
        }
        let flow = Flow {
            columns: left.columns.iter().chain(&right.columns).cloned().collect(),
            pending,
            released: left.released && right.released || (!pending && (left.released || right.released)),
        };
        // The condition sees both sides, whatever the join lets out.
        let both = join.left.schema().join(join.right.schema()).map_err(|_| ambiguous())?;
        let scope = self.scope(&both, &flow);
        let mut pairs: Vec<(&Expr, &Expr)> = join.on.iter().map(|(left, right)| (left, right)).collect();
        if pending {
            only_equalities(join, &mut pairs)?;
            for (a, b) in &pairs {
                let sides = (side(a, scope)?, side(b, scope)?);
                if (sides.0.0 < left.columns.len()) == (sides.1.0 < left.columns.len()) || !sides.0.1.joins(sides.1.1) {
                    return Err(no_join());
                }
            }
            return Ok(flow);
        }
        for (a, b) in pairs {
            let (a, b) = (self.expr(a, scope)?, self.expr(b, scope)?);
            if a.crosses_namespaces(&b) {
                return Err(namespaces());
            }
        }
        if let Some(filter) = &join.filter {
            self.expr(filter, scope)?;
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

/// The place and lineage of a side of an equality, which is a plain column.
fn side<'a>(expr: &Expr, scope: Scope<'a>) -> Result<(usize, &'a Lineage)> {
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
