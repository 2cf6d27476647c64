-- The catalog, the snapshots and the dense ordinals of subjects.
CREATE TABLE dataset (
    id                TEXT   NOT NULL PRIMARY KEY,
    owner             TEXT   NOT NULL REFERENCES participant (id),
    title             TEXT   NOT NULL,
    description       TEXT   NOT NULL,
    licence           TEXT   NOT NULL,
    attribution       TEXT   NOT NULL,
    keywords          TEXT   NOT NULL,
    synthetic         BIGINT NOT NULL,
    access            TEXT   NOT NULL,
    subject_column    TEXT,
    subject_namespace TEXT,
    column_notes      TEXT   NOT NULL,
    state             TEXT   NOT NULL,
    snapshot          TEXT,
    search_text       TEXT   NOT NULL,
    created_at        BIGINT NOT NULL,
    revision          BIGINT NOT NULL
);
CREATE INDEX dataset_by_owner ON dataset (owner, id);

CREATE TABLE snapshot (
    id            TEXT   NOT NULL PRIMARY KEY,
    dataset       TEXT   NOT NULL REFERENCES dataset (id),
    columns       TEXT   NOT NULL,
    row_count     BIGINT NOT NULL,
    bytes         BIGINT NOT NULL,
    subjects      BIGINT,
    digest        TEXT   NOT NULL,
    source_digest TEXT   NOT NULL,
    created_at    BIGINT NOT NULL
);
CREATE INDEX snapshot_by_dataset ON snapshot (dataset, id);

-- A pseudonym keeps its ordinal for ever within a dataset, so that consents outlive snapshots.
CREATE TABLE subject (
    dataset   TEXT   NOT NULL,
    ordinal   BIGINT NOT NULL,
    pseudonym TEXT   NOT NULL,
    PRIMARY KEY (dataset, ordinal)
);
CREATE UNIQUE INDEX subject_by_pseudonym ON subject (dataset, pseudonym);
