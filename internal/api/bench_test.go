package api_test

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tally/internal/api"
	"tally/internal/auth"
	"tally/internal/livestream"
	"tally/internal/store/sqlite"
)

// stored is how many livestreams the benchmark's store holds.
const stored = 100_000

// BenchmarkActive compares active-livestream-session, over loopback and a store
// of 100,000 livestreams, with a bare handler that sends the same bytes: both
// are asked in turns by the same connections, so that whatever else the machine
// does meets both. It prints requests/s of each and their ratio (design section
// 9: at least 0.6).
//
//	go test ./internal/api -run - -bench Active -benchtime 20000x
func BenchmarkActive(b *testing.B) {
	store, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "tally.db"))
	must(b, err)
	defer store.Close()
	ids, token := fill(b, store, stored)
	ours := httptest.NewServer(api.New(api.Config{Store: store, Auth: &auth.Authenticator{Store: store},
		RateLimit: 1 << 40, AddressRateLimit: 1 << 40, // counted as always, never reached
		Logger: slog.New(slog.NewJSONHandler(io.Discard, nil))}))
	defer ours.Close()

	path := func(i int) string {
		return "/client/v4" + base + "/livestreams/" + ids[i%len(ids)] + "/active-livestream-session"
	}
	r, err := http.NewRequest("GET", ours.URL+path(0), nil)
	must(b, err)
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	must(b, err)
	body, err := io.ReadAll(resp.Body)
	must(b, err)
	resp.Body.Close()
	if resp.StatusCode != 200 {
		b.Fatalf("%s: %s", resp.Status, body)
	}
	bare := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	}))
	defer bare.Close()

	var took [2]time.Duration
	const turn = 2000 // requests; b.N is rounded up to whole turns
	n := 0
	for b.Loop() {
		if n++; n%turn != 1 {
			continue // one turn stands for this many iterations
		}
		for i, srv := range []*httptest.Server{bare, ours} {
			took[i] += ask(b, srv.Listener.Addr().String(), path, token, turn)
		}
	}
	turns := float64((n + turn - 1) / turn)
	rate := func(d time.Duration) float64 { return turns * turn / d.Seconds() }
	b.ReportMetric(rate(took[0]), "bare/s")
	b.ReportMetric(rate(took[1]), "ours/s")
	b.ReportMetric(rate(took[1])/rate(took[0]), "ratio")
}

// BenchmarkActiveHandler is what a request costs without connection and client,
// with what a server has on by default: the access log for what changes or
// fails, and both rate limits. Off is the same without them.
//
//	go test ./internal/api -run - -bench ActiveHandler
func BenchmarkActiveHandler(b *testing.B) {
	store, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "tally.db"))
	must(b, err)
	defer store.Close()
	ids, token := fill(b, store, 1000)
	for _, c := range []struct {
		name   string
		config api.Config
	}{
		{"off", api.Config{AccessLog: api.LogOff}},
		{"default", api.Config{RateLimit: 1 << 40, AddressRateLimit: 1 << 40}}, // as counted, but never reached
	} {
		b.Run(c.name, func(b *testing.B) {
			c.config.Store, c.config.Auth = store, &auth.Authenticator{Store: store}
			c.config.Logger = slog.New(slog.NewJSONHandler(io.Discard, nil))
			h := api.New(c.config)
			r := httptest.NewRequest("GET", "/client/v4"+base+"/livestreams/"+ids[0]+"/active-livestream-session", nil)
			r.Header.Set("Authorization", "Bearer "+token)
			w := &discard{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				w.status = 200
				if h.ServeHTTP(w, r); w.status != 200 {
					b.Fatal(w.status)
				}
			}
		})
	}
}

// discard is a ResponseWriter that costs nothing.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// fill stores livestreams of which a thousand are awaiting an encoder.
func fill(b *testing.B, store *sqlite.Store, stored int64) (active []string, token string) {
	b.Helper()
	now := time.Now()
	scope := livestream.Scope{AccountID: "acc", AppID: "app"}
	must(b, store.CreateApp(b.Context(), livestream.App{AccountID: "acc", ID: "app", CreatedAt: now}))
	text, hash := auth.NewToken()
	must(b, store.CreateToken(b.Context(), livestream.Token{ID: livestream.NewUUID(), Hash: hash, AccountID: "acc",
		Scopes: []string{auth.Realtime}, CreatedAt: now}))
	var next atomic.Int64
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 64 { // writes that arrive together share a transaction
		all.Go(func() {
			for i := next.Add(1); i <= stored; i = next.Add(1) {
				l := livestream.Livestream{Scope: scope, ID: livestream.NewUUID(), Name: "livestream " + strconv.FormatInt(i, 10), HasName: true,
					StreamKey: livestream.NewStreamKey(), PlaybackID: livestream.NewPlaybackID(), CreatedAt: now, UpdatedAt: now,
					Settings: livestream.DefaultSettings}
				if err := store.CreateLivestream(b.Context(), l); err != nil {
					b.Error(err)
					return
				}
				if i%(stored/1000) != 0 {
					continue
				}
				if _, err := store.Advance(b.Context(), l.ID, livestream.Event{Kind: livestream.Start, At: now,
					NewID: livestream.NewUUID(), NewRun: livestream.NewRunID()}); err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				active = append(active, l.ID)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return active, text.Reveal()
}

// ask sends n requests over 16 connections and says how long that took. The
// client is as thin as may be, so that the servers are what is measured.
func ask(b *testing.B, addr string, path func(int) string, token string, n int) time.Duration {
	b.Helper()
	const conns = 16
	var all sync.WaitGroup
	start := time.Now()
	for c := range conns {
		all.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			var request, answer [4096]byte
			for i := c; i < n; i += conns {
				q := append(request[:0], "GET "...)
				q = append(append(q, path(i)...), " HTTP/1.1\r\nHost: tally.example\r\nAuthorization: Bearer "...)
				q = append(append(q, token...), "\r\nAccept: application/json\r\n\r\n"...)
				if _, err := conn.Write(q); err != nil {
					b.Error(err)
					return
				}
				got, err := conn.Read(answer[:]) // one small answer arrives in one piece on loopback
				if err != nil || string(answer[:12]) != "HTTP/1.1 200" || string(answer[got-2:got]) != "}\n" {
					b.Errorf("%v: %s", err, answer[:got])
					return
				}
			}
		})
	}
	all.Wait()
	return time.Since(start)
}
