package sqlite

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tally/internal/livestream"
)

func TestEveryApp(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "tally.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := []livestream.Scope{{AccountID: "b", AppID: "one"}, {AccountID: "a", AppID: "one"}, {AccountID: "a", AppID: "two"}}
	for i, sc := range want {
		at := time.Date(2026, 1, 1+i, 0, 0, 0, 0, time.UTC)
		if err := s.CreateApp(t.Context(), livestream.App{AccountID: sc.AccountID, ID: sc.AppID, Name: sc.AppID, CreatedAt: at}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.EveryApp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
