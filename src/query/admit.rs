//! The first gate: what the text alone decides, before DataFusion sees any of it.
//!
//! A ten-kilobyte query can plan for a minute and a forty-kilobyte one overflows the stack, so bytes, tokens, depth,
//! relations and unions are capped here. Whatever is not exactly one plain query is refused by name.

use std::{
    collections::{BTreeSet, VecDeque},
    ops::ControlFlow,
};

use datafusion::{
    common::TableReference,
    sql::{
        parser::{DFParserBuilder, Statement},
        resolve::resolve_table_references,
        sqlparser::{
            ast::{self, Visit, VisitMut, Visitor, VisitorMut},
            dialect::PostgreSqlDialect,
            tokenizer::{Token, Tokenizer},
        },
    },
};

use super::{
    failure::{quote, reject},
    functions,
};
use crate::{
    domain::DatasetId,
    error::{Error, Result},
};

/// Largest text, in bytes.
pub(super) const MAX_BYTES: usize = 32 * 1024;
/// Most tokens, white space and comments aside.
pub(super) const MAX_TOKENS: usize = 4_000;
/// Deepest nesting of expressions and queries.
pub(super) const MAX_DEPTH: usize = 100;
/// Most relations that a query may name, repetitions included.
pub(super) const MAX_RELATIONS: usize = 16;
/// Most set operations.
pub(super) const MAX_UNIONS: usize = 8;
/// Longest list of `IN`.
pub(super) const MAX_IN: usize = 1_000;
/// Longest literal, in bytes.
pub(super) const MAX_LITERAL: usize = 8 * 1024;
/// Most grouping sets, which CUBE doubles with each column.
const MAX_GROUPING_SETS: usize = 64;
/// Largest product of the argument counts of all concatenations: nested ones multiply the length of their input.
const MAX_CONCAT: usize = 64;

/// What the text of a query may hold at most, for those who tell clients.
#[derive(Debug, Clone, Copy)]
pub struct TextLimits {
    /// Bytes of the text.
    pub text_bytes: usize,
    /// Bytes of one literal.
    pub literal_bytes: usize,
    /// Relations, repetitions included.
    pub relations: usize,
}

/// The limits of a query's text.
pub const fn limits() -> TextLimits {
    TextLimits { text_bytes: MAX_BYTES, literal_bytes: MAX_LITERAL, relations: MAX_RELATIONS }
}

/// A query whose text is acceptable, with the datasets that it names.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The datasets that the query reads.
    pub tables: BTreeSet<DatasetId>,
    /// The catalogs that qualify them (`catalog.owner.dataset`), if any; in Flight SQL a catalog is a purpose.
    pub catalogs: BTreeSet<String>,
    pub(super) statement: Statement,
    normalised: String,
    pub(super) text: String,
}

impl Admitted {
    /// The query as the parser writes it: one form for texts that differ only in layout and comments.
    pub fn normalised(&self) -> &str {
        &self.normalised
    }
}

/// Admits `sql`; recurses over what it parses, so it wants a big stack. Places for parameters are admitted for
/// finding their types only: a plan that still has one is refused by the guard.
pub(super) fn admit(sql: &str, places: bool) -> Result<Admitted> {
    let mut query = parse(sql)?;
    let mut check = Check { concat: 1, grouping_sets: 1, places, ..Check::default() };
    if let ControlFlow::Break(error) = query.visit(&mut check) {
        return Err(error);
    }
    let mut catalogs = Catalogs(BTreeSet::new());
    let _: ControlFlow<()> = VisitMut::visit(&mut query, &mut catalogs);
    let normalised = query.to_string();
    let statement = Statement::Statement(Box::new(ast::Statement::Query(query)));
    let (references, _) = resolve_table_references(&statement, true)
        .map_err(|_| reject("unknown_table", "a table is written as `owner.dataset`"))?;
    let tables = references.iter().map(dataset).collect::<Result<_>>()?;
    Ok(Admitted { tables, catalogs: catalogs.0, statement, normalised, text: sql.to_owned() })
}

