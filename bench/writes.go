package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"tally/internal/rtmp/publisher"
)

// How much is asked in the scenario "writes". Both are offered at fixed times,
// whatever the answers take, and a latency counts from when the request was
// due: a server that stalls is not spared the requests it holds up.
const (
	writesPerSecond = 500
	readsPerSecond  = 300
	writeConns      = 64 // so many may be late at once; more wait, which counts too
	readConns       = 32
)

// writes measures reads while writes come in at a fixed rate: creates and
// changes of livestreams, each of them durable when it is answered. A broadcast
// is on air meanwhile, with its checkpoints.
func (b *bench) writes(ctx context.Context) error {
	clip, err := b.loadClip()
	if err != nil {
		return err
	}
	t, err := b.startTally(ctx)
	if err != nil {
		return err
	}
	defer t.stop()
	to, err := t.create(ctx, "bench writes")
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
	if err := b.store(ctx, t, 1000); err != nil {
		return err
	}
	// First the reads alone, to know what the writes cost them.
	calm, _, err := b.readAndWrite(ctx, t, to, 0)
	if err != nil {
		return err
	}
	reads, done, err := b.readAndWrite(ctx, t, to, writesPerSecond)
	if err != nil {
		return err
	}
	rate := fmt.Sprintf("%d reads/s", readsPerSecond)
	const name = "writes"
	b.add(row{Scenario: name, What: "writes", Unit: "per second", Ours: done.rate(), Note: "half creates, half changes"})
	b.add(row{Scenario: name, What: "p99 of a read, no writes", Unit: "ms", Ours: millis(calm.percentile(99)), Note: rate})
	b.add(row{Scenario: name, What: "p50 of a read meanwhile", Unit: "ms", Ours: millis(reads.percentile(50)), Note: rate})
	b.add(row{Scenario: name, What: "p99 of a read meanwhile", Unit: "ms", Ours: millis(reads.percentile(99)), Note: rate}.atMost(100))
	b.add(row{Scenario: name, What: "p99 of a write", Unit: "ms", Ours: millis(done.percentile(99))})
	b.add(row{Scenario: name, What: "errors of reads and writes", Ours: float64(reads.errors.Load() + done.errors.Load() + calm.errors.Load())}.none())
	return nil
}

// An offer is a stream of requests at a fixed rate, and what came of it.
type offer struct {
	times  samples
	errors atomic.Int64
	wall   time.Duration
	first  atomic.Pointer[error] // the first that failed
}

func (o *offer) rate() float64                      { return float64(len(o.times.all)) / o.wall.Seconds() }
func (o *offer) percentile(p float64) time.Duration { return percentile(o.times.sorted(), p) }

// readAndWrite offers reads and writes for the time of one phase.
func (b *bench) readAndWrite(ctx context.Context, t *tally, to target, writes int) (reads, done *offer, err error) {
	reads, done = &offer{}, &offer{}
	get := func(path string) []byte {
		return fmt.Appendf(nil, "GET %s%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", apiPath, path, t.http, benchToken)
	}
	asked := [][]byte{
		get("/livestreams/" + to.id + "/active-livestream-session"), get("/livestreams/" + to.id), get("/livestreams?per_page=25"),
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		reads.run(ctx, t.http, readsPerSecond, readConns, b.Phase, func(i int) []byte { return asked[i%len(asked)] })
	})
	if writes > 0 {
		wg.Go(func() {
			done.run(ctx, t.http, writes, writeConns, b.Phase, func(i int) []byte {
				method, path := "POST", "/livestreams"
				if i%2 == 1 {
					method, path = "PATCH", "/livestreams/"+to.id
				}
				body := fmt.Sprintf(`{"name":"bench write %d"}`, i)
				return fmt.Appendf(nil, "%s %s%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
					method, apiPath, path, t.http, benchToken, len(body), body)
			})
		})
	}
	wg.Wait()
	for _, o := range []*offer{reads, done} {
		if failed := o.first.Load(); failed != nil {
			b.say("an answer that counts as an error: %v", *failed)
		}
	}
	return reads, done, context.Cause(ctx)
}

// run offers rate requests a second for d over so many connections.
func (o *offer) run(ctx context.Context, addr string, rate, conns int, d time.Duration, request func(i int) []byte) {
	began := time.Now()
	total := int64(float64(rate) * d.Seconds())
	var next atomic.Int64
	var wg sync.WaitGroup
	for range conns {
		wg.Go(func() {
			c := newConn(addr)
			defer c.close()
			for i := next.Add(1) - 1; i < total && ctx.Err() == nil; i = next.Add(1) - 1 {
				due := began.Add(time.Duration(i) * time.Second / time.Duration(rate))
				if pause(ctx, time.Until(due)) != nil {
					return
				}
				if err := o.ask(c, request(int(i))); err != nil {
					o.errors.Add(1)
					o.first.CompareAndSwap(nil, &err)
					continue
				}
				o.times.add(time.Since(due))
			}
		})
	}
	wg.Wait()
	o.wall = time.Since(began)
}

func (o *offer) ask(c *conn, req []byte) error {
	if err := c.dial(); err != nil {
		return err
	}
	if err := c.write(req); err != nil {
		return err
	}
	a, err := c.receive()
	if err == nil && a.status >= 300 {
		err = fmt.Errorf("status %d: %s", a.status, a.body)
	}
	return err
}
