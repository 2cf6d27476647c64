//! Random queries on rows: joins of every kind, subqueries, grouping, set operations, and a share of mistakes.

use super::{
    Asked,
    rng::{DIVIDE, END, MODULO, Rng, for_evaluator, for_hub},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    Text,
    Date,
}

type Column = (String, Kind);

/// The columns that the policy leaves, by dataset.
const TABLES: [(&str, &[(&str, Kind)]); 3] = [
    (
        "chu.health",
        &[
            ("subject_id", Kind::Text),
            ("commune", Kind::Text),
            ("diagnosis", Kind::Text),
            ("age", Kind::Integer),
            ("cost", Kind::Integer),
            ("stay", Kind::Date),
        ],
    ),
    ("grid.meters", &[("subject", Kind::Text)]),
    ("region.communes", &[("code", Kind::Text), ("department", Kind::Text), ("population", Kind::Integer)]),
];

/// Replacements that take a query just outside the fragment.
const MISTAKES: &[(&str, &str)] = &[
    ("age", "price"),
    ("cost", "__ordinal"),
    ("lower(", "sha256("),
    ("upper(", "repeat('x', "),
    ("count(*)", "row_number() OVER ()"),
    ("count(*)", "array_agg(commune)"),
    ("SELECT ", "SELECT DISTINCT ON (1) "),
    (" FROM ", " FROM generate_series(1, 9) g, "),
    ("chu.health", "chu.nothing"),
    ("chu.health", "LATERAL (SELECT 1)"),
    ("'Albi'", "$1"),
    (" = ", " ~ "),
    (" WHERE ", " WHERE secret > 0 AND "),
    ("SELECT ", "EXPLAIN SELECT "),
    (" LIKE ", " SIMILAR TO "),
];

pub(super) fn query(rng: &mut Rng) -> Asked {
    let mut make = Make { rng, aliases: 0 };
    let kinds: Vec<Kind> = (0..=make.rng.below(3)).map(|_| make.kind()).collect();
    let mut sql = make.select(&kinds, 2);
    if make.rng.chance(15) {
        let operation = make.rng.pick(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT"]);
        sql = format!("{sql} {operation} {}", make.select(&kinds, 1));
    }
    let ordered = make.rng.chance(50);
    if ordered {
        let places: Vec<String> =
            (1..=kinds.len()).map(|at| format!("{at} {}", make.rng.pick(&["", "DESC"]))).collect();
        sql = format!("{sql} ORDER BY {}", places.join(", "));
        if make.rng.chance(40) {
            sql = format!("{sql} LIMIT {}", make.rng.below(9));
        }
    }
    if make.rng.chance(12) {
        let (from, to) = make.rng.pick(MISTAKES);
        return Asked { sql: for_hub(&sql.replacen(from, to, 1)), reference: None, ordered };
    }
    Asked { sql: for_hub(&sql), reference: Some(for_evaluator(&sql)), ordered }
}

struct Make<'a> {
    rng: &'a mut Rng,
    aliases: usize,
}

