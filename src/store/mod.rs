//! Every SQL statement of the hub, for SQLite and PostgreSQL, and the one writer.
