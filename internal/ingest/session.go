package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"tally/internal/livestream"
)

// Limits of design section 3.
const (
	mediaTimeout = 10 * time.Second        // no media, or nothing playable, before it is playable; silence on air
	holdLimit    = 2500 * time.Millisecond // how long a second publisher's publish is held
	holdPoll     = 50 * time.Millisecond
	// holdDrain is how long media of the present publisher does not count
	// against a held newcomer: what was still under way when its connection
	// broke. An encoder that comes back at once would be refused for it.
	holdDrain  = 250 * time.Millisecond
	idlePoll   = 20 * time.Millisecond // an actor with nothing to do looks whether it may end
	storeRetry = 500 * time.Millisecond
	inboxSize  = 64 // operations waiting for the actor; a sender waits when it is full
)

// A session is the actor of one livestream while something is on air or being
// asked of it. Its goroutine owns rec, clock and held, makes every transition
// and keeps every timer. It ends when no session is open and nobody asks.
type session struct {
	m     *Manager
	id    string // of the livestream
	log   *slog.Logger
	inbox chan func()
	done  chan struct{} // closed when the actor has ended

	clock labelClock
	held  []heldPublish

	stopping bool // the last state is written: nothing moves any more
	holders  int  // who is about to ask something; guarded by Manager.mu

	// mu guards what the checkpoint loop reads, and clock; the actor alone writes it.
	mu      sync.Mutex
	rec     livestream.Record
	out     Output        // while the session is open
	pub     *Publication  // while a publisher is connected
	ingest  time.Duration // of earlier publications of this session
	bytes   int64         // of earlier publications of this session
	trouble string        // as Progress.Trouble, when a checkpoint saw it last
	advice  string        // as Session.Warnings, of the publication before; "" once another came
	msn     int64         // the media sequence number of the newest checkpoint, or where the output began
}

// A heldPublish is a second publisher's publish that waits for the first to
// turn out stale.
type heldPublish struct {
	req   Request
	since time.Time
	reply chan<- accepted
}

type accepted struct {
	pub *Publication
	err error
}

// post hands op to the actor. When the actor has ended, the operation is about
// a session that is closed, and is dropped.
func (s *session) post(op func()) {
	select {
	case s.inbox <- op:
	case <-s.done:
	}
}

// run is the actor's goroutine.
func (s *session) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case op := <-s.inbox:
			op()
			if !s.stopping {
				s.checkHeld() // it may have been what a newcomer waits for; and each puts off the timer
			}
		case <-timer.C:
			s.tick()
		case <-ctx.Done():
			s.m.remove(s)
			s.closePublication("the server is stopping")
			return
		}
		if !s.rec.Session.Phase.Open() && len(s.held) == 0 && s.m.removeIdle(s) {
			return
		}
		timer.Reset(s.nextTick())
	}
}

// nextTick is when the earliest timer is due. Media arrives without telling the
// actor, so a due silence clock is looked at again when it fires.
func (s *session) nextTick() time.Duration {
	wait := s.nextTimer()
	if len(s.held) > 0 {
		// Media of the present publisher is looked for meanwhile.
		wait = min(wait, holdPoll, max(time.Millisecond, holdLimit-time.Since(s.held[0].since)))
		if s.pub != nil {
			wait = min(wait, max(time.Millisecond, IntervalGap-s.pub.silence()))
		}
	}
	return wait
}

// nextTimer is when the earliest timer of the session itself is due.
func (s *session) nextTimer() time.Duration {
	switch {
	case s.pub == nil && s.rec.Session.Phase.Open():
		return max(time.Millisecond, s.clock.until(s.rec.Session.Deadline))
	case s.pub == nil:
		return idlePoll
	case s.rec.Session.Phase == livestream.Starting && s.pub.first.Load() > 0:
		return max(time.Millisecond, time.Duration(s.pub.first.Load())+mediaTimeout-time.Since(s.pub.began))
	}
	return max(time.Millisecond, mediaTimeout-s.pub.silence())
}

// tick looks at every timer.
func (s *session) tick() {
	if s.stopping {
		return
	}
	defer s.checkHeld()
	switch {
	case s.pub == nil:
		if s.rec.Session.Phase.Open() && s.clock.until(s.rec.Session.Deadline) <= 0 {
			s.expire()
		}
	case s.rec.Session.Phase == livestream.Starting:
		s.checkStart()
	case s.pub.silence() >= mediaTimeout:
		pub := s.pub
		s.lose(pub, livestream.Reason{}, fmt.Sprintf("no audio or video arrived for %s; check the encoder and publish again", mediaTimeout))
	}
}

