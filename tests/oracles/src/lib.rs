//! Nothing: each file of `tests/` holds one part of the hub against implementations that others wrote.
