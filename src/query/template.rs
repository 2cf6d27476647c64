//! Queries that an owner has approved: a text with places `$name` for typed values.
//!
//! A query is the template's if both are the same token for token, letter case and layout aside, except
//! that a literal of the declared type stands in each place, the same one wherever a name recurs. So it does not matter
//! how the query came about: bound by the hub, by a driver's prepared statement, or written out by hand. A literal in a
//! place is one value and nothing else, hence the query's meaning is the one that the owner has approved. The tokens are
//! those of the text as it was written: what the parser writes back is not always what it has read.

use std::{collections::BTreeMap, fmt::Write as _};

use datafusion::sql::sqlparser::{
    dialect::PostgreSqlDialect,
    tokenizer::{Token, Tokenizer},
};

use super::{
    admit::{self, Admitted},
    engine::Engine,
    failure::reject,
    predicate,
};
use crate::{
    domain::{Column, ColumnRole, ColumnType, DatasetId, Name, Template, Value},
    error::{Error, Reason, Result},
};

/// Longest value, in bytes.
const MAX_VALUE: usize = 8 * 1024;

impl Engine {
    /// Checks approved queries by themselves, each of which must read `dataset`; `POLICY_INVALID` names the one that is
    /// no query of this hub, or whose parameters are not those that it declares.
    pub async fn check_templates(&self, dataset: &DatasetId, templates: &BTreeMap<Name, Template>) -> Result<()> {
        let (dataset, templates) = (dataset.clone(), templates.clone());
        self.aside(move || templates.iter().try_for_each(|(name, each)| check_for(&dataset, name, each))).await
    }

    /// The text of an approved query with these values in its places.
    pub async fn bind_template(&self, template: &Template, values: &BTreeMap<Name, String>) -> Result<String> {
        let (template, values) = (template.clone(), values.clone());
        self.aside(move || bind(&template, &values)).await
    }

    /// The name of one of `templates` that an admitted query is, with values in its places.
    pub async fn approved_as(&self, query: &Admitted, templates: &BTreeMap<Name, Template>) -> Result<Option<Name>> {
        let (query, templates) = (query.clone(), templates.clone());
        let search = move || {
            for (name, each) in &templates {
                if matches(each, &query)? {
                    return Ok(Some(name.clone()));
                }
            }
            Ok(None)
        };
        self.aside(search).await
    }
}

impl Admitted {
    /// One form for texts that differ in layout, comments and letter case only, and different forms for all others.
    pub fn canonical(&self) -> Result<String> {
        let mut canonical = String::with_capacity(self.text.len() + 64);
        for token in tokens(&self.text)? {
            match &token {
                Token::Word(word) if word.quote_style.is_none() => canonical.push_str(&word.value.to_ascii_lowercase()),
                Token::SingleQuotedString(text) => canonical.push_str(&quoted(text)),
                other => {
                    let _ = write!(canonical, "{other:?}");
                }
            }
            canonical.push(' ');
        }
        Ok(canonical)
    }
}

fn check_for(dataset: &DatasetId, name: &Name, template: &Template) -> Result<()> {
    let invalid = |detail: &str| {
        let path = format!("how.templates.{name}");
        Error::new(Reason::PolicyInvalid).with("path", path).with("detail", detail)
    };
    let admitted = check(template)
        .map_err(|error| invalid(error.params().get("detail").map_or("it is no query of this hub", String::as_str)))?;
    if admitted.tables.contains(dataset) { Ok(()) } else { Err(invalid(&format!("it does not read `{dataset}`"))) }
}

/// Checks a template by itself: it is a query that the hub admits, and declares the parameters that it uses.
fn check(template: &Template) -> Result<Admitted> {
    let admitted = admit::admit(&template.sql, true)?;
    let mut unused: Vec<&Name> = template.parameters.keys().collect();
    for token in tokens(&template.sql)? {
        if matches!(&token, Token::Word(word) if word.value.contains('"')) || is_odd_text(&token) {
            return Err(unusable("texts are written in single quotes, without prefix"));
        }
        if let Token::Placeholder(place) = &token {
            let name = declared(template, place)
                .ok_or_else(|| unusable(format_args!("`{}` is not among its parameters", place.escape_debug())))?
                .0;
            unused.retain(|other| *other != name);
        }
    }
    match unused.first() {
        None => Ok(admitted),
        Some(name) => Err(unusable(format_args!("it does not use its parameter `{name}`"))),
    }
}

