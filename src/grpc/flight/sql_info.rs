//! `GetSqlInfo`: what the hub's SQL can do, so that tools offer nothing that would be refused.

use std::{collections::BTreeMap, sync::LazyLock};

use arrow_flight::{
    error::FlightError,
    sql::{
        SqlInfo, SqlNullOrdering, SqlOuterJoinsSupportLevel, SqlSupportedCaseSensitivity, SqlSupportedGroupBy,
        SqlSupportedResultSetConcurrency, SqlSupportedResultSetType, SqlSupportedSubqueries, SqlSupportedTransaction,
        SqlSupportedUnions, SqlSupportsConvert, SqlTransactionIsolationLevel, SupportedSqlGrammar,
        metadata::{SqlInfoData, SqlInfoDataBuilder},
    },
};

use crate::{
    error::{Error, Result},
    query::limits,
};

/// Longest identifier: `[a-z][a-z0-9_]{0,62}`.
const NAME: i64 = 63;

/// Functions of numbers.
const NUMERIC: &[&str] =
    &["ceil", "floor", "greatest", "isnan", "iszero", "least", "nanvl", "round", "signum", "trunc"];
/// Functions of texts.
const STRING: &[&str] = &[
    "ascii",
    "btrim",
    "character_length",
    "concat",
    "contains",
    "ends_with",
    "initcap",
    "left",
    "lower",
    "ltrim",
    "octet_length",
    "reverse",
    "right",
    "rtrim",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
    "upper",
];
/// Functions of dates.
const DATETIME: &[&str] = &["date_part", "date_trunc"];
/// Functions of anything.
const SYSTEM: &[&str] = &["coalesce", "nullif", "nvl", "nvl2"];

static DATA: LazyLock<std::result::Result<SqlInfoData, FlightError>> = LazyLock::new(|| {
    let mut builder = SqlInfoDataBuilder::new();
    server(&mut builder);
    names_and_functions(&mut builder);
    select(&mut builder);
    most(&mut builder);
    absent(&mut builder);
    builder.build()
});

/// What there is to say.
pub(super) fn data() -> Result<&'static SqlInfoData> {
    DATA.as_ref().map_err(Error::internal)
}

fn server(info: &mut SqlInfoDataBuilder) {
    info.append(SqlInfo::FlightSqlServerName, "Occitanie Data hub");
    info.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    info.append(SqlInfo::FlightSqlServerArrowVersion, arrow::ARROW_VERSION);
    info.append(SqlInfo::FlightSqlServerReadOnly, true);
    info.append(SqlInfo::FlightSqlServerSql, true);
    info.append(SqlInfo::FlightSqlServerSubstrait, false);
    info.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    info.append(SqlInfo::FlightSqlServerCancel, true);
    info.append(SqlInfo::FlightSqlServerBulkIngestion, false);
    info.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, false);
    // In milliseconds; 0 says that a client cannot set one but by the deadline of its call.
    info.append(SqlInfo::FlightSqlServerStatementTimeout, 0_i32);
    info.append(SqlInfo::FlightSqlServerTransactionTimeout, 0_i32);
}

fn names_and_functions(info: &mut SqlInfoDataBuilder) {
    info.append(SqlInfo::SqlDdlCatalog, false);
    info.append(SqlInfo::SqlDdlSchema, false);
    info.append(SqlInfo::SqlDdlTable, false);
    info.append(SqlInfo::SqlIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32);
    info.append(SqlInfo::SqlQuotedIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityUnknown as i32);
    info.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    info.append(SqlInfo::SqlExtraNameCharacters, "");
    info.append(SqlInfo::SqlSearchStringEscape, "\\");
    info.append(SqlInfo::SqlAllTablesAreSelectable, true);
    info.append(SqlInfo::SqlKeywords, &[][..] as &[&str]);
    info.append(SqlInfo::SqlNumericFunctions, NUMERIC);
    info.append(SqlInfo::SqlStringFunctions, STRING);
    info.append(SqlInfo::SqlDatetimeFunctions, DATETIME);
    info.append(SqlInfo::SqlSystemFunctions, SYSTEM);
    info.append(SqlInfo::SqlSchemaTerm, "owner");
    info.append(SqlInfo::SqlCatalogTerm, "purpose");
    info.append(SqlInfo::SqlProcedureTerm, "");
    info.append(SqlInfo::SqlCatalogAtStart, true);
}

