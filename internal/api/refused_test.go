package api_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"tally/internal/api"
	"tally/internal/livestream"
	"tally/internal/store/sqlite"
)

// unable is a store that cannot create livestreams, while there is an err.
type unable struct {
	*sqlite.Store
	err error
}

func (b *unable) CreateLivestream(ctx context.Context, l livestream.Livestream) error {
	if b.err != nil {
		return b.err
	}
	return b.Store.CreateLivestream(ctx, l)
}

// TestRetryOfARefusedCreate: it creates what is its own, although equal requests
// created something just before.
func TestRetryOfARefusedCreate(t *testing.T) {
	const path, body = base + "/livestreams", `{"name":"equal"}`
	for name, c := range map[string]struct{ token, address, code int }{
		"too many of the token":     {2, 0, 429},
		"too many from the address": {0, 2, 429},
		"failed":                    {0, 0, 500},
		"stopping":                  {0, 0, 503},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := &unable{Store: w.store}
			w.cfg.Store = s
			w.limit(c.token, c.address)
			answered := map[string]bool{}
			for range 2 {
				id, _ := w.retried("0", path, body)
				answered[id] = true
			}
			if len(answered) != 2 {
				t.Fatalf("two creates made %v", answered)
			}
			switch c.code {
			case 500:
				s.err = errors.New("disk on fire")
			case 503:
				s.err = livestream.ErrStopping
			}
			for _, count := range []string{"0", "1", "2"} { // of one client
				if _, rec := w.retried(count, path, body); rec.Code != c.code {
					t.Fatalf("refused with %d, want %d", rec.Code, c.code)
				}
			}
			s.err = nil
			api.FillBuckets(w.h)
			w.now = w.now.Add(time.Second)
			own, rec := w.retried("3", path, body)
			if rec.Code != 201 || answered[own] {
				t.Fatalf("%d: the object of an equal request, that has its answer", rec.Code)
			}
			if again, _ := w.retried("4", path, body); again != own {
				t.Errorf("its own retry is answered with %q, want %q", again, own)
			}
			api.FillBuckets(w.h)
			if lost, _ := w.retried("1", path, body); !answered[lost] {
				t.Errorf("another's first retry is answered with %q, want one of %v", lost, answered)
			}
		})
	}
}

// TestRefusedRetryOfWhatWasDone: that its retry was refused makes no second of
// what the first one created.
func TestRefusedRetryOfWhatWasDone(t *testing.T) {
	const path, body = base + "/livestreams", `{}`
	w := newWorld(t)
	w.limit(1, 0)
	lost, _ := w.retried("0", path, body)
	if _, rec := w.retried("1", path, body); rec.Code != 429 {
		t.Fatalf("not refused: %d", rec.Code)
	}
	api.FillBuckets(w.h)
	if again, _ := w.retried("2", path, body); again != lost {
		t.Errorf("the second retry is answered with %q, want %q", again, lost)
	}
}

// TestRefusedBodyThatNeverComes: who may not ask is not waited for.
func TestRefusedBodyThatNeverComes(t *testing.T) {
	w := newWorld(t)
	w.limit(0, 1)
	srv := httptest.NewServer(w.h)
	t.Cleanup(srv.Close)
	begun := time.Now()
	for _, want := range []string{"HTTP/1.1 401", "HTTP/1.1 429"} {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		must(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, "POST "+base+"/livestreams HTTP/1.1\r\nHost: tally\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{")
		must(t, err)
		answer := make([]byte, len(want))
		if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != want {
			t.Errorf("%q, %v; want %s", answer, err, want)
		}
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestRefusals(t *testing.T) {
	var r api.Refused
	now := time.Unix(1_800_000_000, 0)
	r.Add(1, 0, now)
	r.Add(1, 0, now)
	r.Add(1, 1, now)
	for _, c := range []struct {
		request byte
		retry   int
		after   time.Duration
		want    bool
	}{
		{1, 0, 0, true},
		{2, 1, 0, false},
		{1, 3, 0, false},
		{1, 1, 0, true},
		{1, 1, 0, true},
		{1, 1, 0, false},
		{1, 2, 2*time.Minute + 1, false},
		{1, 2, 0, false}, // forgotten
	} {
		if got := r.Original(c.request, c.retry, now.Add(c.after)); got != c.want {
			t.Errorf("request %d with count %d: %t, want %t", c.request, c.retry, got, c.want)
		}
	}
	if r.Len() != 0 {
		t.Errorf("%d are left", r.Len())
	}
	for i := range 3 * api.MaxRefusals {
		r.Add(byte(i), i, now)
	}
	if r.Len() != api.MaxRefusals {
		t.Errorf("%d are kept, want %d", r.Len(), api.MaxRefusals)
	}
}
