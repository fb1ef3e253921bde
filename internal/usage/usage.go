// Package usage turns what viewers were given into viewer seconds.
//
// This is the *media* tier of design section 4: a viewer's seconds are the
// distinct media seconds delivered to it, whichever rendition or request they
// came by, and never more than the wall time since its first delivery plus the
// span of the playlist (what a player may fetch at once when it joins).
//
// playback reports each complete delivery with [Counter.Delivered]; the
// checkpoint loop takes the sums with [Counter.Drain] and confirms with
// [Counter.Ack] what the store has. All arithmetic is in whole nanoseconds, so
// nothing drifts.
//
// State is one small record per viewer and session, made at the first delivery
// and dropped once the viewer has left and could not be given the same media
// again. It is sharded by the viewer id's random bits; there is no global lock.
package usage

import (
	"cmp"
	"crypto/rand"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tally/internal/livestream"
	"tally/internal/viewer"
)

const (
	// DefaultMaxViewers bounds the records held: about 300 bytes each.
	DefaultMaxViewers = 200_000

	// minPresence is the shortest time a viewer counts as present after its
	// last evidence; otherwise it is 3 target durations (design section 4).
	minPresence = 10 * time.Second

	// maxIdle drops a record in any case: longer than the longest reconnect
	// window (30 min), in which a standing playlist can be fetched again.
	maxIdle = 35 * time.Minute

	// forgetSession drops an idle session's peak when nobody said it ended.
	forgetSession = 24 * time.Hour

	shardCount = 64
)

// Config of a [Counter]. The zero value works.
type Config struct {
	Node string // names this node in usage windows; may be ""
	// Incarnation changes with every start of the node; "" draws a random one.
	Incarnation string
	// MaxViewers bounds the records of viewers held at once; 0 means
	// DefaultMaxViewers. When it is reached, viewers that left make room; when
	// all are present, newcomers play but are not counted, and Stats says so.
	MaxViewers int
}

// A Counter counts for one node. All methods may be called concurrently.
type Counter struct {
	node, incarnation string
	maxPerShard       int
	start             time.Time // monotonic zero of every instant held here

	refused atomic.Int64 // deliveries that were not counted because of MaxViewers
	shards  [shardCount]shard

	mu       sync.Mutex // guards what follows; never taken for a known viewer's delivery
	sessions map[string]*session
	window   int64 // number of the newest window made
}

// A session is what is counted of one livestream session.
type session struct {
	id      string
	pending atomic.Int64 // ns counted that are in no window yet
	present atomic.Int64 // viewers with evidence within their presence time
	records atomic.Int64 // viewer records that point here
	ended   atomic.Bool

	// edge is the counter of the newest part anyone was given: records of
	// viewers that left are kept until it is a whole bitmap past theirs.
	edge atomic.Int64

	// What follows is guarded by Counter.mu.
	peak    int64
	told    audience               // what the newest window says
	last    time.Duration          // when anything was last seen of it
	offered livestream.UsageWindow // drained but not acknowledged; number 0: none
}

// An audience is how many watch, and the most that did at once.
type audience struct{ now, peak int64 }

// New returns a counter that has counted nothing.
func New(c Config) *Counter {
	if c.Incarnation == "" {
		c.Incarnation = rand.Text()
	}
	if c.MaxViewers <= 0 {
		c.MaxViewers = DefaultMaxViewers
	}
	n := &Counter{
		node: c.Node, incarnation: c.Incarnation, start: time.Now(),
		maxPerShard: max(1, c.MaxViewers/shardCount),
		sessions:    map[string]*session{},
	}
	for i := range n.shards {
		n.shards[i].init()
	}
	return n
}

func (c *Counter) now() time.Duration { return time.Since(c.start) }

// A Delivery is media that one viewer was given completely: one part, or the
// parts of one full segment. HEAD, partial ranges and aborted answers are none.
type Delivery struct {
	SessionID string // the session that the media belongs to
	Viewer    viewer.ID
	// First is the counter of the first part. Counters rise by one from part to
	// part over a run, and a session's media is all of one run.
	First int64
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
	// Played is the playhead time since the beacon before.
	Played time.Duration
}

// Asked takes note of a presence.
func (c *Counter) Asked(p Presence) {
	c.known(p.SessionID, p.Viewer)
}

// Told takes note of a beacon.
func (c *Counter) Told(b Beacon) {
	c.known(b.SessionID, b.Viewer)
}

// known moves a viewer to the front of those present.
func (c *Counter) known(session string, id viewer.ID) {
	sh := &c.shards[id.Random()%shardCount]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if w := sh.watching[key{session, id}]; w != nil {
		sh.seen(w, c.now())
	}
}

