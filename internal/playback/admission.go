package playback

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"tally/internal/thumbnail"
	"tally/internal/usage"
	"tally/internal/viewer"
)

const (
	// joinTime is how long who was let in counts as a viewer before there is
	// evidence of watching: time to fetch a playlist and a part.
	joinTime = 3 * time.Second

	// recountEvery is how old the number of viewers may be that a limit is held
	// against; who was let in since is added to it.
	recountEvery = 100 * time.Millisecond

	// sampleEvery and samples: egress is that of the last two seconds, because
	// parts go out in bursts.
	sampleEvery = 250 * time.Millisecond
	samples     = 8

	// complainEvery is how often it is logged that viewers are refused.
	complainEvery = time.Minute
)

// An egress counts bytes that went out, for all requests at once: without a
// lock, and without a cache line that they fight over.
type egress struct {
	stripes [16]struct {
		n atomic.Int64
		_ [56]byte
	}
}

func (e *egress) add(n int) { e.stripes[rand.Uint32()%uint32(len(e.stripes))].n.Add(int64(n)) }

func (e *egress) sum() (n int64) {
	for i := range e.stripes {
		n += e.stripes[i].n.Load()
	}
	return n
}

// A gate lets viewers in while there is room. It is asked once per multivariant
// playlist, never for media: whoever is in goes on.
type gate struct {
	maxViewers int   // 0: any number
	maxBps     int64 // bits per second; 0: any
	counter    *usage.Counter
	log        *slog.Logger

	out     egress
	rateBps atomic.Int64 // of the last two seconds; measured where there is a limit
	refused atomic.Int64

	mu      sync.Mutex // guards what follows
	taken   int        // viewers, when last counted, and those let in since
	counted time.Time
	joining []joiner // let in, and without evidence when last counted; oldest first

	complained time.Time // zero: never
	silent     int64     // refused since, without a line in the log
}

// A joiner was let in.
type joiner struct {
	id viewer.ID
	at time.Time
}

// full reports whether there is no room for one more, and if so why.
func (g *gate) full() bool {
	viewers, rate := -1, int64(0)
	if g.maxViewers > 0 {
		g.mu.Lock()
		viewers = g.viewers(time.Now())
		g.mu.Unlock()
	}
	if g.maxBps > 0 {
		rate = g.rateBps.Load()
	}
	if viewers < g.maxViewers && (g.maxBps == 0 || rate < g.maxBps) {
		return false
	}
	g.refuse(viewers, rate)
	return true
}

// viewers is how many there are, with those that join. The caller holds mu.
func (g *gate) viewers(now time.Time) int {
	if now.Sub(g.counted) < recountEvery {
		return g.taken
	}
	left := g.joining[:0]
	for _, j := range g.joining {
		if now.Sub(j.at) < joinTime && !g.counter.Knows(j.id) {
			left = append(left, j)
		}
	}
	clear(g.joining[len(left):])
	g.joining, g.counted = left, now
	g.taken = int(g.counter.Stats().Present) + len(left)
	return g.taken
}

// join notes that a viewer was let in.
func (g *gate) join(id viewer.ID) {
	if g.maxViewers == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.joining = append(g.joining, joiner{id, time.Now()})
	g.taken++
}

// refuse notes that a viewer was not let in, and says so once a minute.
func (g *gate) refuse(viewers int, rateBps int64) {
	g.refused.Add(1)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.silent++
	now := time.Now()
	if !g.complained.IsZero() && now.Sub(g.complained) < complainEvery {
		return
	}
	attrs := []any{"refused", g.silent}
	if g.maxViewers > 0 {
		attrs = append(attrs, "viewers", viewers, "max_viewers", g.maxViewers)
	}
	if g.maxBps > 0 {
		attrs = append(attrs, "egress_bps", rateBps, "max_egress_bps", g.maxBps)
	}
	g.log.Warn("full: newcomers are refused, whoever is in goes on", attrs...)
	g.complained, g.silent = now, 0
}

// measure keeps the rate up to date until ctx ends.
func (g *gate) measure(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	type sample struct {
		at    time.Time
		bytes int64
	}
	ring := [samples]sample{}
	for i := range ring {
		ring[i] = sample{time.Now(), g.out.sum()}
	}
	for i := 0; ; i = (i + 1) % samples {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := sample{time.Now(), g.out.sum()}
		if d := now.at.Sub(ring[i].at); d > 0 {
			g.rateBps.Store(int64(float64(now.bytes-ring[i].bytes) * 8 / d.Seconds()))
		}
		ring[i] = now
	}
}

// Stats are figures of a handler, for metrics.
type Stats struct {
	EgressBytes int64 // bodies of playlists and media
	Refused     int64 // multivariant playlists that were refused because the server is full
	Thumbnails  thumbnail.Stats
}

// Stats returns the handler's figures.
func (h *Handler) Stats() Stats {
	return Stats{EgressBytes: h.gate.out.sum(), Refused: h.gate.refused.Load(), Thumbnails: h.thumbnails.Stats()}
}
