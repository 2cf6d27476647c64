-- The log at scale: hash tiles, every dataset that an entry is about, cosignatures of witnesses, pruning.

-- Hashes, 32 bytes each (C2SP tlog-tiles). Level 0 has full tiles only, the levels above grow. An entry's hash stays
-- here when its leaf is pruned, so that no proof is ever lost.
CREATE TABLE tile (
    origin TEXT   NOT NULL,
    level  BIGINT NOT NULL,
    n      BIGINT NOT NULL,
    hashes BYTEA  NOT NULL,
    PRIMARY KEY (origin, level, n)
);
-- Hashes do not compress: trying costs time for nothing.
ALTER TABLE tile ALTER COLUMN hashes SET STORAGE EXTERNAL;

CREATE FUNCTION tile_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND substring(NEW.hashes FROM 1 FOR length(OLD.hashes)) = OLD.hashes THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a tile of the audit log only grows, and is never deleted';
END
$$;

CREATE TRIGGER tile_only_grows BEFORE UPDATE OR DELETE ON tile
FOR EACH ROW EXECUTE FUNCTION tile_is_final();

CREATE TRIGGER tile_is_never_truncated BEFORE TRUNCATE ON tile
FOR EACH STATEMENT EXECUTE FUNCTION entry_is_final();

-- For search: a query over several datasets is an entry about each of them.
CREATE TABLE entry_dataset (
    dataset TEXT   NOT NULL,
    idx     BIGINT NOT NULL,
    PRIMARY KEY (dataset, idx)
);
INSERT INTO entry_dataset (dataset, idx) SELECT dataset, idx FROM entry WHERE dataset IS NOT NULL;

-- What witnesses have seen and signed: checkpoints of this log, with their signature line (C2SP tlog-cosignature).
CREATE TABLE cosignature (
    origin     TEXT   NOT NULL,
    size       BIGINT NOT NULL,
    witness    TEXT   NOT NULL,
    checkpoint TEXT   NOT NULL,
    line       TEXT   NOT NULL,
    PRIMARY KEY (origin, witness, size)
);

-- Entries below this index may be pruned; none else is ever deleted.
ALTER TABLE log_head ADD COLUMN min_idx BIGINT NOT NULL DEFAULT 0;

CREATE FUNCTION entry_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.idx < (SELECT COALESCE(MAX(min_idx), 0) FROM log_head) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'an audit entry is never deleted';
END
$$;

DROP TRIGGER entry_is_never_changed ON entry;
CREATE TRIGGER entry_is_never_changed BEFORE UPDATE ON entry
FOR EACH ROW EXECUTE FUNCTION entry_is_final();
CREATE TRIGGER entry_is_never_deleted BEFORE DELETE ON entry
FOR EACH ROW EXECUTE FUNCTION entry_is_kept();