fn select(info: &mut SqlInfoDataBuilder) {
    info.append(SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh as i32);
    info.append(SqlInfo::SqlSupportsColumnAliasing, true);
    info.append(SqlInfo::SqlNullPlusNullIsNull, true);
    info.append(SqlInfo::SqlSupportsConvert, conversions());
    info.append(SqlInfo::SqlSupportsTableCorrelationNames, true);
    info.append(SqlInfo::SqlSupportsDifferentTableCorrelationNames, false);
    info.append(SqlInfo::SqlSupportsExpressionsInOrderBy, true);
    info.append(SqlInfo::SqlSupportsOrderByUnrelated, true);
    let group_by =
        [SqlSupportedGroupBy::SqlGroupByUnrelated as i32, SqlSupportedGroupBy::SqlGroupByBeyondSelect as i32];
    info.append(SqlInfo::SqlSupportedGroupBy, bits(&group_by));
    info.append(SqlInfo::SqlSupportsLikeEscapeClause, false);
    info.append(SqlInfo::SqlSupportsNonNullableColumns, false);
    info.append(SqlInfo::SqlSupportedGrammar, bits(&[SupportedSqlGrammar::SqlMinimumGrammar as i32]));
    info.append(SqlInfo::SqlAnsi92SupportedLevel, 0_i32);
    info.append(SqlInfo::SqlSupportsIntegrityEnhancementFacility, false);
    let joins =
        [SqlOuterJoinsSupportLevel::SqlLimitedOuterJoins as i32, SqlOuterJoinsSupportLevel::SqlFullOuterJoins as i32];
    info.append(SqlInfo::SqlOuterJoinsSupportLevel, bits(&joins));
    let subqueries = [
        SqlSupportedSubqueries::SqlSubqueriesInComparisons as i32,
        SqlSupportedSubqueries::SqlSubqueriesInExists as i32,
        SqlSupportedSubqueries::SqlSubqueriesInIns as i32,
    ];
    info.append(SqlInfo::SqlSupportedSubqueries, bits(&subqueries));
    info.append(SqlInfo::SqlCorrelatedSubqueriesSupported, true);
    let unions = [SqlSupportedUnions::SqlUnion as i32, SqlSupportedUnions::SqlUnionAll as i32];
    info.append(SqlInfo::SqlSupportedUnions, bits(&unions));
    let forward = [SqlSupportedResultSetType::SqlResultSetTypeForwardOnly as i32];
    info.append(SqlInfo::SqlSupportedResultSetTypes, bits(&forward));
    let read_only = bits(&[SqlSupportedResultSetConcurrency::SqlResultSetConcurrencyReadOnly as i32]);
    info.append(SqlInfo::SqlSupportedConcurrenciesForResultSetForwardOnly, read_only);
    for none in [
        SqlInfo::SqlSupportedConcurrenciesForResultSetUnspecified,
        SqlInfo::SqlSupportedConcurrenciesForResultSetScrollSensitive,
        SqlInfo::SqlSupportedConcurrenciesForResultSetScrollInsensitive,
    ] {
        info.append(none, 0_i32);
    }
}

/// The largest of everything; 0 says that there is no limit of its own.
fn most(info: &mut SqlInfoDataBuilder) {
    for name in [
        SqlInfo::SqlMaxColumnNameLength,
        SqlInfo::SqlDbSchemaNameLength,
        SqlInfo::SqlMaxCatalogNameLength,
        SqlInfo::SqlMaxTableNameLength,
    ] {
        info.append(name, NAME);
    }
    let limits = limits();
    info.append(SqlInfo::SqlMaxStatementLength, number(limits.text_bytes));
    info.append(SqlInfo::SqlMaxCharLiteralLength, number(limits.literal_bytes));
    info.append(SqlInfo::SqlMaxTablesInSelect, number(limits.relations));
    info.append(SqlInfo::SqlMaxRowSizeIncludesBlobs, true);
    for unlimited in [
        SqlInfo::SqlMaxBinaryLiteralLength,
        SqlInfo::SqlMaxColumnsInGroupBy,
        SqlInfo::SqlMaxColumnsInIndex,
        SqlInfo::SqlMaxColumnsInOrderBy,
        SqlInfo::SqlMaxColumnsInSelect,
        SqlInfo::SqlMaxColumnsInTable,
        SqlInfo::SqlMaxConnections,
        SqlInfo::SqlMaxCursorNameLength,
        SqlInfo::SqlMaxIndexLength,
        SqlInfo::SqlMaxProcedureNameLength,
        SqlInfo::SqlMaxRowSize,
        SqlInfo::SqlMaxStatements,
        SqlInfo::SqlMaxUsernameLength,
    ] {
        info.append(unlimited, 0_i64);
    }
}