// checkStart fails a publish that did not become playable in time.
func (s *session) checkStart() {
	p := s.pub
	var reason livestream.Reason
	switch first := time.Duration(p.first.Load()); {
	case first == 0 && p.silence() >= mediaTimeout:
		reason = livestream.Silent(mediaTimeout)
	case first > 0 && time.Since(p.began)-first >= mediaTimeout:
		reason = s.unplayable(p)
	default:
		return
	}
	s.fail(p, reason)
}

// unplayable says why nothing was playable although media came.
func (s *session) unplayable(p *Publication) livestream.Reason {
	switch {
	case p.frames.Load() == 0 && p.condition.now().Media != "":
		return livestream.HeadersOnly(mediaTimeout)
	case p.frames.Load() == 0:
		return livestream.Unparsable("audio or video arrived for 10 s without a usable sequence header before it")
	case p.out.Progress().KeyframeSeen:
		return livestream.TooLittle(mediaTimeout)
	}
	return livestream.Keyless(mediaTimeout)
}

// accept decides on a publish.
func (s *session) accept(req Request, reply chan<- accepted) {
	if s.stopping {
		reply <- accepted{err: livestream.ErrStopping}
		return
	}
	policy := s.rec.Livestream.Settings.Publisher
	if s.pub != nil && policy == livestream.Reject {
		reply <- accepted{err: livestream.ErrBusy}
		return
	}
	if p := s.pub; p != nil && p.silence() < IntervalGap && policy != livestream.Replace {
		if len(s.held) > 0 {
			reply <- accepted{err: livestream.ErrBusy}
			return
		}
		s.held = append(s.held, heldPublish{req, time.Now(), reply})
		return
	}
	pub, err := s.admit(req)
	reply <- accepted{pub, err}
}

// checkHeld lets a held newcomer in as soon as the present publisher is gone or
// stale, and refuses it as soon as the present one has delivered media that
// shows it to be well.
func (s *session) checkHeld() {
	if len(s.held) == 0 {
		return
	}
	h := s.held[0]
	switch p := s.pub; {
	case p == nil, p.silence() >= IntervalGap:
		s.held = nil
		pub, err := s.admit(h.req)
		h.reply <- accepted{pub, err}
	case p.lastArrival().After(h.since.Add(holdDrain)), time.Since(h.since) >= holdLimit:
		s.held = nil
		h.reply <- accepted{err: livestream.ErrBusy}
	}
}

// admit accepts a publish: it is committed when admit returns. A publisher that
// was there is cut.
func (s *session) admit(req Request) (*Publication, error) {
	clock := s.clock
	if !s.rec.Session.Phase.Open() {
		clock = s.idleClock(livestream.Publish)
	}
	e := livestream.Event{
		Kind: livestream.Publish, At: clock.now(), Key: req.Key, Remote: req.Remote, Encoder: req.Encoder,
		NewID: livestream.NewUUID(), NewRun: livestream.NewRunID(),
	}
	until := s.figures(&e) // of a publisher that is taken over from
	rec, err := s.m.store.Advance(s.m.ctx, s.id, e)
	if err != nil {
		return nil, err
	}
	s.closeAt("another encoder took over this stream key", until)
	opened := s.out == nil
	s.set(rec, clock)
	if opened {
		s.open()
	}
	s.log = s.m.log.With("livestream", s.id, "session", rec.Session.ID)
	pub := &Publication{s: s, log: s.log, epoch: rec.Session.Epoch, out: s.out, began: time.Now()}
	pub.intervals.base = s.ingest
	pub.ctx, pub.cancel = context.WithCancelCause(s.m.ctx)
	s.out.Begin(pub.epoch)
	s.mu.Lock()
	s.pub, s.advice = pub, ""
	s.mu.Unlock()
	s.log.Info("publication begins", "remote", req.Remote, "encoder", req.Encoder, "proto", req.Proto, "epoch", pub.epoch)
	s.m.checkpoint(s.m.ctx, []*session{s}, nil) // reserves media sequence numbers before Publish.Start
	return pub, nil
}

