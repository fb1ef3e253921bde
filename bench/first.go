package main

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"tally/internal/hls/playlist"
	"tally/internal/rtmp/publisher"
)

// first measures how soon a broadcast can be seen: from before the encoder's
// TCP connection is opened to the last byte of the first part, by a viewer who
// was there already and asks for the playback URL again and again until the
// server holds the request.
func (b *bench) first(ctx context.Context) error {
	clip, err := b.loadClip()
	if err != nil {
		return err
	}
	t, err := b.startTally(ctx)
	if err != nil {
		return err
	}
	defer t.stop()
	var took []time.Duration
	target := 0.0
	for i := range 1 + 4*b.Rounds {
		to, err := t.create(ctx, fmt.Sprintf("bench first %d", i))
		if err != nil {
			return err
		}
		air := publish(ctx, to.rtmpURL, clip, false, publisher.Clean)
		d, part, err := firstMedia(ctx, t.http, to.playback, air)
		if stopErr := air.stop(); err == nil {
			err = stopErr
		}
		if err != nil {
			return err
		}
		if i == 0 {
			continue // the first broadcast of a process also meets cold code
		}
		took = append(took, d)
		target = max(target, millis(part))
	}
	slices.Sort(took)
	b.add(row{Scenario: "first", What: "connect to first part at a viewer, p50", Unit: "ms",
		Ours: millis(percentile(took, 50))}.atMost(target + 100).noted(fmt.Sprintf("of it %.0f ms are the part target, in real time", target)))
	b.add(row{Scenario: "first", What: "the same, worst", Unit: "ms",
		Ours: millis(took[len(took)-1])}.atMost(target + 100).noted(fmt.Sprintf("of %d broadcasts", len(took))))
	return nil
}

// firstMedia returns the time to the first part, and the part target.
func firstMedia(ctx context.Context, host, multivariant string, air *broadcast) (took, part time.Duration, err error) {
	c := newConn(host)
	defer c.close()
	deadline := time.Now().Add(15 * time.Second)
	var a answer
	for a.status != 200 { // 404 until the publish is accepted, then held
		if a, err = c.get(multivariant, ""); err != nil {
			return 0, 0, err
		}
		select {
		case <-air.ended:
			return 0, 0, fmt.Errorf("publish: %w", air.err)
		default:
		}
		if a.status != 200 {
			if time.Now().After(deadline) {
				return 0, 0, fmt.Errorf("%s: still %d after 15 s", multivariant, a.status)
			}
			if err := pause(ctx, 2*time.Millisecond); err != nil {
				return 0, 0, err
			}
		}
	}
	uri, err := mediaURI(string(a.body))
	if err != nil {
		return 0, 0, err
	}
	if !strings.HasPrefix(uri, "/") {
		uri = path.Dir(multivariant) + "/" + uri
	}
	if a, err = c.get(uri, ""); err != nil || a.status != 200 {
		return 0, 0, fmt.Errorf("media playlist: status %d, %w", a.status, err)
	}
	m, err := playlist.ParseMedia(string(a.body))
	if err != nil {
		return 0, 0, err
	}
	if len(m.Segments) == 0 {
		return 0, 0, fmt.Errorf("a playlist without segments: %s", a.body)
	}
	s := &m.Segments[0]
	names := []string{s.Map}
	if len(s.Parts) > 0 {
		names = append(names, s.Parts[0].URI)
	} else {
		names = append(names, s.URI)
	}
	for _, name := range names {
		if a, err = c.get(path.Dir(uri)+"/"+name, ""); err != nil || a.status != 200 {
			return 0, 0, fmt.Errorf("%s: status %d, %w", name, a.status, err)
		}
	}
	return a.arrived.Sub(air.began), m.PartTarget, nil
}
