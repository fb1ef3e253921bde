package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pressly/goose/v3"
	driver "modernc.org/sqlite"
	code "modernc.org/sqlite/lib"

	"tally/internal/livestream"
)

//go:embed migrations/*.sql
var migrations embed.FS

// A schemaError says that the database was written by a newer program.
type schemaError struct{ has, knows int64 }

func (e schemaError) Error() string {
	return fmt.Sprintf("its schema is version %d and this tally knows up to %d", e.has, e.knows)
}

// migrate brings the schema up to date, each step in a transaction of its own.
func migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	has, knows, err := p.GetVersions(ctx)
	switch {
	case err != nil:
		return err
	case has > knows:
		return schemaError{has, knows}
	case has == knows:
		return nil
	}
	_, err = p.Up(ctx)
	return err
}

// dsn names the file for the driver with what every connection sets first. The
// path is escaped, so that "?", "#" and "%" in it are only characters.
func dsn(path string, pragmas ...string) string {
	q := url.Values{"_pragma": append([]string{"busy_timeout(5000)"}, pragmas...)} // 5 s
	file := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path)}
	return file.String() + "?" + q.Encode()
}

// claim makes the directory and the file where they are missing and takes the
// lock on them, which ends with the process however that ends. The lock is a
// file of its own: closing any descriptor of the database itself would drop
// the locks that SQLite holds on it.
func claim(path string) (*os.File, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, explainFile("make data directory", dir, err)
	}
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, explainFile("open data directory", dir, err)
	}
	switch held, err := tryLock(lock); {
	case err != nil:
		lock.Close()
		return nil, explainFile("lock data directory", dir, err)
	case !held:
		lock.Close()
		return nil, fmt.Errorf("data directory %s is in use by another tally process: stop that one first, or name another directory", dir)
	}
	db, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		lock.Close()
		return nil, explainFile("open database", path, err)
	}
	if err := db.Close(); err != nil {
		lock.Close()
		return nil, explainFile("open database", path, err)
	}
	return lock, nil
}

// explainFile says what to do about a file or directory that cannot be used.
func explainFile(op, path string, err error) error {
	var what string
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		what = "not writable by this user; change its owner or permissions, or name another data directory"
	case errors.Is(err, syscall.ENOSPC):
		what = "no space left on its file system; free some"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EEXIST), errors.Is(err, syscall.EISDIR):
		what = "something else is in its place; move that away, or name another data directory"
	default:
		return fmt.Errorf("%s: %w", op, err)
	}
	return fmt.Errorf("%s %s: %s (%w)", op, path, what, err)
}

var errClosed = errors.New("store is closed")

// explain wraps err once, with what to do where someone must act. What the
// words of package livestream say stays as it is.
func (s *Store) explain(op string, err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return livestream.ErrNotFound
	}
	var newer schemaError
	var e *driver.Error
	what := ""
	switch {
	case errors.Is(err, sql.ErrConnDone), strings.Contains(err.Error(), "sql: database is closed"):
		return fmt.Errorf("%s: %w", op, errClosed)
	case errors.As(err, &newer):
		what = "run the newer tally that wrote it, or restore a backup"
	case errors.As(err, &e):
		switch e.Code() & 0xff { // the primary code
		case code.SQLITE_CONSTRAINT:
			if isDuplicate(e) {
				return fmt.Errorf("%s: %w (%w)", op, livestream.ErrExists, err)
			}
		case code.SQLITE_FULL:
			what = "the disk is full; free space on its file system"
		case code.SQLITE_NOTADB:
			what = "this is not a Tally database; move the file away, and a new one is made"
		case code.SQLITE_CORRUPT:
			what = "the file is damaged; restore a backup, or move it away to start anew"
		case code.SQLITE_READONLY, code.SQLITE_PERM, code.SQLITE_CANTOPEN:
			what = "not readable and writable by this user; change its owner or permissions"
		case code.SQLITE_IOERR:
			what = "the disk does not read or write; check that it has space and is sound"
		}
	}
	if what == "" {
		return fmt.Errorf("%s: %w", op, err)
	}
	return fmt.Errorf("%s %s: %s (%w)", op, s.path, what, err)
}

// isDuplicate reports whether a UNIQUE or PRIMARY KEY constraint refused a row.
func isDuplicate(e *driver.Error) bool {
	return e.Code() == code.SQLITE_CONSTRAINT_UNIQUE || e.Code() == code.SQLITE_CONSTRAINT_PRIMARYKEY
}