// set takes over a record that was written.
func (s *session) set(rec livestream.Record, clock labelClock) {
	s.mu.Lock()
	s.clock = clock
	if rec.Session.ID != s.rec.Session.ID {
		s.ingest, s.bytes, s.advice = rec.Session.Ingest, rec.Session.Bytes, rec.Session.Warnings
	}
	s.rec = rec
	s.mu.Unlock()
}

// open creates the output of the session that begins or is resumed.
func (s *session) open() {
	out := s.m.open(s.rec)
	s.mu.Lock()
	s.out, s.msn = out, out.Progress().MSN
	s.mu.Unlock()
}

// resume takes over a session that was open when the server last stopped.
func (s *session) resume(rec livestream.Record, clock labelClock) {
	s.set(rec, clock)
	s.log = s.m.log.With("livestream", s.id, "session", rec.Session.ID)
	s.open()
	s.log.Info("session goes on after a restart", "phase", rec.Session.Phase.String(), "until", rec.Session.Deadline)
}

// closePublication takes the present publisher's figures into the session and
// cuts its connection with sentence; "" when the connection ends by itself.
func (s *session) closePublication(sentence string) {
	if s.pub != nil {
		s.closeAt(sentence, s.pub.received())
	}
}

// closeAt is closePublication with the figures that are written already: what
// arrived since then counts no more.
func (s *session) closeAt(sentence string, until received) {
	p := s.pub
	if p == nil {
		return
	}
	rest := s.rest(p, until)
	s.mu.Lock()
	s.ingest += until.ingest
	s.bytes += until.bytes
	one := &s.rec.Session
	if !rest.LastMediaAt.IsZero() {
		one.LastMediaAt = rest.LastMediaAt
	}
	one.Media, one.Keyframe = cmp.Or(rest.Media, one.Media), cmp.Or(rest.Keyframe, one.Keyframe)
	s.advice = rest.Warnings
	s.pub = nil
	s.mu.Unlock()
	s.m.keep(rest)
	cut := &CutError{Sentence: sentence}
	if s.stopping {
		cut.Err = livestream.ErrStopping
	}
	p.cancel(cut)
	s.log.Info("publication ends", "epoch", p.epoch, "cause", sentence, "bytes", until.bytes, "frames", p.frames.Load(),
		"ingest", until.ingest.Round(time.Millisecond))
}

// becamePlayable: the first segment can be listed.
func (s *session) becamePlayable(p *Publication) {
	if s.pub != p || s.rec.Session.Phase != livestream.Starting {
		return
	}
	s.advance(livestream.Event{Kind: livestream.Playable, Epoch: p.epoch})
}

// unpublish: a clean end.
func (s *session) unpublish(p *Publication) {
	if s.pub != p {
		return
	}
	s.closePublication("the encoder ended the stream")
	s.advance(livestream.Event{Kind: livestream.Unpublish, Epoch: p.epoch})
}

// lose: the publisher is gone without a clean end. sentence is for its encoder,
// if that still listens.
func (s *session) lose(p *Publication, reason livestream.Reason, sentence string) {
	if s.pub != p {
		return
	}
	if reason.Code != "" {
		sentence = reason.String()
	}
	s.closePublication(sentence)
	s.out.Lost(p.epoch)
	s.advance(livestream.Event{Kind: livestream.Lose, Epoch: p.epoch, Reason: reason})
}

// fail: the publication cannot become or stay playable.
func (s *session) fail(p *Publication, reason livestream.Reason) {
	if s.pub != p {
		return
	}
	s.closePublication(reason.String())
	s.advance(livestream.Event{Kind: livestream.Fail, Epoch: p.epoch, Reason: reason})
}

// expire: the reconnect window, a restart's grace or the wait for an encoder is over.
func (s *session) expire() {
	s.advance(livestream.Event{Kind: livestream.Expire, SessionID: s.rec.Session.ID})
}

// command carries out what the API asks for, whatever the session's state.
func (s *session) command(ctx context.Context, e livestream.Event, sentence string) (livestream.Record, error) {
	if s.stopping {
		return livestream.Record{}, livestream.ErrStopping
	}
	clock := s.clock
	if !s.rec.Session.Phase.Open() {
		clock = s.idleClock(e.Kind)
	}
	e.At = clock.now()
	until := s.figures(&e)
	rec, err := s.m.store.Advance(ctx, s.id, e)
	if err != nil {
		return rec, err
	}
	if !rec.Session.Phase.Open() {
		s.closeAt(sentence, until)
	}
	s.set(rec, clock)
	s.afterAdvance(e)
	return rec, nil
}

