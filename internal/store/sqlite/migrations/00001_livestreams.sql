-- Conventions of this schema, kept to SQL that PostgreSQL shares:
--   ids are TEXT as they stand on the wire;
--   times are BIGINT milliseconds since 1970-01-01T00:00:00Z, UTC, NULL where
--     it has not happened;
--   durations are BIGINT with their unit in the column's name;
--   hashes are SHA-256 in lower-case hex.

-- +goose Up
CREATE TABLE apps (
  account_id  TEXT   NOT NULL,
  id          TEXT   NOT NULL,
  name        TEXT   NOT NULL,
  created_at  BIGINT NOT NULL, -- ms, UTC
  PRIMARY KEY (account_id, id)
);

CREATE TABLE tokens (
  id          TEXT   NOT NULL PRIMARY KEY,
  hash        TEXT   NOT NULL UNIQUE, -- of the token's text, which is stored nowhere
  account_id  TEXT   NOT NULL,
  name        TEXT   NOT NULL,
  scopes      TEXT   NOT NULL, -- JSON array of permission group names
  app_ids     TEXT   NOT NULL, -- JSON array; empty: every app of the account
  created_at  BIGINT NOT NULL, -- ms, UTC
  expires_at  BIGINT,          -- ms, UTC; NULL: never
  revoked_at  BIGINT           -- ms, UTC; NULL: in force
);

CREATE TABLE meetings (
  id                       TEXT    NOT NULL PRIMARY KEY,
  account_id               TEXT    NOT NULL,
  app_id                   TEXT    NOT NULL,
  title                    TEXT,    -- NULL: the wire's null
  active                   BOOLEAN NOT NULL,
  record_on_start          BOOLEAN NOT NULL,
  live_stream_on_start     BOOLEAN NOT NULL,
  persist_chat             BOOLEAN NOT NULL,
  summarize_on_end         BOOLEAN NOT NULL,
  transcribe_on_end        BOOLEAN NOT NULL,
  session_keep_alive_secs  BIGINT  NOT NULL, -- seconds
  recording_config         TEXT,    -- JSON object as given
  ai_config                TEXT,    -- JSON object as given
  created_at               BIGINT  NOT NULL, -- ms, UTC
  updated_at               BIGINT  NOT NULL  -- ms, UTC
);

-- One row per livestream. Its status is stored nowhere: it follows from the
-- newest session's phase. newest_session_id is there to find that in one step.
CREATE TABLE livestreams (
  id                   TEXT    NOT NULL PRIMARY KEY,
  account_id           TEXT    NOT NULL,
  app_id               TEXT    NOT NULL,
  name                 TEXT,    -- NULL: the wire's null
  meeting_id           TEXT,    -- NULL: independent
  stream_key           TEXT    NOT NULL, -- in full, since the API shows it
  stream_key_hash      TEXT    NOT NULL UNIQUE, -- what look-ups by key compare
  playback_id          TEXT    NOT NULL UNIQUE,
  disabled             BOOLEAN NOT NULL,
  created_at           BIGINT  NOT NULL, -- ms, UTC
  updated_at           BIGINT  NOT NULL, -- ms, UTC
  reconnect_window_ms  BIGINT  NOT NULL,
  damping_ms           BIGINT  NOT NULL,
  await_encoder_ms     BIGINT  NOT NULL,
  endlist_delay_ms     BIGINT  NOT NULL,
  epoch                BIGINT  NOT NULL, -- accepted publishes so far
  refuse_until         BIGINT,  -- ms, UTC; NULL: not refused
  longest_gop_ns       BIGINT  NOT NULL, -- of the last session that was playable; 0: never measured
  run_id               TEXT    NOT NULL, -- empty before the first publish
  run_target_secs      BIGINT  NOT NULL, -- EXT-X-TARGETDURATION
  run_part_target_ns   BIGINT  NOT NULL, -- PART-TARGET; 0 until it is chosen
  run_msn_mark         BIGINT  NOT NULL, -- no Media Sequence Number above it was listed
  run_discontinuity_mark BIGINT NOT NULL, -- no discontinuity sequence above it was listed
  run_ends_at          BIGINT,  -- ms, UTC: when ENDLIST is or was due
  newest_session_id    TEXT     -- NULL: never on air
);
CREATE INDEX livestreams_by_age ON livestreams (account_id, app_id, created_at, id);
CREATE INDEX livestreams_by_newest_session ON livestreams (newest_session_id) WHERE newest_session_id IS NOT NULL;
-- A meeting has one livestream for life.
CREATE UNIQUE INDEX livestreams_by_meeting ON livestreams (meeting_id) WHERE meeting_id IS NOT NULL;

