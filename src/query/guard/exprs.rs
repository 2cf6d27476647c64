//! The guard's rules for expressions.

use datafusion::{
    arrow::datatypes::DataType,
    common::{Column, ScalarValue},
    logical_expr::{
        BinaryExpr, Expr, ExprSchemable, Operator, Subquery,
        expr::{InSubquery, ScalarFunction},
    },
};

use super::{Guard, Scope, aggregates_only, join::namespaces, no_join_on};
use crate::{
    error::{Error, Result},
    query::{
        failure::{quote, reject},
        functions,
        lineage::Origin,
    },
};

impl<'a> Scope<'a> {
    /// Where a column comes from.
    pub(super) fn origin(&self, column: &Column) -> Result<&'a Origin> {
        let found = self.schema.maybe_index_of_column(column).and_then(|at| self.columns.get(at));
        found.ok_or_else(|| {
            reject("unknown_column", format!("there is no column `{}` here", quote(&column.flat_name())))
        })
    }

    fn type_of(&self, expr: &Expr) -> Result<DataType> {
        expr.get_type(self.schema).map_err(|error| crate::query::failure::of_planning(&error))
    }
}

impl Guard {
    /// An expression that becomes a column: a plain column keeps its lineage, subject keys included.
    pub(super) fn output(&mut self, expr: &Expr, scope: Scope<'_>) -> Result<Origin> {
        match expr {
            Expr::Alias(alias) => self.output(&alias.expr, scope),
            Expr::Column(column) => scope.origin(column).cloned(),
            other => self.expr(other, scope),
        }
    }

