-- What the API may change about livestreams and apps, and who is watching.

-- +goose Up
ALTER TABLE livestreams ADD COLUMN deleted_at BIGINT; -- ms, UTC; NULL: it exists
ALTER TABLE sessions ADD COLUMN viewers BIGINT NOT NULL DEFAULT 0; -- watching now; 0 once closed
ALTER TABLE sessions ADD COLUMN peak_viewers BIGINT NOT NULL DEFAULT 0; -- the most at once
ALTER TABLE apps ADD COLUMN wire TEXT NOT NULL DEFAULT ''; -- empty: as declared; upstream: as captured

-- A list walks an index that holds what exists only.
DROP INDEX livestreams_by_age;
CREATE INDEX livestreams_by_age ON livestreams (account_id, app_id, created_at, id) WHERE deleted_at IS NULL;
-- A meeting has one livestream for life; when that is deleted, a new start makes another.
DROP INDEX livestreams_by_meeting;
CREATE UNIQUE INDEX livestreams_by_meeting ON livestreams (meeting_id) WHERE meeting_id IS NOT NULL AND deleted_at IS NULL;
