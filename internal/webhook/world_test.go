package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"tally/internal/livestream"
	"tally/internal/netguard"
	"tally/internal/store/sqlite"
	"tally/internal/store/sqlite/sqlitetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var here = livestream.Scope{AccountID: "account", AppID: "app"}

// A call is one request that a receiver got.
type call struct {
	Time   time.Time
	Header http.Header
	Raw    []byte
	Event
}

// A receiver is a small working webhook receiver: reachable by sockets, as an
// http.Handler, or in virtual time, as an http.RoundTripper.
type receiver struct {
	mu    sync.Mutex
	calls []call
	// answer says what to answer to the n-th call, from 0. nil: 200.
	answer func(n int, c call) (status int, header http.Header, err error)
	came   chan struct{} // holds one when a call came
}

func newReceiver() *receiver { return &receiver{came: make(chan struct{}, 1)} }

func (r *receiver) take(header http.Header, body []byte) (int, http.Header, error) {
	c := call{Time: time.Now(), Header: header.Clone(), Raw: body}
	if err := json.Unmarshal(body, &c.Event); err != nil {
		return 0, nil, err
	}
	r.mu.Lock()
	n, answer := len(r.calls), r.answer
	r.calls = append(r.calls, c)
	r.mu.Unlock()
	select {
	case r.came <- struct{}{}:
	default:
	}
	if answer == nil {
		return http.StatusOK, nil, nil
	}
	return answer(n, c)
}

// ServeHTTP is the receiver behind a socket.
func (r *receiver) ServeHTTP(w http.ResponseWriter, rq *http.Request) {
	body, err := io.ReadAll(rq.Body)
	if err != nil {
		return
	}
	status, header, err := r.take(rq.Header, body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	for name, v := range header {
		w.Header()[name] = v
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "thank you for ")
	_, _ = w.Write(body)
}

// RoundTrip is the receiver in virtual time. An answer's error errHang is a
// receiver that takes the request and says nothing.
func (r *receiver) RoundTrip(rq *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(rq.Body)
	if err != nil {
		return nil, err
	}
	status, header, err := r.take(rq.Header, body)
	if errors.Is(err, errHang) {
		<-rq.Context().Done()
		return nil, rq.Context().Err()
	}
	if err != nil {
		return nil, err
	}
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Request: rq, Body: io.NopCloser(bytes.NewReader([]byte("thank you")))}, nil
}

var errHang = errors.New("hang")

func (r *receiver) all() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// wait returns the calls once there are n, or fails after 10 s.
func (r *receiver) wait(t testing.TB, n int) []call {
	t.Helper()
	late := time.After(10 * time.Second)
	for {
		if all := r.all(); len(all) >= n {
			return all
		}
		select {
		case <-r.came:
		case <-late:
			t.Fatalf("%d calls came, want %d: %v", len(r.all()), n, r.words())
		}
	}
}

// words is what the calls said: event's last word, stream's number, status.
func (r *receiver) words() (list []string) {
	for _, c := range r.all() {
		list = append(list, word(c.Event))
	}
	return list
}

func word(e Event) string {
	if e.Health != "" {
		return e.Health
	}
	return string(e.Status)
}

// hosts sends each request to the receiver of its host.
type hosts map[string]*receiver

func (h hosts) RoundTrip(r *http.Request) (*http.Response, error) { return h[r.URL.Host].RoundTrip(r) }

// A world is an engine over a real store.
type world struct {
	testing.TB
	path  string
	store *sqlite.Store
	cfg   Config
	stop  func()
	e     *Engine
}

// keyed is a store that holds a signing key and nothing else.
var keyed = sqlitetest.NewTemplate(func(store *sqlite.Store) error {
	_, err := New(Config{Store: store}).PublicKey(context.Background())
	return err
})

// newWorld opens a store and starts an engine; an empty path is a new place.
func newWorld(t testing.TB, path string, transport http.RoundTripper) *world {
	t.Helper()
	if path == "" {
		path = keyed.Path(t)
	}
	w := &world{TB: t, path: path, cfg: Config{Transport: transport, PublicURL: "https://live.example.org", IngestURL: "rtmp://live.example.org/live/"}}
	w.open()
	t.Cleanup(func() { w.close() })
	return w
}

