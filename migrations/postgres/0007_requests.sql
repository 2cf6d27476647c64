-- Idempotency (AIP-155): which request id did what, and the reply that was given.
CREATE TABLE request (
    caller TEXT   NOT NULL,
    id     TEXT   NOT NULL,
    digest TEXT   NOT NULL,
    reply  BYTEA,
    PRIMARY KEY (caller, id)
);

CREATE TABLE access_token (
    id         TEXT   NOT NULL PRIMARY KEY,
    member     TEXT   NOT NULL REFERENCES member (id),
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);

-- Queries that were released; one without an outcome after a restart gets the outcome `unknown`.
CREATE TABLE query_run (
    id         TEXT   NOT NULL PRIMARY KEY,
    started_at BIGINT NOT NULL
);
