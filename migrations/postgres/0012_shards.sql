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

CREATE FUNCTION shard_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an ended half-year of the audit log is never changed or deleted';
END
$$;

CREATE TRIGGER shard_is_never_changed BEFORE UPDATE OR DELETE ON shard
FOR EACH ROW EXECUTE FUNCTION shard_is_final();

CREATE TRIGGER shard_is_never_truncated BEFORE TRUNCATE ON shard
FOR EACH STATEMENT EXECUTE FUNCTION shard_is_final();
