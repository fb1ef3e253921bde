-- How far back viewers may seek, and whether a session's segments stay.

-- +goose Up
ALTER TABLE livestreams ADD COLUMN dvr_window_ms BIGINT NOT NULL DEFAULT 0; -- of media listed; 0: the server's own window
ALTER TABLE livestreams ADD COLUMN keep BOOLEAN NOT NULL DEFAULT FALSE; -- segments are kept after the end
