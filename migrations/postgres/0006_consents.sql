-- Consents: the state as Roaring bitmaps over subject ordinals, the events behind it row by row.
-- A recipient of '' stands for any.
CREATE TABLE consent_index (
    dataset   TEXT NOT NULL REFERENCES dataset (id),
    purpose   TEXT NOT NULL,
    recipient TEXT NOT NULL,
    given     BYTEA NOT NULL,
    withdrawn BYTEA NOT NULL,
    PRIMARY KEY (dataset, purpose, recipient)
);

CREATE TABLE consent_expiry (
    dataset    TEXT   NOT NULL REFERENCES dataset (id),
    purpose    TEXT   NOT NULL,
    recipient  TEXT   NOT NULL,
    expires_at BIGINT NOT NULL,
    subjects   BYTEA   NOT NULL,
    PRIMARY KEY (dataset, purpose, recipient, expires_at)
);

-- Events of a batch count once the batch is there.
CREATE TABLE consent_batch (
    id         TEXT   NOT NULL PRIMARY KEY,
    dataset    TEXT   NOT NULL REFERENCES dataset (id),
    events     BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE consent_event (
    batch      TEXT   NOT NULL,
    dataset    TEXT   NOT NULL,
    ordinal    BIGINT NOT NULL,
    purpose    TEXT   NOT NULL,
    recipient  TEXT   NOT NULL,
    state      TEXT   NOT NULL,
    expires_at BIGINT
);
CREATE INDEX consent_event_by_subject ON consent_event (dataset, ordinal);
