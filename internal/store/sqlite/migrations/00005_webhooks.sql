-- Webhooks, the events of each app, and what became of telling them.

-- +goose Up
CREATE TABLE webhooks (
  id          TEXT    NOT NULL PRIMARY KEY,
  account_id  TEXT    NOT NULL,
  app_id      TEXT    NOT NULL,
  name        TEXT    NOT NULL,
  url         TEXT    NOT NULL,
  events      TEXT    NOT NULL, -- JSON array of event names
  enabled     BOOLEAN NOT NULL,
  secret      TEXT    NOT NULL, -- in full: each delivery is signed with it
  public      TEXT    NOT NULL, -- where the client that last changed it reached the server
  ingest      TEXT    NOT NULL,
  created_at  BIGINT  NOT NULL, -- ms, UTC
  updated_at  BIGINT  NOT NULL  -- ms, UTC
);
CREATE INDEX webhooks_by_app ON webhooks (account_id, app_id, created_at, id);

-- The newest number that was given: with livestream_id and event empty to an
-- event of the app, else to one of that name and livestream. A row of its own,
-- because events do not stay.
CREATE TABLE event_counters (
  account_id     TEXT   NOT NULL,
  app_id         TEXT   NOT NULL,
  livestream_id  TEXT   NOT NULL,
  event          TEXT   NOT NULL,
  seq            BIGINT NOT NULL,
  PRIMARY KEY (account_id, app_id, livestream_id, event)
);

-- One row per event, written in the transaction that made it happen.
CREATE TABLE events (
  account_id     TEXT    NOT NULL,
  app_id         TEXT    NOT NULL,
  seq            BIGINT  NOT NULL, -- rises by one within the app
  stream_seq     BIGINT  NOT NULL, -- rises by one within livestream and event
  event          TEXT    NOT NULL,
  at             BIGINT  NOT NULL, -- ms, UTC: label
  kept_from      BIGINT  NOT NULL, -- ms, UTC: when it was written
  livestream_id  TEXT    NOT NULL,
  session_id     TEXT    NOT NULL,
  status         TEXT    NOT NULL, -- LIVE, OFFLINE
  health         TEXT    NOT NULL, -- empty, reconnecting, ok
  err_message    TEXT    NOT NULL,
  manual_ingest  BOOLEAN NOT NULL,
  playback_id    TEXT    NOT NULL,
  stream_key     TEXT    NOT NULL,
  meeting        TEXT,             -- JSON; NULL: of no meeting
  PRIMARY KEY (account_id, app_id, seq)
);
CREATE INDEX events_by_age ON events (kept_from);

-- One row per event and webhook that asked for it. Of the open ones (ready,
-- waiting) of a webhook and livestream the oldest is ready, the others wait.
CREATE TABLE webhook_deliveries (
  webhook_id     TEXT   NOT NULL REFERENCES webhooks (id),
  seq            BIGINT NOT NULL, -- of the event, in the webhook's app
  id             TEXT   NOT NULL, -- UUID, told to the receiver
  livestream_id  TEXT   NOT NULL,
  state          TEXT   NOT NULL, -- ready, waiting, delivered, failed, given_up
  round          BIGINT NOT NULL, -- rises with each replay
  queued_at      BIGINT NOT NULL, -- ms, UTC
  next_at        BIGINT NOT NULL, -- ms, UTC: not tried before
  attempts       BIGINT NOT NULL, -- of this round
  body           TEXT,            -- what is sent; NULL before the first try
  last_at        BIGINT,          -- ms, UTC; NULL before the first try
  last_took_ms   BIGINT NOT NULL,
  last_status    BIGINT NOT NULL, -- HTTP; 0: no answer
  last_error     TEXT   NOT NULL,
  last_answer    TEXT   NOT NULL, -- first bytes of the body
  PRIMARY KEY (webhook_id, seq)
);
CREATE INDEX webhook_deliveries_open ON webhook_deliveries (webhook_id, livestream_id, seq) WHERE state IN ('ready', 'waiting');
CREATE INDEX webhook_deliveries_ready ON webhook_deliveries (webhook_id, next_at, seq) WHERE state = 'ready';
