// Package sqlite keeps livestreams, sessions and seconds in one SQLite file.
//
// All writes pass through one goroutine that owns the one writing connection
// ([writer]); writes that arrive together share a transaction and its fsync.
// Reads use a small pool and never wait for writes (write-ahead log). Records
// that are read often stay in memory ([cache]). docs/store.md says what is
// durable when.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"tally/internal/livestream"
)

// A Store is a livestream.Store in one SQLite file. Safe for concurrent use.
type Store struct {
	path  string
	lock  *os.File // held while open: one process per data directory
	reads *sql.DB
	stmts sync.Map // query text -> *sql.Stmt on reads; the texts are constants
	w     *writer
	now   func() time.Time

	queued *wakeList // webhooks with something to deliver
	access *wakeList // playback ids of which it may have changed who may watch

	written map[string]runFigures // by session id; owned by the writer's goroutine, like told and sweptAt
	told    map[string]words      // by session id
	sweptAt time.Time
	sweptTo incarnation // the start of a node whose windows were looked at last; like sweptAt

	keep livestream.Retention

	records   *cache[string, livestream.Record] // by livestream id
	playbacks *cache[string, string]            // playback id -> livestream id, which never changes
	apps      *cache[livestream.Scope, livestream.App]

	closing sync.Once
}

var _ livestream.Store = (*Store)(nil)

const (
	cachedRecords = 10_000 // about 1.2 KB each: 12 MB at most
	cachedApps    = 1_000
)

// Open is OpenKeeping with livestream.DefaultRetention.
func Open(ctx context.Context, path string) (*Store, error) {
	return OpenKeeping(ctx, path, livestream.DefaultRetention)
}

// OpenKeeping opens the database at path, in which rows are kept as long as keep
// says, and brings its schema up to date; the file
// and its directory are made when missing, readable by their owner alone. It
// refuses, in one sentence that says what to do, when another process has it
// open, when it cannot be written, when it is not a database or a damaged one,
// and when a newer Tally wrote it.
func OpenKeeping(ctx context.Context, path string, keep livestream.Retention) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	lock, err := claim(path)
	if err != nil {
		return nil, err
	}
	s := &Store{
		path: path, lock: lock, now: time.Now, keep: keep, queued: newWakeList(), access: newWakeList(), written: map[string]runFigures{}, told: map[string]words{},
		records:   newCache[string, livestream.Record](cachedRecords),
		playbacks: newCache[string, string](cachedRecords),
		apps:      newCache[livestream.Scope, livestream.App](cachedApps),
	}
	if err := s.start(ctx); err != nil {
		lock.Close()
		return nil, s.explain("open database", err)
	}
	return s, nil
}

// start opens the connections. On error it leaves none open.
func (s *Store) start(ctx context.Context) error {
	db, err := sql.Open("sqlite", dsn(s.path, "journal_mode(WAL)", "journal_size_limit(67108864)", "foreign_keys(1)"))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	if err := migrate(ctx, db); err != nil {
		db.Close()
		return err
	}
	if s.w, err = newWriter(ctx, db, s.records, s.apps); err != nil {
		db.Close()
		return err
	}
	if s.reads, err = sql.Open("sqlite", dsn(s.path, "query_only(1)")); err != nil {
		s.w.close()
		return err
	}
	n := max(4, 2*runtime.GOMAXPROCS(0))
	s.reads.SetMaxOpenConns(n)
	s.reads.SetMaxIdleConns(n)
	return nil
}

// Close waits for the writes under way, writes the log back into the database
// file and lets go of the data directory. Afterwards every method fails.
func (s *Store) Close() error {
	var err error
	s.closing.Do(func() {
		s.records.close()
		s.playbacks.close()
		s.apps.close()
		err = errors.Join(s.reads.Close(), s.w.close(), s.lock.Close())
	})
	if err != nil {
		return s.explain("close database", err)
	}
	return nil
}

// Ping reports whether the store can be read and written: it writes a row. A
// full disk or a database turned read-only shows here.
func (s *Store) Ping(ctx context.Context) error {
	return s.write(ctx, "ping store", relaxed, func(t *tx) error {
		_, err := t.exec(`INSERT INTO heartbeats (node, at) VALUES ('local', ?1)
			ON CONFLICT (node) DO UPDATE SET at = excluded.at`, ms(s.now()))
		return err
	})
}

// write runs fn in a write transaction and explains what goes wrong with it.
func (s *Store) write(ctx context.Context, op string, d durability, fn func(*tx) error) error {
	if err := s.w.do(ctx, d, fn); err != nil {
		return s.explain(op, err)
	}
	return nil
}

// row runs a query that yields at most one row; scan gets it. No row is
// livestream.ErrNotFound.
func (s *Store) row(ctx context.Context, op, query string, scan func(scanner) error, args ...any) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	stmt, err := s.prepared(query)
	if err != nil {
		return s.explain(op, err)
	}
	// Not interrupted by ctx: it takes microseconds, and watching ctx costs more.
	if err := scan(stmt.QueryRowContext(context.WithoutCancel(ctx), args...)); err != nil {
		return s.explain(op, err)
	}
	return nil
}

func (s *Store) prepared(query string) (*sql.Stmt, error) {
	if stmt, ok := s.stmts.Load(query); ok {
		return stmt.(*sql.Stmt), nil
	}
	stmt, err := s.reads.Prepare(query)
	if err != nil {
		return nil, err
	}
	if first, loaded := s.stmts.LoadOrStore(query, stmt); loaded {
		stmt.Close()
		return first.(*sql.Stmt), nil
	}
	return stmt, nil
}

// A scanner is a *sql.Row or *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

// A querier runs a query that yields many rows: *sql.DB, *sql.Tx.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// collect runs a query and returns what scan makes of each row. It returns nil
// when there is none.
func collect[T any](ctx context.Context, q querier, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		x, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, x)
	}
	return all, rows.Err()
}
