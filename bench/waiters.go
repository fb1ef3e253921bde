package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"tally/internal/hls/playlist"
	"tally/internal/rtmp/flv"
	"tally/internal/rtmp/publisher"
)

// waiters measures what a request costs that waits for a part: a reload, and the
// part that was hinted at.
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
	ours, rec, err := b.waitAtOurs(ctx, t, clip, "reloads", nextReload)
	if err != nil {
		return err
	}
	hinted, _, err := b.waitAtOurs(ctx, t, clip, "hinted parts", nextPart)
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
	theirs, err := b.waitAt(ctx, bare.child, nil, bare.http, "/hls/bare/run/viewer/index.m3u8", nextReload)
	if err != nil {
		return err
	}
	b.add(row{Scenario: "waiters", What: fmt.Sprintf("memory of each of %d waiting reloads", b.Waiters), Unit: "KB",
		Ours: ours.kb, Bare: theirs.kb}.atMost(25).noted("growth of heap and stacks, the connection included; kernel sockets are not in it"))
	b.add(row{Scenario: "waiters", What: "the same, of the part that was hinted at", Unit: "KB",
		Ours: hinted.kb}.atMost(25).noted(fmt.Sprintf("%s of a reload's", figure(hinted.kb/ours.kb))))
	b.add(row{Scenario: "waiters", What: "all disconnect: goroutines and descriptors as before after", Unit: "s",
		Ours: ours.back.Seconds(), Bare: theirs.back.Seconds()}.atMost(5).noted(fmt.Sprintf("of bare descriptors alone; ours had %d goroutines more while they waited", ours.goroutines)))
	return nil
}

// waitAtOurs has requests wait for a broadcast of their own. Its encoder is cut off
// first, so that no part comes and all wait at the same time; the session stays
// open, so that waiting is right.
func (b *bench) waitAtOurs(ctx context.Context, t *tally, clip *flv.Clip, what string, next nextPath) (waiting, *recording, error) {
	to, err := t.create(ctx, "bench waiters: "+what)
	if err != nil {
		return waiting{}, nil, err
	}
	air := publish(ctx, to.rtmpURL, clip, true, publisher.Cut)
	defer air.stop()
	if err := air.accepted(ctx); err != nil {
		return waiting{}, nil, err
	}
	if err := t.live(ctx, to); err != nil {
		return waiting{}, nil, err
	}
	if err := pause(ctx, 4*time.Second); err != nil {
		return waiting{}, nil, err
	}
	rec, err := record(ctx, t.http, to.playback, 2*time.Second)
	if err != nil {
		return waiting{}, nil, fmt.Errorf("record: %w", err)
	}
	uri, err := mediaURI(string(rec.Multivariant))
	if err != nil {
		return waiting{}, nil, err
	}
	if uri[0] != '/' {
		uri = dirOf(to.playback) + uri
	}
	if err := air.stop(); err != nil {
		return waiting{}, nil, err
	}
	w, err := b.waitAt(ctx, t.child, t.goroutines, t.http, uri, next)
	return w, rec, err
}

// A nextPath is what to ask for of a playlist to wait for its next part.
type nextPath func(uri string, m *playlist.Media) string

func nextReload(uri string, m *playlist.Media) string {
	var s step
	s.position(m)
	return fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=%d", uri, s.NextMSN, s.NextParts)
}

func nextPart(uri string, m *playlist.Media) string { return dirOf(uri) + m.PreloadHint }

// A waiting is what requests that wait cost one server.
type waiting struct {
	kb         float64       // each
	goroutines int           // all of them together
	back       time.Duration // until nothing was left of them after all left at once
}

// goroutines is how many the server under test has.
func (t *tally) goroutines(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+t.admin+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(text), "\ngo_goroutines ")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(line)
	if !ok || err != nil {
		return 0, fmt.Errorf("no go_goroutines in the metrics: %w", err)
	}
	return n, nil
}

// holds is how many descriptors and, where the server tells, goroutines it has.
func (c *child) holds(ctx context.Context, goroutines func(context.Context) (int, error)) (fds, n int, err error) {
	if goroutines != nil {
		if n, err = goroutines(ctx); err != nil {
			return 0, 0, err
		}
	}
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.cmd.Process.Pid))
	return len(list), n, err
}

// spare is what a server may have more than before and be as it was: what serves
// the question, a timer, a checkpoint.
const spare = 8

// forgotten closes all connections at once, and waits until the server has as
// little as before.
func forgotten(ctx context.Context, c *child, goroutines func(context.Context) (int, error), conns []*conn, fds, n int) (time.Duration, error) {
	began := time.Now()
	for _, conn := range conns {
		conn.close()
	}
	for {
		nowFDs, now, err := c.holds(ctx, goroutines)
		took := time.Since(began)
		switch {
		case err != nil:
			return took, err
		case nowFDs <= fds+spare && now <= n+spare:
			return took, nil
		case took > answerTimeout:
			return took, fmt.Errorf("%v after all left there are %d descriptors (%d before) and %d goroutines (%d)", took, nowFDs, fds, now, n)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return took, err
		}
	}
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
// takes in the server, and how long it takes to forget them.
func (b *bench) waitAt(ctx context.Context, c *child, goroutines func(context.Context) (int, error), host, uri string, next nextPath) (w waiting, err error) {
	look := newConn(host)
	defer look.close()
	a, err := look.get(uri, "")
	if err != nil {
		return w, err
	}
	m, err := playlist.ParseMedia(string(a.body))
	if err != nil {
		return w, fmt.Errorf("%s: status %d: %w", uri, a.status, err)
	}
	before, err := c.usage()
	if err != nil {
		return w, err
	}
	fds, n, err := c.holds(ctx, goroutines)
	if err != nil {
		return w, err
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
	if err := sendAll(conns, next(uri, m)); err != nil {
		return w, err
	}
	b.say("%d requests wait, after %v", len(conns), time.Since(began).Round(time.Millisecond))
	if err := pause(ctx, time.Second); err != nil {
		return w, err
	}
	after, err := c.usage()
	if err != nil {
		return w, err
	}
	if n := answered(conns); n > 0 {
		return w, fmt.Errorf("%d of %d requests did not wait until they were measured (%v)", n, len(conns), time.Since(began))
	}
	w.kb = float64(after.heap-before.heap) / 1024 / float64(len(conns))
	_, during, err := c.holds(ctx, goroutines)
	if err != nil {
		return w, err
	}
	w.goroutines = during - n
	w.back, err = forgotten(ctx, c, goroutines, conns, fds, n)
	return w, err
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
		raw, err := c.nc.(*net.TCPConn).SyscallConn()
		if err != nil {
			continue
		}
		// Without a wait for any of them: of thousands that would take seconds, in
		// which the picture begins to be held and all are answered.
		raw.Read(func(fd uintptr) bool {
			var first [1]byte
			if got, _, _ := syscall.Recvfrom(int(fd), first[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT); got > 0 {
				n++
			}
			return true
		})
	}
	return n
}
