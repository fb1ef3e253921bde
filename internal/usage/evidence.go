package usage

import (
	"time"

	"tally/internal/viewer"
)

// A Delivery is media that one viewer was given completely: one part, or the
// parts of one full segment. HEAD, partial ranges and aborted answers are none.
type Delivery struct {
	SessionID string // the session that the media belongs to
	Viewer    viewer.ID
	// Window is the media time the playlist spans now: what a viewer may take
	// at once without having waited for it.
	Window time.Duration
	Target time.Duration // the playlist's target duration

	Bytes     int64 // delivered
	Rendition int   // 0 to 63; others are not noted
}

// A Presence is one request for a media playlist of shared delivery.
type Presence struct {
	SessionID string // whose media the playlist ends with
	Viewer    viewer.ID
	Target    time.Duration // the playlist's target duration
	// Held says that the playlist ends with a held picture: whoever asks is
	// there, and earns nothing.
	Held bool
}

// A Beacon is what a player tells of itself.
type Beacon struct {
	SessionID string // whose media the playlist ends with now
	Viewer    viewer.ID
	Seq       int64 // rises from beacon to beacon; the same again replaces that one
	// Played is the playhead time since the beacon before: without pause, stall,
	// seek or hidden wait.
	Played time.Duration
}

// Delivered counts d; spans are where its media lies in the run, all of one
// session: what counts is media time that the viewer was not given before,
// whatever the rendition. It allocates nothing after a viewer's first evidence, but
// for one who jumps again and again, and keeps no reference to spans, which stand
// apart so that the compiler sees that.
func (c *Counter) Delivered(d Delivery, spans []Span) {
	now := c.now()
	sh := c.shard(d.Viewer)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	w := sh.record(c, d.SessionID, d.Viewer, now)
	if w == nil {
		return
	}
	w.deliver(&d, spans, now)
	w.settle(now)
	sh.seen(w, now)
	w.session.advance(int64(w.media.high()))
}

// Asked counts the time since the viewer asked before. Only playlists of shared
// delivery are evidence: in direct delivery, the media is. It allocates nothing
// after a viewer's first evidence.
func (c *Counter) Asked(p Presence) {
	now := c.now()
	sh := c.shard(p.Viewer)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	w := sh.record(c, p.SessionID, p.Viewer, now)
	if w == nil {
		return
	}
	w.ask(&p, now)
	w.settle(now)
	sh.seen(w, now)
}

// Told counts what a player says it played, as far as it can be true. A beacon
// of a viewer without other evidence in that session counts nothing (but see
// [Counter.Awaits]), an older one than was heard neither; one with a negative
// figure is ignored. It allocates nothing.
func (c *Counter) Told(b Beacon) {
	if b.Seq < 0 || b.Played < 0 {
		return
	}
	now := c.now()
	sh := c.shard(b.Viewer)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	w := sh.find(b.Viewer.Random(), b.SessionID)
	if w == nil {
		return
	}
	fresh, ok := sh.fresh(w, &b)
	if !ok {
		return
	}
	w.hear(&b, fresh, now)
	if fresh > 0 {
		sh.seen(w, now)
	}
}

// Awaits reports whether a beacon should be sent again later: the viewer is of
// before this counter began, which has no evidence of it yet. Its first beacon
// after that may tell of up to beaconEvery before, which the counter before did
// not live to hear, so that a restart costs nothing.
func (c *Counter) Awaits(id viewer.ID) bool {
	sh := c.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.unheard(c, id) > 0
}

// Knows reports whether there is evidence of the viewer, in whichever session,
// that was not forgotten: whether it is held in memory.
func (c *Counter) Knows(id viewer.ID) bool {
	sh := c.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.watching[id.Random()] != nil
}

func (c *Counter) shard(id viewer.ID) *shard { return &c.shards[id.Random()%shardCount] }

// record returns the viewer's record, making it at first; nil when there is no
// room for another.
func (sh *shard) record(c *Counter, sessionID string, id viewer.ID, now time.Duration) *watch {
	if w := sh.find(id.Random(), sessionID); w != nil {
		return w
	}
	if !sh.makeRoom(c.maxPerShard) {
		c.refused.Add(1)
		return nil
	}
	return sh.admit(c, c.session(sessionID, now), id, now)
}

// fresh returns what a beacon tells that no beacon of the viewer did before, in
// whichever session; false: nothing, it is an old one. Of two sessions that
// follow each other the first may be told its last late: by a number that the
// second had not heard when it began.
func (sh *shard) fresh(w *watch, b *Beacon) (time.Duration, bool) {
	fresh := b.Played
	for o := sh.watching[b.Viewer.Random()]; o != nil; o = o.sibling {
		switch {
		case !o.beacons || o.seq < b.Seq:
		case o.seq == b.Seq:
			fresh = min(fresh, b.Played-o.played)
		case o == w || o.oldest <= b.Seq:
			return 0, false
		}
	}
	return fresh, fresh >= 0
}
