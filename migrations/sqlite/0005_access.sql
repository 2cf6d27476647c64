-- Access requests and the grants that result.
CREATE TABLE access_request (
    id            TEXT   NOT NULL PRIMARY KEY,
    requester     TEXT   NOT NULL REFERENCES participant (id),
    member        TEXT   NOT NULL,
    dataset       TEXT   NOT NULL REFERENCES dataset (id),
    owner         TEXT   NOT NULL,
    ask           TEXT   NOT NULL,
    justification TEXT   NOT NULL,
    state         TEXT   NOT NULL,
    refusal       TEXT,
    grant_id      TEXT,
    signature     TEXT,
    created_at    BIGINT NOT NULL,
    decided_at    BIGINT,
    revision      BIGINT NOT NULL
);
CREATE INDEX access_request_inbox ON access_request (owner, id);
CREATE INDEX access_request_outbox ON access_request (requester, id);

CREATE TABLE access_grant (
    id             TEXT   NOT NULL PRIMARY KEY,
    access_request TEXT   NOT NULL REFERENCES access_request (id),
    grantee        TEXT   NOT NULL REFERENCES participant (id),
    dataset        TEXT   NOT NULL REFERENCES dataset (id),
    owner          TEXT   NOT NULL,
    policy         TEXT   NOT NULL,
    rule           TEXT   NOT NULL,
    action         TEXT   NOT NULL,
    columns        TEXT   NOT NULL,
    purpose        TEXT   NOT NULL,
    legal_basis    TEXT   NOT NULL,
    duties         TEXT   NOT NULL,
    valid_from     BIGINT NOT NULL,
    valid_until    BIGINT NOT NULL,
    state          TEXT   NOT NULL,
    decided_by     TEXT   NOT NULL,
    jws            TEXT   NOT NULL,
    signature      TEXT,
    revision       BIGINT NOT NULL
);
CREATE INDEX access_grant_by_grantee ON access_grant (grantee, dataset);
CREATE INDEX access_grant_by_owner ON access_grant (owner, id);
CREATE INDEX access_grant_by_policy ON access_grant (dataset, policy);
