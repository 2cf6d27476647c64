//! What the fuzz targets assert.

pub mod log;
pub mod policy;
