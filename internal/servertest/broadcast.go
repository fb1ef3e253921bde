package servertest

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A Broadcast is one livestream of a server in one test. Its methods fail that
// test, so they are for its goroutine.
type Broadcast struct {
	*Server
	T           testing.TB
	ID          string
	Key         string
	PlaybackURL string
	PlaybackID  string
}

// Create makes a livestream. settings are what goes under "tally"; nil: none.
func (s *Server) Create(t testing.TB, settings map[string]any) *Broadcast {
	t.Helper()
	body := map[string]any{"name": t.Name()}
	if settings != nil {
		body["tally"] = settings
	}
	var made Livestream
	b := &Broadcast{Server: s, T: t}
	b.Ask("POST", "/livestreams", body, http.StatusCreated).Into(t, &made)
	b.take(made)
	return b
}

// Broadcast is the livestream that an answer told of, as of a meeting's start.
func (s *Server) Broadcast(t testing.TB, l Livestream) *Broadcast {
	b := &Broadcast{Server: s, T: t}
	b.take(l)
	return b
}

func (b *Broadcast) take(l Livestream) {
	b.ID, b.Key, b.PlaybackURL = l.ID, l.StreamKey, l.PlaybackURL
	_, rest, _ := strings.Cut(l.PlaybackURL, "/hls/")
	b.PlaybackID, _, _ = strings.Cut(rest, "/")
}

// Ask calls the API, and fails the test unless the status is want and the answer
// is as docs/openapi.yaml says.
func (b *Broadcast) Ask(method, path string, body any, want int) Answer {
	b.T.Helper()
	a, req, header := b.send(method, path, body)
	if a.Status != want {
		b.T.Fatalf("%s %s: %d %s, want %d", method, path, a.Status, a.Body, want)
	}
	conforms(b.T, req, a, header)
	return a
}

// Do stops, disables or enables the livestream, or resets its stream key
// (reset-stream-key), which is Key from then on.
func (b *Broadcast) Do(verb string) {
	b.T.Helper()
	method := http.MethodPost
	if verb == "disable" || verb == "enable" {
		method = http.MethodPut
	}
	a := b.Ask(method, "/livestreams/"+b.ID+"/"+verb, nil, http.StatusOK)
	if verb == "reset-stream-key" {
		var made Livestream
		a.Into(b.T, &made)
		b.Key = made.StreamKey
	}
}

// Active is the answer about the active session, with our own fields; ok is
// false when it is 404.
func (b *Broadcast) Active() (l Livestream, s Session, ok bool) {
	b.T.Helper()
	a := b.Call("GET", "/livestreams/"+b.ID+"/active-livestream-session?include=tally", nil)
	if a.Status == http.StatusNotFound {
		return l, s, false
	}
	if a.Status != http.StatusOK {
		b.T.Fatalf("active session: %d %s", a.Status, a.Body)
	}
	var both struct {
		Livestream Livestream
		Session    Session
	}
	a.Into(b.T, &both)
	return both.Livestream, both.Session, true
}

// Status is the active session's status with the code of err_message behind it,
// such as "LIVE" and "LIVE RECONNECTING", or "404".
func (b *Broadcast) Status() string {
	b.T.Helper()
	l, s, ok := b.Active()
	if !ok {
		return "404"
	}
	return strings.TrimSpace(l.Status + " " + s.Code())
}

// Await waits until Status is want, and returns how long that took.
func (b *Broadcast) Await(want string, limit time.Duration) time.Duration {
	b.T.Helper()
	began := time.Now()
	for {
		got := b.Status()
		took := time.Since(began)
		if got == want {
			return took
		}
		if took > limit {
			b.T.Fatalf("after %v the active session is %q, want %q", limit, got, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Detail is the livestream with its sessions, newest first.
func (b *Broadcast) Detail() (Livestream, []Session) {
	b.T.Helper()
	var both struct {
		Livestream Livestream
		Sessions   []Session
	}
	b.Ask("GET", "/livestreams/"+b.ID+"?per_page=100&include=tally", nil, http.StatusOK).Into(b.T, &both)
	return both.Livestream, both.Sessions
}

// Session is one session, also when it is over.
func (b *Broadcast) Session(id string) (s Session) {
	b.T.Helper()
	b.Ask("GET", "/livestreams/sessions/"+id+"?include=tally", nil, http.StatusOK).Into(b.T, &s)
	return s
}

// Events is the timeline of a session, oldest first.
func (b *Broadcast) Events(session string) (list []Event) {
	b.T.Helper()
	b.Ask("GET", "/livestreams/sessions/"+session+"/events?per_page=100", nil, http.StatusOK).Into(b.T, &list)
	return list
}

// State is what the public state says of the broadcast: waiting, live,
// reconnecting or ended; "" when there was no answer.
func (b *Broadcast) State() string {
	_, text := b.Get("/hls/" + b.PlaybackID + "/state")
	var s struct{ State string }
	if json.Unmarshal(text, &s) != nil {
		return ""
	}
	return s.State
}

// AwaitState waits until State is want, and returns how long that took.
func (b *Broadcast) AwaitState(want string, limit time.Duration) time.Duration {
	b.T.Helper()
	return Eventually(b.T, "the public state "+want, limit, func() bool { return b.State() == want })
}

// IngestURL is where an encoder publishes, key and all.
func (b *Broadcast) IngestURL() string { return "rtmp://" + b.RTMP + "/live/" + b.Key }

// WatchURL is the watch page.
func (b *Broadcast) WatchURL() string { return "http://" + b.HTTP + "/watch/" + b.PlaybackID }
