package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tally/internal/rtmp/publisher"
)

// warmUp is how long an audience plays before it is measured: connections are
// made and the first parts, which are there already, are fetched.
const warmUp = 3 * time.Second

// audiences measures both servers with each size of audience.
func (b *bench) audiences(ctx context.Context) error {
	for _, n := range b.Players {
		if err := b.audience(ctx, n, nil); err != nil {
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

// A stage is both servers with the same media on: ours with an encoder that
// publishes to it, the bare one with a recording of what ours hands out.
type stage struct {
	t      *tally
	bare   *bareServer
	to     target
	air    *broadcast
	scout  *scout
	truths *partLedger
	rec    *recording
	seal   *seal // players come over TLS; nil: without
}

// stage sets both servers up. Its turns may last as long as a phase.
func (b *bench) stage(ctx context.Context, name string, over *seal) (s *stage, err error) {
	clip, err := b.loadClip()
	if err != nil {
		return nil, err
	}
	s = &stage{truths: newPartLedger(), seal: over}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.t, err = b.startTally(ctx, over.flags()...); err != nil {
		return s, err
	}
	if s.bare, err = startBare(ctx, over.files()...); err != nil {
		return s, err
	}
	if s.to, err = s.t.create(ctx, name); err != nil {
		return s, err
	}
	s.air = publish(ctx, s.to.rtmpURL, clip, true, publisher.Clean)
	if err := s.air.accepted(ctx); err != nil {
		return s, err
	}
	s.scout = startScout(ctx, "http://"+s.t.http+s.to.playback, s.truths)
	if err := s.scout.playing(ctx); err != nil {
		return s, err
	}
	if err := pause(ctx, 14*time.Second); err != nil { // the list fills
		return s, err
	}
	length := b.Phase + 2*warmUp
	b.say("%s: recording %v for the bare server", name, length)
	if s.rec, err = record(ctx, s.t.http, s.to.playback, length); err != nil {
		return s, fmt.Errorf("record: %w", err)
	}
	return s, nil
}

// url is what players ask ours for.
func (s *stage) url() string {
	if s.seal != nil {
		return "https://" + s.t.https + s.to.playback
	}
	return "http://" + s.t.http + s.to.playback
}

// bareURL is what they ask the bare server for.
func (s *stage) bareURL() string {
	if s.seal != nil {
		return "https://" + s.bare.https + "/hls/bare/index.m3u8"
	}
	return "http://" + s.bare.http + "/hls/bare/index.m3u8"
}

// close ends what was started.
func (s *stage) close() {
	if s.scout != nil {
		s.scout.stop()
	}
	if s.air != nil {
		s.air.stop()
	}
	if s.bare != nil {
		s.bare.stop()
	}
	if s.t != nil {
		s.t.stop()
	}
}

// audience measures both servers with n players: they take turns while one
// encoder publishes to ours.
func (b *bench) audience(ctx context.Context, n int, over *seal) error {
	name := fmt.Sprintf("players %d", n)
	if over != nil {
		name = fmt.Sprintf("tls %d", n)
	}
	s, err := b.stage(ctx, name, over)
	if err != nil {
		return err
	}
	defer s.close()
	var ours, theirs phase
	for round := range b.Rounds {
		q, err := b.oursPhase(ctx, s, name, n, round)
		if err != nil {
			return err
		}
		ours.add(q)
		if q, err = b.barePhase(ctx, s, n); err != nil {
			return err
		}
		theirs.add(q)
	}
	b.rowsOf(name, n, ours, theirs)
	if err := s.scout.stop(); err != nil {
		return fmt.Errorf("scout: %w", err)
	}
	return b.audit(ctx, s.t, s.to, s.air, name, ours.watched+distinct(s.scout.log).Seconds())
}

// oursPhase is one turn of the server under test.
func (b *bench) oursPhase(ctx context.Context, s *stage, name string, n, round int) (phase, error) {
	a := gather(ctx, s.url(), n, true, s.seal.client())
	defer a.leave()
	if err := pause(ctx, warmUp); err != nil {
		return phase{}, err
	}
	wait := b.profileDuring(ctx, s.t, fmt.Sprintf("%s-%d", strings.ReplaceAll(name, " ", "-"), round), b.Phase)
	p, err := b.measure(ctx, a, s.t.child, s.truths)
	wait()
	return p, err
}

// barePhase is one turn of the bare server.
func (b *bench) barePhase(ctx context.Context, s *stage, n int) (phase, error) {
	told := newPartLedger()
	replay, err := s.replay(ctx, told)
	if err != nil {
		return phase{}, err
	}
	defer replay.stop()
	a := gather(ctx, s.bareURL(), n, true, s.seal.client())
	defer a.leave()
	if err := pause(ctx, warmUp); err != nil {
		return phase{}, err
	}
	p, err := b.measure(ctx, a, s.bare.child, told)
	return p, errors.Join(err, replay.early())
}

// A replay plays the recording to the bare server.
type replay struct {
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // valid after ended
}

// replay starts the recording from its beginning. told is filled with when the
// generator told the bare server of each part.
func (s *stage) replay(ctx context.Context, told *partLedger) (*replay, error) {
	if err := s.bare.do(command{Load: s.rec}); err != nil {
		return nil, err
	}
	for name := range s.rec.Before { // fetched by who joins, and judged by its frames alone
		if t, ok := s.truths.get(name); ok {
			t.sent = time.Time{}
			told.put(name, t)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &replay{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.err = s.play(ctx, told)
	}()
	return r, nil
}

// stop ends the replay and waits for it.
func (r *replay) stop() {
	r.cancel()
	<-r.ended
}

// early is the error of a replay that ended before it was stopped.
func (r *replay) early() error {
	select {
	case <-r.ended:
		return errors.Join(errors.New("the recording was shorter than the turn"), r.err)
	default:
		return nil
	}
}

// play tells the bare server of each part when its time has come.
func (s *stage) play(ctx context.Context, told *partLedger) error {
	began := time.Now()
	for i := range s.rec.Steps {
		step := &s.rec.Steps[i]
		if err := pause(ctx, time.Until(began.Add(time.Duration(step.At)))); err != nil {
			return err
		}
		now := time.Now()
		for name := range step.Media {
			if t, ok := s.truths.get(name); ok {
				t.sent = now
				told.put(name, t)
			}
		}
		if err := s.bare.step(i); err != nil {
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
	if err := pause(ctx, warmUp/6); err != nil { // the scout may be a part behind
		return phase{}, err
	}
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
func (b *bench) rowsOf(name string, n int, ours, bare phase) {
	figure := func(what, unit string, o, y float64) row {
		return row{Scenario: name, What: what, Unit: unit, Ours: o, Bare: y}
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
