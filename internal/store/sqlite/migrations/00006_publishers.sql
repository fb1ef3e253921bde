-- What becomes of a second publisher, and what happened too often of late.

-- +goose Up
ALTER TABLE livestreams ADD COLUMN publisher_policy TEXT NOT NULL DEFAULT 'replace-if-stale'; -- replace-if-stale, reject, replace
ALTER TABLE livestreams ADD COLUMN defend_until BIGINT; -- ms, UTC; NULL: takeovers are not refused
ALTER TABLE livestreams ADD COLUMN takeover_last BIGINT; -- ms, UTC: the newest takeover
ALTER TABLE livestreams ADD COLUMN takeover_before BIGINT; -- ms, UTC: the one before that
ALTER TABLE livestreams ADD COLUMN failure_last BIGINT; -- ms, UTC: the newest session that failed before it was playable
ALTER TABLE livestreams ADD COLUMN failure_before BIGINT; -- ms, UTC: the one before that