// Delivered counts d; spans is the media time of each of its parts, from First
// on. It allocates nothing after a viewer's first delivery, and keeps no
// reference to spans, which stand apart so that the compiler sees that.
func (c *Counter) Delivered(d Delivery, spans []time.Duration) {
	now := c.now()
	sh := &c.shards[d.Viewer.Random()%shardCount]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	w := sh.watching[key{d.SessionID, d.Viewer}]
	if w == nil {
		if !sh.makeRoom(c.maxPerShard) {
			c.refused.Add(1)
			return
		}
		w = sh.admit(c.session(d.SessionID, now), d.Viewer, now)
	}
	w.span = max(w.span, d.Window)
	w.presence = max(minPresence, 3*d.Target)
	w.distinct += w.parts.fetch(d.First, spans)
	w.settle(now)
	sh.seen(w, now)
	w.session.advance(w.parts.high)
}

// session returns the session's record, making it at first.
func (c *Counter) session(id string, now time.Duration) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sessions[id]
	if s == nil {
		s = &session{id: id}
		c.sessions[id] = s
	}
	s.last = now
	s.records.Add(1)
	return s
}

// advance moves the session's edge to a newer part.
func (s *session) advance(counter int64) {
	for {
		edge := s.edge.Load()
		if counter <= edge || s.edge.CompareAndSwap(edge, counter) {
			return
		}
	}
}

// Drain takes what was counted and returns every window that was not
// acknowledged, oldest first. A session has at most one such window: while it
// waits for its Ack it is offered again unchanged, and what is counted
// meanwhile goes into the next. So a failed checkpoint loses nothing, a
// repeated one counts nothing twice, and a store that is down costs no memory.
//
// It is also the moment at which viewers that left are noticed and the peak is
// taken, so it is to be called about twice a second.
func (c *Counter) Drain() ([]livestream.UsageWindow, []livestream.Viewing) {
	now := c.now()
	c.sweep(now)
	c.mu.Lock()
	defer c.mu.Unlock()
	var ws []livestream.UsageWindow
	for id, s := range c.sessions {
		present := s.sample(now)
		if s.offered.Window == 0 {
			s.offered = c.drain(s, audience{present, s.peak})
		}
		if s.offered.Window != 0 {
			ws = append(ws, s.offered)
		} else if s.forgettable(now) {
			delete(c.sessions, id)
		}
	}
	slices.SortFunc(ws, func(a, b livestream.UsageWindow) int { return cmp.Compare(a.Window, b.Window) })
	return ws, nil
}

// DrainAll is Drain at a shutdown.
func (c *Counter) DrainAll() ([]livestream.UsageWindow, []livestream.Viewing) { return c.Drain() }

// drain makes a window of what is pending and of an audience that changed; zero
// when there is neither. Under c.mu.
func (c *Counter) drain(s *session, seen audience) livestream.UsageWindow {
	amount := s.pending.Swap(0)
	if amount == 0 && seen == s.told {
		return livestream.UsageWindow{}
	}
	s.told = seen
	c.window++
	return livestream.UsageWindow{
		SessionID: s.id, Kind: livestream.ByMedia,
		Node: c.node, Incarnation: c.incarnation, Window: c.window,
		Amount: time.Duration(amount), Viewers: int(seen.now), PeakViewers: int(seen.peak),
	}
}

// Ack says that the store has these windows. Windows it does not know are
// ignored, so acknowledging twice is harmless.
func (c *Counter) Ack(ws []livestream.UsageWindow, _ []livestream.Viewing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range ws {
		if s := c.sessions[w.SessionID]; s != nil && s.offered.Window == w.Window {
			s.offered = livestream.UsageWindow{}
		}
	}
}

// Viewers returns how many viewers watch the session now, and the most that did
// at once. A session that nobody was given media of has none.
func (c *Counter) Viewers(sessionID string) (now, peak int) {
	at := c.now()
	c.sweep(at)
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sessions[sessionID]
	if s == nil {
		return 0, 0
	}
	return int(s.sample(at)), int(s.peak)
}

// End says that the session closed: nobody watches it from now on. Media of it
// that is still delivered is counted.
func (c *Counter) End(sessionID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.sessions[sessionID]; s != nil {
		s.sample(c.now())
		s.ended.Store(true)
	}
}

// sample takes the number of present viewers into the peak. Under Counter.mu.
func (s *session) sample(now time.Duration) int64 {
	n := s.present.Load()
	if n > 0 {
		s.last = now
	}
	if s.ended.Load() {
		return 0
	}
	s.peak = max(s.peak, n)
	return n
}

// forgettable reports whether nothing is left to count. Under Counter.mu.
func (s *session) forgettable(now time.Duration) bool {
	return s.records.Load() == 0 && s.pending.Load() == 0 && s.told.now == 0 &&
		(s.ended.Load() || now-s.last > forgetSession)
}

// Stats are figures of the counter itself, for metrics.
type Stats struct {
	Records int64 // viewer records held
	Present int64 // of these, viewers that are watching
	Refused int64 // deliveries not counted because MaxViewers was reached
}

// Stats returns the counter's figures.
func (c *Counter) Stats() Stats {
	st := Stats{Refused: c.refused.Load()}
	for i := range c.shards {
		records, present := c.shards[i].size()
		st.Records += records
		st.Present += present
	}
	return st
}
