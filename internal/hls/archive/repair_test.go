package archive

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"tally/internal/blob"
	"tally/internal/hls/playlist"
)

// A picky is a store that does not take what is appended to some objects, and
// tells when a directory's objects are gone.
type picky struct {
	blob.Store
	refused func(name string) bool
	deleted func()
}

type pickyWriter struct {
	blob.Writer
	b    *picky
	name string
}

func (b *picky) Create(name string) (blob.Writer, error) {
	w, err := b.Store.Create(name)
	if err != nil {
		return nil, err
	}
	return pickyWriter{w, b, name}, nil
}

func (w pickyWriter) Append(pieces ...[]byte) error {
	if w.b.refused != nil && w.b.refused(w.name) {
		return blob.ErrFull
	}
	return w.Writer.Append(pieces...)
}

func (b *picky) DeleteAll(dir string) error {
	if b.deleted != nil {
		b.deleted()
	}
	return b.Store.DeleteAll(dir)
}

func openPicky(t *testing.T) (*picky, *Library) {
	t.Helper()
	d, err := blob.OpenDisk(t.TempDir(), blob.DiskConfig{Floor: -1})
	if err != nil {
		t.Fatal(err)
	}
	b := &picky{Store: d}
	l := New(Config{Blobs: b})
	t.Cleanup(func() { l.Close(); d.Close() })
	return b, l
}

// What describes a recording and its initialization section are written anew where
// a full disk, or a kill, left them empty: else all that follows would be lost.
func TestRepair(t *testing.T) {
	for _, what := range []string{"/about", "/init-1-0.mp4"} {
		b, l := openPicky(t)
		r := l.Record("run")
		r.Begin(aboutOf("s1", true))
		f := &feeder{lane: r.Lane("main"), epoch: 1}
		b.refused = func(name string) bool { return strings.HasSuffix(name, what) }
		f.segment(nil)
		drain(r)
		b.refused = nil
		f.segment(nil)
		r.Close(false)
		l.Close()
		rec, err := l.Recording("s1")
		if err != nil {
			t.Errorf("after an empty %s: %v", what, err)
			continue
		}
		if rec.Length() != 1500*time.Millisecond {
			t.Errorf("after an empty %s: %v long", what, rec.Length())
		}
	}
}

// A recording that somebody asks for while it is deleted is not there afterwards.
func TestDeleteWhileAskedFor(t *testing.T) {
	b, l := openPicky(t)
	r := l.Record("run")
	r.Begin(aboutOf("s1", true))
	(&feeder{lane: r.Lane("main"), epoch: 1}).segment(nil)
	r.Close(false)
	l.Close()
	b.deleted = func() {
		if _, err := l.Recording("s1"); err != nil {
			t.Errorf("while it is deleted: %v", err)
		}
	}
	if err := l.Delete("s1"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Recording("s1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("afterwards: %v", err)
	}
}

// What a run lists is left alone, also when its last session is over: a DVR window
// goes on for as long as it is.
func TestSweepLeavesWhatIsListed(t *testing.T) {
	_, l := openPicky(t)
	r := l.Record("run")
	r.Begin(aboutOf("s1", false))
	(&feeder{lane: r.Lane("main"), epoch: 1}).segment(nil)
	r.End()
	drain(r)
	keeper := Keeper{Runs: func(context.Context) (map[string]bool, error) { return nil, nil }}
	left := func() int {
		if err := l.Sweep(t.Context(), keeper, began); err != nil {
			t.Fatal(err)
		}
		all, err := l.blobs.List("s1")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	if left() == 0 {
		t.Error("deleted while it is listed")
	}
	r.Close(false)
	l.Close()
	if left() != 0 {
		t.Error("left behind when nothing lists it any more")
	}
}

// TestCueLines: a cue is read back as it was written; a line that is none ends the
// journal, and no more are kept than may be.
func TestCueLines(t *testing.T) {
	c := playlist.DateRange{ID: "cue-1-2", Class: "a b", Start: time.UnixMilli(1_764_000_000_500).UTC(), Known: true, Data: playlist.EscapeData("\"x\" + 1 %\n"), Out: "0xFC"}
	var in reader
	if err := in.read(appendCue(nil, &c)); err != nil || len(in.cues) != 1 || in.cues[0] != c {
		t.Errorf("%v, read back %+v, want %+v", err, in.cues, c)
	}
	for _, bad := range []string{"", "-", "ID%3D1", "ID%3D%22x%22%2CSTART-DATE%3D%22never%22", "%zz"} {
		if err := in.read(appendLine(nil, "cue", bad)); err == nil {
			t.Errorf("%q is a cue", bad)
		}
	}
	var many []byte
	for range maxCues + 10 {
		many = appendCue(many, &c)
	}
	if err := in.read(many); err != nil || len(in.cues) != maxCues {
		t.Errorf("%v, %d are kept", err, len(in.cues))
	}
}
