//! The governed query engine: the only home of DataFusion.

pub mod ingest;
