//! Running a query: the stream of an answer put back together, and only a complete one believed.

use std::{collections::BTreeMap, pin::pin, sync::Arc};

use arrow::{
    array::RecordBatch,
    buffer::Buffer,
    datatypes::{Schema, SchemaRef},
    ipc::reader::StreamDecoder,
};
use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use indicatif::ProgressBar;
use tonic::Status;

use crate::{
    cli::{client::Client, failure::Failure, names, output::records::Records},
    grpc::pb::{self, execute_response::Part},
};

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was known before any data left: the datasets, and the recorded decision.
    pub header: pb::ExecuteHeader,
    /// The rows.
    pub records: Records,
    /// What the hub says of the whole.
    pub receipt: pb::QueryReceipt,
}

/// A text in SQL, or an approved query with values.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// The text; empty for an approved query.
    pub sql: String,
    /// The name of the approved query, `participants/{participant}/datasets/{dataset}/templates/{template}`.
    pub template: String,
    /// Its values.
    pub parameters: BTreeMap<String, String>,
}

impl Question {
    /// A text.
    pub fn sql(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), ..Self::default() }
    }
}

impl Client {
    /// Runs a query for one purpose, with these grants (UUIDs or names) or those that the hub chooses.
    pub async fn query(&self, sql: &str, purpose: &str, grants: &[String]) -> Result<Answer, Failure> {
        self.query_with(&Question::sql(sql), purpose, grants, &ProgressBar::hidden()).await
    }

    /// The same for a question of either kind, counting the bytes received on `progress`.
    pub(super) async fn query_with(
        &self,
        question: &Question,
        purpose: &str,
        grants: &[String],
        progress: &ProgressBar,
    ) -> Result<Answer, Failure> {
        let Question { sql, template, parameters } = question.clone();
        let request = pb::ExecuteRequest {
            sql,
            purpose: purpose.to_owned(),
            grants: grants.iter().map(|grant| names::grant(grant)).collect::<Result<_, _>>()?,
            template,
            parameters,
        };
        let stream = self.queries().execute(request).await?.into_inner();
        assemble(stream.map_ok(|message| message.part), progress).await
    }

    /// Fetches the permitted rows of a dataset (`OWNER.DATASET`) as a whole, or these columns of them.
    pub async fn download(
        &self,
        dataset: &str,
        columns: &[String],
        purpose: &str,
        grant: Option<&str>,
        progress: &ProgressBar,
    ) -> Result<Answer, Failure> {
        let request = pb::DownloadRequest {
            dataset: names::dataset(dataset)?,
            purpose: purpose.to_owned(),
            columns: columns.to_vec(),
            grant: grant.map(names::grant).transpose()?.unwrap_or_default(),
        };
        let stream = self.queries().download(request).await?.into_inner();
        assemble(stream.map_ok(|message| message.part.map(Part::from)), progress).await
    }

    /// Says what a query would do, or why it would be refused.
    pub async fn explain(
        &self,
        question: &Question,
        purpose: &str,
        grants: &[String],
    ) -> Result<pb::ExplainQueryResponse, Failure> {
        let Question { sql, template, parameters } = question.clone();
        let request = pb::ExplainQueryRequest {
            sql,
            purpose: purpose.to_owned(),
            grants: grants.iter().map(|grant| names::grant(grant)).collect::<Result<_, _>>()?,
            template,
            parameters,
        };
        Ok(self.queries().explain_query(request).await?.into_inner())
    }
}

impl From<pb::download_response::Part> for Part {
    fn from(part: pb::download_response::Part) -> Self {
        use pb::download_response::Part as Download;
        match part {
            Download::Header(header) => Self::Header(header),
            Download::ArrowIpc(bytes) => Self::ArrowIpc(bytes),
            Download::Receipt(receipt) => Self::Receipt(receipt),
        }
    }
}

async fn assemble(
    stream: impl Stream<Item = Result<Option<Part>, Status>>,
    progress: &ProgressBar,
) -> Result<Answer, Failure> {
    let mut stream = pin!(stream);
    let mut assembly = Assembly::default();
    while let Some(part) = stream.try_next().await? {
        if let Some(Part::ArrowIpc(bytes)) = &part {
            progress.inc(bytes.len() as u64);
        }
        assembly.add(part)?;
    }
    progress.finish_and_clear();
    assembly.finish()
}

/// The parts of an answer as they come: one header, parts of one Arrow IPC stream, one receipt.
#[derive(Debug, Default)]
struct Assembly {
    header: Option<pb::ExecuteHeader>,
    decoder: StreamDecoder,
    schema: Option<SchemaRef>,
    batches: Vec<RecordBatch>,
    size_bytes: u64,
    receipt: Option<pb::QueryReceipt>,
}

