// Package sqlitetest gives tests stores on disk without making the schema anew
// for each of them, which takes longer than what most are for.
package sqlitetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"tally/internal/store/sqlite"
)

// A Template is a store's file as each test's own begins. It may be used
// concurrently.
type Template struct{ file func() ([]byte, error) }

// Empty is a store that holds nothing.
var Empty = NewTemplate(func(*sqlite.Store) error { return nil })

// NewTemplate returns the template of a store into which fill has put something.
// It is made when it is first wanted.
func NewTemplate(fill func(*sqlite.Store) error) Template {
	return Template{sync.OnceValues(func() ([]byte, error) { return makeFile(fill) })}
}

func makeFile(fill func(*sqlite.Store) error) ([]byte, error) {
	dir, err := os.MkdirTemp("", "tally-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "tally.db")
	store, err := sqlite.Open(context.Background(), path)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(fill(store), store.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// Path is where a new store of that template stands. It is not open, and goes
// with the test.
func (tp Template) Path(t testing.TB) string {
	t.Helper()
	b, err := tp.file()
	path := filepath.Join(t.TempDir(), "tally.db")
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}
