package usage

import (
	"sync"
	"time"

	"tally/internal/livestream"
	"tally/internal/viewer"
)

// A shard holds some of the viewers. A record sits in present or gone, and waits
// for its row to be stored in later, due or offered.
type shard struct {
	mu       sync.Mutex        // guards everything below
	watching map[uint64]*watch // by the id's random bits; siblings follow
	present  list              // by last evidence, oldest first
	gone     list              // left, by when, but could be given the same media again
	later    list              // rows that changed, by when they are due
	due      list              // rows to be offered as soon as possible
	offered  list              // rows that were drained and are not acknowledged

	ends     int64 // Counter.ends when it was last looked who watched those
	stays    int64 // records made since one was dropped
	dropped  bool  // who comes may have been here before, and has another row for that
	rowsLost int64
	_        [64]byte // keeps neighbours' mutexes off one cache line
}

func (sh *shard) init() {
	sh.watching = map[uint64]*watch{}
	for _, l := range []*list{&sh.present, &sh.gone, &sh.later, &sh.due, &sh.offered} {
		l.init()
	}
}

// find returns the viewer's record in a session, or nil.
func (sh *shard) find(random uint64, sessionID string) *watch {
	w := sh.watching[random]
	for w != nil && w.session.id != sessionID {
		w = w.sibling
	}
	return w
}

// unheard is how much a viewer without a record may have played since its last
// beacon to the counter before this one: what lies between two beacons. It is 0
// for whoever came later and for whoever may have been told of already. Before its
// first beacon the counter before counted a viewer by media, unless it promised.
func (sh *shard) unheard(c *Counter, id viewer.ID) time.Duration {
	age := c.start.Sub(id.IssuedAt()) - time.Second // at least: it was issued within that second
	if age <= 0 || age < beaconEvery && !id.Beacons() || sh.dropped || sh.watching[id.Random()] != nil {
		return 0
	}
	return min(age, beaconEvery)
}

// admit makes the record of a viewer's first evidence in a session.
func (sh *shard) admit(c *Counter, s *session, id viewer.ID, now time.Duration) *watch {
	w := &watch{id: id, session: s, first: now, delivered: -1, mark: -1, before: sh.unheard(c, id)}
	w.seat.of, w.row.of = w, w
	if sh.dropped {
		sh.stays++
		w.stay = sh.stays
	}
	w.sibling = sh.watching[id.Random()]
	sh.watching[id.Random()] = w
	sh.gone.push(&w.seat)
	return w
}

// seen moves the viewer to the end of those present, and its row changes.
func (sh *shard) seen(w *watch, now time.Duration) {
	w.last = now
	if w.present {
		sh.present.remove(&w.seat)
	} else {
		w.present = true
		w.session.present.Add(1)
		sh.gone.remove(&w.seat)
	}
	sh.present.push(&w.seat)
	if w.queued == nil {
		w.rowAt = now + rowEvery
		sh.queue(w, &sh.later)
	}
}

// leave notes that the viewer left: beacons that it promised will not come.
func (sh *shard) leave(w *watch) {
	w.lapsed = true
	w.settle(w.last)
	sh.depart(w)
}

// depart notes that the viewer is not there any more: its row is due.
func (sh *shard) depart(w *watch) {
	w.present = false
	w.session.present.Add(-1)
	sh.present.remove(&w.seat)
	sh.gone.push(&w.seat)
	if w.queued != &sh.offered { // else the acknowledgement shows that it is due again
		sh.queue(w, &sh.due)
	}
}

// queue puts the viewer's row at the end of l; nil: in none.
func (sh *shard) queue(w *watch, l *list) {
	if w.queued != nil {
		w.queued.remove(&w.row)
	}
	w.queued = l
	if l != nil {
		l.push(&w.row)
	}
}

// size is how many records there are.
func (sh *shard) size() int { return sh.present.n + sh.gone.n }

// makeRoom reports whether one more record fits, dropping the viewer that left
// longest ago if need be. Should that one come back within the playlist's
// window, what it fetches again counts again.
func (sh *shard) makeRoom(limit int) bool {
	if sh.size() < limit {
		return true
	}
	w := sh.gone.front()
	if w == nil {
		return false
	}
	if w.queued != nil {
		sh.rowsLost++
	}
	sh.drop(w)
	return true
}

