-- Lists of apps and meetings, and sums over sessions.

-- +goose Up
-- What a search in names and titles compares: the text in lower case, as the
-- program makes it, because engines differ about letters beyond ASCII.
ALTER TABLE apps ADD COLUMN name_folded TEXT NOT NULL DEFAULT '';
ALTER TABLE meetings ADD COLUMN title_folded TEXT NOT NULL DEFAULT '';
UPDATE apps SET name_folded = LOWER(name);
UPDATE meetings SET title_folded = LOWER(COALESCE(title, ''));

-- An account has one app of a name. Those that are there already stay, the
-- younger ones with their id behind the name.
UPDATE apps SET name = name || ' ' || id, name_folded = LOWER(name || ' ' || id) WHERE EXISTS
  (SELECT 1 FROM apps older WHERE older.account_id = apps.account_id AND older.name = apps.name
    AND (older.created_at < apps.created_at OR older.created_at = apps.created_at AND older.id < apps.id));
CREATE UNIQUE INDEX apps_by_name ON apps (account_id, name);
CREATE INDEX apps_by_age ON apps (account_id, created_at, id);
CREATE INDEX meetings_by_age ON meetings (account_id, app_id, created_at, id);

-- Whose session it is, as its livestream says: sums over an app's sessions walk
-- one index, however many livestreams and other apps there are.
ALTER TABLE sessions ADD COLUMN account_id TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN app_id TEXT NOT NULL DEFAULT '';
UPDATE sessions SET (account_id, app_id) =
  (SELECT l.account_id, l.app_id FROM livestreams l WHERE l.id = sessions.livestream_id);
CREATE INDEX sessions_by_start ON sessions (account_id, app_id, started_at) WHERE started_at IS NOT NULL;
