-- The log at scale: hash tiles, every dataset that an entry is about, cosignatures of witnesses, pruning.

-- Hashes, 32 bytes each (C2SP tlog-tiles). Level 0 has full tiles only, the levels above grow. An entry's hash stays
-- here when its leaf is pruned, so that no proof is ever lost.
CREATE TABLE tile (
    origin TEXT   NOT NULL,
    level  BIGINT NOT NULL,
    n      BIGINT NOT NULL,
    hashes BLOB   NOT NULL,
    PRIMARY KEY (origin, level, n)
);

CREATE TRIGGER tile_only_grows BEFORE UPDATE ON tile
WHEN substr(NEW.hashes, 1, length(OLD.hashes)) <> OLD.hashes
BEGIN SELECT RAISE(ABORT, 'a tile of the audit log only grows'); END;

CREATE TRIGGER tile_is_never_deleted BEFORE DELETE ON tile
BEGIN SELECT RAISE(ABORT, 'a tile of the audit log is never deleted'); END;

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

DROP TRIGGER entry_is_never_deleted;
CREATE TRIGGER entry_is_never_deleted BEFORE DELETE ON entry
WHEN OLD.idx >= (SELECT COALESCE(MAX(min_idx), 0) FROM log_head)
BEGIN SELECT RAISE(ABORT, 'an audit entry is never deleted'); END;
