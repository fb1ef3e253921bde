package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tally/internal/livestream"
	"tally/internal/media"
)

// A ledger is a store that keeps the intervals and facts it was given, as the
// real one would, and loses nothing: what a checkpoint that failed had in it, it
// never saw.
type ledger struct {
	Store
	mu    sync.Mutex
	down  bool
	rows  map[string]livestream.Interval // by session, epoch and number
	facts map[livestream.Fact]bool
}

func newLedger(s Store) *ledger {
	return &ledger{Store: s, rows: map[string]livestream.Interval{}, facts: map[livestream.Fact]bool{}}
}

func (l *ledger) setDown(down bool) { l.mu.Lock(); defer l.mu.Unlock(); l.down = down }

func (l *ledger) Checkpoint(ctx context.Context, cs []livestream.Checkpoint, ws []livestream.UsageWindow, vs []livestream.Viewing) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return errors.New("disk full")
	}
	if err := l.Store.Checkpoint(ctx, cs, ws, vs); err != nil {
		return err
	}
	for _, c := range cs {
		for _, v := range c.Intervals {
			key := fmt.Sprint(v.SessionID, v.Epoch, v.Number)
			if old := l.rows[key]; v.Length < old.Length || v.To.Before(old.To) || v.Number < 1 {
				return fmt.Errorf("interval %+v replaces %+v", v, old)
			}
			l.rows[key] = v
		}
		for _, f := range c.Facts {
			l.facts[f] = true
		}
	}
	return nil
}

// sum adds up a session's intervals, and says how many of them go on.
func (l *ledger) sum(sessionID string) (sum time.Duration, n, open int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range l.rows {
		if v.SessionID != sessionID {
			continue
		}
		n++
		sum += v.Length
		if v.To.IsZero() {
			open++
		} else if d := v.To.Sub(v.From) - v.Length; d < -time.Millisecond || d > time.Millisecond {
			sum += time.Hour // labels and length must tell the same
		}
	}
	return sum, n, open
}

