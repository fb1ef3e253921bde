package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"tally/internal/rtmp/publisher"
)

// fillTime is how long publishers run before they are measured: the ring of
// each holds its window and what lies behind it.
const fillTime = 20 * time.Second

// ingestLoad is what a number of publishers cost one server.
type ingestLoad struct {
	cpu     float64 // % of a core per publisher
	memory  float64 // MB per publisher above idle
	resting float64 // MB idle
	worst   float64 // s; largest error of ingest_seconds
}

// publishers measures ingest and packaging with nobody watching.
func (b *bench) publishers(ctx context.Context) error {
	for _, n := range b.Publishers {
		ours, err := b.oursIngest(ctx, n)
		if err != nil {
			return fmt.Errorf("%d publishers: %w", n, err)
		}
		name := fmt.Sprintf("publishers %d", n)
		cpu := row{Scenario: name, What: "server CPU per publisher (720p30, 2 Mbit/s)", Unit: "% of a core", Ours: ours.cpu}
		if nginx, ok := b.findNginx(); ok {
			theirs, err := b.nginxIngest(ctx, nginx, n)
			if err != nil {
				return fmt.Errorf("nginx-rtmp with %d publishers: %w", n, err)
			}
			cpu.Bare = theirs.cpu
			cpu = cpu.noted("beside nginx-rtmp with its HLS, not the bare server")
			if n >= 200 {
				cpu = cpu.goal("<= 1x nginx-rtmp", cpu.Ours <= cpu.Bare)
			}
		} else {
			cpu = cpu.noted("nginx with its RTMP module is not installed")
		}
		b.add(cpu)
		limit := ringMegabytes()*1.3 + 1
		b.add(row{Scenario: name, What: "memory per publisher above idle", Unit: "MB", Ours: ours.memory}.atMost(limit).
			noted(fmt.Sprintf("the goal for a ring of %.2f MB", ringMegabytes())))
		b.add(row{Scenario: name, What: "ingest_seconds after the end: worst error", Unit: "s", Ours: ours.worst}.atMost(0.5))
	}
	return nil
}

// ringMegabytes is the media that design section 5 keeps of one livestream of
// the bench's clip: the listed 12 s, rounded up by a segment, and what has left
// the list for one target duration (here the 4 s of a first broadcast).
func ringMegabytes() float64 {
	const seconds = 12 + clipGOPSeconds + 4
	const audioBits = 128_000
	return seconds * (clipVideoBits + audioBits) / 8 / 1e6
}

func (b *bench) oursIngest(ctx context.Context, n int) (ingestLoad, error) {
	t, err := b.startTally(ctx)
	if err != nil {
		return ingestLoad{}, err
	}
	defer t.stop()
	targets := make([]target, n)
	urls := make([]string, n)
	for i := range targets {
		if targets[i], err = t.create(ctx, fmt.Sprintf("bench publisher %d", i)); err != nil {
			return ingestLoad{}, err
		}
		urls[i] = targets[i].rtmpURL
	}
	var airs []*broadcast
	l, err := b.ingest(ctx, t.child, urls, func(a []*broadcast) func() {
		airs = a
		return b.profileDuring(ctx, t, fmt.Sprintf("publishers-%d", n), b.Phase)
	})
	if err != nil {
		return l, err
	}
	sessions := make([]string, n)
	for i, to := range targets {
		_, id, ok := t.active(ctx, to.id)
		if !ok {
			return l, fmt.Errorf("publisher %d has no session", i)
		}
		sessions[i] = id
	}
	for i, air := range airs {
		if err := air.stop(); err != nil {
			return l, fmt.Errorf("publisher %d: %w", i, err)
		}
	}
	if err := pause(ctx, 2*time.Second); err != nil {
		return l, err
	}
	for i, id := range sessions {
		s, err := t.session(ctx, id)
		if err != nil {
			return l, err
		}
		l.worst = math.Max(l.worst, beyondRounding(s.IngestSeconds, airs[i].metered.seconds()))
	}
	return l, nil
}

// ingest publishes to all urls, waits until rings are full, and measures the
// process for one phase. Publishing goes on until ctx or the caller ends it.
func (b *bench) ingest(ctx context.Context, c *child, urls []string, measuring func([]*broadcast) (wait func())) (l ingestLoad, err error) {
	clip, err := loadClip(b.clip)
	if err != nil {
		return l, err
	}
	if err := pause(ctx, 2*time.Second); err != nil {
		return l, err
	}
	idle, err := c.usage()
	if err != nil {
		return l, err
	}
	airs := make([]*broadcast, 0, len(urls))
	defer func() {
		if err != nil {
			for _, a := range airs {
				a.stop()
			}
		}
	}()
	for _, u := range urls { // over one GOP, so that keyframes do not all come at once
		a := publish(ctx, u, clip, false, publisher.Clean)
		airs = append(airs, a)
		if err := pause(ctx, clipGOPSeconds*time.Second/time.Duration(len(urls))); err != nil {
			return l, err
		}
	}
	for _, a := range airs {
		if err := a.accepted(ctx); err != nil {
			return l, err
		}
	}
	fill := fillTime
	if b.Short {
		fill = warmUp
	}
	b.say("%d publishers on air; rings fill for %v", len(airs), fill)
	if err := pause(ctx, fill); err != nil {
		return l, err
	}
	wait := measuring(airs)
	before, err := c.usage()
	if err != nil {
		return l, err
	}
	if err := pause(ctx, b.Phase); err != nil {
		return l, err
	}
	after, err := c.usage()
	if err != nil {
		return l, err
	}
	wait()
	for i, a := range airs {
		select {
		case <-a.ended:
			return l, fmt.Errorf("publisher %d ended: %w", i, a.err)
		default:
		}
	}
	n := float64(len(urls))
	l.cpu = percent(after.cpu-before.cpu, b.Phase) / n
	l.memory = megabytes(after.heap-idle.heap) / n
	l.resting = megabytes(idle.heap)
	return l, nil
}