fn parse(sql: &str) -> Result<Box<ast::Query>> {
    if sql.len() > MAX_BYTES {
        return Err(reject("too_large", format!("the text exceeds {MAX_BYTES} bytes")));
    }
    let dialect = PostgreSqlDialect {};
    let syntax = |text: &str| reject("syntax", format!("this is not valid SQL{}", place(text)));
    let tokens = Tokenizer::new(&dialect, sql).tokenize().map_err(|error| syntax(&error.to_string()))?;
    if tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).count() > MAX_TOKENS {
        return Err(reject("too_large", format!("the text exceeds {MAX_TOKENS} tokens")));
    }
    // Names of the engine's own hidden columns: none of the caller's may look like one.
    let reserved = tokens.iter().find_map(|token| match token {
        Token::Word(word) if is_reserved(&word.value) => Some(quote(&word.value)),
        _ => None,
    });
    if let Some(name) = reserved {
        return Err(reject("unknown_column", format!("there is no column `{name}` here")));
    }
    let statements: VecDeque<Statement> = DFParserBuilder::new(sql)
        .with_dialect(&dialect)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| syntax(&error.to_string()))?;
    let mut statements = statements.into_iter();
    match (statements.next(), statements.next()) {
        (Some(Statement::Statement(statement)), None) => match *statement {
            ast::Statement::Query(query) => Ok(query),
            _ => Err(only_select()),
        },
        (Some(_), None) => Err(only_select()),
        _ => Err(reject("one_statement", "write exactly one statement")),
    }
}

/// Whether a name belongs to the engine.
pub(super) fn is_reserved(name: &str) -> bool {
    name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("__odh"))
}

fn only_select() -> Error {
    reject("only_select", "only SELECT is accepted")
}

/// ` at line 1, column 8`, taken from a parser's message, of which nothing else is kept.
fn place(message: &str) -> String {
    let number = |label: &str| {
        let (_, rest) = message.rsplit_once(label)?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        (!digits.is_empty()).then_some(digits)
    };
    match (number("Line: "), number("Column: ")) {
        (Some(line), Some(column)) => format!(" at line {line}, column {column}"),
        _ => String::new(),
    }
}

fn dataset(reference: &TableReference) -> Result<DatasetId> {
    let unknown = || {
        let name = quote(&reference.to_string());
        reject("unknown_table", format!("`{name}` does not exist, or you may not see it; a table is `owner.dataset`"))
    };
    let owner = reference.schema().ok_or_else(unknown)?.parse().map_err(|_| unknown())?;
    let name = reference.table().parse().map_err(|_| unknown())?;
    Ok(DatasetId { owner, name })
}

/// Takes the catalog off three-part table names: datasets are planned as `owner.dataset`.
struct Catalogs(BTreeSet<String>);

impl VisitorMut for Catalogs {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &mut ast::ObjectName) -> ControlFlow<()> {
        if relation.0.len() == 3 {
            let catalog = relation.0.remove(0);
            self.0.insert(catalog.as_ident().map_or_else(|| catalog.to_string(), |ident| ident.value.clone()));
        }
        ControlFlow::Continue(())
    }
}

/// Counts and refuses while walking the syntax tree.
#[derive(Default)]
struct Check {
    depth: usize,
    relations: usize,
    unions: usize,
    concat: usize,
    grouping_sets: usize,
    places: bool,
}

impl Check {
    fn deeper(&mut self) -> ControlFlow<Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return too_complex(format!("expressions and queries nest deeper than {MAX_DEPTH}"));
        }
        ControlFlow::Continue(())
    }

    fn set_expr(&mut self, body: &ast::SetExpr) -> ControlFlow<Error> {
        match body {
            ast::SetExpr::Select(_) | ast::SetExpr::Query(_) => ControlFlow::Continue(()),
            ast::SetExpr::SetOperation { left, right, .. } => {
                self.unions += 1;
                if self.unions > MAX_UNIONS {
                    return too_complex(format!("there are more than {MAX_UNIONS} set operations"));
                }
                self.set_expr(left)?;
                self.set_expr(right)
            }
            ast::SetExpr::Values(_) => refuse("table_function", "VALUES is not accepted as a relation"),
            ast::SetExpr::Table(_) => refuse("only_select", "write SELECT instead of TABLE"),
            ast::SetExpr::Insert(_) | ast::SetExpr::Update(_) | ast::SetExpr::Delete(_) | ast::SetExpr::Merge(_) => {
                ControlFlow::Break(only_select())
            }
        }
    }

    fn concatenates(&mut self, arguments: usize) -> ControlFlow<Error> {
        self.concat = self.concat.saturating_mul(arguments.max(1));
        if self.concat > MAX_CONCAT {
            return too_complex("there are too many concatenations".to_owned());
        }
        ControlFlow::Continue(())
    }

    fn grouping_sets(&mut self, sets: usize) -> ControlFlow<Error> {
        self.grouping_sets = self.grouping_sets.saturating_mul(sets.max(1));
        if self.grouping_sets > MAX_GROUPING_SETS {
            return too_complex(format!("there are more than {MAX_GROUPING_SETS} grouping sets"));
        }
        ControlFlow::Continue(())
    }

    fn function(&mut self, function: &ast::Function) -> ControlFlow<Error> {
        let name = match function.name.0.as_slice() {
            [part] => part.as_ident().map(|ident| ident.value.to_lowercase()),
            _ => None,
        };
        let Some(name) = name.filter(|name| functions::is_known(name)) else {
            let shown = quote(&function.name.to_string());
            return refuse("function", format!("`{shown}` is not one of the functions of this hub"));
        };
        if function.over.is_some() {
            return refuse("window", "window functions are not accepted");
        }
        let plain = matches!(function.parameters, ast::FunctionArguments::None)
            && function.within_group.is_empty()
            && function.null_treatment.is_none();
        if !plain {
            return refuse("function", format!("`{name}` takes plain arguments only"));
        }
        match (&*name, &function.args) {
            ("concat", ast::FunctionArguments::List(list)) => self.concatenates(list.args.len()),
            _ => ControlFlow::Continue(()),
        }
    }
}

