-- The half-years of the log that have ended, each with its final checkpoint. They outlive their entries.
CREATE TABLE shard (
    origin     TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    first      BIGINT NOT NULL,
    size       BIGINT NOT NULL,
    checkpoint TEXT   NOT NULL,
    next       TEXT   NOT NULL,
    PRIMARY KEY (origin, name)
);

CREATE TRIGGER shard_is_never_changed BEFORE UPDATE ON shard
BEGIN SELECT RAISE(ABORT, 'an ended half-year of the audit log is never changed'); END;

CREATE TRIGGER shard_is_never_deleted BEFORE DELETE ON shard
BEGIN SELECT RAISE(ABORT, 'an ended half-year of the audit log is never deleted'); END;
