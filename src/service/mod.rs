//! Use cases: authorise, load, decide, then write and audit in one transaction.