impl Visitor for Check {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<Error> {
        self.deeper()?;
        if query.with.as_ref().is_some_and(|with| with.recursive) {
            return refuse("recursive", "WITH RECURSIVE is not accepted");
        }
        let extras = query.fetch.is_some()
            || !query.locks.is_empty()
            || query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty();
        if extras {
            return refuse("unsupported", "FETCH, FOR, SETTINGS, FORMAT and pipes are not accepted");
        }
        self.set_expr(&query.body)
    }

    fn post_visit_query(&mut self, _: &ast::Query) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &ast::Select) -> ControlFlow<Error> {
        if select.into.is_some() {
            return refuse("only_select", "SELECT INTO is not accepted");
        }
        if matches!(select.distinct, Some(ast::Distinct::On(_))) {
            return refuse("unsupported", "DISTINCT ON is not accepted");
        }
        if !select.named_window.is_empty() || select.qualify.is_some() {
            return refuse("window", "window functions are not accepted");
        }
        let extras = select.top.is_some()
            || !select.lateral_views.is_empty()
            || select.prewhere.is_some()
            || !select.connect_by.is_empty()
            || !select.cluster_by.is_empty()
            || !select.distribute_by.is_empty()
            || !select.sort_by.is_empty()
            || select.value_table_mode.is_some();
        if extras {
            return refuse("unsupported", "this clause is not accepted");
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &ast::TableFactor) -> ControlFlow<Error> {
        match factor {
            ast::TableFactor::Table {
                name,
                args: None,
                with_hints,
                version: None,
                with_ordinality: false,
                partitions,
                json_path: None,
                sample: None,
                index_hints,
                ..
            } if with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty() => {
                self.relations += 1;
                if self.relations > MAX_RELATIONS {
                    return too_complex(format!("there are more than {MAX_RELATIONS} relations"));
                }
                if name.0.len() > 3 {
                    return refuse("unknown_table", "a table is written as `owner.dataset`");
                }
                ControlFlow::Continue(())
            }
            ast::TableFactor::Derived { lateral: false, sample: None, .. } | ast::TableFactor::NestedJoin { .. } => {
                ControlFlow::Continue(())
            }
            ast::TableFactor::Derived { lateral: true, .. } => refuse("lateral", "LATERAL is not accepted"),
            _ => refuse("table_function", "only datasets and subqueries are accepted as relations"),
        }
    }

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<Error> {
        self.deeper()?;
        match expr {
            ast::Expr::Function(function) => self.function(function),
            ast::Expr::BinaryOp { op: ast::BinaryOperator::StringConcat, .. } => self.concatenates(2),
            ast::Expr::Cube(sets) => self.grouping_sets(1 << sets.len().min(16)),
            ast::Expr::Rollup(sets) => self.grouping_sets(sets.len() + 1),
            ast::Expr::GroupingSets(sets) => self.grouping_sets(sets.len()),
            ast::Expr::InList { list, .. } if list.len() > MAX_IN => {
                too_complex(format!("a list of IN has more than {MAX_IN} values"))
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn post_visit_expr(&mut self, _: &ast::Expr) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ast::ValueWithSpan) -> ControlFlow<Error> {
        match &value.value {
            ast::Value::Placeholder(_) if self.places => ControlFlow::Continue(()),
            ast::Value::Placeholder(_) => refuse("placeholder", "parameters are not accepted: write the value"),
            ast::Value::Number(digits, _) if digits.len() > MAX_LITERAL => {
                too_complex("a number is too long".to_owned())
            }
            other => match other.clone().into_string() {
                Some(text) if text.len() > MAX_LITERAL => {
                    too_complex(format!("a literal is longer than {MAX_LITERAL} bytes"))
                }
                _ => ControlFlow::Continue(()),
            },
        }
    }
}

fn refuse(rule: &'static str, detail: impl std::fmt::Display) -> ControlFlow<Error> {
    ControlFlow::Break(reject(rule, detail))
}

fn too_complex(detail: String) -> ControlFlow<Error> {
    refuse("too_complex", detail)
}
