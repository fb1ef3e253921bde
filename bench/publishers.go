package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"tally/internal/rtmp/publisher"
)

// ingestLoad is what a number of publishers cost one server.
type ingestLoad struct {
	cpu     float64 // % of a core per publisher
	memory  float64 // MB per publisher above idle
	bitrate float64 // Mbit/s that each publisher got rid of
	worst   float64 // s; largest error of ingest_seconds
}

// publishers measures ingest and packaging with nobody watching.
func (b *bench) publishers(ctx context.Context) error {
	nginx, found := b.findNginx()
	for _, n := range b.Publishers {
		ours, err := b.oursIngest(ctx, n)
		if err != nil {
			return fmt.Errorf("%d publishers: %w", n, err)
		}
		var theirs ingestLoad
		note := "nginx with its RTMP module is not installed"
		if found {
			note = "beside nginx-rtmp writing its HLS"
			if theirs, err = b.nginxIngest(ctx, nginx, n); err != nil {
				return fmt.Errorf("nginx-rtmp with %d publishers: %w", n, err)
			}
		}
		figure := func(what, unit string, o, y float64) row {
			return row{Scenario: fmt.Sprintf("publishers %d", n), What: what, Unit: unit, Ours: o, Bare: y}
		}
		cpu := figure("server CPU per publisher (720p30)", "% of a core", ours.cpu, theirs.cpu).noted(note)
		if found && n >= 200 {
			cpu = cpu.goal("<= 1x nginx-rtmp", ours.cpu <= theirs.cpu)
		}
		b.add(cpu)
		ring := ringMegabytes(b.fillTime() + b.Phase)
		b.add(figure("memory per publisher above idle", "MB", ours.memory, theirs.memory).atMost(ring*1.3 + 1).
			noted(fmt.Sprintf("the goal for %.2f MB of media kept", ring)))
		b.add(figure("media that each publisher could send", "Mbit/s", ours.bitrate, theirs.bitrate).
			noted("less than the clip's means that the machine was full"))
		b.add(figure("ingest_seconds after the end: worst error", "s", ours.worst, 0).atMost(0.5))
	}
	return nil
}

// fillTime is how long publishers run before they are measured: until what is
// kept of each has its final size.
func (b *bench) fillTime() time.Duration {
	if b.Short {
		return warmUp
	}
	return 25 * time.Second
}

// ringMegabytes is the media that design section 5 keeps of a livestream that
// has had the bench's clip for d. Parts stay for three target durations behind
// the edge at which they left the list, which they do three before the edge;
// the first broadcast's target duration is 4 s, and whole segments are kept.
func ringMegabytes(d time.Duration) float64 {
	const targetDuration = 4
	const audioBits = 128_000
	seconds := min(d.Seconds(), 6*targetDuration+clipGOPSeconds)
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
	if err := stopAll(airs); err != nil {
		return l, err
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
	clip, err := b.loadClip()
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
			stopAll(airs)
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
	b.say("%d publishers on air; rings fill for %v", len(airs), b.fillTime())
	if err := pause(ctx, b.fillTime()); err != nil {
		return l, err
	}
	wait := measuring(airs)
	began, sent := time.Now(), sentBy(airs)
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
	wall := time.Since(began)
	l.bitrate = float64(sentBy(airs)-sent) * 8 / 1e6 / wall.Seconds() / float64(len(urls))
	wait()
	for i, a := range airs {
		select {
		case <-a.ended:
			return l, fmt.Errorf("publisher %d ended: %w", i, a.err)
		default:
		}
	}
	n := float64(len(urls))
	l.cpu = percent(after.cpu-before.cpu, wall) / n
	l.memory = megabytes(after.heap-idle.heap) / n
	return l, nil
}
