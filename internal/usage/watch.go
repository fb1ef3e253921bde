package usage

import (
	"sync"
	"time"

	"tally/internal/viewer"
)

// bitmapParts is how many of the newest parts a record remembers: 102 s at
// parts of 200 ms, 171 s at 335 ms. A part older than that counts as fetched
// before, so a longer playlist loses seconds and never invents any.
const bitmapParts = 512

// A fetched remembers which parts a viewer was given.
type fetched struct {
	high int64 // counter of the newest part given; -1 before any
	bits [bitmapParts / 64]uint64
}

// fetch marks parts from first on and returns the media time that is new.
func (f *fetched) fetch(first int64, spans []time.Duration) (fresh time.Duration) {
	for i, span := range spans {
		if f.add(first + int64(i)) {
			fresh += span
		}
	}
	return fresh
}

// add marks a part and reports whether it is new.
func (f *fetched) add(counter int64) bool {
	switch {
	case counter > f.high:
		for n := max(f.high+1, counter-bitmapParts+1); n <= counter; n++ {
			f.bits[n/64%int64(len(f.bits))] &^= 1 << (n % 64)
		}
		f.high = counter
	case counter < 0 || counter <= f.high-bitmapParts:
		return false
	}
	word, bit := &f.bits[counter/64%int64(len(f.bits))], uint64(1)<<(counter%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}

// A watch is one viewer of one session. Its shard's mutex guards it.
type watch struct {
	key     key
	session *session

	first    time.Duration // instant of the first delivery
	last     time.Duration // instant of the newest
	span     time.Duration // the longest playlist it was given media from
	presence time.Duration // how long it counts as present after last
	distinct time.Duration // media time given, each part once
	counted  time.Duration // of that, what went into the session's sum

	parts fetched // all of one run: a session's media is of no other

	present    bool
	prev, next *watch // in the shard's present or gone list
}

// settle counts what the viewer may have by now: its distinct media time, but
// never more than the wall time since its first delivery plus the playlist.
func (w *watch) settle(now time.Duration) {
	due := min(w.distinct, now-w.first+w.span)
	if due > w.counted {
		w.session.pending.Add(int64(due - w.counted))
		w.counted = due
	}
}

// A key names a viewer's record: the same viewer in the next session is another.
type key struct {
	session string
	viewer  viewer.ID
}

// A shard holds some of the viewers.
type shard struct {
	mu       sync.Mutex // guards everything below
	watching map[key]*watch
	present  list // by last evidence, newest first
	gone     list // left, but could be given the same media again
	left     int64
	_        [64]byte // keeps neighbours' mutexes off one cache line
}

func (sh *shard) init() {
	sh.watching = map[key]*watch{}
	sh.present.init()
	sh.gone.init()
}

// admit makes the record of a viewer's first delivery.
func (sh *shard) admit(s *session, id viewer.ID, now time.Duration) *watch {
	w := &watch{key: key{s.id, id}, session: s, first: now, parts: fetched{high: -1}}
	sh.watching[w.key] = w
	sh.gone.pushFront(w)
	sh.left++
	return w
}

// seen moves the viewer to the front of those present.
func (sh *shard) seen(w *watch, now time.Duration) {
	w.last = now
	remove(w)
	sh.present.pushFront(w)
	if !w.present {
		w.present = true
		sh.left--
		w.session.present.Add(1)
	}
}

// makeRoom reports whether one more record fits, dropping the viewer that left
// longest ago if need be. Should that one come back within the playlist's
// window, what it fetches again counts again.
func (sh *shard) makeRoom(limit int) bool {
	if len(sh.watching) < limit {
		return true
	}
	if sh.left == 0 {
		return false
	}
	sh.drop(sh.gone.back())
	return true
}

// drop forgets a viewer that left.
func (sh *shard) drop(w *watch) {
	remove(w)
	sh.left--
	delete(sh.watching, w.key)
	w.session.records.Add(-1)
}

func (sh *shard) size() (records, present int64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return int64(len(sh.watching)), int64(len(sh.watching)) - sh.left
}

// sweep notices who left, and forgets those that cannot be counted twice.
func (c *Counter) sweep(now time.Duration) {
	for i := range c.shards {
		c.shards[i].sweep(now)
	}
}

// sweep looks only at viewers without evidence for minPresence, and of those
// that left at the oldest until one must stay: the cost is that of the leavers.
func (sh *shard) sweep(now time.Duration) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for w := sh.present.back(); w != nil && now-w.last > minPresence; {
		before := sh.present.before(w)
		if now-w.last > w.presence {
			w.present = false
			w.session.present.Add(-1)
			sh.left++
			remove(w)
			sh.gone.pushFront(w)
		}
		w = before
	}
	for w := sh.gone.back(); w != nil; w = sh.gone.back() {
		again := w.session.edge.Load()-w.parts.high < bitmapParts // may still be listed
		if again && now-w.last <= maxIdle {
			break
		}
		sh.drop(w)
	}
}

// A list is a ring around a sentinel.
type list struct{ root watch }

func (l *list) init() { l.root.prev, l.root.next = &l.root, &l.root }

func (l *list) pushFront(w *watch) {
	w.prev, w.next = &l.root, l.root.next
	w.prev.next, w.next.prev = w, w
}

// back returns the last element, or nil.
func (l *list) back() *watch { return l.before(&l.root) }

// before returns the element before w, or nil.
func (l *list) before(w *watch) *watch {
	if w.prev == &l.root {
		return nil
	}
	return w.prev
}

func remove(w *watch) { w.prev.next, w.next.prev = w.next, w.prev }
