package playback_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/livestream"
)

const stateURL = "/hls/" + id + "/state"

// stateWithin is when a change that only the store knows has been told.
const stateWithin = 5500 * time.Millisecond

// told is the state endpoint's answer with times as texts.
type told struct {
	State                string
	Since, Deadline, Run *string
	Disabled             bool
}

func (w *world) told() told {
	w.t.Helper()
	var s told
	if err := json.Unmarshal([]byte(want(w.t, w.get(stateURL), 200, noStore)), &s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

func text(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

func TestStateTellsEachPhase(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		expect := func(state, since, deadline, run string) {
			t.Helper()
			if s := w.told(); s.State != state || text(s.Since) != since || text(s.Deadline) != deadline || text(s.Run) != run {
				t.Errorf("%s since %s, deadline %s, run %s; want %s, %s, %s, %s", s.State, text(s.Since), text(s.Deadline), text(s.Run), state, since, deadline, run)
			}
		}
		at := func(d time.Duration) string {
			return time.Now().Add(d).UTC().Truncate(time.Millisecond).Format(time.RFC3339Nano)
		}
		expect("waiting", "null", "null", "null")
		invoked := at(0)
		w.open(runID)
		expect("waiting", invoked, "null", "null")
		w.feed(3 * time.Second)
		started := at(0)
		w.phase(livestream.OnAir, func(s *livestream.Session) { s.StartedAt = time.Now() })
		expect("live", started, "null", runID)
		w.packager.Lost(w.epoch)
		lost, until := at(0), at(time.Minute)
		w.phase(livestream.Reconnecting, func(s *livestream.Session) {
			s.LastMediaAt, s.Deadline = time.Now(), time.Now().Add(time.Minute)
		})
		expect("reconnecting", lost, until, runID)
		w.connect()
		w.feed(2 * time.Second)
		w.phase(livestream.OnAir, nil)
		expect("live", started, "null", runID)
		w.packager.End(false)
		stopped := at(0)
		w.phase(livestream.Ended, func(s *livestream.Session) { s.StoppedAt = time.Now() })
		expect("ended", stopped, "null", runID)
		w.mu.Lock()
		w.record.Livestream.Disabled = true
		w.mu.Unlock()
		if !w.told().Disabled {
			t.Error("a livestream that was switched off is not said to be")
		}
	})
}

func TestStateAfterARestart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.phase(livestream.OnAir, func(s *livestream.Session) { s.StartedAt = time.Now() })
		if s := w.told(); s.State != "reconnecting" {
			t.Errorf("%s, want reconnecting", s.State)
		}
	})
}

func TestStateOfAnUnknownID(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, accept := range []string{"*/*", "text/event-stream"} {
			r := w.get("/hls/unknown/state", "Accept", accept)
			if b := want(t, r, 404, noStore); r.Header.Get("Content-Type") != "application/json" || !json.Valid([]byte(b)) {
				t.Errorf("Accept %s: %q", accept, b)
			}
		}
	})
}

func TestStateAsIsAccepted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, accept := range []string{"", "*/*", "application/json", "text/event-stream;q=0, */*", "application/json, text/event-stream; q=0.0"} {
			r := w.get(stateURL, "Accept", accept)
			if b := want(t, r, 200, noStore); r.Header.Get("Content-Type") != "application/json" || !json.Valid([]byte(b)) {
				t.Errorf("Accept %s: %q", accept, b)
			}
		}
		for _, accept := range []string{"text/event-stream", "application/json;q=0.1, text/event-stream;q=0.5"} {
			ctx, leave := context.WithCancel(t.Context())
			r := httptest.NewRequest("GET", stateURL, nil).WithContext(ctx)
			r.Header.Set("Accept", accept)
			f := &feed{ResponseRecorder: httptest.NewRecorder()}
			time.AfterFunc(time.Second, leave)
			w.handler.ServeHTTP(f, r)
			if got := f.Header().Get("Content-Type"); got != "text/event-stream" {
				t.Errorf("Accept %s: %q", accept, got)
			}
		}
	})
}

// A feed is an event stream's reader.
type feed struct {
	*httptest.ResponseRecorder
	mu  sync.Mutex // guards got
	got strings.Builder
}

func (f *feed) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.got.Write(b)
}

func (f *feed) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.got.String()
}

func (f *feed) states() (names []string) {
	for _, line := range strings.Split(f.text(), "\n") {
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			var s told
			if json.Unmarshal([]byte(data), &s) == nil {
				names = append(names, s.State)
			}
		}
	}
	return names
}

// listen opens an event stream; the function ends it.
func (w *world) listen() (*feed, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	f := &feed{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest("GET", stateURL, nil).WithContext(ctx)
	r.Header.Set("Accept", "text/event-stream")
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.handler.ServeHTTP(f, r)
	}()
	synctest.Wait()
	return f, func() { cancel(); <-done }
}

func TestEvents(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		first, stop := w.listen()
		defer stop()
		if first.Header().Get("Content-Type") != "text/event-stream" || !strings.HasPrefix(first.text(), "retry: 2000\nevent: state\n") {
			t.Fatalf("%v %q", first.Header(), first.text())
		}
		w.air(3 * time.Second)
		time.Sleep(time.Second)
		second, stopSecond := w.listen()
		w.phase(livestream.Reconnecting, func(s *livestream.Session) { s.Deadline = time.Now().Add(time.Minute) })
		w.packager.Lost(w.epoch)
		synctest.Wait() // at once, not at the next look
		if got := strings.Join(second.states(), " "); got != "live reconnecting" {
			t.Errorf("the second reader was told %q", got)
		}
		stopSecond()
		w.packager.End(false)
		w.phase(livestream.Ended, func(s *livestream.Session) { s.StoppedAt = time.Now() })
		time.Sleep(6 * time.Second)
		names := first.states()
		if got := strings.Join(names, " "); !strings.HasPrefix(got, "waiting") || !strings.HasSuffix(got, "live reconnecting ended") {
			t.Errorf("the first reader was told %q", got)
		}
		time.Sleep(time.Minute)
		if got := strings.Count(first.text(), "\n: still here\n"); got < 3 {
			t.Errorf("%d heartbeats in a minute", got)
		}
		if again := first.states(); len(again) != len(names) {
			t.Errorf("a state that did not change was told again: %v", again)
		}
	})
}

func TestEventsOfWhatOnlyTheStoreKnows(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.phase(livestream.Reconnecting, func(s *livestream.Session) { s.StartedAt = time.Now() }) // after a restart
		f, stop := w.listen()
		defer stop()
		time.Sleep(15 * time.Second)
		w.phase(livestream.Ended, func(s *livestream.Session) { s.StoppedAt = time.Now() })
		time.Sleep(stateWithin)
		if got := strings.Join(f.states(), " "); got != "reconnecting ended" {
			t.Errorf("told %q", got)
		}
	})
}

func TestCloseEndsEventStreams(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		f, stop := w.listen()
		defer stop()
		w.handler.Close() // returns only when the goroutine behind it has ended
		synctest.Wait()
		if got := f.states(); len(got) != 1 {
			t.Errorf("told %v", got)
		}
		want(t, w.get(stateURL, "Accept", "text/event-stream"), 503, noStore)
		w.told() // a plain question is answered still
	})
}
