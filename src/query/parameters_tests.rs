//! What is bound is read back as exactly the value that was bound, whatever it holds.

use std::sync::Arc;

use arrow::array::{
    BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, NullArray, StringArray, UInt64Array,
};
use proptest::prelude::*;

use super::*;

fn bind(sql: &str, columns: Vec<ArrayRef>) -> Result<String> {
    let named = columns.into_iter().enumerate().map(|(at, column)| (at.to_string(), column));
    Parameterised::parse(sql)?.bind(&Literal::row(&RecordBatch::try_from_iter(named).unwrap())?)
}

fn one(column: impl arrow::array::Array + 'static) -> String {
    bind("?", vec![Arc::new(column)]).unwrap().trim().to_owned()
}

fn texts(values: &[&str]) -> Vec<ArrayRef> {
    values.iter().map(|value| Arc::new(StringArray::from(vec![*value])) as ArrayRef).collect()
}

#[test]
fn places_are_found_outside_of_texts_names_and_comments() {
    let sql = "select '?', \"?\", $$?$$ /* ? */ from t -- ?\nwhere é = ? and b in (?,?)";
    assert_eq!(Parameterised::parse(sql).unwrap().count(), 3);
    let bound = bind(sql, texts(&["1", "2", "3"])).unwrap();
    assert!(bound.ends_with("where é =  '1'  and b in ( '2' , '3' )"), "{bound}");
    assert_eq!(
        bind("$2 $1 $2", texts(&["a", "b"])).unwrap().split_whitespace().collect::<Vec<_>>(),
        ["'b'", "'a'", "'b'"]
    );
}

#[test]
fn forms_that_do_not_add_up_are_refused() {
    for bad in ["? $1", "$0", "$2", "$name", "$1x", "$257", "$99999999999999999999999"] {
        assert_eq!(Parameterised::parse(bad).unwrap_err().params()["rule"], "placeholder", "{bad}");
    }
    assert!(Parameterised::parse(&"?,".repeat(MAX_PARAMETERS + 1)).is_err());
    assert!(bind("?", texts(&["a", "b"])).is_err() && bind("? ?", texts(&["a"])).is_err());
    let two_rows: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    assert!(bind("?", vec![two_rows]).is_err());
}

#[test]
fn each_type_has_its_literal() {
    assert_eq!(one(BooleanArray::from(vec![true])), "TRUE");
    assert_eq!(one(Int64Array::from(vec![i64::MIN])), "(-9223372036854775808)");
    assert_eq!(one(UInt64Array::from(vec![u64::MAX])), "(18446744073709551615)");
    assert_eq!(one(Float64Array::from(vec![-1e300])), "(-1e300)");
    assert_eq!(one(Float64Array::from(vec![2.0])), "(2.0)");
    assert_eq!(one(StringArray::from(vec!["l'Aude"])), "'l''Aude'");
    assert_eq!(one(StringArray::from(vec![None::<&str>])), "NULL");
    assert_eq!(one(NullArray::new(1)), "NULL");
    assert_eq!(one(Date32Array::from(vec![19_723])), "DATE '2024-01-01'");
    let decimal = Decimal128Array::from(vec![-1_250]).with_precision_and_scale(6, 2).unwrap();
    assert_eq!(one(decimal), "CAST('-12.50' AS DECIMAL(6, 2))");
    let instant = TimestampMicrosecondArray::from(vec![1_704_067_200_000_001]);
    assert_eq!(one(instant.clone()), "TIMESTAMP '2024-01-01T00:00:00.000001'");
    assert_eq!(one(instant.with_timezone("Europe/Paris")), "TIMESTAMP '2024-01-01T00:00:00.000001'");
}

#[test]
fn what_has_no_literal_is_refused() {
    for bad in [f64::NAN, f64::INFINITY] {
        assert!(bind("?", vec![Arc::new(Float64Array::from(vec![bad]))]).is_err());
    }
    let bytes = arrow::array::BinaryArray::from(vec![&b"x"[..]]);
    assert!(bind("?", vec![Arc::new(bytes)]).is_err());
}

proptest! {
    /// However hostile a text is, the statement around it keeps its tokens and the value comes back whole.
    #[test]
    fn a_bound_text_is_one_token_with_that_value(value in "(?s).{0,64}", quotes in "['\\\\$?\"-]{0,8}") {
        let value = format!("{quotes}{value}{quotes}");
        let bound = bind("select a from t where a = ? and b = 'é?'", texts(&[&value])).unwrap();
        let tokens: Vec<Token> = Tokenizer::new(&PostgreSqlDialect {}, &bound)
            .tokenize()
            .unwrap()
            .into_iter()
            .filter(|token| !matches!(token, Token::Whitespace(_)))
            .collect();
        prop_assert_eq!(tokens.len(), 12);
        prop_assert_eq!(&tokens[7], &Token::SingleQuotedString(value));
        prop_assert_eq!(&tokens[11], &Token::SingleQuotedString("é?".to_owned()));
    }

    #[test]
    fn a_bound_number_is_read_back_exactly(value in any::<f64>().prop_filter("finite", |it| it.is_finite())) {
        let literal = one(Float64Array::from(vec![value]));
        let read = literal.trim_matches(['(', ')']).parse::<f64>().unwrap();
        prop_assert_eq!(read.to_bits(), value.to_bits());
    }
}
