-- The transparency log: entries, the tree's frontier, the head and its signed checkpoint change in one transaction.
CREATE TABLE log_head (
    origin     TEXT   NOT NULL PRIMARY KEY,
    size       BIGINT NOT NULL,
    frontier   BLOB   NOT NULL,
    checkpoint TEXT   NOT NULL
);

CREATE TABLE entry (
    idx       BIGINT NOT NULL PRIMARY KEY,
    leaf      BLOB   NOT NULL,
    leaf_hash BLOB   NOT NULL,
    at        BIGINT NOT NULL,
    kind      TEXT   NOT NULL,
    actor     TEXT,
    dataset   TEXT,
    purpose   TEXT
);
CREATE INDEX entry_by_kind ON entry (kind, idx);

-- Gap-free counter per party: the n-th entry that concerns it.
CREATE TABLE party_entry (
    party TEXT   NOT NULL,
    seq   BIGINT NOT NULL,
    idx   BIGINT NOT NULL,
    PRIMARY KEY (party, seq)
);
CREATE UNIQUE INDEX party_entry_by_index ON party_entry (party, idx);

-- What opens a leaf's commitments. Erasable: the log stays valid without it.
CREATE TABLE opening (
    idx   BIGINT NOT NULL,
    field TEXT   NOT NULL,
    party TEXT,
    salt  BLOB   NOT NULL,
    value TEXT   NOT NULL
);
CREATE INDEX opening_by_index ON opening (idx);

CREATE TRIGGER entry_is_never_changed BEFORE UPDATE ON entry
BEGIN SELECT RAISE(ABORT, 'an audit entry is never changed'); END;

CREATE TRIGGER entry_is_never_deleted BEFORE DELETE ON entry
BEGIN SELECT RAISE(ABORT, 'an audit entry is never deleted'); END;
