package sqlite

import (
	"database/sql"
	"io/fs"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"tally/internal/livestream"
)

// TestUpgrade opens what the first version of the schema left behind: apps of
// one name, meetings, a session that nothing knows the app of, and a window of it
// after others were dropped.
func TestUpgrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tally.db")
	db, err := sql.Open("sqlite", dsn(path, "journal_mode(WAL)"))
	must(t, err)
	files, err := fs.Sub(migrations, "migrations")
	must(t, err)
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	must(t, err)
	_, err = p.UpTo(ctx, 1)
	must(t, err)
	then := strconv.FormatInt(time.Now().Add(-time.Hour).UnixMilli(), 10)
	for _, statement := range []string{
		`INSERT INTO apps VALUES ('account-1', 'app-1', 'Default', 1000), ('account-1', 'b', 'Default', 2000),
			('account-1', 'a', 'Default', 2000), ('account-2', 'c', 'Default', 3000)`,
		`INSERT INTO meetings VALUES ('m', 'account-1', 'app-1', 'Weekly', TRUE, FALSE, FALSE, FALSE, FALSE, FALSE, 60, NULL, NULL, 1, 1),
			('n', 'account-1', 'app-1', NULL, TRUE, FALSE, FALSE, FALSE, FALSE, FALSE, 60, NULL, NULL, 2, 2)`,
		`INSERT INTO livestreams VALUES ('l', 'account-1', 'app-1', NULL, NULL, 'key', 'hash', 'playback', FALSE, 1, 1, 60000, 30000,
			1800000, 10000, 1, NULL, 0, 'run', 4, 0, 0, 0, NULL, 's')`,
		`INSERT INTO sessions VALUES ('s', 'l', 'ended', 1, ` + then + `, ` + then + `, ` + then + `, ` + then + ` + 1000, ` + then + ` + 5000, ` + then + ` + 5000, NULL, '', '', '', FALSE, '', '', 4000, 2000000, 0)`,
		`INSERT INTO usage_windows VALUES ('n', 'i', 7, 's', 'viewer', 500000, 8000)`,
	} {
		_, err := db.Exec(statement)
		must(t, err)
	}
	must(t, db.Close())

	s, err := Open(ctx, path)
	must(t, err)
	defer s.Close()
	apps, _, err := s.Apps(ctx, "account-1", livestream.AppQuery{Page: livestream.Page{Number: 1, Size: 9}, Search: "default", OldestFirst: true})
	must(t, err)
	var names []string
	for _, a := range apps {
		names = append(names, a.Name)
	}
	if want := []string{"Default", "Default a", "Default b"}; len(names) != 3 || names[0] != want[0] || names[1] != want[1] || names[2] != want[2] {
		t.Errorf("apps are %q, want %q", names, want)
	}
	found, n, err := s.Meetings(ctx, here, livestream.MeetingQuery{Page: livestream.Page{Number: 1, Size: 9}, Search: "WEEK"})
	must(t, err)
	if n != 1 || found[0].ID != "m" {
		t.Errorf("search finds %v", found)
	}
	r, err := s.RecordByID(ctx, here, "l")
	must(t, err)
	if r.Livestream.Settings != livestream.DefaultSettings || r.Session.ID != "s" || r.Session.Phase != livestream.Ended {
		t.Errorf("livestream is %+v", r)
	}
	u, livestreams, err := s.Usage(ctx, here, time.UnixMilli(0), time.Now())
	must(t, err)
	if want := (livestream.Usage{Sessions: 1, IngestSecs: 4, ViewerSecs: 2}); u != want || livestreams != 1 {
		t.Errorf("usage %+v of %d, want %+v of 1", u, livestreams, want)
	}
	again := livestream.UsageWindow{SessionID: "s", Kind: livestream.ByMedia, Node: "n", Incarnation: "i", Window: 7, Amount: time.Hour}
	must(t, s.Checkpoint(ctx, nil, []livestream.UsageWindow{again}, nil))
	audit := &livestream.Audit{At: time.Now()}
	must(t, s.Audit(ctx, here, "s", audit))
	audit.Done()
	if !audit.AddsUp() || audit.Received != 4*time.Second || audit.Windowed != (livestream.Amounts{Media: 2 * time.Second}) {
		t.Errorf("audit: %+v", audit)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