-- One row per time on air, kept for ever: bills are made from them.
CREATE TABLE sessions (
  id              TEXT    NOT NULL PRIMARY KEY,
  livestream_id   TEXT    NOT NULL REFERENCES livestreams (id),
  phase           TEXT    NOT NULL, -- awaiting, starting, interrupted, on-air, reconnecting, ended, failed
  epoch           BIGINT  NOT NULL, -- of the publish that owns it; 0 while awaiting the first
  created_at      BIGINT  NOT NULL, -- ms, UTC, as all times of this table
  updated_at      BIGINT  NOT NULL,
  invoked_at      BIGINT,
  started_at      BIGINT,
  stopped_at      BIGINT,
  last_media_at   BIGINT,
  deadline        BIGINT,
  lost_by         TEXT    NOT NULL, -- empty, encoder, crash, shutdown
  reason_code     TEXT    NOT NULL, -- err_message before the colon; empty: none
  reason_detail   TEXT    NOT NULL, -- err_message after the colon
  acknowledged    BOOLEAN NOT NULL,
  remote          TEXT    NOT NULL,
  encoder         TEXT    NOT NULL,
  ingest_ms       BIGINT  NOT NULL, -- received media
  viewed_us       BIGINT  NOT NULL, -- sum of its viewer windows
  longest_gop_ns  BIGINT  NOT NULL  -- 0: not measured
);
CREATE INDEX sessions_by_livestream ON sessions (livestream_id, created_at, id);
-- At most one session of a livestream is open. Also finds all that are.
CREATE UNIQUE INDEX sessions_open ON sessions (livestream_id)
  WHERE phase IN ('awaiting', 'starting', 'interrupted', 'on-air', 'reconnecting');
CREATE INDEX sessions_errored ON sessions (livestream_id) WHERE phase = 'failed' AND NOT acknowledged;

-- What happened to a session, in order of seq, which counts from 1 per session.
CREATE TABLE timeline (
  session_id  TEXT   NOT NULL,
  seq         BIGINT NOT NULL,
  at          BIGINT NOT NULL, -- ms, UTC
  kind        TEXT   NOT NULL,
  from_phase  TEXT   NOT NULL,
  to_phase    TEXT   NOT NULL,
  epoch       BIGINT NOT NULL,
  remote      TEXT   NOT NULL,
  encoder     TEXT   NOT NULL,
  detail      TEXT   NOT NULL,
  PRIMARY KEY (session_id, seq)
);
CREATE INDEX timeline_by_age ON timeline (at);

-- What was counted, in short stretches, as it was added to sessions.viewed_us
-- in the same transaction. The key makes a repeated write harmless, so a row
-- stays for some days. It begins with what rises, so that new rows stand
-- together instead of one on each page.
CREATE TABLE usage_windows (
  node         TEXT   NOT NULL,
  incarnation  TEXT   NOT NULL, -- of the node: changes with every start
  "window"     BIGINT NOT NULL, -- counts up within an incarnation
  session_id   TEXT   NOT NULL,
  kind         TEXT   NOT NULL, -- viewer
  amount_us    BIGINT NOT NULL,
  folded_at    BIGINT NOT NULL, -- ms, UTC: when it was added to the session
  PRIMARY KEY (node, incarnation, "window", session_id, kind)
);
CREATE INDEX usage_windows_by_age ON usage_windows (folded_at);

CREATE TABLE secrets (
  name   TEXT NOT NULL PRIMARY KEY,
  value  TEXT NOT NULL -- random bytes, or a key that was made here, in lower-case hex
);

-- When each node last proved that it can write.
CREATE TABLE heartbeats (
  node  TEXT   NOT NULL PRIMARY KEY,
  at    BIGINT NOT NULL -- ms, UTC
);