    /// Any other expression; a subject key of aggregate-only data has no place in one.
    pub(super) fn expr(&mut self, expr: &Expr, scope: Scope<'_>) -> Result<Origin> {
        match expr {
            Expr::Alias(alias) => self.expr(&alias.expr, scope),
            Expr::Column(column) => match scope.origin(column)? {
                origin if origin.lineage.is_subject() => {
                    Err(reject("subject_key", "the subject key is joined on and counted only"))
                }
                origin => Ok(origin.clone()),
            },
            Expr::OuterReferenceColumn(_, column) => self.outer_column(column),
            Expr::Literal(value, _) => literal(value),
            Expr::BinaryExpr(binary) => self.binary(binary, scope),
            Expr::Like(like) => {
                if scope.strict && !is_short_pattern(&like.pattern) {
                    return Err(aggregates_only("LIKE takes a short literal pattern"));
                }
                self.all([&*like.expr, &*like.pattern], scope)
            }
            Expr::Not(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsNull(inner)
            | Expr::IsTrue(inner)
            | Expr::IsFalse(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsNotUnknown(inner) => self.expr(inner, scope),
            Expr::Negative(inner) => {
                arithmetic(&[scope.type_of(inner)?], scope)?;
                // Columns wrap; a computed constant raises, and only for the rows that a CASE sends there.
                if scope.strict && !matches!(**inner, Expr::Literal(..) | Expr::Column(_)) {
                    return Err(aggregates_only("a minus sign stands before a number or a column"));
                }
                self.expr(inner, scope)
            }
            Expr::Between(between) => self.all([&*between.expr, &*between.low, &*between.high], scope),
            Expr::Case(case) => {
                let branches = case.when_then_expr.iter().flat_map(|(when, then)| [&**when, &**then]);
                let others = case.expr.iter().chain(&case.else_expr).map(|expr| &**expr);
                self.all(branches.chain(others), scope)
            }
            Expr::Cast(cast) => self.cast(&cast.expr, cast.field.data_type(), scope),
            Expr::TryCast(cast) => self.cast(&cast.expr, cast.field.data_type(), scope),
            Expr::ScalarFunction(call) => self.call(call, scope),
            Expr::InList(list) => self.all(std::iter::once(&*list.expr).chain(&list.list), scope),
            Expr::Exists(exists) => self.subquery(&exists.subquery, scope).map(|_| Origin::plain()),
            Expr::ScalarSubquery(subquery) => self.subquery(subquery, scope),
            Expr::InSubquery(InSubquery { expr, subquery, .. }) => {
                let right = self.subquery(subquery, scope)?;
                let left = self.expr(expr, scope)?;
                if left.lineage.crosses_namespaces(&right.lineage) {
                    return Err(namespaces());
                }
                if left.no_join || right.no_join {
                    return Err(no_join_on());
                }
                Ok(Origin::plain())
            }
            Expr::WindowFunction(_) => Err(reject("window", "window functions are not accepted")),
            Expr::Placeholder(_) => Err(reject("placeholder", "parameters are not accepted: write the value")),
            #[expect(deprecated, reason = "the match names every variant")]
            Expr::Wildcard { .. }
            | Expr::ScalarVariable(..)
            | Expr::SimilarTo(_)
            | Expr::AggregateFunction(_)
            | Expr::SetComparison(_)
            | Expr::GroupingSet(_)
            | Expr::Unnest(_)
            | Expr::HigherOrderFunction(_)
            | Expr::Lambda(_)
            | Expr::LambdaVariable(_) => Err(unsupported()),
        }
    }

    /// Expressions that are parts of one.
    pub(super) fn all<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>, scope: Scope<'_>) -> Result<Origin> {
        let mut origin = Origin::plain();
        for expr in exprs {
            origin = self.expr(expr, scope)?.combine(&origin);
        }
        if origin.is_hidden_join() { Err(no_join_on()) } else { Ok(origin) }
    }

    fn binary(&mut self, binary: &BinaryExpr, scope: Scope<'_>) -> Result<Origin> {
        match binary.op {
            Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom => {
                let (left, right) = (self.expr(&binary.left, scope)?, self.expr(&binary.right, scope)?);
                if left.lineage.crosses_namespaces(&right.lineage) {
                    return Err(namespaces());
                }
                let both = left.combine(&right);
                return if both.is_hidden_join() { Err(no_join_on()) } else { Ok(both) };
            }
            // Long texts of many rows overflow their array.
            Operator::StringConcat if scope.strict => {
                return Err(aggregates_only("texts are not concatenated below the aggregate"));
            }
            // `(a AND b) OR (NOT a AND NOT b)` is `a = b`: only the terms of a whole condition stand side by side.
            Operator::And | Operator::Or | Operator::StringConcat => {}
            Operator::Plus | Operator::Minus | Operator::Multiply => {
                arithmetic(&[scope.type_of(&binary.left)?, scope.type_of(&binary.right)?], scope)?;
            }
            Operator::Divide | Operator::Modulo => {
                let types = [scope.type_of(&binary.left)?, scope.type_of(&binary.right)?];
                arithmetic(&types, scope)?;
                // The smallest integer divided by -1 overflows; no other division of integers does.
                let positive = matches!(&*binary.right, Expr::Literal(ScalarValue::Int64(Some(1..)), _));
                if scope.strict && types.iter().all(DataType::is_integer) && !positive {
                    return Err(aggregates_only("integers are divided by a positive number only"));
                }
            }
            // The other operators are patterns compiled per row, bits, and forms of JSON and arrays.
            other => {
                return Err(reject("unsupported", format!("the operator `{other}` is not accepted")));
            }
        }
        self.all([&*binary.left, &*binary.right], scope)
    }

    fn cast(&mut self, expr: &Expr, to: &DataType, scope: Scope<'_>) -> Result<Origin> {
        if !is_scalar_type(to) {
            return Err(reject("type", "a cast goes to a plain type only"));
        }
        self.expr(expr, scope)
    }

    fn call(&mut self, call: &ScalarFunction, scope: Scope<'_>) -> Result<Origin> {
        let name = call.func.name();
        if !functions::is_scalar(name) {
            return Err(reject("function", format!("`{}` is not one of the functions of this hub", quote(name))));
        }
        if scope.strict {
            strict_call(name, &call.args)?;
            if matches!(name, "ceil" | "floor") {
                let types = call.args.iter().map(|arg| scope.type_of(arg)).collect::<Result<Vec<_>>>()?;
                arithmetic(&types, scope)?;
            }
        }
        if matches!(name, "date_part" | "date_trunc") {
            let field = call.args.first().and_then(|arg| match arg {
                Expr::Literal(value, _) => value.try_as_str().flatten(),
                _ => None,
            });
            if !field.is_some_and(|field| functions::is_date_field(&field.to_lowercase())) {
                return Err(reject("function", format!("`{name}` takes one of the usual fields, written out")));
            }
        }
        self.all(&call.args, scope)
    }

    /// Where a column of a query around this one comes from, the nearest first.
    fn outer_column(&self, column: &Column) -> Result<Origin> {
        let found = self
            .outer
            .iter()
            .rev()
            .find_map(|(schema, columns)| columns.get(schema.maybe_index_of_column(column)?).cloned());
        found.ok_or_else(unsupported)
    }

    fn subquery(&mut self, subquery: &Subquery, scope: Scope<'_>) -> Result<Origin> {
        if self.rules.aggregate_only {
            return Err(aggregates_only("subqueries are not accepted in expressions"));
        }
        self.outer.push((scope.schema.clone(), scope.columns.to_vec()));
        let flow = self.plan(&subquery.subquery)?;
        self.outer.pop();
        Ok(flow.columns.into_iter().next().unwrap_or_else(Origin::plain))
    }
}

/// Functions over hidden rows: total ones, and those that a chosen argument could make fail take plain columns.
fn strict_call(name: &str, args: &[Expr]) -> Result<()> {
    if !functions::is_strict(name) {
        return Err(aggregates_only(&format!("the function `{name}` is not accepted below the aggregate")));
    }
    let plain = match name {
        "date_part" | "date_trunc" => matches!(args, [_, Expr::Column(_)]),
        "left" | "right" | "substr" => args.iter().skip(1).all(is_small_number),
        "starts_with" | "ends_with" => matches!(args, [_, Expr::Literal(..)]),
        _ => true,
    };
    if plain { Ok(()) } else { Err(aggregates_only(&format!("`{name}` takes a column and literals"))) }
}

/// A pattern is compiled when its first row comes; a short one cannot fail to compile.
fn is_short_pattern(pattern: &Expr) -> bool {
    matches!(pattern, Expr::Literal(value, _) if value.try_as_str().flatten().is_some_and(|text| text.len() <= 256))
}

fn is_small_number(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Int64(Some(0..=65_536)), _))
}

/// Over hidden rows only integers, which wrap, and doubles, which saturate, may be computed with.
fn arithmetic(types: &[DataType], scope: Scope<'_>) -> Result<()> {
    let total = types.iter().all(|it| matches!(it, DataType::Int64 | DataType::Float64 | DataType::Null));
    if scope.strict && !total {
        return Err(reject("type", "below an aggregate of such a dataset only int64 and float64 are computed with"));
    }
    Ok(())
}

fn literal(value: &ScalarValue) -> Result<Origin> {
    let data_type = value.data_type();
    if is_scalar_type(&data_type) || matches!(data_type, DataType::Interval(_) | DataType::Null) {
        return Ok(Origin::plain());
    }
    Err(reject("type", "a literal is of a plain type"))
}

fn is_scalar_type(data_type: &DataType) -> bool {
    data_type.is_numeric()
        || matches!(
            data_type,
            DataType::Boolean
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Date32
                | DataType::Timestamp(_, None)
        )
        // The name of another time zone is read when the first row comes, and may be nonsense.
        || matches!(data_type, DataType::Timestamp(_, Some(zone)) if matches!(&**zone, "UTC" | "+00:00"))
}

fn unsupported() -> Error {
    reject("unsupported", "this form of SQL is not supported")
}
