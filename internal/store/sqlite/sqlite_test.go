package sqlite_test

import (
	"context"
	"path/filepath"
	"testing"

	"tally/internal/livestream"
	"tally/internal/store/sqlite"
	"tally/internal/store/storetest"
)

func open(t testing.TB, place string) livestream.Store {
	t.Helper()
	s, err := sqlite.Open(context.Background(), filepath.Join(place, "tally.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) { storetest.Run(t, open) }

func TestCrash(t *testing.T) { storetest.Crash(t, open) }
