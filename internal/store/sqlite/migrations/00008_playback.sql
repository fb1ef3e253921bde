-- Who may watch a livestream.

-- +goose Up
ALTER TABLE livestreams ADD COLUMN playback_policy TEXT NOT NULL DEFAULT ''; -- public, signed; empty: public
ALTER TABLE livestreams ADD COLUMN allowed_origins TEXT NOT NULL DEFAULT ''; -- of pages, separated by spaces; empty: any

-- What the tokens of an app's viewers are checked with.
CREATE TABLE playback_keys (
  id          TEXT    NOT NULL PRIMARY KEY,
  account_id  TEXT    NOT NULL,
  app_id      TEXT    NOT NULL,
  kid         TEXT,             -- what tokens name it by; NULL: its keys have names of their own
  name        TEXT    NOT NULL,
  algorithm   TEXT    NOT NULL, -- HS256, RS256
  secret      TEXT    NOT NULL, -- in full: with a hash of it no token could be checked; empty for RS256
  public      TEXT    NOT NULL, -- PEM, JWK or JWKS; empty for HS256 and with url
  url         TEXT    NOT NULL, -- where a JWKS is fetched; empty: nowhere
  managed     BOOLEAN NOT NULL, -- made by the server, shown to nobody
  created_at  BIGINT  NOT NULL  -- ms, UTC
);
CREATE INDEX playback_keys_by_app ON playback_keys (account_id, app_id, created_at, id);
CREATE UNIQUE INDEX playback_keys_kid ON playback_keys (account_id, app_id, kid);
CREATE UNIQUE INDEX playback_keys_managed ON playback_keys (account_id, app_id) WHERE managed;

-- What was allowed up to a moment and is not any more. A row is dropped when
-- nothing that it is about could be good any more.
CREATE TABLE playback_revocations (
  livestream_id  TEXT   NOT NULL,
  kind           TEXT   NOT NULL, -- all, name, viewer
  subject        TEXT   NOT NULL, -- the viewer's name; 16 hex digits of its id; empty for all
  at             BIGINT NOT NULL, -- ms, UTC
  expires_at     BIGINT NOT NULL, -- ms, UTC
  PRIMARY KEY (livestream_id, kind, subject)
);
CREATE INDEX playback_revocations_by_age ON playback_revocations (expires_at);