// drop forgets a viewer that left.
func (sh *shard) drop(w *watch) {
	sh.gone.remove(&w.seat)
	sh.queue(w, nil)
	random := w.id.Random()
	if head := sh.watching[random]; head != w {
		for head.sibling != w {
			head = head.sibling
		}
		head.sibling = w.sibling
	} else if w.sibling != nil {
		sh.watching[random] = w.sibling
	} else {
		delete(sh.watching, random)
	}
	w.session.records.Add(-1)
	sh.dropped = true
}

// look notices who left, a few at a time, so that nobody waits long for the lock.
func (sh *shard) look(c *Counter, now time.Duration) {
	for again := true; again; {
		again = sh.sweep(c, now)
	}
}

// sweep notices who left, and forgets those that cannot be counted twice. It
// looks only at viewers without evidence for minPresence, unless a session
// ended, and of those that left at the oldest until one must stay: the cost is
// that of the leavers. It reports whether there may be more than it did.
func (sh *shard) sweep(c *Counter, now time.Duration) (again bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	left := sweepAtOnce
	for ends, n := c.ends.Load(), sh.present.root.next; ; {
		w := n.of
		if w == nil || now-w.last <= minPresence && ends == sh.ends {
			sh.ends = ends
			break
		}
		if n = n.next; now-w.last > w.presence || w.session.ended.Load() {
			sh.leave(w)
			if left--; left == 0 {
				return true
			}
		}
	}
	for w := sh.gone.front(); w != nil && w.queued == nil && now-w.last > w.keep(); w = sh.gone.front() {
		sh.drop(w)
		if left--; left == 0 {
			return true
		}
	}
	return false
}

// leaveAll has everybody leave. Whose first beacon is still to come tells it to the
// next start of the server.
func (sh *shard) leaveAll(now time.Duration) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for w := sh.present.front(); w != nil; w = sh.present.front() {
		if w.id.Beacons() && !w.beacons && now-w.first < beaconEvery {
			sh.depart(w)
		} else {
			sh.leave(w)
		}
	}
}

// drain notices who left, and appends at most n rows that are due: first those
// that were offered before.
func (sh *shard) drain(c *Counter, now time.Duration, n int, rows []livestream.Viewing) []livestream.Viewing {
	sh.look(c, now)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.due.take(&sh.offered)
	for ; n > 0; n-- {
		w := sh.due.front()
		if w == nil {
			if w = sh.later.front(); w == nil || w.rowAt > now {
				break
			}
		}
		rows = append(rows, c.viewing(w))
		sh.queue(w, &sh.offered)
	}
	return rows
}

// ack notes that the store has the row v. Where it has changed since, it is due
// again: at once when the viewer left, else in a while.
func (sh *shard) ack(c *Counter, now time.Duration, random uint64, v *livestream.Viewing) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	w := sh.find(random, v.SessionID)
	if w == nil || w.queued == nil {
		return
	}
	stands := c.viewing(w)
	switch {
	case sameFigures(&stands, v):
		sh.queue(w, nil)
	case w.queued != &sh.offered: // an acknowledgement of long ago
	case stands.Left:
		sh.queue(w, &sh.due)
	default:
		w.rowAt = now + rowEvery
		sh.queue(w, &sh.later)
	}
}

func (sh *shard) addTo(st *Stats) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	st.Records += int64(sh.size())
	st.Present += int64(sh.present.n)
	st.Waiting += int64(sh.due.n + sh.offered.n)
	st.RowsLost += sh.rowsLost
}

// A list is a ring around a sentinel. A record has a node for each of the two
// lists it may be in.
type list struct {
	root node
	n    int
}

type node struct {
	prev, next *node
	of         *watch
}

func (l *list) init() { l.root.prev, l.root.next = &l.root, &l.root }

// push puts x at the end.
func (l *list) push(x *node) {
	x.prev, x.next = l.root.prev, &l.root
	x.prev.next, x.next.prev = x, x
	l.n++
}

func (l *list) remove(x *node) {
	x.prev.next, x.next.prev = x.next, x.prev
	l.n--
}

// front returns the first, or nil.
func (l *list) front() *watch { return l.root.next.of }

// take puts rows of other before the first.
func (l *list) take(other *list) {
	for other.n > 0 {
		x := other.root.prev
		other.remove(x)
		x.prev, x.next = &l.root, l.root.next
		x.prev.next, x.next.prev = x, x
		l.n++
		x.of.queued = l
	}
}
