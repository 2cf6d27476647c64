//! The gRPC transport: parse, call one service, convert.

pub mod pb;
