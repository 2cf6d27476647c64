-- Who takes part, who acts for them, and how they prove it.
CREATE TABLE participant (
    id              TEXT   NOT NULL PRIMARY KEY,
    siren           TEXT   NOT NULL UNIQUE,
    legal_name      TEXT   NOT NULL,
    kind            TEXT   NOT NULL,
    sector          TEXT,
    country         TEXT   NOT NULL,
    accreditations  TEXT   NOT NULL,
    state           TEXT   NOT NULL,
    charter_version BIGINT,
    created_at      BIGINT NOT NULL,
    revision        BIGINT NOT NULL
);

CREATE TABLE member (
    id           TEXT   NOT NULL PRIMARY KEY,
    participant  TEXT   NOT NULL REFERENCES participant (id),
    display_name TEXT   NOT NULL,
    roles        TEXT   NOT NULL,
    state        TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    revision     BIGINT NOT NULL
);
CREATE INDEX member_by_participant ON member (participant, id);

-- One-time tokens, as SHA-256 only. Without a member it invites a new participant.
CREATE TABLE enrolment (
    token_hash TEXT   NOT NULL PRIMARY KEY,
    member     TEXT   REFERENCES member (id),
    expires_at BIGINT NOT NULL,
    used_at    BIGINT
);

CREATE TABLE certificate (
    fingerprint TEXT   NOT NULL PRIMARY KEY,
    member      TEXT   NOT NULL REFERENCES member (id),
    issued_at   BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    revoked_at  BIGINT
);
CREATE INDEX certificate_by_member ON certificate (member);

CREATE TABLE charter (
    version      BIGINT NOT NULL PRIMARY KEY,
    body         TEXT   NOT NULL,
    digest       TEXT   NOT NULL,
    published_at BIGINT NOT NULL
);

CREATE TABLE charter_signature (
    participant TEXT   NOT NULL REFERENCES participant (id),
    version     BIGINT NOT NULL REFERENCES charter (version),
    member      TEXT   NOT NULL,
    signature   TEXT   NOT NULL,
    signed_at   BIGINT NOT NULL,
    PRIMARY KEY (participant, version)
);

-- Counters by which caches and open streams notice a change; bumped in the changing transaction.
CREATE TABLE revision (
    topic TEXT   NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
