package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	driver "modernc.org/sqlite"

	"tally/internal/livestream"
)

// durability says what a write has survived once it returned.
type durability uint8

const (
	relaxed durability = iota // the process's death (PRAGMA synchronous = NORMAL: no fsync per commit)
	durable                   // the machine's as well (FULL: the log is fsynced at commit)
)

// maxBatch bounds how many writes share a transaction, and with it how long
// the first of them waits for the others.
const maxBatch = 128

// A writer owns the one connection that writes. Its goroutine takes all writes
// that wait, runs them in one BEGIN IMMEDIATE transaction and commits once: a
// thousand encoders that come back together cost a few fsyncs, not a thousand.
type writer struct {
	db    *sql.DB
	conn  *sql.Conn
	stmts map[string]*sql.Stmt // owned by the goroutine, as is level
	level durability           // what synchronous is set to

	// invalidated around each commit
	records *cache[string, livestream.Record]
	apps    *cache[livestream.Scope, livestream.App]

	jobs    chan *job
	stop    chan struct{} // closed by close
	stopped chan struct{} // closed when the goroutine has ended
	once    sync.Once
}

// A job is one write: all of run, or nothing of it.
type job struct {
	ctx  context.Context
	want durability
	run  func(*tx) error // may run twice; must not keep what an earlier run did
	err  error
	done chan struct{}
}

// newWriter starts the goroutine. From then on close closes db too.
func newWriter(ctx context.Context, db *sql.DB, records *cache[string, livestream.Record],
	apps *cache[livestream.Scope, livestream.App]) (*writer, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{
		db: db, conn: conn, stmts: map[string]*sql.Stmt{}, records: records, apps: apps,
		jobs: make(chan *job, maxBatch), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	if err := w.setLevel(durable); err != nil {
		conn.Close()
		return nil, err
	}
	go w.loop()
	return w, nil
}

// do runs one write and returns when it is committed, or refused. ctx ends the
// wait for its turn; once it runs it is run to its end.
func (w *writer) do(ctx context.Context, d durability, run func(*tx) error) error {
	j := &job{ctx: ctx, want: d, run: run, done: make(chan struct{})}
	select {
	case w.jobs <- j:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-w.stop:
		return sql.ErrConnDone
	}
	select {
	case <-j.done:
		return j.err
	case <-w.stopped:
	}
	select { // ended at the same moment: was it still done?
	case <-j.done:
		return j.err
	default:
		return sql.ErrConnDone
	}
}

// close ends the goroutine after the batch it is at, and closes the database.
func (w *writer) close() error {
	w.once.Do(func() { close(w.stop) })
	<-w.stopped
	return errors.Join(w.conn.Close(), w.db.Close())
}

func (w *writer) loop() {
	defer close(w.stopped)
	for {
		select {
		case j := <-w.jobs:
			w.commit(w.gather(j))
		case <-w.stop:
			return
		}
	}
}

// gather returns first and what waits behind it.
func (w *writer) gather(first *job) []*job {
	batch := []*job{first}
	for len(batch) < maxBatch {
		select {
		case j := <-w.jobs:
			batch = append(batch, j)
		default:
			return batch
		}
	}
	return batch
}

// commit runs a batch and tells everyone how it went. When one job breaks the
// transaction for the others, each is run again in one of its own.
func (w *writer) commit(batch []*job) {
	if !w.attempt(batch) {
		for _, j := range batch {
			w.attempt([]*job{j})
		}
	}
	for _, j := range batch {
		close(j.done)
	}
}

// attempt runs a batch in one transaction and sets each job's err. False: a job
// failed half-way, all is rolled back, and there were others with it.
func (w *writer) attempt(batch []*job) bool {
	level := relaxed
	for _, j := range batch {
		level = max(level, j.want)
	}
	if err := w.begin(level); err != nil {
		failAll(batch, err)
		return true
	}
	t := &tx{w: w}
	for _, j := range batch {
		if j.err = context.Cause(j.ctx); j.err != nil {
			continue // gave up while it waited
		}
		t.wrote = false
		j.err = j.run(t)
		if j.err == nil || !t.wrote && !isDriver(j.err) {
			t.any = t.any || t.wrote
			continue // done, or refused before anything was written
		}
		w.rollback()
		return len(batch) == 1
	}
	if !t.any {
		w.rollback() // nothing was written, nothing to sync
		return true
	}
	w.records.suspend(t.touched)
	w.apps.suspend(t.apps)
	err := w.run("COMMIT")
	if err != nil {
		w.rollback()
	}
	w.apps.resume(t.apps)
	w.records.resume(t.touched)
	if err != nil {
		failAll(batch, err)
		return true
	}
	for _, f := range t.after {
		f()
	}
	return true
}

func failAll(batch []*job, err error) {
	for _, j := range batch {
		if j.err == nil {
			j.err = err
		}
	}
}

// isDriver reports whether SQLite itself failed: it may then have ended the
// transaction on its own.
func isDriver(err error) bool {
	var e *driver.Error
	return errors.As(err, &e)
}

func (w *writer) begin(level durability) error {
	if level != w.level {
		if err := w.setLevel(level); err != nil {
			return err
		}
	}
	return w.run("BEGIN IMMEDIATE")
}

func (w *writer) setLevel(level durability) error {
	pragma := "PRAGMA synchronous = NORMAL"
	if level == durable {
		pragma = "PRAGMA synchronous = FULL"
	}
	// Not a prepared statement: SQLite may act on a PRAGMA while preparing it.
	if _, err := w.conn.ExecContext(context.Background(), pragma); err != nil {
		return err
	}
	w.level = level
	return nil
}

// rollback ends the transaction. SQLite may have ended it already; then this
// fails, and that is as good.
func (w *writer) rollback() { _ = w.run("ROLLBACK") }

func (w *writer) run(statement string) error {
	stmt, err := w.prepared(statement)
	if err != nil {
		return err
	}
	_, err = stmt.Exec()
	return err
}

func (w *writer) prepared(query string) (*sql.Stmt, error) {
	if stmt := w.stmts[query]; stmt != nil {
		return stmt, nil
	}
	stmt, err := w.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, fmt.Errorf("prepare statement: %w", err)
	}
	w.stmts[query] = stmt
	return stmt, nil
}

