//! Batches as one Arrow IPC stream, cut into pieces that can be sent as they are made.

use arrow::{array::RecordBatch, datatypes::Schema, ipc::writer::StreamWriter};

use super::failure::failed;
use crate::error::Result;

/// Encodes an answer. The pieces, concatenated, are one IPC stream: header, batches, end.
pub struct IpcEncoder {
    writer: StreamWriter<Vec<u8>>,
}

impl std::fmt::Debug for IpcEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IpcEncoder").finish_non_exhaustive()
    }
}

impl IpcEncoder {
    /// Starts a stream; the first piece begins with its header.
    pub fn new(schema: &Schema) -> Result<Self> {
        let writer = StreamWriter::try_new(Vec::new(), schema).map_err(|_| failed("ipc"))?;
        Ok(Self { writer })
    }

    /// What was written since the last piece: the header, when called before any batch.
    pub fn piece(&mut self) -> Vec<u8> {
        std::mem::take(self.writer.get_mut())
    }

    /// Encodes one batch; returns the piece.
    pub fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        self.writer.write(batch).map_err(|_| failed("ipc"))?;
        Ok(self.piece())
    }

    /// Ends the stream; returns the last piece.
    pub fn end(mut self) -> Result<Vec<u8>> {
        self.writer.finish().map_err(|_| failed("ipc"))?;
        Ok(self.piece())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, Int64Array},
        ipc::reader::StreamReader,
    };

    use super::*;

    #[test]
    fn the_pieces_are_one_stream() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let mut encoder = IpcEncoder::new(&batch.schema()).unwrap();
        let mut bytes = encoder.piece();
        assert!(!bytes.is_empty());
        bytes.extend(encoder.batch(&batch).unwrap());
        bytes.extend(encoder.batch(&batch).unwrap());
        bytes.extend(encoder.end().unwrap());
        let batches: Vec<_> = StreamReader::try_new(bytes.as_slice(), None).unwrap().map(|it| it.unwrap()).collect();
        assert_eq!(batches, [batch.clone(), batch]);
    }
}
