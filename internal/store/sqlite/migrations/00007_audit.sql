-- What both seconds are the sum of: stretches of media, and viewers one by one;
-- on which evidence they rest; and what the encoder sends.

-- +goose Up
ALTER TABLE sessions ADD COLUMN viewed_beacon_us BIGINT NOT NULL DEFAULT 0; -- of viewed_us, what rests on beacons
ALTER TABLE sessions ADD COLUMN viewed_playlist_us BIGINT NOT NULL DEFAULT 0; -- and on playlists asked for
ALTER TABLE sessions ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0; -- of media received
ALTER TABLE sessions ADD COLUMN media TEXT NOT NULL DEFAULT ''; -- what the encoder sends, in words; empty: not known
ALTER TABLE sessions ADD COLUMN keyframe_ns BIGINT NOT NULL DEFAULT 0; -- between keyframes of late; 0: not known
ALTER TABLE sessions ADD COLUMN warnings TEXT NOT NULL DEFAULT ''; -- lines "CODE: sentence"

ALTER TABLE timeline ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0; -- as the session's at that time, like what follows
ALTER TABLE timeline ADD COLUMN ingest_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE timeline ADD COLUMN media TEXT NOT NULL DEFAULT '';
ALTER TABLE timeline ADD COLUMN keyframe_ns BIGINT NOT NULL DEFAULT 0;

-- Stretches of media without a gap of more than 2 s, of which a session's
-- ingest_ms is the sum. Kept as long as its timeline.
CREATE TABLE ingest_intervals (
  session_id  TEXT   NOT NULL,
  epoch       BIGINT NOT NULL, -- of the publish
  number      BIGINT NOT NULL, -- counts from 1 within the publish
  from_at     BIGINT NOT NULL, -- ms, UTC: arrival of the first message
  to_at       BIGINT,          -- ms, UTC: and of the last; NULL: it goes on, or its end was lost in a crash
  length_ns   BIGINT NOT NULL, -- by the monotonic clock; 0 while it goes on
  PRIMARY KEY (session_id, epoch, number)
);
CREATE INDEX ingest_intervals_by_age ON ingest_intervals (from_at);

-- What one node counted of one viewer since that node started.
CREATE TABLE viewings (
  session_id   TEXT    NOT NULL,
  viewer       TEXT    NOT NULL, -- the random bits of its id, 16 lower-case hex digits
  node         TEXT    NOT NULL,
  incarnation  TEXT    NOT NULL, -- of the node: changes with every start
  first_at     BIGINT  NOT NULL, -- ms, UTC: evidence
  last_at      BIGINT  NOT NULL, -- ms, UTC
  beacon_us    BIGINT  NOT NULL, -- what was counted, by the evidence it rests on
  media_us     BIGINT  NOT NULL,
  playlist_us  BIGINT  NOT NULL,
  bytes        BIGINT  NOT NULL,
  renditions   BIGINT  NOT NULL, -- bit n: it was given media of rendition n
  gone         BOOLEAN NOT NULL, -- it left, or the session is over
  PRIMARY KEY (session_id, viewer, node, incarnation)
);
CREATE INDEX viewings_by_age ON viewings (last_at);

-- Windows are of three kinds of evidence: beacon, media, playlist.
UPDATE usage_windows SET kind = 'media' WHERE kind = 'viewer';

-- The sums of a session's windows, by who counted and on which evidence, raised
-- in the transaction that inserts a window. They outlive the windows.
CREATE TABLE usage_sums (
  session_id   TEXT   NOT NULL,
  kind         TEXT   NOT NULL, -- beacon, media, playlist
  node         TEXT   NOT NULL, -- empty: windows that were dropped before sums were kept
  incarnation  TEXT   NOT NULL,
  windows      BIGINT NOT NULL, -- how many
  amount_us    BIGINT NOT NULL,
  PRIMARY KEY (session_id, kind, node, incarnation)
);
INSERT INTO usage_sums (session_id, kind, node, incarnation, windows, amount_us)
  SELECT w.session_id, w.kind, w.node, w.incarnation, COUNT(*), SUM(w.amount_us)
  FROM usage_windows w WHERE EXISTS (SELECT 1 FROM sessions s WHERE s.id = w.session_id)
  GROUP BY w.session_id, w.kind, w.node, w.incarnation;
INSERT INTO usage_sums (session_id, kind, node, incarnation, windows, amount_us)
  SELECT r.id, 'media', '', '', 0, r.rest FROM
    (SELECT s.id AS id, s.viewed_us - COALESCE((SELECT SUM(u.amount_us) FROM usage_sums u WHERE u.session_id = s.id), 0) AS rest FROM sessions s) r
  WHERE r.rest > 0;
