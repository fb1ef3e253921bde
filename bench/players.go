package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tally/internal/rtmp/publisher"
)

// warmUp is how long an audience plays before it is measured: connections are
// made and the first parts, which are there already, are fetched.
const warmUp = 3 * time.Second

// audiences measures both servers with each size of audience.
func (b *bench) audiences(ctx context.Context) error {
	for _, n := range b.Players {
		if err := b.audience(ctx, n); err != nil {
			return fmt.Errorf("%d players: %w", n, err)
		}
	}
	return nil
}

// A phase is what one turn of one server gave.
type phase struct {
	verdict
	comfort
	p50, p99 []float64 // ms, of each turn
	cpu      time.Duration
	requests int64
	wall     time.Duration
	watched  float64 // seconds of distinct media that the players fetched
}

func (p *phase) add(q phase) {
	slices.Sort(q.latencies)
	p.p50 = append(p.p50, millis(percentile(q.latencies, 50)))
	p.p99 = append(p.p99, millis(percentile(q.latencies, 99)))
	p.parts += q.parts
	p.lost += q.lost
	p.repeated += q.repeated
	p.wrong += q.wrong
	p.unknown += q.unknown
	p.stalls += q.stalls
	p.errors += q.errors
	p.jumps += q.jumps
	if p.firstError == "" {
		p.firstError = q.firstError
	}
	p.cpu += q.cpu
	p.requests += q.requests
	p.wall += q.wall
	p.watched += q.watched
}

func (p *phase) perRequest() float64 {
	return float64(p.cpu.Microseconds()) / float64(max(p.requests, 1))
}
func (p *phase) perPlayer(n int) float64 {
	return percent(p.cpu, p.wall) / float64(n)
}

// audience measures both servers with n players: they take turns while one
// encoder publishes to ours.
func (b *bench) audience(ctx context.Context, n int) error {
	clip, err := loadClip(b.clip)
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
	to, err := t.create(ctx, fmt.Sprintf("bench %d players", n))
	if err != nil {
		return err
	}
	air := publish(ctx, to.rtmpURL, clip, true, publisher.Clean)
	defer air.stop()
	if err := air.accepted(ctx); err != nil {
		return err
	}
	truths := newPartLedger()
	scout := startScout(ctx, "http://"+t.http+to.playback, truths)
	defer scout.stop()
	if err := scout.playing(ctx); err != nil {
		return err
	}
	length := b.Phase + 2*warmUp
	b.say("recording %v for the bare server", length)
	if err := pause(ctx, 4*time.Second); err != nil { // the list fills
		return err
	}
	rec, err := record(ctx, t.http, to.playback, length)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if err := bare.do(command{Load: rec}); err != nil {
		return err
	}
	var ours, theirs phase
	for round := range b.Rounds {
		q, err := b.oursPhase(ctx, t, to, truths, n, round)
		if err != nil {
			return err
		}
		ours.add(q)
		q, err = b.barePhase(ctx, bare, rec, truths, n)
		if err != nil {
			return err
		}
		theirs.add(q)
	}
	b.rowsOf(n, ours, theirs)
	if err := scout.stop(); err != nil {
		return fmt.Errorf("scout: %w", err)
	}
	return b.audit(ctx, t, to, air, fmt.Sprintf("players %d", n), ours.watched+distinct(scout.log).Seconds())
}

// oursPhase is one turn of the server under test.
func (b *bench) oursPhase(ctx context.Context, t *tally, to target, truths *partLedger, n, round int) (phase, error) {
	a := gather(ctx, "http://"+t.http+to.playback, n, time.Second)
	defer a.leave()
	if err := pause(ctx, warmUp); err != nil {
		return phase{}, err
	}
	wait := b.profileDuring(ctx, t, fmt.Sprintf("players-%d-%d", n, round), b.Phase)
	p, err := b.measure(ctx, a, t.child, truths)
	wait()
	return p, err
}