// figures puts the session's totals into e, and returns what of them is the
// present publication's.
func (s *session) figures(e *livestream.Event) received {
	if !s.rec.Session.Phase.Open() {
		return received{}
	}
	one := &s.rec.Session
	e.LastMediaAt, e.Ingest, e.Bytes = one.LastMediaAt, s.ingest, s.bytes
	e.Media, e.Keyframe, e.Warnings = one.Media, one.Keyframe, s.advice
	p := s.pub
	if p == nil {
		return received{}
	}
	r := p.received()
	e.Ingest += r.ingest
	e.Bytes += r.bytes
	if at := s.labelOf(p, r.last); !at.IsZero() {
		e.LastMediaAt = at
	}
	report := p.condition.now()
	e.Media, e.Keyframe = cmp.Or(report.Media, e.Media), cmp.Or(report.Keyframe, e.Keyframe)
	e.Warnings = s.warnings(report)
	return r
}

// advance writes a transition that has happened. A store that cannot write is
// asked again until it can: what happened, happened.
func (s *session) advance(e livestream.Event) {
	for warned := false; ; {
		e.At = s.clock.now()
		s.figures(&e)
		rec, err := s.m.store.Advance(s.m.ctx, s.id, e)
		switch {
		case err == nil:
			s.set(rec, s.clock)
			s.afterAdvance(e)
			return
		case errors.Is(err, livestream.ErrTransition), errors.Is(err, livestream.ErrStale), errors.Is(err, livestream.ErrNotFound):
			s.log.Error("the store knows this session otherwise", "event", e.Kind.String(), "err", err)
			s.closePublication("the session ended")
			s.set(rec, s.clock)
			if rec.Session.Phase.Connected() && e.Kind != livestream.Lose {
				// Nobody is connected, so nothing would ever end it.
				e = livestream.Event{Kind: livestream.Lose, Epoch: rec.Session.Epoch}
				continue
			}
			s.afterAdvance(e)
			return
		case s.m.ctx.Err() != nil:
			return
		case !warned:
			warned = true
			s.log.Error("a transition waits for the store", "event", e.Kind.String(), "err", err)
		}
		select {
		case <-time.After(storeRetry):
		case <-s.m.ctx.Done():
			return
		}
	}
}

// afterAdvance opens or ends the output as the session's phase asks.
func (s *session) afterAdvance(e livestream.Event) {
	ph := s.rec.Session.Phase
	switch {
	case ph.Open() && s.out == nil:
		s.open()
	case ph.Open() && e.Kind == livestream.Configure:
		s.out.Linger(s.rec.Livestream.Settings.EndlistDelay)
	case !ph.Open() && s.out != nil:
		s.out.End(e.Kind == livestream.Unpublish)
		s.mu.Lock()
		s.out = nil
		s.mu.Unlock()
		s.log.Info("session ends", "phase", ph.String(), "err_message", s.rec.Session.ErrMessage(),
			"ingest", s.rec.Session.Ingest.Round(time.Millisecond))
	}
}

// shutdown writes the session as one that waits for its publisher, then cuts
// the publisher. It returns when that is done, or when ctx ends.
func (s *session) shutdown(ctx context.Context) {
	finished := make(chan struct{})
	last := func() {
		defer close(finished)
		s.stopping = true
		for _, h := range s.held {
			h.reply <- accepted{err: livestream.ErrStopping}
		}
		s.held = nil
		if !s.rec.Session.Phase.Open() {
			return
		}
		e := livestream.Event{Kind: livestream.Shutdown, At: s.clock.now()}
		until := s.figures(&e)
		rec, err := s.m.store.Advance(ctx, s.id, e)
		if err != nil {
			s.log.Error("the session's last state could not be written", "err", err)
			rec = s.rec
		}
		s.closeAt("the server is stopping; publish again in a moment", until)
		s.set(rec, s.clock)
	}
	select {
	case s.inbox <- last:
	case <-s.done:
	case <-ctx.Done():
		return
	}
	select {
	case <-finished:
	case <-s.done:
	case <-ctx.Done():
	}
}