// A tx is the transaction a job runs in. Query texts must be constants: each is
// prepared once and kept.
type tx struct {
	w       *writer
	wrote   bool               // the present job wrote something
	any     bool               // one of the jobs did
	touched []string           // livestreams whose records changed
	apps    []livestream.Scope // that changed
	after   []func()           // run by the writer's goroutine once this is committed
}

// touch says that the record of a livestream is about to change.
func (t *tx) touch(livestreamID string) { t.touched = append(t.touched, livestreamID) }

// exec writes and returns how many rows that changed.
func (t *tx) exec(query string, args ...any) (int64, error) {
	stmt, err := t.w.prepared(query)
	if err != nil {
		return 0, err
	}
	result, err := stmt.Exec(args...)
	if err != nil {
		t.wrote = true // perhaps in part
		return 0, err
	}
	n, err := result.RowsAffected()
	t.wrote = t.wrote || n > 0
	return n, err
}

// row reads one row; sql.ErrNoRows when there is none.
func (t *tx) row(query string, scan func(scanner) error, args ...any) error {
	stmt, err := t.w.prepared(query)
	if err != nil {
		return err
	}
	return scan(stmt.QueryRow(args...))
}

// rows writes, by a statement that ends in RETURNING id, and returns the ids.
func (t *tx) rows(query string, args ...any) (map[string]bool, error) {
	stmt, err := t.w.prepared(query)
	if err != nil {
		return nil, err
	}
	ids, err := collect(context.Background(), statement{stmt}, func(row scanner) (id string, err error) {
		err = row.Scan(&id)
		return id, err
	}, "", args...)
	t.wrote = t.wrote || err != nil || len(ids) > 0
	set := make(map[string]bool, len(ids))
	for _, id := range ids {
		set[id] = true
	}
	return set, err
}

// A statement is a querier that has its query already.
type statement struct{ *sql.Stmt }

func (s statement) QueryContext(ctx context.Context, _ string, args ...any) (*sql.Rows, error) {
	return s.Stmt.QueryContext(ctx, args...)
}
