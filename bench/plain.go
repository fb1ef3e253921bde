package main

import (
	"context"
	"fmt"
	"time"
)

// A traffic is what it cost one server to hand out whole segments.
type traffic struct {
	cpu    time.Duration
	bytes  int64
	errors int
	first  string
}

// perGbit is CPU seconds per 10^9 bits of media.
func (t *traffic) perGbit() float64 { return t.cpu.Seconds() / (float64(max(t.bytes, 1)) * 8 / 1e9) }

// plain measures players that know nothing of low latency: they poll the
// playlist and fetch whole segments.
func (b *bench) plain(ctx context.Context) error {
	n := b.Players[len(b.Players)-1]
	if n > 500 {
		n = 500
	}
	name := fmt.Sprintf("plain %d", n)
	s, err := b.stage(ctx, name, nil)
	if err != nil {
		return err
	}
	defer s.close()
	var ours, theirs traffic
	for round := range b.Rounds {
		wait := b.profileDuring(ctx, s.t, fmt.Sprintf("plain-%d-%d", n, round), b.Phase+warmUp)
		err := b.segments(ctx, &ours, s.t.child, s.url(), n)
		wait()
		if err != nil {
			return err
		}
		replay, err := s.replay(ctx, newPartLedger())
		if err != nil {
			return err
		}
		err = b.segments(ctx, &theirs, s.bare.child, s.bareURL(), n)
		replay.stop()
		if err != nil {
			return err
		}
	}
	b.add(row{Scenario: name, What: "server CPU per Gbit of whole segments", Unit: "s", Ours: ours.perGbit(), Bare: theirs.perGbit()}.ratioMost(1.5))
	b.add(row{Scenario: name, What: "media handed out", Unit: "Gbit", Ours: float64(ours.bytes) * 8 / 1e9, Bare: float64(theirs.bytes) * 8 / 1e9})
	b.add(row{Scenario: name, What: "stalls + errors + jumps", Ours: float64(ours.errors), Bare: float64(theirs.errors)}.none().noted(ours.first))
	return b.besideFiles(ctx, s, n, &ours, name)
}

// segments lets one audience join and play for a phase: joining, which fetches
// what is listed, is part of the load.
func (b *bench) segments(ctx context.Context, t *traffic, c *child, url string, n int) error {
	before, err := c.usage()
	if err != nil {
		return err
	}
	a := gather(ctx, url, n, false, nil)
	err = pause(ctx, b.Phase+warmUp)
	after, usageErr := c.usage()
	t.bytes += a.bytes()
	a.leave()
	if err != nil {
		return err
	}
	if usageErr != nil {
		return usageErr
	}
	t.cpu += after.cpu - before.cpu
	q := a.comfort()
	t.errors += q.stalls + q.errors + q.jumps
	if t.first == "" {
		t.first = q.firstError
	}
	return nil
}
