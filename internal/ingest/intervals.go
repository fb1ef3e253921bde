package ingest

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tally/internal/livestream"
)

// maxEnded bounds the intervals of one publication that ended and are not
// written yet. They are at least 2 s apart, so only a store that has not
// answered for half an hour gets there. From then on an interval that ends is
// joined to the one before: the seconds stay right, where the gap was is lost.
const maxEnded = 1024

// maxRests bounds what ended publications left to be written. A publication
// ends in the store first, so it takes a store that accepts every transition
// and no checkpoint to get there; then the oldest is lost.
const maxRests = 4096

// Intervals are what ingest seconds are the sum of (design section 4): the
// stretches in which media came without a gap of more than IntervalGap. The
// running one goes from its first message to Publication.last, so a message
// that continues it takes one atomic store and nothing else.
//
// Times are nanoseconds since the publication began.
type intervals struct {
	base time.Duration // ingest of the session before this publication

	mu     sync.Mutex
	number int64         // of the running interval; 0: no media came yet
	from   int64         // its first message
	before time.Duration // length of the intervals before it
	ended  []interval    // ended, and not written yet
	begun  int64         // the newest interval whose beginning is written
	paused int64         // the newest interval that was written as ended because nothing came for IntervalGap
}

type interval struct {
	number   int64
	from, to int64
	before   time.Duration // length of the intervals before it
	length   time.Duration
}

// next begins an interval with the message that arrived at now. The publisher
// calls it, at the first message and after a gap; last is what it has stored.
func (v *intervals) next(last *atomic.Int64, now int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.number > 0 {
		v.end(v.running(last.Load()))
	}
	v.number++
	v.from = now
	last.Store(now)
}

// running is the interval that goes on, as of the newest message.
func (v *intervals) running(last int64) interval {
	return interval{v.number, v.from, last, v.before, time.Duration(last - v.from)}
}

func (v *intervals) end(one interval) {
	v.before += one.length
	if n := len(v.ended); n == maxEnded {
		v.ended[n-1].to = one.to
		v.ended[n-1].length += one.length
		v.number-- // the number goes to the next
		return
	}
	v.ended = append(v.ended, one)
}

// sum is all that was received, as of the newest message.
func (v *intervals) sum(last int64) time.Duration {
	if v.number == 0 {
		return 0
	}
	return v.before + time.Duration(last-v.from)
}

// given is what of the intervals went into a checkpoint.
type given struct {
	ended  int   // so many of ended
	lastTo int64 // and where the last of them ended
	begun  int64
	paused int64
}

// take returns what is news since the last checkpoint that was written; open
// says that the last of it goes on. now is nanoseconds since the publication
// began. The caller holds mu.
func (v *intervals) take(last, now int64) (news []interval, open bool, g given) {
	news = slices.Clone(v.ended)
	g = given{ended: len(news), begun: v.begun, paused: v.paused}
	if len(news) > 0 {
		g.lastTo = news[len(news)-1].to
	}
	silent := now-last > int64(IntervalGap)
	switch {
	case v.number == 0, v.begun == v.number && (!silent || v.paused == v.number):
		return news, false, g
	case silent:
		g.paused = v.number
	}
	g.begun = v.number
	return append(news, v.running(last)), !silent, g
}

// written: the checkpoint with what take returned is stored.
func (v *intervals) written(g given) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.begun, v.paused = g.begun, g.paused
	if g.ended > 0 && v.ended[g.ended-1].to != g.lastTo {
		g.ended-- // joined meanwhile
	}
	v.ended = slices.Delete(v.ended, 0, g.ended)
}

// rest returns what is not written when the publication ends with the message
// at last: what came after it does not count.
func (v *intervals) rest(last int64) []interval {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := slices.Clone(v.ended)
	if v.number > 0 {
		all = append(all, v.running(last))
	}
	all = slices.DeleteFunc(all, func(one interval) bool { return one.from > last })
	if n := len(all); n > 0 && all[n-1].to > last {
		one := &all[n-1]
		one.length -= time.Duration(one.to - last)
		one.to = last
	}
	return all
}

// received is what a publication has brought, as of one moment.
type received struct {
	last   int64 // arrival of the newest message: nanoseconds since the publication began; 0: none came
	ingest time.Duration
	bytes  int64
}

func (p *Publication) received() received {
	p.intervals.mu.Lock()
	defer p.intervals.mu.Unlock()
	return p.receivedLocked()
}

func (p *Publication) receivedLocked() received {
	last := p.last.Load()
	return received{last: last, ingest: p.intervals.sum(last), bytes: p.bytes.Load()}
}

// labelOf is the label of a moment of a publication; zero for 0.
func (s *session) labelOf(p *Publication, at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return s.clock.at(p.began.Add(time.Duration(at)))
}

// news is what a publication has brought, and its intervals that a checkpoint
// has to write, as of the same moment.
func (s *session) news(p *Publication) (received, []livestream.Interval, given) {
	p.intervals.mu.Lock()
	r := p.receivedLocked()
	news, open, g := p.intervals.take(r.last, int64(time.Since(p.began)))
	p.intervals.mu.Unlock()
	rows := s.labelled(p, news)
	if open {
		one := &rows[len(rows)-1]
		one.To, one.Length = time.Time{}, 0
	}
	return r, rows, g
}

// labelled is how intervals are stored. Session.Ingest is kept in whole
// milliseconds, and so are their lengths, in such a way that these add up to it.
func (s *session) labelled(p *Publication, news []interval) []livestream.Interval {
	var rows []livestream.Interval
	for _, one := range news {
		start := p.intervals.base + one.before
		rows = append(rows, livestream.Interval{
			SessionID: s.rec.Session.ID, Epoch: p.epoch, Number: one.number,
			From: s.labelOf(p, one.from), To: s.labelOf(p, one.to),
			Length: (start + one.length).Truncate(time.Millisecond) - start.Truncate(time.Millisecond),
		})
	}
	return rows
}

// rest is what remains to be written of a publication that ends, after its end
// is: figures as a checkpoint has them, and its intervals.
func (s *session) rest(p *Publication, until received) livestream.Checkpoint {
	c := livestream.Checkpoint{
		LivestreamID: s.id, SessionID: s.rec.Session.ID, Epoch: p.epoch, At: s.clock.now(),
		LastMediaAt: s.labelOf(p, until.last), Ingest: s.ingest + until.ingest, Bytes: s.bytes + until.bytes,
		Intervals: s.labelled(p, p.intervals.rest(until.last)),
	}
	s.describe(&c, p)
	return c
}

// keep has a rest written with the next checkpoint.
func (m *Manager) keep(rest livestream.Checkpoint) {
	if len(rest.Intervals) == 0 && len(rest.Facts) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.rests) == maxRests {
		m.log.Error("checkpoints cannot be written for so long that intervals of a session are lost", "session", m.rests[0].SessionID)
		m.rests = slices.Delete(m.rests, 0, 1)
		m.lost++
	}
	m.rests = append(m.rests, rest)
}

// remaining returns the rests there are. forget drops the first n of them: they
// are written.
func (m *Manager) remaining() []livestream.Checkpoint {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lost = 0
	return slices.Clone(m.rests)
}

func (m *Manager) forget(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rests = slices.Delete(m.rests, 0, max(0, n-m.lost))
}