// TestIntervals: what is stored of a session's intervals adds up to its ingest
// seconds, to the millisecond, however publishers come, pause, fight and go and
// whatever of it the store could not write at the time.
func TestIntervals(t *testing.T) {
	for range 4 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(h *harness) { walkIntervals(h, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func walkIntervals(h *harness, r *rand.Rand) {
	l := newLedger(h.store)
	h.m.store = l
	damping := time.Duration(0)
	policy := livestream.Replace
	if _, err := h.m.Configure(h.Context(), h.l.ID, livestream.Change{Damping: &damping, Publisher: &policy}); err != nil {
		h.Fatal(err)
	}
	var p *Publication
	sessions := map[string]bool{}
	for range 80 {
		if p == nil || p.Context().Err() != nil || r.IntN(12) == 0 {
			if pub, err := h.m.Publish(h.Context(), Request{Key: h.l.StreamKey}); err == nil {
				p = pub
			}
		}
		if p != nil {
			p.walk(r)
		}
		sessions[h.record().Session.ID] = true
		switch r.IntN(14) {
		case 0:
			p.Lose(io.EOF)
		case 1:
			p.Unpublish()
		case 2:
			go p.walk(rand.New(rand.NewPCG(r.Uint64(), 2))) // media comes while it is stopped
			h.m.Stop(h.Context(), h.l.ID)
			time.Sleep(20 * time.Second)
		case 3:
			l.setDown(true)
		case 4, 5:
			l.setDown(false)
		}
		time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond)
	}
	l.setDown(false)
	h.m.Stop(h.Context(), h.l.ID)
	time.Sleep(time.Second)
	total := 0
	for id := range sessions {
		s, err := h.store.Session(h.Context(), scope, id)
		if err != nil {
			h.Fatal(err)
		}
		sum, n, open := l.sum(id)
		if sum != s.Ingest || open > 0 {
			h.Errorf("session %s: %d intervals, %d of them open, add up to %v; it has %v", id, n, open, sum, s.Ingest)
		}
		if span := s.StoppedAt.Sub(s.InvokedAt); s.Ingest > span {
			h.Errorf("session %s: %v received in %v", id, s.Ingest, span)
		}
		total += n
	}
	if total < 10 {
		h.Errorf("%d intervals: the walk shows nothing", total)
	}
	if n := len(h.m.remaining()); n != 0 {
		h.Errorf("%d rests are never written", n)
	}
}

// walk sends media with pauses of up to 3 s, odd nanoseconds included.
func (p *Publication) walk(r *rand.Rand) {
	key := true
	for range 1 + r.IntN(30) {
		p.Arrived(100)
		p.WriteFrame(media.Frame{Track: media.VideoTrack, Key: key})
		key = false
		switch r.IntN(10) {
		case 0:
			time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
		case 1:
			time.Sleep(2*time.Second + time.Duration(r.IntN(2))) // just within, and just above
		default:
			time.Sleep(time.Duration(r.IntN(60_000_000)))
		}
	}
}

// TestIntervalsWhileSilent: an interval that nothing follows is stored as ended
// although the publisher is connected still.
func TestIntervalsWhileSilent(t *testing.T) {
	inBubble(t, func(h *harness) {
		l := newLedger(h.store)
		h.m.store = l
		p := h.publish()
		p.send(5 * time.Second)
		id := h.record().Session.ID
		if _, n, open := l.sum(id); n != 1 || open != 1 {
			h.Errorf("on air: %d intervals, %d open; want one that goes on", n, open)
		}
		time.Sleep(3 * time.Second)
		if sum, n, open := l.sum(id); n != 1 || open != 0 || sum != h.record().Session.Ingest {
			h.Errorf("silent: %d intervals, %d open, sum %v; want one that ended", n, open, sum)
		}
		p.send(time.Second)
		if _, n, open := l.sum(id); n != 2 || open != 1 {
			h.Errorf("media again: %d intervals, %d open; want a second one", n, open)
		}
		if n := len(l.rows); n != 2 {
			h.Errorf("%d rows", n)
		}
	})
}

// TestIntervalsAreBounded: when the store takes no checkpoint for very long, gaps
// are forgotten before seconds are.
func TestIntervalsAreBounded(t *testing.T) {
	var v intervals
	var last atomic.Int64
	sum := time.Duration(0)
	for i := range int64(maxEnded + 500) {
		v.next(&last, 1+i*int64(4*time.Second))
		last.Add(int64(time.Second) + i)
		sum += time.Second + time.Duration(i)
	}
	all := v.rest(last.Load())
	got := time.Duration(0)
	for i, one := range all {
		got += one.length
		if one.number != int64(i+1) || one.before+one.length != got {
			t.Fatalf("interval %d of %d: %+v", i+1, len(all), one)
		}
	}
	if len(all) != maxEnded+1 || got != sum || v.sum(last.Load()) != sum {
		t.Errorf("%d intervals add up to %v, want %v", len(all), got, sum)
	}
	_, _, g := v.take(last.Load(), last.Load())
	v.next(&last, last.Load()+int64(4*time.Second)) // joins the last that is being written
	v.written(g)
	if len(v.ended) != 1 || v.ended[0].number != maxEnded {
		t.Errorf("%d left, want the one that grew meanwhile", len(v.ended))
	}
}

// BenchmarkArrived is what each media message costs in figures.
func BenchmarkArrived(b *testing.B) {
	p := &Publication{began: time.Now()}
	b.ReportAllocs()
	for b.Loop() {
		p.Arrived(1000)
	}
}

// TestArrivedAllocatesNothing: a message within an interval costs no memory.
func TestArrivedAllocatesNothing(t *testing.T) {
	p := &Publication{began: time.Now()}
	p.Arrived(1)
	if n := testing.AllocsPerRun(100, func() { p.Arrived(1000) }); n != 0 {
		t.Errorf("%v allocations per message", n)
	}
}
