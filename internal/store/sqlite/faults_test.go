package sqlite

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tally/internal/livestream"
)

// TestOpenSaysWhatToDo covers what a user's data directory may be like.
func TestOpenSaysWhatToDo(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, path string)
		says    string
	}{
		{"not a database", func(t *testing.T, path string) {
			put(t, path, []byte(strings.Repeat("stream, stream\n", 500)))
		}, "not a Tally database; move the file away"},
		{"damaged", func(t *testing.T, path string) {
			makeDatabase(t, path)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := 100; i < len(b); i++ { // all but the header
				b[i] = 0xff
			}
			put(t, path, b)
		}, "damaged; restore a backup"},
		{"newer schema", func(t *testing.T, path string) {
			s, err := Open(ctx, path)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.write(ctx, "test", durable, func(t *tx) error {
				_, err := t.exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, TRUE)`)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}, "run the newer tally that wrote it"},
		{"in use", func(t *testing.T, path string) {
			s, err := Open(ctx, path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
		}, "in use by another tally process"},
		{"a directory in its place", func(t *testing.T, path string) {
			if err := os.MkdirAll(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "something else is in its place"},
		{"data directory is a file", func(t *testing.T, path string) {
			if err := os.Remove(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Dir(path), nil)
		}, "something else is in its place"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "tally.db")
			c.prepare(t, path)
			s, err := Open(ctx, path)
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error is %q, want one line with %q and %s", err, c.says, dir)
			}
		})
	}
}

func put(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func makeDatabase(t *testing.T, path string) {
	t.Helper()
	s, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenMakesPrivateFilesWhateverTheirName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?c#d%41 'é", "deeper")
	path := filepath.Join(dir, "tally.db")
	for range 2 {
		makeDatabase(t, path)
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if info, err := f.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s is readable by others: %v %v", f.Name(), info.Mode(), err)
			}
		}
		if len(files) != 2 {
			t.Errorf("closed store leaves %v, want the database and the lock", files)
		}
	}
}

// TestFullDisk lets SQLite run into a limit of its own, which it reports as it
// reports a full disk, and lifts it again.
func TestFullDisk(t *testing.T) {
	s := openTemp(t)
	limit := func(pages string) {
		if err := s.w.do(ctx, relaxed, func(t *tx) error {
			return t.row(`PRAGMA max_page_count = `+pages, func(row scanner) error { return row.Scan(new(int64)) })
		}); err != nil {
			t.Fatal(err)
		}
	}
	first := newLivestream(0)
	if err := s.CreateLivestream(ctx, first); err != nil {
		t.Fatal(err)
	}
	limit("1") // SQLite takes it as the present size
	var err error
	created := 1
	for err == nil && created < 10_000 {
		if err = s.CreateLivestream(ctx, newLivestream(0)); err == nil {
			created++
		}
	}
	if err == nil || !strings.Contains(err.Error(), "the disk is full; free space") {
		t.Fatalf("after %d livestreams: %v, want that the disk is full", created, err)
	}
	if _, err := s.RecordByKey(ctx, first.StreamKey); err != nil {
		t.Errorf("reading from a full disk: %v", err)
	}
	limit("1000000")
	if err := s.CreateLivestream(ctx, newLivestream(0)); err != nil {
		t.Errorf("after space was freed: %v", err)
	}
	_, n, err := s.Records(ctx, here, livestream.Query{Page: livestream.Page{Number: 1, Size: 1}})
	if err != nil || n != created+1 {
		t.Errorf("%d livestreams are stored, %d were acknowledged: %v", n, created+1, err)
	}
}

// TestOneFailureLeavesTheOthers puts writes into one transaction of which the
// middle one breaks half-way.
func TestOneFailureLeavesTheOthers(t *testing.T) {
	s := openTemp(t)
	good := []livestream.Livestream{newLivestream(1), newLivestream(2)}
	broken := errors.New("broken")
	insert := func(id string) func(*tx) error {
		return func(t *tx) error {
			_, err := t.exec(`INSERT INTO heartbeats (node, at) VALUES (?, 1)`, id)
			return err
		}
	}
	jobs := []*job{
		{ctx: ctx, want: durable, run: insert(good[0].ID), done: make(chan struct{})},
		{ctx: ctx, want: durable, run: func(t *tx) error {
			if err := insert("half")(t); err != nil {
				return err
			}
			return broken
		}, done: make(chan struct{})},
		{ctx: ctx, run: insert(good[0].ID), done: make(chan struct{})}, // a duplicate
		{ctx: ctx, run: insert(good[1].ID), done: make(chan struct{})},
	}
	// Run on the writer's goroutine, as one batch inside of which nothing else is.
	hold := make(chan struct{})
	blocked := make(chan error, 1)
	go func() { blocked <- s.w.do(ctx, relaxed, func(*tx) error { <-hold; return nil }) }()
	for _, j := range jobs {
		s.w.jobs <- j
	}
	close(hold)
	for _, j := range jobs {
		<-j.done
	}
	if err := <-blocked; err != nil {
		t.Fatal(err)
	}
	if jobs[0].err != nil || jobs[3].err != nil || !errors.Is(jobs[1].err, broken) || !isDriver(jobs[2].err) {
		t.Errorf("errors are %v, %v, %v, %v", jobs[0].err, jobs[1].err, jobs[2].err, jobs[3].err)
	}
	nodes, err := collect(ctx, s.reads, func(row scanner) (node string, err error) {
		err = row.Scan(&node)
		return node, err
	}, `SELECT node FROM heartbeats`)
	if err != nil || len(nodes) != 2 {
		t.Errorf("stored are %v, %v; want the two good ones", nodes, err)
	}
}

// TestOldRowsAreDropped turns the store's clock.
func TestOldRowsAreDropped(t *testing.T) {
	s := openTemp(t)
	now := time.Now()
	s.now = func() time.Time { return now }
	l := newLivestream(0)
	if err := s.CreateLivestream(ctx, l); err != nil {
		t.Fatal(err)
	}
	r, err := goLive(s, l)
	if err != nil {
		t.Fatal(err)
	}
	add := func(n int64) {
		t.Helper()
		w := livestream.UsageWindow{SessionID: r.Session.ID, Kind: livestream.ByMedia, Node: "n", Incarnation: "i", Window: n, Amount: time.Second}
		if err := s.Checkpoint(ctx, nil, []livestream.UsageWindow{w}, nil); err != nil {
			t.Fatal(err)
		}
	}
	count := func(table string) (n int) {
		t.Helper()
		if err := s.reads.QueryRow(`SELECT COUNT(*) FROM ` + table).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for n := range int64(5) {
		now = now.Add(2 * sweepEvery)
		add(n)
	}
	keep := livestream.DefaultRetention
	now = now.Add(keep.Windows - time.Minute)
	add(5)
	if n := count("usage_windows"); n != 6 {
		t.Errorf("%d windows within the time they are kept, want 6", n)
	}
	now = now.Add(time.Hour)
	add(6)
	if n := count("usage_windows"); n != 2 {
		t.Errorf("%d windows, want the two young ones", n)
	}
	if n := count("timeline"); n != 2 {
		t.Errorf("%d facts, want 2", n)
	}
	must(t, s.Checkpoint(ctx, []livestream.Checkpoint{{Intervals: []livestream.Interval{{SessionID: r.Session.ID, Epoch: 1, Number: 1, From: now}}}}, nil,
		[]livestream.Viewing{{SessionID: r.Session.ID, Viewer: "a", First: now, Last: now}, {SessionID: r.Session.ID, Viewer: "b", First: now, Last: now.Add(time.Hour)}}))
	now = now.Add(keep.Viewings + time.Minute)
	add(7)
	if n := count("viewings"); n != 1 {
		t.Errorf("%d viewings, want the one that was there later", n)
	}
	if n := count("ingest_intervals"); n != 1 {
		t.Errorf("%d intervals, want 1", n)
	}
	now = start.Add(keep.Timeline + keep.Windows + 2*time.Hour)
	add(8)
	if n := count("ingest_intervals") + count("viewings"); n != 0 {
		t.Errorf("%d intervals and viewings after their time, want none", n)
	}
	if n := count("timeline"); n != 0 {
		t.Errorf("%d facts after their time, want none", n)
	}
	got, err := s.RecordByID(ctx, here, l.ID)
	if err != nil || got.Session.Viewed != 9*time.Second {
		t.Errorf("viewed is %s, %v; want 9 s whatever was dropped", got.Session.Viewed, err)
	}
}

// TestNoViewings: the setting 0 keeps no rows, and drops those that are there.
func TestNoViewings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tally.db")
	for _, c := range []struct {
		keep time.Duration
		want int
	}{{time.Hour, 1}, {0, 0}} {
		keep := livestream.DefaultRetention
		keep.Viewings = c.keep
		s, err := OpenKeeping(ctx, path, keep)
		must(t, err)
		l := newLivestream(0)
		must(t, s.CreateLivestream(ctx, l))
		r, err := goLive(s, l)
		must(t, err)
		now := time.Now()
		must(t, s.Checkpoint(ctx, nil, nil, []livestream.Viewing{{SessionID: r.Session.ID, Viewer: "v", First: now, Last: now}}))
		s.now = func() time.Time { return now.Add(time.Minute) }
		must(t, s.Checkpoint(ctx, []livestream.Checkpoint{{}}, nil, nil))
		var n int
		must(t, s.reads.QueryRow(`SELECT COUNT(*) FROM viewings`).Scan(&n))
		if n != c.want {
			t.Errorf("kept for %s: %d rows, want %d", c.keep, n, c.want)
		}
		must(t, s.Close())
	}
}

// TestOldWindowsAreDropped writes more windows than one sweep drops, of more
// starts of nodes than one sweep looks at.
func TestOldWindowsAreDropped(t *testing.T) {
	s := openTemp(t)
	now := time.Now()
	s.now = func() time.Time { return now }
	var ws []livestream.UsageWindow
	for i := range 3 * dropAtMost {
		ws = append(ws, livestream.UsageWindow{SessionID: "s", Kind: livestream.ByMedia, Node: "n",
			Incarnation: strconv.Itoa(i % (2 * startsAtOnce)), Window: int64(i), Amount: time.Second})
	}
	must(t, s.Checkpoint(ctx, nil, ws, nil))
	left := len(ws)
	for range 2 * startsAtOnce {
		now = now.Add(livestream.DefaultRetention.Windows)
		var n int
		must(t, s.Checkpoint(ctx, nil, []livestream.UsageWindow{{SessionID: "s", Kind: livestream.ByMedia, Node: "o", Window: now.Unix()}}, nil))
		must(t, s.reads.QueryRow(`SELECT COUNT(*) FROM usage_windows WHERE node = 'n'`).Scan(&n))
		if left-n > dropAtMost {
			t.Errorf("one sweep dropped %d windows, want at most %d", left-n, dropAtMost)
		}
		if left = n; left == 0 {
			return
		}
	}
	t.Errorf("%d windows stay", left)
}

// TestKeysAreNotInErrors plants keys and a token where they collide.
func TestKeysAreNotInErrors(t *testing.T) {
	s := openTemp(t)
	l := newLivestream(0)
	if err := s.CreateLivestream(ctx, l); err != nil {
		t.Fatal(err)
	}
	again := newLivestream(1)
	again.StreamKey = l.StreamKey
	err := s.CreateLivestream(ctx, again)
	if err == nil || strings.Contains(err.Error(), l.StreamKey.Reveal()) {
		t.Errorf("error is %v", err)
	}
	var b bytes.Buffer
	b.WriteString(errors.Join(err, s.explain("x", err)).Error())
	if bytes.Contains(b.Bytes(), []byte(keyHash(l.StreamKey))) {
		t.Errorf("error holds the key's hash: %s", b.String())
	}
}