/// The text of a template with these values in its places, written as literals of the declared types.
fn bind(template: &Template, values: &BTreeMap<Name, String>) -> Result<String> {
    if let Some(name) = values.keys().find(|name| !template.parameters.contains_key(*name)) {
        return Err(Error::invalid("parameters", format_args!("the template has no parameter `{name}`")));
    }
    let mut literals = BTreeMap::new();
    for (name, data_type) in &template.parameters {
        let missing = || Error::invalid("parameters", format_args!("the template wants a value for `{name}`"));
        literals.insert(format!("${name}"), literal(name, *data_type, values.get(name).ok_or_else(missing)?)?);
    }
    let mut text = String::with_capacity(template.sql.len() + 64);
    for token in tokens(&template.sql)? {
        match &token {
            Token::Placeholder(place) => {
                text.push_str(literals.get(place).ok_or_else(|| unusable("it has a place without a type"))?);
            }
            Token::SingleQuotedString(it) => text.push_str(&quoted(it)),
            other => text.push_str(&other.to_string()),
        }
        text.push(' ');
    }
    Ok(text)
}

/// Whether a query is one that the template stands for.
fn matches(template: &Template, query: &Admitted) -> Result<bool> {
    let approved = tokens(&template.sql)?;
    let query = tokens(&query.text)?;
    let mut rest = query.as_slice();
    let mut bound: BTreeMap<&str, &[Token]> = BTreeMap::new();
    for token in &approved {
        if let Token::Placeholder(place) = token {
            let Some((_, data_type)) = declared(template, place) else { return Ok(false) };
            let Some(length) = literal_at(rest, data_type) else { return Ok(false) };
            let (value, after) = rest.split_at(length);
            if *bound.entry(place).or_insert(value) != value {
                return Ok(false);
            }
            rest = after;
        } else {
            let Some((first, after)) = rest.split_first() else { return Ok(false) };
            if !is_same(first, token) {
                return Ok(false);
            }
            rest = after;
        }
    }
    Ok(rest.is_empty())
}

fn declared<'a>(template: &'a Template, place: &str) -> Option<(&'a Name, ColumnType)> {
    let name = place.strip_prefix('$')?;
    let found = template.parameters.iter().find(|(parameter, _)| parameter.as_str() == name);
    found.map(|(name, data_type)| (name, *data_type))
}

/// The tokens of a text without its layout, comments and last semicolon.
fn tokens(sql: &str) -> Result<Vec<Token>> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize().map_err(|_| unusable("it cannot be read"))?;
    let mut tokens: Vec<_> = tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    while tokens.last() == Some(&Token::SemiColon) {
        tokens.pop();
    }
    Ok(tokens)
}

/// Words without quotes mean the same in either case.
fn is_same(a: &Token, b: &Token) -> bool {
    match (a, b) {
        (Token::Word(a), Token::Word(b)) if a.quote_style.is_none() && b.quote_style.is_none() => {
            a.value.eq_ignore_ascii_case(&b.value)
        }
        _ => a == b,
    }
}