impl Make<'_> {
    fn kind(&mut self) -> Kind {
        self.rng.pick(&[Kind::Integer, Kind::Integer, Kind::Text, Kind::Text, Kind::Date])
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases)
    }

    /// A SELECT whose columns are of these kinds, named `c0`, `c1` and so on.
    fn select(&mut self, kinds: &[Kind], depth: usize) -> String {
        let (from, columns) = self.from(depth);
        let condition =
            if self.rng.chance(70) { format!(" WHERE {}", self.truth(&columns, 2, depth > 0)) } else { String::new() };
        let named = |exprs: Vec<String>| {
            let exprs: Vec<String> = exprs.iter().enumerate().map(|(at, expr)| format!("{expr} AS c{at}")).collect();
            exprs.join(", ")
        };
        if self.rng.chance(35) {
            let key = self.rng.pick(&columns);
            let outs = kinds.iter().map(|kind| self.aggregate(*kind, &key, &columns)).collect();
            let having = if self.rng.chance(30) { " HAVING count(*) > 1" } else { "" };
            return format!("SELECT {} FROM {from}{condition} GROUP BY {}{having}", named(outs), key.0);
        }
        let outs = kinds.iter().map(|kind| self.value(*kind, &columns, 2)).collect();
        let distinct = if self.rng.chance(15) { "DISTINCT " } else { "" };
        format!("SELECT {distinct}{} FROM {from}{condition}", named(outs))
    }

    /// One to three relations, joined, with what they have.
    fn from(&mut self, depth: usize) -> (String, Vec<Column>) {
        let (mut from, mut columns) = self.relation(depth);
        for _ in 0..self.rng.pick(&[0, 0, 0, 1, 1, 2]) {
            let (other, more) = self.relation(0);
            let kind = self.rng.pick(&["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
            let texts = |columns: &[Column]| -> Vec<Column> {
                columns.iter().filter(|(_, kind)| *kind == Kind::Text).cloned().collect()
            };
            let (left, right) = (self.rng.pick(&texts(&columns)).0, self.rng.pick(&texts(&more)).0);
            from = format!("{from} {kind} {other} ON {left} = {right}");
            columns.extend(more);
        }
        (from, columns)
    }

    fn relation(&mut self, depth: usize) -> (String, Vec<Column>) {
        let alias = self.alias();
        if depth > 0 && self.rng.chance(25) {
            let kinds = [Kind::Text, Kind::Integer];
            let inner = self.select(&kinds, depth - 1);
            let columns = kinds.iter().enumerate().map(|(at, kind)| (format!("{alias}.c{at}"), *kind)).collect();
            return (format!("({inner}) {alias}"), columns);
        }
        let (table, columns) = self.rng.pick(&[TABLES[0], TABLES[0], TABLES[0], TABLES[1], TABLES[2]]);
        let columns = columns.iter().map(|(name, kind)| (format!("{alias}.{name}"), *kind)).collect();
        (format!("{table} {alias}"), columns)
    }

    fn aggregate(&mut self, kind: Kind, key: &Column, columns: &[Column]) -> String {
        if key.1 == kind && self.rng.chance(50) {
            return key.0.clone();
        }
        let of = |make: &mut Self, kind| make.value(kind, columns, 1);
        match kind {
            Kind::Integer => match self.rng.below(5) {
                0 => "count(*)".to_owned(),
                1 => format!("count({})", of(self, Kind::Text)),
                2 => format!("count(DISTINCT {})", of(self, Kind::Text)),
                3 => format!("sum({})", of(self, Kind::Integer)),
                _ => format!("{}({})", self.rng.pick(&["min", "max"]), of(self, Kind::Integer)),
            },
            other => format!("{}({})", self.rng.pick(&["min", "max"]), of(self, other)),
        }
    }

    /// An expression.
    fn value(&mut self, kind: Kind, columns: &[Column], depth: usize) -> String {
        let fitting: Vec<&Column> = columns.iter().filter(|(_, other)| *other == kind).collect();
        if depth == 0 || self.rng.chance(45) {
            if !fitting.is_empty() && self.rng.chance(80) {
                return self.rng.pick(&fitting).0.clone();
            }
            return match kind {
                Kind::Integer => self.rng.pick(&["0", "1", "7", "20", "41", "100", "-3"]).to_owned(),
                Kind::Text => self.rng.pick(&["'Albi'", "'flu'", "'f'", "'12'", "'s0003'", "''"]).to_owned(),
                Kind::Date => self.rng.pick(&["DATE '2022-01-01'", "DATE '2022-03-05'"]).to_owned(),
            };
        }
        let part = |make: &mut Self, kind| make.value(kind, columns, depth - 1);
        match kind {
            Kind::Integer => match self.rng.below(9) {
                0 => format!("({}{DIVIDE}{}{END}", part(self, kind), part(self, kind)),
                1 => format!("({}{MODULO}{}{END}", part(self, kind), part(self, kind)),
                2 => format!("character_length({})", part(self, Kind::Text)),
                3 => format!("CAST({} AS BIGINT)", part(self, Kind::Text)),
                4 => format!("COALESCE({}, {})", part(self, kind), part(self, kind)),
                5 => format!("nullif({}, {})", part(self, kind), part(self, kind)),
                6 => format!("CAST(date_part('year', {}) AS BIGINT)", part(self, Kind::Date)),
                7 => self.case(kind, columns, depth),
                _ => format!("({} {} {})", part(self, kind), self.rng.pick(&["+", "-", "*"]), part(self, kind)),
            },
            Kind::Text => match self.rng.below(6) {
                0 => format!("{}({})", self.rng.pick(&["lower", "upper", "ltrim", "reverse"]), part(self, kind)),
                1 => format!("left({}, {})", part(self, kind), self.rng.below(5)),
                2 => format!("substr({}, {}, {})", part(self, kind), self.rng.below(4), self.rng.below(4)),
                3 => format!("COALESCE({}, {})", part(self, kind), part(self, kind)),
                4 => format!("CAST({} AS VARCHAR)", part(self, Kind::Integer)),
                _ => self.case(kind, columns, depth),
            },
            Kind::Date => self.case(kind, columns, depth),
        }
    }

    fn case(&mut self, kind: Kind, columns: &[Column], depth: usize) -> String {
        let when = self.truth(columns, 0, false);
        let (then, other) = (self.value(kind, columns, depth - 1), self.value(kind, columns, depth - 1));
        format!("CASE WHEN {when} THEN {then} ELSE {other} END")
    }

    /// A condition; `nested` allows subqueries.
    fn truth(&mut self, columns: &[Column], depth: usize, nested: bool) -> String {
        if depth > 0 && self.rng.chance(45) {
            let (a, b) = (self.truth(columns, depth - 1, nested), self.truth(columns, depth - 1, nested));
            return match self.rng.below(3) {
                0 => format!("({a} AND {b})"),
                1 => format!("({a} OR {b})"),
                _ => format!("NOT ({a})"),
            };
        }
        let kind = self.kind();
        let value = self.value(kind, columns, 1);
        match self.rng.below(if nested { 8 } else { 5 }) {
            0 => format!("{value} IS NULL"),
            1 => format!("{value} IN ({}, {})", self.value(kind, &[], 0), self.value(kind, &[], 0)),
            2 => format!("{value} BETWEEN {} AND {}", self.value(kind, &[], 0), self.value(kind, &[], 0)),
            3 => {
                let pattern = self.rng.pick(&["%l%", "s00_%", "F%", "%", "_"]);
                format!("{} LIKE '{pattern}'", self.value(Kind::Text, columns, 1))
            }
            5 => {
                let not = self.rng.pick(&["", "NOT "]);
                format!("{value} {not}IN ({})", self.select(&[kind], 0))
            }
            6 => {
                let (alias, outer) = (self.alias(), self.value(Kind::Text, columns, 0));
                let not = self.rng.pick(&["", "NOT "]);
                format!("{not}EXISTS (SELECT 1 FROM region.communes {alias} WHERE {alias}.code = {outer})")
            }
            7 => format!("{} > (SELECT min(x.age) FROM chu.health x)", self.value(Kind::Integer, columns, 1)),
            _ => format!("{value} {} {}", self.rng.pick(&["=", "<>", "<", ">="]), self.value(kind, columns, 1)),
        }
    }
}
