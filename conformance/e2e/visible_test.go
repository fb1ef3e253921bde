package e2e

import (
	"flag"
	"slices"
	"sync"
	"testing"
	"time"

	"tally/internal/rtmp/publisher"
	"tally/internal/servertest"
)

var rounds = flag.Int("rounds", 5, "how often each act of an encoder is timed in TestVisible")

// A stopwatch collects how long things took, by name.
type stopwatch struct {
	mu    sync.Mutex
	names []string
	took  map[string][]time.Duration
}

func (s *stopwatch) note(name string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.took == nil {
		s.took = map[string][]time.Duration{}
	}
	if s.took[name] == nil {
		s.names = append(s.names, name)
	}
	s.took[name] = append(s.took[name], max(0, d))
}

// print prints percentiles, and fails for what took longer than its limit.
func (s *stopwatch) print(t *testing.T, limit map[string]time.Duration) {
	t.Helper()
	for _, name := range s.names {
		all := s.took[name]
		slices.Sort(all)
		at := func(p int) time.Duration { return all[(len(all)*p+99)/100-1].Round(100 * time.Microsecond) }
		worst := all[len(all)-1]
		t.Logf("%-22s visible after p50 %v, p99 %v, worst %v of %d", name, at(50), at(99), worst.Round(100*time.Microsecond), len(all))
		if worst > limit[name] {
			t.Errorf("%s: visible only after %v, more than %v", name, worst, limit[name])
		}
	}
}

// TestVisible prints how long after an encoder's act the official client sees
// it, asking again and again: an accepted publish, a clean end, FIN, RST; and how
// long after it froze an encoder whose connection stands is told of. The goal of the first four is 100 ms
// for 99 of 100; what fails is a second.
//
//	go test ./conformance/e2e -run Visible -v -rounds 100
func TestVisible(t *testing.T) {
	s := serve(t)
	var watch stopwatch
	for _, end := range []struct {
		name string
		how  publisher.End
		want string
	}{{"clean end", publisher.Clean, "404"}, {"FIN", publisher.Cut, "LIVE RECONNECTING"}, {"RST", publisher.Reset, "LIVE RECONNECTING"}} {
		for range *rounds {
			b := s.create()
			e := b.Publish(end.how, nil)
			b.await("INVOKED", 5*time.Second)
			seen := time.Now()
			watch.note("connect", seen.Sub(e.Accepted(time.Second)))
			b.await("LIVE", 10*time.Second)
			left := time.Now()
			done := make(chan error, 1)
			go func() { done <- e.Leave() }()
			b.await(end.want, 5*time.Second)
			watch.note(end.name, time.Since(left))
			if err := <-done; err != nil {
				t.Errorf("publisher: %v", err)
			}
		}
	}
	const line = time.Second // design section 9
	watch.print(t, map[string]time.Duration{"connect": line, "clean end": line, "FIN": line, "RST": line})

	var frozen stopwatch
	var wg sync.WaitGroup
	for range min(*rounds, 10) {
		b := s.Server.Create(t, nil)
		e := b.Publish(publisher.Clean, nil)
		b.Await("LIVE", 15*time.Second)
		wg.Go(func() { freeze(b, e, &frozen) })
	}
	wg.Wait()
	frozen.print(t, map[string]time.Duration{"frozen: starving": 3 * time.Second, "thawed in time": line, "frozen: RECONNECTING": 12 * time.Second})
}

// freeze times an encoder that freezes for 4 s, and then for good.
func freeze(b *servertest.Broadcast, e *servertest.Encoder, watch *stopwatch) {
	time.Sleep(2 * time.Second) // on air for a while
	clock := func(name string, shows func(l servertest.Livestream, s servertest.Session) bool) {
		for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			l, s, ok := b.Active()
			took := time.Since(began)
			if ok && shows(l, s) {
				watch.note(name, took)
				return
			}
			if took > 15*time.Second {
				b.T.Errorf("%s: not after %v: %+v %+v", name, took, l, s)
				return
			}
		}
	}
	e.Freeze()
	began := time.Now()
	clock("frozen: starving", func(_ servertest.Livestream, s servertest.Session) bool { return s.Health() == "starving" })
	time.Sleep(time.Until(began.Add(4 * time.Second))) // for so long it is frozen
	e.Thaw()
	clock("thawed in time", func(_ servertest.Livestream, s servertest.Session) bool { return s.Health() == "ok" })
	time.Sleep(time.Second) // and on air again
	e.Freeze()
	clock("frozen: RECONNECTING", func(l servertest.Livestream, s servertest.Session) bool {
		return l.Status == "LIVE" && s.Code() == "RECONNECTING"
	})
}