func (w *world) open() {
	w.Helper()
	store, err := sqlite.Open(context.Background(), w.path)
	must(w.TB, err)
	w.store, w.stop = store, func() {}
	err = store.CreateApp(context.Background(), livestream.App{AccountID: here.AccountID, ID: here.AppID, Name: "My app", CreatedAt: time.Now()})
	if !errors.Is(err, livestream.ErrExists) {
		must(w.TB, err)
	}
}

// start starts an engine; stop, called by close too, ends it.
func (w *world) start() {
	ctx, cancel := context.WithCancel(context.Background())
	w.cfg.Store = w.store
	w.e = New(w.cfg)
	ended := make(chan error, 1)
	go func() { ended <- w.e.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.Errorf("Run: %v", err)
		}
	})
}

func (w *world) close() {
	w.stop()
	w.store.Close()
}

// inBubble runs f in virtual time, with an engine that calls transport.
func inBubble(t *testing.T, transport http.RoundTripper, f func(w *world)) {
	path := keyed.Path(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, path, transport)
		w.start()
		f(w)
		w.close()
	})
}

// local is a guarded transport that may call this machine.
func local() http.RoundTripper {
	return netguard.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Flag: "--webhook-allow"}.Transport()
}

// served puts r behind a socket and returns its address.
func served(t testing.TB, r http.Handler) string {
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	return srv.URL + "/hook?secret=of+the+receiver"
}

func (w *world) hook(url string, events ...string) livestream.Webhook {
	w.Helper()
	if events == nil {
		events = []string{livestream.StatusUpdate}
	}
	h := livestream.Webhook{Scope: here, ID: livestream.NewUUID(), Name: "n", URL: url, Events: events, Enabled: true,
		CreatedAt: time.Now(), UpdatedAt: time.Now(), Secret: NewSecret(), Public: "http://kept.example", Ingest: "rtmp://kept.example/live/"}
	must(w.TB, w.store.CreateWebhook(context.Background(), h))
	return h
}

func (w *world) livestream() livestream.Livestream {
	w.Helper()
	l := livestream.Livestream{Scope: here, ID: livestream.NewUUID(), StreamKey: livestream.NewStreamKey(),
		PlaybackID: livestream.NewPlaybackID(), CreatedAt: time.Now(), UpdatedAt: time.Now(), Settings: livestream.DefaultSettings}
	must(w.TB, w.store.CreateLivestream(context.Background(), l))
	return l
}

func (w *world) advance(l livestream.Livestream, kind livestream.Kind) livestream.Record {
	w.Helper()
	rec, err := w.store.RecordByID(context.Background(), here, l.ID)
	must(w.TB, err)
	rec, err = w.store.Advance(context.Background(), l.ID, livestream.Event{
		Kind: kind, At: time.Now(), Epoch: rec.Session.Epoch, NewID: livestream.NewUUID(), NewRun: livestream.NewRunID(),
		Key: rec.Livestream.StreamKey, SessionID: rec.Session.ID, LastMediaAt: time.Now(),
	})
	must(w.TB, err)
	return rec
}

// onAir takes l from nothing to LIVE: one event.
func (w *world) onAir(l livestream.Livestream) livestream.Record {
	w.Helper()
	w.advance(l, livestream.Publish)
	return w.advance(l, livestream.Playable)
}

func (w *world) deliveries(h livestream.Webhook) []livestream.Delivery {
	w.Helper()
	page, _, err := w.store.Deliveries(context.Background(), here, h.ID, livestream.Page{Number: 1, Size: 100})
	must(w.TB, err)
	return page
}

// settled waits until no delivery of h is open.
func (w *world) settled(h livestream.Webhook) []livestream.Delivery {
	w.Helper()
	for range 1000 {
		page := w.deliveries(h)
		if !slices.ContainsFunc(page, func(d livestream.Delivery) bool { return d.State.Open() }) {
			return page
		}
		time.Sleep(10 * time.Millisecond) // real time: there is nothing to wait for but the store
	}
	w.Fatalf("deliveries stay open: %+v", w.deliveries(h))
	return nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T any](t testing.TB, what string, got, want []T, same func(a, b T) bool) {
	t.Helper()
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func equalWords(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	equal(t, what, got, want, func(a, b string) bool { return a == b })
}