/// What there is not.
fn absent(info: &mut SqlInfoDataBuilder) {
    for no in [
        SqlInfo::SqlSelectForUpdateSupported,
        SqlInfo::SqlStoredProceduresSupported,
        SqlInfo::SqlTransactionsSupported,
        SqlInfo::SqlDataDefinitionCausesTransactionCommit,
        SqlInfo::SqlDataDefinitionsInTransactionsIgnored,
        SqlInfo::SqlBatchUpdatesSupported,
        SqlInfo::SqlSavepointsSupported,
        SqlInfo::SqlNamedParametersSupported,
        SqlInfo::SqlLocatorsUpdateCopy,
        SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported,
    ] {
        info.append(no, false);
    }
    for none in [
        SqlInfo::SqlSchemasSupportedActions,
        SqlInfo::SqlCatalogsSupportedActions,
        SqlInfo::SqlSupportedPositionedCommands,
    ] {
        info.append(none, 0_i32);
    }
    // JDBC reads this one as a long.
    info.append(
        SqlInfo::SqlDefaultTransactionIsolation,
        i64::from(SqlTransactionIsolationLevel::SqlTransactionNone as i32),
    );
    let none = bits(&[SqlTransactionIsolationLevel::SqlTransactionNone as i32]);
    info.append(SqlInfo::SqlSupportedTransactionsIsolationLevels, none);
}

/// What CAST converts: a cast that fails yields a missing value, so every pair of plain types may be asked for.
fn conversions() -> BTreeMap<i32, Vec<i32>> {
    use SqlSupportsConvert as To;
    let numbers = [To::SqlConvertBigint, To::SqlConvertDecimal, To::SqlConvertFloat, To::SqlConvertInteger];
    let all = |types: &[To]| types.iter().map(|it| *it as i32).collect::<Vec<_>>();
    let number_or_text = [&numbers[..], &[To::SqlConvertVarchar]].concat();
    let dates = [To::SqlConvertDate, To::SqlConvertTimestamp, To::SqlConvertVarchar];
    let mut map: BTreeMap<i32, Vec<i32>> = numbers.iter().map(|from| (*from as i32, all(&number_or_text))).collect();
    map.insert(To::SqlConvertVarchar as i32, all(&[&numbers[..], &dates].concat()));
    map.insert(To::SqlConvertDate as i32, all(&dates));
    map.insert(To::SqlConvertTimestamp as i32, all(&dates));
    map.insert(To::SqlConvertBit as i32, all(&[To::SqlConvertBit, To::SqlConvertVarchar]));
    map
}

/// A mask with the bits of these values.
fn bits(values: &[i32]) -> i32 {
    values.iter().fold(0, |mask, value| mask | (1 << value))
}

fn number(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::query::scalar_function_names;

    #[test]
    fn the_functions_are_those_of_the_engine() {
        let told: BTreeSet<&str> = [NUMERIC, STRING, DATETIME, SYSTEM].concat().into_iter().collect();
        assert_eq!(told, scalar_function_names().iter().copied().collect());
    }

    #[test]
    fn every_question_has_its_answer_and_each_can_be_asked_alone() {
        let all = data().unwrap().record_batch([]).unwrap();
        let known = (0..1_000).filter(|number| SqlInfo::try_from(*number).is_ok()).count();
        // Of Substrait, which is not there, the two versions are not told.
        assert_eq!(all.num_rows(), known - 2);
        assert_eq!(data().unwrap().record_batch([8]).unwrap().num_rows(), 1);
        assert_eq!(data().unwrap().record_batch([999]).unwrap().num_rows(), 0);
    }
}
