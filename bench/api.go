package main

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tally/internal/rtmp/publisher"
)

// apiConns is how many keep-alive connections ask at once, each one request at
// a time: enough to keep two cores busy, few enough that none waits long.
const apiConns = 16

// api measures active-livestream-session of a broadcast that is on air, with
// the token checked, against a handler that writes the same body.
func (b *bench) api(ctx context.Context) error {
	clip, err := b.loadClip()
	if err != nil {
		return err
	}
	t, err := b.startTally(ctx)
	if err != nil {
		return err
	}
	defer t.stop()
	bare, err := startBare(ctx)
	if err != nil {
		return err
	}
	defer bare.stop()
	to, err := t.create(ctx, "bench api")
	if err != nil {
		return err
	}
	air := publish(ctx, to.rtmpURL, clip, false, publisher.Clean)
	defer air.stop()
	if err := air.accepted(ctx); err != nil {
		return err
	}
	if err := t.live(ctx, to); err != nil {
		return err
	}
	stored := 1
	for _, n := range b.Livestreams {
		if err := b.store(ctx, t, n-stored); err != nil {
			return err
		}
		stored = max(stored, n)
		if err := b.askActive(ctx, t, bare, to, stored); err != nil {
			return err
		}
	}
	return nil
}

// live waits until the API says LIVE.
func (t *tally) live(ctx context.Context, to target) error {
	deadline := time.Now().Add(15 * time.Second)
	for {
		if s, _, ok := t.active(ctx, to.id); ok && s.Status == "LIVE" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the livestream is not LIVE after 15 s")
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// store creates n livestreams through the API.
func (b *bench) store(ctx context.Context, t *tally, n int) error {
	if n <= 0 {
		return nil
	}
	began := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for range cap(errs) {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				if _, err := t.create(ctx, fmt.Sprintf("bench stored %d", i)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
	}
	b.say("created %d livestreams through the API, %.0f per second", n, float64(n)/time.Since(began).Seconds())
	return nil
}

// askActive lets both servers take turns at the same load.
func (b *bench) askActive(ctx context.Context, t *tally, bare *bareServer, to target, stored int) error {
	ours := fmt.Appendf(nil, "GET %s/livestreams/%s/active-livestream-session HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n",
		apiPath, to.id, t.http, benchToken)
	theirs := fmt.Appendf(nil, "GET /json HTTP/1.1\r\nHost: %s\r\n\r\n", bare.http)
	body, err := askOnce(t.http, ours)
	if err != nil {
		return err
	}
	if err := bare.do(command{JSON: body}); err != nil {
		return err
	}
	var o, y load
	turn := b.Phase / 3
	for round := range b.Rounds {
		wait := b.profileDuring(ctx, t, fmt.Sprintf("api-%d-%d", stored, round), turn)
		err := o.add(ctx, t.child, t.http, ours, turn)
		wait()
		if err != nil {
			return err
		}
		if err := y.add(ctx, bare.child, bare.http, theirs, turn); err != nil {
			return err
		}
	}
	name := fmt.Sprintf("api, %d stored", stored)
	b.add(row{Scenario: name, What: "active-livestream-session", Unit: "requests/s", Ours: o.rate(), Bare: y.rate()}.ratioLeast(0.6))
	b.add(row{Scenario: name, What: "server CPU per request", Unit: "us", Ours: o.perRequest(), Bare: y.perRequest()})
	b.add(row{Scenario: name, What: "p99 of one answer", Unit: "ms", Ours: millis(o.p99()), Bare: millis(y.p99())})
	return nil
}

func askOnce(addr string, req []byte) ([]byte, error) {
	c := newConn(addr)
	defer c.close()
	if err := c.dial(); err != nil {
		return nil, err
	}
	if err := c.write(req); err != nil {
		return nil, err
	}
	a, err := c.receive()
	if err == nil && a.status != 200 {
		err = fmt.Errorf("status %d: %s", a.status, a.body)
	}
	return bytes.Clone(a.body), err
}

// A load is what one server did under apiConns connections.
type load struct {
	done  int64
	wall  time.Duration
	cpu   time.Duration
	times samples
}

func (l *load) rate() float64       { return float64(l.done) / l.wall.Seconds() }
func (l *load) perRequest() float64 { return float64(l.cpu.Microseconds()) / float64(max(l.done, 1)) }
func (l *load) p99() time.Duration  { return percentile(l.times.sorted(), 99) }

// add asks for d, over and over on each connection.
func (l *load) add(ctx context.Context, c *child, addr string, req []byte, d time.Duration) error {
	conns := make([]*conn, apiConns)
	for i := range conns {
		conns[i] = newConn(addr)
		defer conns[i].close()
		if err := conns[i].dial(); err != nil {
			return err
		}
	}
	before, err := c.usage()
	if err != nil {
		return err
	}
	began := time.Now()
	var done atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, len(conns))
	for _, cn := range conns {
		wg.Go(func() {
			for ctx.Err() == nil {
				asked := time.Now()
				if asked.Sub(began) > d {
					return
				}
				if err := askAgain(cn, req); err != nil {
					errs <- err
					return
				}
				if n := done.Add(1); n%16 == 0 { // a sample of them: the generator shares the cores
					l.times.add(time.Since(asked))
				}
			}
		})
	}
	wg.Wait()
	l.wall += time.Since(began)
	after, err := c.usage()
	if err != nil {
		return err
	}
	l.cpu += after.cpu - before.cpu
	l.done += done.Load()
	select {
	case err := <-errs:
		return err
	default:
		return context.Cause(ctx)
	}
}

func askAgain(c *conn, req []byte) error {
	if err := c.write(req); err != nil {
		return err
	}
	a, err := c.receive()
	if err == nil && a.status != 200 {
		err = fmt.Errorf("status %d: %s", a.status, a.body)
	}
	return err
}
