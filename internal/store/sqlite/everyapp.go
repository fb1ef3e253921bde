package sqlite

import (
	"context"

	"tally/internal/livestream"
)

// EveryApp lists the apps of every account, oldest first: for a program that
// has the data directory and no token, and so does not know its accounts.
func (s *Store) EveryApp(ctx context.Context) ([]livestream.Scope, error) {
	all, err := collect(ctx, s.reads, func(row scanner) (sc livestream.Scope, err error) {
		return sc, row.Scan(&sc.AccountID, &sc.AppID)
	}, `SELECT account_id, id FROM apps ORDER BY created_at, account_id, id`)
	if err != nil {
		return nil, s.explain("read apps", err)
	}
	return all, nil
}
