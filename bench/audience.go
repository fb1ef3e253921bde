package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"tally/internal/hls/player"
)

// An audience is a number of lean players of one URL, each with a connection of
// its own. With low latency they follow the live edge by blocking reloads and
// delta updates and fetch each part as soon as it is listed; without, they poll
// and fetch whole segments.
type audience struct {
	players []*player.Player
	logs    [][]arrival // each appended to by its player's goroutine only
	leaving atomic.Bool // each player ends after its next part
	stop    context.CancelFunc
	wg      sync.WaitGroup

	mu   sync.Mutex
	errs []error
}

// joinTime spreads the players of an audience, so that they do not all join in
// the same millisecond.
const joinTime = time.Second

// gather starts n players, which trust what trust says over https.
func gather(ctx context.Context, url string, n int, lowLatency bool, trust *tls.Config) *audience {
	ctx, cancel := context.WithCancel(ctx)
	a := &audience{logs: make([][]arrival, n), stop: cancel}
	for i := range n {
		ctx, end := context.WithCancel(ctx)
		p := player.New(player.Options{
			URL: url, LowLatency: lowLatency, Lean: true, TLS: trust,
			OnPart: func(p player.PartInfo) {
				a.logs[i] = append(a.logs[i], arrival{path.Base(p.URI), p.Arrived, p.Size, p.Duration})
				if a.leaving.Load() {
					end()
				}
			},
		})
		a.players = append(a.players, p)
		delay := joinTime * time.Duration(i) / time.Duration(n)
		a.wg.Go(func() {
			defer end()
			if pause(ctx, delay) != nil {
				return
			}
			if _, err := p.Run(ctx); err != nil {
				a.mu.Lock()
				a.errs = append(a.errs, fmt.Errorf("player %d: %w", i, err))
				a.mu.Unlock()
			}
		})
	}
	return a
}

// requests is how many answers the players have had so far, beside the one or
// two playlists at the beginning.
func (a *audience) requests() int64 {
	var n int64
	for _, p := range a.players {
		s := p.Stats()
		n += s.Reloads + s.Parts + s.Inits
	}
	return n
}

// bytes is how much media the players have fetched so far.
func (a *audience) bytes() (sum int64) {
	for _, p := range a.players {
		sum += p.Stats().MediaBytes
	}
	return sum
}

// leaveTime is how long players have to end between two parts.
const leaveTime = 3 * time.Second

// leave ends all players and waits for them. Each ends behind a part rather
// than amid one: what is half read when a connection breaks, the server has
// long written and counted.
func (a *audience) leave() {
	a.leaving.Store(true)
	t := time.AfterFunc(leaveTime, a.stop)
	a.wg.Wait()
	t.Stop()
	a.stop()
}

// A comfort is how playback went, summed over an audience.
type comfort struct {
	stalls, errors, jumps int
	firstError            string
}

// comfort may be asked after leave.
func (a *audience) comfort() comfort {
	var c comfort
	for _, p := range a.players {
		s := p.Stats()
		c.stalls += s.Stalls
		c.errors += int(s.Errors)
		c.jumps += int(s.Jumps)
		if c.firstError == "" {
			c.firstError = s.LastError
		}
	}
	return c
}
