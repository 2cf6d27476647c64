//! `GetXdbcTypeInfo`: the seven types that a column can have.

use std::sync::LazyLock;

use arrow_flight::{
    error::FlightError,
    sql::{
        Nullable, Searchable, XdbcDataType, XdbcDatetimeSubcode,
        metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder},
    },
};

use crate::error::{Error, Result};

static DATA: LazyLock<std::result::Result<XdbcTypeInfoData, FlightError>> = LazyLock::new(|| {
    let mut builder = XdbcTypeInfoDataBuilder::new();
    for info in types() {
        builder.append(info);
    }
    builder.build()
});

/// The types.
pub(super) fn data() -> Result<&'static XdbcTypeInfoData> {
    DATA.as_ref().map_err(Error::internal)
}

fn types() -> [XdbcTypeInfo; 7] {
    let info = |name: &str, data_type: XdbcDataType, size: Option<i32>| XdbcTypeInfo {
        type_name: name.to_owned(),
        data_type,
        sql_data_type: data_type,
        column_size: size,
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        auto_increment: Some(false),
        local_type_name: Some(name.to_owned()),
        ..XdbcTypeInfo::default()
    };
    let number = |name: &str, data_type, size| XdbcTypeInfo {
        searchable: Searchable::Basic,
        unsigned_attribute: Some(false),
        num_prec_radix: Some(10),
        ..info(name, data_type, Some(size))
    };
    let quoted = |info: XdbcTypeInfo| XdbcTypeInfo {
        literal_prefix: Some("'".to_owned()),
        literal_suffix: Some("'".to_owned()),
        ..info
    };
    let instant = |info: XdbcTypeInfo, prefix: &str, subcode| XdbcTypeInfo {
        literal_prefix: Some(format!("{prefix} '")),
        literal_suffix: Some("'".to_owned()),
        sql_data_type: XdbcDataType::XdbcDatetime,
        datetime_subcode: Some(subcode),
        searchable: Searchable::Basic,
        ..info
    };
    [
        XdbcTypeInfo { searchable: Searchable::Basic, ..info("BOOLEAN", XdbcDataType::XdbcBit, Some(1)) },
        XdbcTypeInfo {
            minimum_scale: Some(0),
            maximum_scale: Some(0),
            ..number("BIGINT", XdbcDataType::XdbcBigint, 19)
        },
        XdbcTypeInfo {
            create_params: Some(vec!["precision".to_owned(), "scale".to_owned()]),
            fixed_prec_scale: true,
            minimum_scale: Some(0),
            maximum_scale: Some(38),
            ..number("DECIMAL", XdbcDataType::XdbcDecimal, 38)
        },
        number("DOUBLE", XdbcDataType::XdbcDouble, 15),
        quoted(XdbcTypeInfo { case_sensitive: true, ..info("VARCHAR", XdbcDataType::XdbcVarchar, None) }),
        // The protocol has no subcode of a date; its `YEAR` has the number 1, which is that of ODBC's date.
        instant(info("DATE", XdbcDataType::XdbcDate, Some(10)), "DATE", XdbcDatetimeSubcode::XdbcSubcodeYear),
        instant(
            XdbcTypeInfo {
                minimum_scale: Some(6),
                maximum_scale: Some(6),
                ..info("TIMESTAMP", XdbcDataType::XdbcTimestamp, Some(32))
            },
            "TIMESTAMP",
            XdbcDatetimeSubcode::XdbcSubcodeTimestampWithTimezone,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_is_there_once_and_can_be_asked_for() {
        let data = data().unwrap();
        assert_eq!(data.record_batch(None).unwrap().num_rows(), 7);
        assert_eq!(data.record_batch(XdbcDataType::XdbcBigint as i32).unwrap().num_rows(), 1);
        assert_eq!(data.record_batch(XdbcDataType::XdbcBinary as i32).unwrap().num_rows(), 0);
    }
}
