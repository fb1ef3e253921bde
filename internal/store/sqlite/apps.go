package sqlite

import (
	"context"
	"database/sql"
	"strings"

	"tally/internal/livestream"
)

const appColumns = `account_id, id, name, created_at, wire`

func scanApp(row scanner) (livestream.App, error) {
	var a livestream.App
	err := row.Scan(&a.AccountID, &a.ID, &a.Name, moment{&a.CreatedAt}, &a.Wire)
	return a, err
}

// CreateApp adds an app; livestream.ErrExists when the account has its id or its
// name.
func (s *Store) CreateApp(ctx context.Context, a livestream.App) error {
	return s.write(ctx, "create app", durable, func(t *tx) error {
		_, err := t.exec(`INSERT INTO apps (`+appColumns+`, name_folded) VALUES (?, ?, ?, ?, ?, ?)`,
			a.AccountID, a.ID, a.Name, ms(a.CreatedAt), a.Wire, folded(a.Name))
		if err != nil {
			return err
		}
		return t.noteCreation(ctx, livestream.CreatesApp, a.ID)
	})
}

const selectApp = `SELECT ` + appColumns + ` FROM apps WHERE account_id = ? AND id = ?`

// App answers from memory once it has found the app.
func (s *Store) App(ctx context.Context, sc livestream.Scope) (livestream.App, error) {
	known, generation := s.apps.get(sc)
	if known != nil {
		return *known, nil
	}
	var a livestream.App
	err := s.row(ctx, "read app", selectApp, func(row scanner) (err error) {
		a, err = scanApp(row)
		return err
	}, sc.AccountID, sc.AppID)
	if err != nil {
		return livestream.App{}, err
	}
	s.apps.put(sc, a, generation)
	return a, nil
}

// UpdateApp makes what App keeps in memory old before it commits.
func (s *Store) UpdateApp(ctx context.Context, sc livestream.Scope, change func(livestream.App) livestream.App) (a livestream.App, err error) {
	err = s.write(ctx, "update app", durable, func(t *tx) error {
		var before livestream.App
		if err := t.row(selectApp, func(row scanner) (err error) {
			before, err = scanApp(row)
			return err
		}, sc.AccountID, sc.AppID); err != nil {
			return err
		}
		a = change(before)
		a.AccountID, a.ID, a.CreatedAt = before.AccountID, before.ID, before.CreatedAt
		if a == before {
			return nil
		}
		t.apps = append(t.apps, sc)
		_, err := t.exec(`UPDATE apps SET name = ?, name_folded = ?, wire = ? WHERE account_id = ? AND id = ?`,
			a.Name, folded(a.Name), a.Wire, sc.AccountID, sc.AppID)
		return err
	})
	if err != nil {
		return livestream.App{}, err
	}
	return a, nil
}

// Apps reads the page and the count in one snapshot.
func (s *Store) Apps(ctx context.Context, accountID string, q livestream.AppQuery) (page []livestream.App, count int, err error) {
	where, args := appConditions(accountID, q)
	err = s.snapshot(ctx, "list apps", func(db *sql.Tx) error {
		if err := db.QueryRowContext(ctx, `SELECT COUNT(*) FROM apps WHERE `+where, args...).Scan(&count); err != nil {
			return err
		}
		size, skip := limits(q.Page)
		page, err = collect(ctx, db, scanApp, `SELECT `+appColumns+` FROM apps WHERE `+where+
			byAge(q.OldestFirst)+` LIMIT ? OFFSET ?`, append(args, size, skip)...)
		return err
	})
	return page, count, err
}

// appConditions is the WHERE of a list of apps.
func appConditions(accountID string, q livestream.AppQuery) (where string, args []any) {
	where, args = `account_id = ?`, []any{accountID}
	if len(q.IDs) > 0 {
		where += ` AND id IN (?` + strings.Repeat(`, ?`, len(q.IDs)-1) + `)`
		for _, id := range q.IDs {
			args = append(args, id)
		}
	}
	if q.Search != "" {
		where += ` AND (name_folded LIKE ? ESCAPE '\' OR id LIKE ? ESCAPE '\')`
		args = append(args, containing(q.Search), containing(q.Search))
	}
	return where, args
}

// byAge is the ORDER BY of a list.
func byAge(oldestFirst bool) string {
	if oldestFirst {
		return ` ORDER BY created_at, id`
	}
	return ` ORDER BY created_at DESC, id DESC`
}
