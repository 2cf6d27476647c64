//! The one number of an answer that is one: for the hub's own counts of an owner's rows.

use arrow::{array::Array as _, array::Int64Array, compute::cast, datatypes::DataType};
use futures::StreamExt as _;

use super::{answer::Answer, failure::failed};
use crate::error::Result;

/// The first value of the first column; none if the answer has no row, or no value there: a count of too small a group.
pub async fn number(mut answer: Answer) -> Result<Option<u64>> {
    let mut found = None;
    while let Some(batch) = answer.next().await {
        let batch = batch?;
        if found.is_some() || batch.num_rows() == 0 || batch.num_columns() == 0 {
            continue;
        }
        let column = cast(batch.column(0), &DataType::Int64).map_err(|_| failed("not a number"))?;
        let column = column.as_any().downcast_ref::<Int64Array>().ok_or_else(|| failed("not a number"))?;
        found = column.is_valid(0).then(|| u64::try_from(column.value(0)).ok()).flatten();
    }
    Ok(found)
}
