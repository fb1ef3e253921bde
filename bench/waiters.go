package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tally/internal/hls/playlist"
	"tally/internal/rtmp/publisher"
)

// waiters measures what a request costs that waits for a part. The encoder is
// cut off first, so that no part comes and all wait at the same time; the
// session stays open, so that waiting is right.
func (b *bench) waiters(ctx context.Context) error {
	clip, err := b.loadClip()
	if err != nil {
		return err
	}
	t, err := b.startTally(ctx)
	if err != nil {
		return err
	}
	defer t.stop()
	to, err := t.create(ctx, "bench waiters")
	if err != nil {
		return err
	}
	air := publish(ctx, to.rtmpURL, clip, true, publisher.Cut)
	defer air.stop()
	if err := air.accepted(ctx); err != nil {
		return err
	}
	if err := t.live(ctx, to); err != nil {
		return err
	}
	if err := pause(ctx, 4*time.Second); err != nil {
		return err
	}
	rec, err := record(ctx, t.http, to.playback, 2*time.Second)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	uri, err := mediaURI(string(rec.Multivariant))
	if err != nil {
		return err
	}
	if uri[0] != '/' {
		uri = dirOf(to.playback) + uri
	}
	if err := air.stop(); err != nil {
		return err
	}
	ours, err := b.waitAt(ctx, t.child, t.http, uri)
	if err != nil {
		return err
	}
	bare, err := startBare(ctx)
	if err != nil {
		return err
	}
	defer bare.stop()
	if err := bare.do(command{Load: rec}); err != nil {
		return err
	}
	if err := bare.step(len(rec.Steps) - 1); err != nil {
		return err
	}
	theirs, err := b.waitAt(ctx, bare.child, bare.http, "/hls/bare/run/viewer/index.m3u8")
	if err != nil {
		return err
	}
	b.add(row{Scenario: "waiters", What: fmt.Sprintf("memory of each of %d waiting reloads", b.Waiters), Unit: "KB",
		Ours: ours, Bare: theirs}.atMost(25).noted("growth of heap and stacks, the connection included; kernel sockets are not in it"))
	return nil
}

func dirOf(p string) string {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] == '/' {
			return p[:i+1]
		}
	}
	return p
}

// waitAt has b.Waiters connections wait for the next part and returns what each
// takes in the server, in KB.
func (b *bench) waitAt(ctx context.Context, c *child, host, uri string) (float64, error) {
	look := newConn(host)
	defer look.close()
	a, err := look.get(uri, "")
	if err != nil {
		return 0, err
	}
	m, err := playlist.ParseMedia(string(a.body))
	if err != nil {
		return 0, fmt.Errorf("%s: status %d: %w", uri, a.status, err)
	}
	var s step
	s.position(m)
	before, err := c.usage()
	if err != nil {
		return 0, err
	}
	conns := make([]*conn, b.Waiters)
	for i := range conns {
		conns[i] = newConn(host)
	}
	defer func() {
		for _, c := range conns {
			c.close()
		}
	}()
	began := time.Now()
	path := fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=%d", uri, s.NextMSN, s.NextParts)
	if err := sendAll(conns, path); err != nil {
		return 0, err
	}
	b.say("%d requests wait, after %v", len(conns), time.Since(began).Round(time.Millisecond))
	if err := pause(ctx, time.Second); err != nil {
		return 0, err
	}
	after, err := c.usage()
	if err != nil {
		return 0, err
	}
	if n := answered(conns); n > 0 {
		return 0, fmt.Errorf("%d of %d requests did not wait until they were measured (%v)", n, len(conns), time.Since(began))
	}
	return float64(after.heap-before.heap) / 1024 / float64(len(conns)), nil
}

// sendAll sends a request on each connection, some at a time.
func sendAll(conns []*conn, path string) error {
	errs := make(chan error, 16)
	var wg sync.WaitGroup
	for w := range cap(errs) {
		wg.Go(func() {
			for i := w; i < len(conns); i += cap(errs) {
				if err := conns[i].send(path, "Accept-Encoding: gzip\r\n"); err != nil {
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
		return nil
	}
}

// answered counts the connections on which an answer has begun.
func answered(conns []*conn) int {
	n := 0
	for _, c := range conns {
		c.nc.SetReadDeadline(time.Now().Add(50 * time.Microsecond))
		if _, err := c.br.Peek(1); err == nil {
			n++
		}
	}
	return n
}
