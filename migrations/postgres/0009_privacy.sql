-- What the limits of policies count: the queries under a grant, and those of a participant in a span of time.
CREATE TABLE query_count (
    scope   TEXT   NOT NULL PRIMARY KEY,
    queries BIGINT NOT NULL
);

CREATE TABLE query_rate (
    scope      TEXT   NOT NULL,
    span       TEXT   NOT NULL,
    started_at BIGINT NOT NULL,
    queries    BIGINT NOT NULL,
    PRIMARY KEY (scope, span)
);

-- What was spent of the individuals' privacy, in billionths. Never given back.
CREATE TABLE privacy_budget (
    dataset TEXT   NOT NULL REFERENCES dataset (id),
    scope   TEXT   NOT NULL,
    queries BIGINT NOT NULL,
    epsilon BIGINT NOT NULL,
    delta   BIGINT NOT NULL,
    PRIMARY KEY (dataset, scope)
);

-- Answers with noise: the same question gets the same answer and costs nothing again.
CREATE TABLE private_answer (
    question   TEXT   NOT NULL PRIMARY KEY,
    dataset    TEXT   NOT NULL REFERENCES dataset (id),
    query      TEXT   NOT NULL,
    answer     BYTEA  NOT NULL,
    created_at BIGINT NOT NULL
);