impl Assembly {
    fn add(&mut self, part: Option<Part>) -> Result<(), Failure> {
        match (part, &self.header, &self.receipt) {
            (Some(Part::Header(header)), None, None) => self.header = Some(header),
            (Some(Part::ArrowIpc(bytes)), Some(_), None) => self.decode(bytes)?,
            (Some(Part::Receipt(receipt)), Some(_), None) => self.receipt = Some(receipt),
            _ => return Err(Failure::protocol("the parts of the answer are out of order")),
        }
        Ok(())
    }

    fn decode(&mut self, bytes: Bytes) -> Result<(), Failure> {
        self.size_bytes += bytes.len() as u64;
        let mut buffer = Buffer::from(bytes);
        while !buffer.is_empty() {
            let batch = self.decoder.decode(&mut buffer).map_err(|_| malformed())?;
            self.batches.extend(batch);
        }
        if self.schema.is_none() {
            self.schema = self.decoder.schema();
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Answer, Failure> {
        let (Some(header), Some(receipt)) = (self.header, self.receipt) else {
            return Err(Failure::protocol("the answer ends without a receipt, so it is incomplete"));
        };
        self.decoder.finish().map_err(|_| malformed())?;
        let schema = self.schema.unwrap_or_else(|| Arc::new(Schema::empty()));
        let records = Records { schema, batches: self.batches };
        if records.rows() as u64 != receipt.rows || self.size_bytes != receipt.size_bytes {
            return Err(Failure::protocol("the answer is not as long as its receipt says"));
        }
        Ok(Answer { header, records, receipt })
    }
}

fn malformed() -> Failure {
    Failure::protocol("the answer is not an Arrow IPC stream")
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::{
        array::Int64Array,
        datatypes::{DataType, Field},
        ipc::writer::StreamWriter,
    };

    fn ipc(batches: usize) -> Vec<u8> {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
        for _ in 0..batches {
            let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(vec![1, 2, 3]))]);
            writer.write(&batch.unwrap()).unwrap();
        }
        writer.into_inner().unwrap()
    }

    fn header() -> Part {
        Part::Header(pb::ExecuteHeader::default())
    }

    fn receipt(rows: u64, size_bytes: usize) -> Part {
        Part::Receipt(pb::QueryReceipt { rows, size_bytes: size_bytes as u64, ..pb::QueryReceipt::default() })
    }

    fn put_together(parts: Vec<Part>) -> Result<Answer, Failure> {
        let mut assembly = Assembly::default();
        for part in parts {
            assembly.add(Some(part))?;
        }
        assembly.finish()
    }

    fn answer(bytes: &[u8], piece: usize, rows: u64) -> Result<Answer, Failure> {
        let pieces = bytes.chunks(piece).map(|piece| Part::ArrowIpc(Bytes::copy_from_slice(piece)));
        put_together([header()].into_iter().chain(pieces).chain([receipt(rows, bytes.len())]).collect())
    }

    #[test]
    fn an_answer_is_put_together_wherever_it_was_cut() {
        let bytes = ipc(2);
        for piece in [1, 7, 64, bytes.len()] {
            let answer = answer(&bytes, piece, 6).unwrap();
            assert_eq!(answer.records.rows(), 6);
        }
        let empty = ipc(0);
        let answer = answer(&empty, 16, 0).unwrap();
        assert_eq!((answer.records.rows(), answer.records.schema.fields().len()), (0, 1));
    }

    #[test]
    fn an_incomplete_or_disordered_answer_is_not_believed() {
        let bytes = ipc(1);
        let whole = || Part::ArrowIpc(Bytes::from(ipc(1)));
        let half = || Part::ArrowIpc(Bytes::copy_from_slice(&bytes[..bytes.len() / 2]));
        for parts in [
            vec![],
            vec![header(), whole()],
            vec![header(), half(), receipt(3, bytes.len())],
            vec![header(), half(), receipt(0, bytes.len() / 2)],
            vec![header(), whole(), receipt(4, bytes.len())],
            vec![whole(), header(), receipt(3, bytes.len())],
            vec![header(), header(), whole(), receipt(3, bytes.len())],
            vec![header(), receipt(3, bytes.len()), whole()],
            vec![header(), Part::ArrowIpc(Bytes::from_static(b"no arrow at all, only text")), receipt(0, 26)],
        ] {
            let shown = format!("{parts:?}");
            assert!(put_together(parts).is_err(), "{shown}");
        }
    }
}