// barePhase is one turn of the bare server: the recording is played from its
// beginning. Its truth is when the generator told the bare server of each part.
func (b *bench) barePhase(ctx context.Context, bare *bareServer, rec *recording, truths *partLedger, n int) (phase, error) {
	if err := bare.do(command{Load: rec}); err != nil {
		return phase{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	told := newPartLedger()
	for name := range rec.Before { // fetched by who joins, and judged by its frames alone
		if t, ok := truths.get(name); ok {
			t.sent = time.Time{}
			told.put(name, t)
		}
	}
	played := make(chan error, 1)
	go func() { played <- bare.play(ctx, rec, truths, told) }()
	a := gather(ctx, "http://"+bare.http+"/hls/bare/index.m3u8", n, time.Second)
	defer func() {
		cancel()
		a.leave()
		<-played
	}()
	if err := pause(ctx, warmUp); err != nil {
		return phase{}, err
	}
	p, err := b.measure(ctx, a, bare.child, told)
	if err == nil && len(played) > 0 {
		return p, fmt.Errorf("the recording was shorter than the turn: %w", <-played)
	}
	return p, err
}

// play tells the bare server of each part when its time has come.
func (b *bareServer) play(ctx context.Context, rec *recording, truths, told *partLedger) error {
	began := time.Now()
	for i := range rec.Steps {
		s := &rec.Steps[i]
		if err := pause(ctx, time.Until(began.Add(time.Duration(s.At)))); err != nil {
			return err
		}
		now := time.Now()
		for name := range s.Media {
			if t, ok := truths.get(name); ok {
				t.sent = now
				told.put(name, t)
			}
		}
		if err := b.step(i); err != nil {
			return err
		}
	}
	return nil
}

// measure takes what the server uses during one turn, then ends the audience
// and judges what each player got.
func (b *bench) measure(ctx context.Context, a *audience, c *child, truths *partLedger) (phase, error) {
	from, asked := time.Now(), a.requests()
	before, err := c.usage()
	if err != nil {
		return phase{}, err
	}
	if err := pause(ctx, b.Phase); err != nil {
		return phase{}, err
	}
	after, err := c.usage()
	if err != nil {
		return phase{}, err
	}
	p := phase{cpu: after.cpu - before.cpu, requests: a.requests() - asked, wall: time.Since(from)}
	a.leave()
	p.comfort = a.comfort()
	for _, log := range a.logs {
		p.judge(log, truths, from)
		p.watched += distinct(log).Seconds()
	}
	if len(a.errs) > 0 {
		b.say("%d of %d players broke; the first: %v", len(a.errs), len(a.players), a.errs[0])
	}
	if p.parts == 0 {
		return p, fmt.Errorf("no part was measured (%d unknown): %s", p.unknown, p.firstError)
	}
	return p, nil
}

// rowsOf adds the figures of one size of audience.
func (b *bench) rowsOf(n int, ours, bare phase) {
	figure := func(what, unit string, o, y float64) row {
		return row{Scenario: fmt.Sprintf("players %d", n), What: what, Unit: unit, Ours: o, Bare: y}
	}
	p50 := figure("last frame sent to part at the player, p50", "ms", median(ours.p50), median(bare.p50))
	p99 := figure("last frame sent to part at the player, p99", "ms", median(ours.p99), median(bare.p99))
	switch {
	case n == 1:
		p50 = p50.atMost(5)
	case n <= 500:
		p99 = p99.ratioMost(1.5)
	case n <= 1000:
		p99 = p99.ratioMost(1.6)
	default:
		p99 = p99.ratioMost(2)
	}
	b.add(p50)
	b.add(p99.noted(fmt.Sprintf("median of %d turns", len(ours.p99))))
	b.add(figure("server CPU", "% of a core", percent(ours.cpu, ours.wall), percent(bare.cpu, bare.wall)).
		noted("ours with ingest, accounting and checkpoints"))
	if n >= 100 { // with fewer, a request's share is below what the kernel's 10 ms ticks can tell
		b.add(figure("server CPU per request", "us", ours.perRequest(), bare.perRequest()).ratioMost(1.25))
		b.add(figure("server CPU per player", "% of a core", ours.perPlayer(n), bare.perPlayer(n)).ratioMost(1.5))
	}
	b.add(figure("requests per player", "1/s", float64(ours.requests)/ours.wall.Seconds()/float64(n),
		float64(bare.requests)/bare.wall.Seconds()/float64(n)))
	b.add(figure("frames lost + repeated", "frames", float64(ours.lost+ours.repeated), float64(bare.lost+bare.repeated)).none().
		noted(fmt.Sprintf("of %d parts judged", ours.parts)))
	b.add(figure("stalls + errors + jumps", "", float64(ours.stalls+ours.errors+ours.jumps), float64(bare.stalls+bare.errors+bare.jumps)).
		none().noted(ours.firstError))
	if odd := ours.wrong + ours.unknown; odd > 0 {
		b.add(figure("parts of wrong size or unknown", "parts", float64(odd), float64(bare.wrong+bare.unknown)).none())
	}
}
