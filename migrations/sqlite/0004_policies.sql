-- Usage policies: the document of a published version is immutable and named by its digest.
CREATE TABLE policy (
    dataset      TEXT   NOT NULL REFERENCES dataset (id),
    version      BIGINT NOT NULL,
    document     TEXT   NOT NULL,
    digest       TEXT   NOT NULL,
    state        TEXT   NOT NULL,
    signature    TEXT,
    created_at   BIGINT NOT NULL,
    published_at BIGINT,
    revision     BIGINT NOT NULL,
    PRIMARY KEY (dataset, version)
);
CREATE INDEX policy_by_state ON policy (dataset, state, version);
