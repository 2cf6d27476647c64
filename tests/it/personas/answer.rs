//! An answer as it arrives: header, Arrow IPC bytes, receipt; in this order or not at all.

use std::collections::BTreeMap;

use arrow::{
    array::RecordBatch,
    ipc::reader::StreamReader,
    util::display::{ArrayFormatter, FormatOptions},
};
use futures::{Stream, TryStreamExt as _};
use odh::grpc::pb::{DownloadResponse, ExecuteHeader, ExecuteResponse, QueryReceipt, execute_response::Part};
use tonic::{Status, Streaming};

/// A complete answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// What was known before any data.
    pub(crate) header: ExecuteHeader,
    /// What was known at the end.
    pub(crate) receipt: QueryReceipt,
    /// The whole Arrow IPC stream.
    pub(crate) ipc: Vec<u8>,
}

/// Takes an answer to its end. Fails with what cut it; panics if it is not in its order or not complete.
pub(crate) async fn receive(stream: Streaming<ExecuteResponse>) -> Result<Answer, Status> {
    receive_parts(stream.map_ok(|message| message.part)).await
}

/// The same of a download.
pub(crate) async fn receive_download(stream: Streaming<DownloadResponse>) -> Result<Answer, Status> {
    receive_parts(stream.map_ok(|message| message.part.map(Part::from))).await
}

async fn receive_parts(stream: impl Stream<Item = Result<Option<Part>, Status>>) -> Result<Answer, Status> {
    let mut stream = std::pin::pin!(stream);
    let first = stream.try_next().await?.flatten();
    let Some(Part::Header(header)) = first else { panic!("an answer starts with its header, not with {first:?}") };
    let (mut ipc, mut receipt) = (Vec::new(), None);
    while let Some(part) = stream.try_next().await? {
        assert!(receipt.is_none(), "the receipt is the last message");
        match part {
            Some(Part::ArrowIpc(bytes)) => ipc.extend(bytes),
            Some(Part::Receipt(last)) => receipt = Some(last),
            other => panic!("not a part of an answer: {other:?}"),
        }
    }
    let receipt = receipt.expect("a stream that ends well ends with its receipt");
    assert_eq!(receipt.size_bytes, ipc.len() as u64);
    Ok(Answer { header, receipt, ipc })
}

impl Answer {
    /// The batches.
    pub(crate) fn batches(&self) -> Vec<RecordBatch> {
        StreamReader::try_new(self.ipc.as_slice(), None).unwrap().map(Result::unwrap).collect()
    }

    /// Names of the columns.
    pub(crate) fn columns(&self) -> Vec<String> {
        let reader = StreamReader::try_new(self.ipc.as_slice(), None).unwrap();
        reader.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    /// The rows as text, in the order of the answer; a missing value is `-`.
    pub(crate) fn rows(&self) -> Vec<Vec<String>> {
        let rows = cells(&self.batches());
        assert_eq!(self.receipt.rows, rows.len() as u64);
        rows
    }

    /// The only value of an answer of one row and one column.
    pub(crate) fn number(&self) -> i64 {
        let rows = self.rows();
        let [row] = rows.as_slice() else { panic!("not one row: {rows:?}") };
        let [value] = row.as_slice() else { panic!("not one column: {row:?}") };
        value.parse().unwrap()
    }

    /// The second column by the first.
    pub(crate) fn by_key(&self) -> BTreeMap<String, String> {
        self.rows().into_iter().map(|row| (row[0].clone(), row[1].clone())).collect()
    }
}

/// The rows of batches as text, in their order; a missing value is `-`.
pub(crate) fn cells(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("-");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        rows.extend(
            (0..batch.num_rows()).map(|row| columns.iter().map(|column| column.value(row).to_string()).collect()),
        );
    }
    rows
}
