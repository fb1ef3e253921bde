// Package webhook tells the outside what happens to livestreams.
//
// What is to be told is written by the store, in the transaction that makes it
// happen (livestream.WebhookStore). The [Engine] sends it: to each webhook at
// least once, and the events of one livestream in their order. A later event
// waits until the earlier one was taken, refused or given up; nothing else waits
// for it. Each webhook has a goroutine of its own while it has something to be
// sent, and a few requests at a time, so one receiver that is slow or dead delays
// no other. One that keeps failing is asked less and less often.
//
// Nothing is kept in memory that a crash could lose: what was sent and not yet
// noted is sent again, with the same id and the same bytes.
package webhook

import (
	"context"
	"crypto/rsa"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tally/internal/livestream"
	"tally/internal/netguard"
)

// A Store is what the engine asks of the store; livestream.Store is one.
type Store interface {
	AwaitDeliveries(ctx context.Context) ([]string, error)
	PendingWebhooks(ctx context.Context) ([]string, error)
	ReadyDeliveries(ctx context.Context, webhookID string, limit int) (livestream.Webhook, []livestream.Delivery, error)
	KeepBody(ctx context.Context, webhookID string, seq int64, body []byte) ([]byte, error)
	RecordAttempt(ctx context.Context, d livestream.Delivery, r livestream.Result) error
	HurryDeliveries(ctx context.Context, webhookID string, now time.Time) error
	DropEvents(ctx context.Context, before time.Time) (int, error)
	Keep(ctx context.Context, name string, fresh func() ([]byte, error)) ([]byte, error)
}

// Config wires an Engine. Store is required.
type Config struct {
	Store Store
	// Guard says which addresses may be called.
	Guard netguard.Guard
	// Transport makes the calls. nil: Guard.Transport(), so that no webhook
	// reaches what is not public.
	Transport http.RoundTripper
	// PublicURL and IngestURL are what URLs in bodies begin with, such as
	// "https://live.example.org" and "rtmp://live.example.org/live/". Empty: as
	// kept with the webhook.
	PublicURL, IngestURL string

	Log *slog.Logger // nil: nothing is logged
}

// How deliveries are made. The contract (section 5.6) says what is tried again,
// not how often.
const (
	tryTimeout  = 10 * time.Second // of one try, from the name's resolution to the answer's end
	giveUpAfter = 24 * time.Hour   // from when it was queued; the last try is made at its end
	firstDelay  = time.Second      // after the first failure of a delivery; doubled by each
	longDelay   = 10 * time.Minute // at most so much

	// A webhook of which slowAfter tries failed in a row is left alone for
	// firstDelay, doubled by each further failure, at most longPause; one try at a
	// time is made until one succeeds.
	slowAfter = 3
	longPause = 5 * time.Minute

	perWebhook = 4   // requests at a time to one webhook, of different livestreams
	overall    = 256 // requests at a time beyond one for each webhook
	lookAhead  = 16  // deliveries read at a time; more than perWebhook

	stopGrace  = 2 * time.Second // for what is under way when the engine stops
	sweepEvery = 30 * time.Minute
	storeDelay = time.Second // before the store is asked again after an error
)

// Stats are counted since the engine was made.
type Stats struct {
	Delivered atomic.Int64 // answered with 2xx
	Failed    atomic.Int64 // refused: 3xx, 4xx
	Retried   atomic.Int64 // tries that failed and are made again
	GivenUp   atomic.Int64 // tried for 24 hours
}

// An Engine delivers. Make one with New; safe for concurrent use.
type Engine struct {
	Config
	client *http.Client
	stats  Stats
	extra  chan struct{} // a place for each request beyond a webhook's first
	tests  chan struct{} // a place for each Try

	keyMu sync.Mutex
	key   *rsa.PrivateKey // nil until it was read

	mu      sync.Mutex
	runners map[string]*runner // by webhook id
}

// New returns an engine that does nothing until Run.
func New(c Config) *Engine {
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if c.Transport == nil {
		c.Transport = c.Guard.Transport()
	}
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	return &Engine{
		Config: c, client: netguard.Client(c.Transport, tryTimeout), runners: map[string]*runner{},
		extra: make(chan struct{}, overall), tests: make(chan struct{}, 16),
	}
}

// CheckURL says why a webhook may not have this address; nil when it may.
func (e *Engine) CheckURL(u *url.URL) error { return e.Guard.CheckURL(u) }

// Stats returns what was counted so far.
func (e *Engine) Stats() *Stats { return &e.stats }

// Run delivers until ctx ends. Then it starts nothing more, gives what is under
// way two seconds, and returns nil when every goroutine of its own has ended. It
// is called once.
func (e *Engine) Run(ctx context.Context) error {
	if t, ok := e.Transport.(interface{ CloseIdleConnections() }); ok {
		defer t.CloseIdleConnections()
	}
	var own sync.WaitGroup // ends with ctx
	defer own.Wait()
	own.Go(func() { e.sweep(ctx) })
	own.Go(func() { // the key of a first start takes a moment
		if _, err := e.signingKey(ctx); err != nil && ctx.Err() == nil {
			e.Log.Error("webhook signing key", "err", err)
		}
	})
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var runners sync.WaitGroup
	defer func() {
		defer cancel()
		defer time.AfterFunc(stopGrace, cancel).Stop()
		runners.Wait()
	}()
	ids, err := e.pending(ctx)
	for err == nil {
		for _, id := range ids {
			if r := e.wake(id); r != nil {
				runners.Go(func() { r.run(ctx, sending) })
			}
		}
		ids, err = e.Store.AwaitDeliveries(ctx)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// pending finds what an earlier run of the server has left to be delivered.
func (e *Engine) pending(ctx context.Context) ([]string, error) {
	for {
		ids, err := e.Store.PendingWebhooks(ctx)
		if err == nil || ctx.Err() != nil {
			return ids, err
		}
		e.Log.Error("find webhooks with deliveries", "err", err)
		wait(ctx, storeDelay)
	}
}

// wake lets the webhook's runner look again. Where there is none, it returns a
// new one, to be run.
func (e *Engine) wake(id string) *runner {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.runners[id]
	if r != nil {
		select {
		case r.woken <- struct{}{}:
		default:
		}
		return nil
	}
	r = newRunner(e, id)
	e.runners[id] = r
	return r
}

// works tells the webhook's runner, if there is one, that the receiver answers.
func (e *Engine) works(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r := e.runners[id]; r != nil {
		select {
		case r.works <- struct{}{}:
		default:
		}
	}
}

// sweep drops what was kept long enough.
func (e *Engine) sweep(ctx context.Context) {
	for wait(ctx, sweepEvery) {
		for {
			n, err := e.Store.DropEvents(ctx, time.Now().Add(-livestream.KeepEvents))
			if err != nil && ctx.Err() == nil {
				e.Log.Error("drop old events", "err", err)
			}
			if n == 0 || err != nil {
				break
			}
		}
	}
}

// wait returns true after d, false when ctx ended before.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
