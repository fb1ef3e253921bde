-- When tokens were last used, and which object a request created.

-- +goose Up
ALTER TABLE tokens ADD COLUMN last_used_at BIGINT; -- ms, UTC; NULL: never
CREATE INDEX tokens_by_age ON tokens (account_id, created_at, id);

-- What a request created, for two minutes, so that its retry is answered with
-- the same object. Written in the object's own transaction.
CREATE TABLE creations (
  request     TEXT   NOT NULL, -- SHA-256 of token, method, path and body
  object_id   TEXT   NOT NULL, -- a session's for a meeting that was started
  created_at  BIGINT NOT NULL, -- ms, UTC
  retry       BIGINT NOT NULL, -- the highest retry count that was answered with it; 0: none
  PRIMARY KEY (request, object_id)
);
CREATE INDEX creations_by_age ON creations (created_at);
