//! The gRPC transport: parse, call one service, convert.
