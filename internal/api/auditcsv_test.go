package api

import (
	"bytes"
	"io"
	"net/http/httptest"
	"testing"
	"time"
)

// What went to a file is not kept in memory too: a slow client takes minutes.
func TestSpoolIsInOnePlace(t *testing.T) {
	var text spool
	t.Cleanup(func() { text.Close() })
	line := bytes.Repeat([]byte("x"), 1000)
	const lines = inMemory/1000 + 10
	for range lines {
		if _, err := text.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if n := text.memory.Cap(); text.file == nil || n != 0 {
		t.Errorf("%d bytes in memory beside the file", n)
	}
	size, err := text.rewind()
	if err != nil || size != lines*1000 {
		t.Fatalf("%d bytes: %v", size, err)
	}
	if n, err := io.Copy(io.Discard, &text); err != nil || n != size {
		t.Errorf("read %d of %d bytes: %v", n, size, err)
	}
}

// A long audit has time for a slow link, a short one what every answer has.
func TestLongAuditHasTime(t *testing.T) {
	for size, want := range map[int64]time.Duration{1000: 2 * time.Minute, 13_500_000: 3*time.Minute + 42*time.Second} {
		w := &timed{ResponseRecorder: httptest.NewRecorder()}
		before := time.Now()
		allowTime(w, size)
		if got := w.deadline.Sub(before); got < want || got > want+10*time.Second {
			t.Errorf("%d bytes: %v, want %v", size, got, want)
		}
	}
}

type timed struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (w *timed) SetWriteDeadline(t time.Time) error { w.deadline = t; return nil }
