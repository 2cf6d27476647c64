-- When a request id was used, so that it can be forgotten.
ALTER TABLE request ADD COLUMN made_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX request_age ON request (caller, made_at);
