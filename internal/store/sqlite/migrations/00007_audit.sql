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
  epoch       BIGINT NOT NULL, -- of the publish; 0: everything before intervals were kept
  number      BIGINT NOT NULL, -- counts from 1 within the publish
  from_at     BIGINT NOT NULL, -- ms, UTC: arrival of the first message
  to_at       BIGINT,          -- ms, UTC: and of the last; NULL: it goes on, or its end was lost in a crash
  length_ns   BIGINT NOT NULL, -- by the monotonic clock; 0 while it goes on
  PRIMARY KEY (session_id, epoch, number)
);
CREATE INDEX ingest_intervals_by_age ON ingest_intervals (from_at);

-- What one node counted of one viewer since that node started. WITHOUT ROWID
-- (SQLite alone): the viewers of a session stand together.
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
) WITHOUT ROWID;
-- Not by last_at, which changes each minute.
CREATE INDEX viewings_by_age ON viewings (first_at);

-- Windows are of three kinds of evidence; those of one number are one row.
-- WITHOUT ROWID (SQLite alone): the rows stand in their key, at whose end new
-- ones are added, and at whose beginning, within an incarnation, the oldest are.
-- That is half the writing, and no index by age is needed.
CREATE TABLE usage_windows_by_kind (
  node         TEXT   NOT NULL,
  incarnation  TEXT   NOT NULL, -- of the node: changes with every start
  "window"     BIGINT NOT NULL, -- counts up within an incarnation
  session_id   TEXT   NOT NULL,
  beacon_us    BIGINT,          -- what was counted on each kind; NULL: there is no such window
  media_us     BIGINT,
  playlist_us  BIGINT,
  folded_at    BIGINT NOT NULL, -- ms, UTC: when it was added to the session
  PRIMARY KEY (node, incarnation, "window", session_id)
) WITHOUT ROWID;
INSERT INTO usage_windows_by_kind (node, incarnation, "window", session_id, media_us, folded_at)
  SELECT node, incarnation, "window", session_id, amount_us, folded_at
  FROM usage_windows WHERE kind = 'viewer' ORDER BY node, incarnation, "window", session_id;
DROP TABLE usage_windows;
ALTER TABLE usage_windows_by_kind RENAME TO usage_windows;

-- The sums of a session's windows, by who counted, raised in the transaction
-- that inserts a window. They outlive the windows, and stay as long as sessions.
CREATE TABLE usage_sums (
  session_id   TEXT   NOT NULL,
  node         TEXT   NOT NULL, -- empty: everything before sums were kept
  incarnation  TEXT   NOT NULL,
  windows      BIGINT NOT NULL, -- how many
  beacon_us    BIGINT NOT NULL, -- their amounts, by the evidence they rest on
  media_us     BIGINT NOT NULL,
  playlist_us  BIGINT NOT NULL,
  since        BIGINT NOT NULL, -- ms, UTC: when the first of them was added
  PRIMARY KEY (session_id, node, incarnation)
);
-- Sessions of before: all that was counted as one sum of no node, because no row
-- of its viewers was written, and all of their media as one interval.
INSERT INTO usage_sums (session_id, node, incarnation, windows, beacon_us, media_us, playlist_us, since)
  SELECT s.id, '', '', 0, 0, s.viewed_us, 0, s.created_at FROM sessions s WHERE s.viewed_us > 0;
INSERT INTO ingest_intervals (session_id, epoch, number, from_at, to_at, length_ns)
  SELECT s.id, 0, 0, COALESCE(s.invoked_at, s.created_at), COALESCE(s.last_media_at, s.updated_at), s.ingest_ms * 1000000
  FROM sessions s WHERE s.ingest_ms > 0;
