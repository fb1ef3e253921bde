package main

import (
	"sync"
	"time"
)

// A partTruth is what the generator itself knows about one part.
type partTruth struct {
	sent   time.Time // when its last video frame was handed to the socket
	frames []uint64  // counters of the video frames in it, in decode order
	bytes  int64
}

// A partLedger knows the truth of parts by their name. It is filled by the
// scout, a player that keeps bodies and reads the stamps in them, and asked
// when the phase is over.
type partLedger struct {
	mu    sync.Mutex
	parts map[string]partTruth
}

func newPartLedger() *partLedger { return &partLedger{parts: map[string]partTruth{}} }

func (l *partLedger) put(name string, t partTruth) {
	l.mu.Lock()
	l.parts[name] = t
	l.mu.Unlock()
}

func (l *partLedger) get(name string) (partTruth, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, ok := l.parts[name]
	return t, ok
}

// An arrival is one part complete at one player.
type arrival struct {
	name  string
	at    time.Time
	bytes int64
	media time.Duration
}

// A verdict sums up what a number of players got.
type verdict struct {
	latencies []time.Duration // of the parts whose last frame was sent after the warm-up
	parts     int             // judged
	lost      int             // frames that a player never got between two that it did
	repeated  int             // frames that a player got again or out of order
	wrong     int             // parts with a size that is not theirs
	unknown   int             // parts that the scout has not seen
}

// judge adds one player's arrivals, in order. Parts whose last frame was sent
// before from do not count: a player that joins fetches what is there already.
func (v *verdict) judge(log []arrival, ledger *partLedger, from time.Time) {
	var last uint64
	begun := false
	for _, a := range log {
		t, ok := ledger.get(a.name)
		if !ok {
			v.unknown++
			continue
		}
		if t.bytes != a.bytes {
			v.wrong++
		}
		for _, f := range t.frames {
			switch {
			case !begun:
			case f > last+1:
				v.lost += int(f - last - 1)
			case f <= last:
				v.repeated++
				continue
			}
			last, begun = f, true
		}
		if len(t.frames) == 0 || t.sent.Before(from) {
			continue
		}
		v.parts++
		v.latencies = append(v.latencies, a.at.Sub(t.sent))
	}
}

// distinct is the media time of the distinct parts in a player's log: what the
// definition of viewer_seconds counts for it.
func distinct(log []arrival) time.Duration {
	seen := make(map[string]bool, len(log))
	var d time.Duration
	for _, a := range log {
		if !seen[a.name] {
			seen[a.name] = true
			d += a.media
		}
	}
	return d
}