/// Whether a token is a text in another form than single quotes.
const fn is_odd_text(token: &Token) -> bool {
    matches!(
        token,
        Token::DoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
    )
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The literal of a value, on its own in any surroundings.
fn literal(name: &Name, data_type: ColumnType, value: &str) -> Result<String> {
    let misfit = || Error::invalid("parameters", format_args!("the value of `{name}` does not read as {data_type}"));
    if value.len() > MAX_VALUE {
        return Err(misfit());
    }
    let parsed = match data_type {
        ColumnType::Boolean => Value::Bool(value.parse().map_err(|_| misfit())?),
        ColumnType::Int64 => Value::Int(value.parse().map_err(|_| misfit())?),
        _ => Value::Text(value.to_owned()),
    };
    let column = Column {
        name: name.to_string(),
        data_type,
        nullable: false,
        role: ColumnRole::Dimension,
        description: String::new(),
    };
    predicate::literal(&column, &parsed).map_err(|_| misfit())?;
    // The value reads as its type, so that what is written below has no other characters than that allows.
    let signed = |number: &str| if number.starts_with('-') { format!("({number})") } else { number.to_owned() };
    Ok(match (data_type, parsed) {
        (_, Value::Bool(value)) => value.to_string(),
        (_, Value::Int(value)) => signed(&value.to_string()),
        (ColumnType::Float64, Value::Text(text)) => {
            let number: f64 = text.parse().map_err(|_| misfit())?;
            signed(&format!("{number:?}"))
        }
        (ColumnType::Decimal { precision, scale }, Value::Text(text)) => {
            format!("CAST('{text}' AS DECIMAL({precision},{scale}))")
        }
        (ColumnType::Date, Value::Text(text)) => format!("DATE '{text}'"),
        (ColumnType::Timestamp, Value::Text(text)) => format!("TIMESTAMP '{text}'"),
        (_, Value::Text(text)) => quoted(&text),
    })
}

/// How many tokens at the beginning of `tokens` are one literal of the type; a minus sign is in parentheses.
fn literal_at(tokens: &[Token], data_type: ColumnType) -> Option<usize> {
    let word = |at: usize, name: &str| matches!(tokens.get(at), Some(Token::Word(word)) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(name));
    let text = |at: usize| matches!(tokens.get(at), Some(Token::SingleQuotedString(_)));
    match data_type {
        ColumnType::Boolean => (word(0, "true") || word(0, "false")).then_some(1),
        ColumnType::Int64 => number_at(tokens, |digits| digits.parse::<u64>().is_ok_and(|it| it <= 1 << 63)),
        ColumnType::Float64 => number_at(tokens, |digits| digits.parse::<f64>().is_ok_and(f64::is_finite)),
        ColumnType::Decimal { precision, scale } => number_at(tokens, is_plain_decimal).or_else(|| {
            let form = [precision.to_string(), scale.to_string()];
            let number = |at: usize, form: &str| matches!(tokens.get(at), Some(Token::Number(it, _)) if it == form);
            let fits = word(0, "cast")
                && tokens.get(1) == Some(&Token::LParen)
                && text(2)
                && word(3, "as")
                && word(4, "decimal")
                && tokens.get(5) == Some(&Token::LParen)
                && number(6, &form[0])
                && tokens.get(7) == Some(&Token::Comma)
                && number(8, &form[1])
                && tokens.get(9) == Some(&Token::RParen)
                && tokens.get(10) == Some(&Token::RParen);
            fits.then_some(11)
        }),
        ColumnType::String => text(0).then_some(1),
        ColumnType::Date => (word(0, "date") && text(1)).then_some(2),
        ColumnType::Timestamp => (word(0, "timestamp") && text(1)).then_some(2),
    }
}

fn is_plain_decimal(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

fn number_at(tokens: &[Token], fits: impl Fn(&str) -> bool) -> Option<usize> {
    let number = |token: &Token| matches!(token, Token::Number(digits, false) if fits(digits));
    match tokens {
        [first, ..] if number(first) => Some(1),
        [Token::LParen, first, Token::RParen, ..] if number(first) => Some(3),
        [Token::LParen, Token::Minus, first, Token::RParen, ..] if number(first) => Some(4),
        _ => None,
    }
}

fn unusable(detail: impl std::fmt::Display) -> Error {
    reject("template", format_args!("the template is not usable: {detail}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Text;

    fn template(sql: &str, parameters: &[(&str, ColumnType)]) -> Template {
        let parameters = parameters.iter().map(|(name, it)| (name.parse().unwrap(), *it)).collect();
        Template { sql: sql.to_owned(), parameters, text: Text::default() }
    }

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<Name, String> {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), (*value).to_owned())).collect()
    }

    fn is(template: &Template, sql: &str) -> bool {
        matches(template, &admit::admit(sql, false).unwrap()).unwrap()
    }

    const EVERY: [(&str, ColumnType); 7] = [
        ("b", ColumnType::Boolean),
        ("i", ColumnType::Int64),
        ("f", ColumnType::Float64),
        ("d", ColumnType::Decimal { precision: 5, scale: 2 }),
        ("s", ColumnType::String),
        ("day", ColumnType::Date),
        ("at", ColumnType::Timestamp),
    ];

    #[test]
    fn a_bound_template_is_its_template_for_every_type_and_hostile_values() {
        let it = template(
            "select count(*) from chu.stays where b = $b and i > $i and f < $f and d = $d and s = $s and day = $day \
             and at >= $at -- a comment",
            &EVERY,
        );
        check(&it).unwrap();
        for (integer, text) in [("5", "x"), ("-5", "' OR 1=1 --"), ("-9223372036854775808", "it''s \\' $i $$ /* */")] {
            let values = values(&[
                ("b", "true"),
                ("i", integer),
                ("f", "-1e300"),
                ("d", "-1.50"),
                ("s", text),
                ("day", "2026-01-31"),
                ("at", "2026-01-31T10:00:00Z"),
            ]);
            let sql = bind(&it, &values).unwrap();
            let bound = admit::admit(&sql, false).unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert!(matches(&it, &bound).unwrap(), "{sql}");
        }
    }

    #[test]
    fn whatever_is_not_one_literal_in_a_place_is_another_query() {
        let it =
            template("SELECT count(*) FROM chu.stays WHERE age = $age OR born = $age", &[("age", ColumnType::Int64)]);
        assert!(is(&it, "select count( * )  from chu.stays where age = 7 or born=7"));
        assert!(is(&it, "SELECT count(*) FROM chu.stays WHERE age = (-7) OR born = (-7)"));
        for other in [
            "SELECT count(*) FROM chu.stays WHERE age = 7 OR born = 8",
            "SELECT count(*) FROM chu.stays WHERE age = '7' OR born = '7'",
            "SELECT count(*) FROM chu.stays WHERE age = 7.5 OR born = 7.5",
            "SELECT count(*) FROM chu.stays WHERE age = age OR born = age",
            "SELECT count(*) FROM chu.stays WHERE age = 7 + 1 OR born = 7 + 1",
            "SELECT count(*) FROM chu.stays WHERE age = NULL OR born = NULL",
            "SELECT count(*) FROM chu.stays WHERE age = 7 OR born = 7 OR TRUE",
            "SELECT count(*) FROM chu.stays WHERE age = 7",
            "SELECT count(*) FROM chu.stays",
            "SELECT sum(cost) FROM chu.stays WHERE age = 7 OR born = 7",
            "SELECT count(*) FROM lab.stays WHERE age = 7 OR born = 7",
        ] {
            assert!(!is(&it, other), "{other}");
        }
    }

    #[test]
    fn a_text_cannot_pretend_to_be_the_rest_of_the_query() {
        let it = template(
            "SELECT count(*) FROM chu.stays WHERE a = $a AND b = $b AND c = 'z'",
            &[("a", ColumnType::String), ("b", ColumnType::String)],
        );
        assert!(is(&it, "SELECT count(*) FROM chu.stays WHERE a = 'x\\' AND b = '' AND c = 'z';"));
        for other in [
            "SELECT count(*) FROM chu.stays WHERE a = 'x\\'' AND b = ' AND c = 'z'",
            "SELECT count(*) FROM chu.stays WHERE a = 'x'' AND b = ''y' AND c = 'z'",
            "SELECT count(*) FROM chu.stays WHERE a = E'x\\' AND b = ' AND c = 'z'",
            "SELECT count(*) FROM chu.stays WHERE a = $$x$$ AND b = 'y' AND c = 'z'",
        ] {
            if let Ok(query) = admit::admit(other, false) {
                assert!(!matches(&it, &query).unwrap(), "{other}");
            }
        }
    }

    #[test]
    fn parameters_are_declared_and_used_and_have_values_of_their_type() {
        let rule = |it: &Template| check(it).unwrap_err().params()["detail"].clone();
        let sql = "SELECT count(*) FROM chu.stays WHERE age = $age";
        assert!(rule(&template(sql, &[])).contains("`$age` is not among"));
        assert!(rule(&template(sql, &[("age", ColumnType::Int64), ("x", ColumnType::Int64)])).contains("`x`"));
        assert!(check(&template("SELECT $1", &[])).is_err());
        assert!(check(&template("DROP TABLE x", &[])).is_err());
        let it = template(sql, &[("age", ColumnType::Int64)]);
        for bad in [&[][..], &[("age", "x")], &[("age", "7 OR 1=1")], &[("age", "7"), ("other", "1")], &[("age", "")]] {
            assert!(bind(&it, &values(bad)).is_err(), "{bad:?}");
        }
        let day = template("SELECT count(*) FROM chu.stays WHERE day = $day", &[("day", ColumnType::Date)]);
        for bad in ["2026-02-30", "2026-01-01' OR '1'='1", "yesterday"] {
            assert!(bind(&day, &values(&[("day", bad)])).is_err(), "{bad}");
        }
    }
}
