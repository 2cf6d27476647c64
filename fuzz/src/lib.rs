//! What the fuzz targets assert.

pub mod log;
