// Package usage turns what viewers were given, asked for and told into viewer
// seconds (design section 4).
//
// There are three kinds of evidence, and each viewer is counted by one at a time:
//
//   - media: the distinct media seconds delivered to it, whichever rendition or
//     request they came by, and never more than the wall time since its first
//     delivery plus the span of the playlist (what a player may fetch at once
//     when it joins);
//   - playlist, where a cache delivers the media: the time between its requests
//     for the media playlist, each step at most two target durations;
//   - beacon: what its player says it played, and never more than wall time, nor
//     than the other two allow.
//
// What was counted is never taken back: who changes from one to another stands
// still until the new sum has caught up, and the amounts stay where they were.
//
// playback reports with [Counter.Delivered], [Counter.Asked] and [Counter.Told].
// The checkpoint loop takes sums per session (windows) and totals per viewer
// (rows) with [Counter.Drain] and confirms with [Counter.Ack] what the store
// has. All arithmetic is in whole nanoseconds, what is counted is whole
// microseconds and the rest waits, so that nothing drifts and rows and windows
// have the same sums.
//
// State is one small record per viewer and session, made at the first evidence
// but a beacon, and dropped once the viewer has left, its row is stored, and it
// could not be given the same media again. It is sharded by the viewer id's
// random bits; there is no global lock.
package usage

import (
	"cmp"
	"crypto/rand"
	"math"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"tally/internal/livestream"
)

const (
	// DefaultMaxViewers bounds the records held: about 500 bytes each.
	DefaultMaxViewers = 200_000

	// minPresence is the shortest time a viewer counts as present after its
	// last evidence; otherwise it is 3 target durations (design section 4).
	minPresence = 10 * time.Second

	// beaconEvery is how far beacons of players are apart, at most: our page's 4 s,
	// and what the page's own player had buffered when the server stopped.
	beaconEvery = 5 * time.Second

	// promiseHolds is how long a viewer that promised beacons is counted nothing
	// while none comes.
	promiseHolds = 3 * beaconEvery

	// minIdle keeps a record for a player that sends its last beacon again.
	minIdle = 3 * time.Minute

	// minIdleShared keeps that of a viewer of shared delivery, so that the step
	// over a pause of ten minutes counts as any other: its two target durations.
	minIdleShared = 15 * time.Minute

	// maxIdle drops a record in any case: longer than the longest reconnect
	// window (30 min), in which a standing playlist can be fetched again.
	maxIdle = 35 * time.Minute

	// forgetSession drops an idle session's peak when nobody said it ended.
	forgetSession = 24 * time.Hour

	// rowEvery is how old a stored row of a viewer that watches may get.
	rowEvery = time.Minute

	// rowsAtOnce bounds the rows of a shard in one Drain, so that a checkpoint
	// stays short: 2,048 in all, 4,096 a second.
	rowsAtOnce = 32

	// sweepAtOnce bounds the leavers that are noticed under one lock: 50 µs.
	sweepAtOnce = 128

	shardCount = 64
)

// Config of a [Counter]. The zero value works.
type Config struct {
	Node string // names this node in windows and rows; may be ""
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

	refused atomic.Int64 // evidence that was not counted because of MaxViewers
	ends    atomic.Int64 // sessions that ended
	shards  [shardCount]shard

	mu       sync.Mutex // guards what follows; never taken for a known viewer's evidence
	sessions map[string]*session
	window   int64 // number of the newest window made
	waiting  int   // windows that were drained and not acknowledged
}

// The kinds of evidence, as indexes.
const (
	byBeacon = iota
	byMedia
	byPlaylist
	kinds
)

var usageKinds = [kinds]livestream.UsageKind{livestream.ByBeacon, livestream.ByMedia, livestream.ByPlaylist}

// A session is what is counted of one livestream session.
type session struct {
	id      string
	pending [kinds]atomic.Int64 // ns counted that are in no window yet, whole microseconds
	present atomic.Int64        // viewers with evidence within their presence time
	records atomic.Int64        // viewer records that point here
	ended   atomic.Bool

	// edge is the end of the newest media anyone was given, in ns: records of
	// viewers that left are kept until it is a whole playlist past theirs.
	edge atomic.Int64

	// What follows is guarded by Counter.mu.
	peak    int64
	told    audience                 // what the newest window says
	last    time.Duration            // when anything was last seen of it
	offered []livestream.UsageWindow // drained but not acknowledged: of one number, a kind each; DrainAll adds another
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

// advance moves the session's edge on.
func (s *session) advance(to int64) {
	for {
		edge := s.edge.Load()
		if to <= edge || s.edge.CompareAndSwap(edge, to) {
			return
		}
	}
}

// Drain returns what the store does not have yet: every window that was not
// acknowledged, oldest first, and about 2,000 rows of viewers at most.
//
// A session has at most one number of windows that waits for its Ack, one
// window for each kind of evidence; meanwhile it is offered again unchanged, and
// what is counted goes into the next. So a failed checkpoint loses nothing, a
// repeated one counts nothing twice, and a store that is down costs no memory.
// While windows wait no rows are offered, because these would tell of what is in
// no window yet: so whatever checkpoint was the last, its rows are in its windows.
//
// A row is offered when the viewer left or its session ended, and at most a
// minute after its figures changed; again, with the figures of then, until it
// is acknowledged.
//
// It is also the moment at which viewers that left are noticed and the peak is
// taken, so it is to be called about twice a second.
func (c *Counter) Drain() ([]livestream.UsageWindow, []livestream.Viewing) {
	now, most := c.now(), rowsAtOnce
	if c.waits() {
		most = 0
	}
	var rows []livestream.Viewing
	for i := range c.shards {
		rows = c.shards[i].drain(c, now, most, rows)
	}
	return c.windows(now, false), rows
}

// waits reports whether windows were drained and not acknowledged.
func (c *Counter) waits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting > 0
}

// DrainAll is for a shutdown: everybody leaves, and every row is returned that
// the store does not have, with all windows. Evidence that comes later is
// counted all the same.
func (c *Counter) DrainAll() ([]livestream.UsageWindow, []livestream.Viewing) {
	now := c.now()
	var rows []livestream.Viewing
	for i := range c.shards {
		c.shards[i].leaveAll(now)
		rows = c.shards[i].drain(c, now, math.MaxInt, rows)
	}
	return c.windows(now, true), rows
}

// windows takes each session's figures: of one that has windows waiting only if
// all is to be taken.
func (c *Counter) windows(now time.Duration, all bool) (ws []livestream.UsageWindow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, s := range c.sessions {
		present := s.sample(now)
		if all || len(s.offered) == 0 {
			c.drain(s, audience{present, s.peak})
		}
		ws = append(ws, s.offered...)
		if len(s.offered) == 0 && s.forgettable(now) {
			delete(c.sessions, id)
		}
	}
	slices.SortStableFunc(ws, func(a, b livestream.UsageWindow) int { return cmp.Compare(a.Window, b.Window) })
	return ws
}

// drain makes windows of what is pending and of an audience that changed; none
// when there is neither. Under c.mu.
func (c *Counter) drain(s *session, seen audience) {
	var amounts [kinds]time.Duration
	sum := time.Duration(0)
	for kind := range amounts {
		amounts[kind] = time.Duration(s.pending[kind].Swap(0))
		sum += amounts[kind]
	}
	if sum == 0 && seen == s.told {
		return
	}
	s.told = seen
	c.window++
	for kind, amount := range amounts {
		if amount == 0 && (sum != 0 || kind != byMedia) { // an audience alone goes with media
			continue
		}
		c.waiting++
		s.offered = append(s.offered, livestream.UsageWindow{
			SessionID: s.id, Kind: usageKinds[kind],
			Node: c.node, Incarnation: c.incarnation, Window: c.window,
			Amount: amount, Viewers: int(seen.now), PeakViewers: int(seen.peak),
		})
	}
}

// Ack says that the store has these windows and rows. What it does not know is
// ignored, so acknowledging twice is harmless.
func (c *Counter) Ack(ws []livestream.UsageWindow, vs []livestream.Viewing) {
	c.ackWindows(ws)
	now := c.now()
	for i := range vs {
		random, err := strconv.ParseUint(vs[i].Viewer, 16, 64)
		if err == nil {
			c.shards[random%shardCount].ack(c, now, random, &vs[i])
		}
	}
}

func (c *Counter) ackWindows(ws []livestream.UsageWindow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range ws {
		if s := c.sessions[w.SessionID]; s != nil {
			before := len(s.offered)
			s.offered = slices.DeleteFunc(s.offered, func(o livestream.UsageWindow) bool {
				return o.Window == w.Window && o.Kind == w.Kind
			})
			c.waiting -= before - len(s.offered)
		}
	}
}

// Viewers returns how many viewers watch the session now, and the most that did
// at once. A session that nobody gave evidence of watching has none.
func (c *Counter) Viewers(sessionID string) (now, peak int) {
	at := c.now()
	for i := range c.shards {
		c.shards[i].look(c, at)
	}
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
		c.ends.Add(1)
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
	for kind := range s.pending {
		if s.pending[kind].Load() != 0 {
			return false
		}
	}
	return s.records.Load() == 0 && s.told.now == 0 && (s.ended.Load() || now-s.last > forgetSession)
}

// Stats are figures of the counter itself, for metrics.
type Stats struct {
	Records  int64 // viewer records held
	Present  int64 // of these, viewers that are watching
	Refused  int64 // evidence not counted because MaxViewers was reached
	Waiting  int64 // rows that are due and not stored yet
	RowsLost int64 // rows that were not stored when their record had to make room
}

// Stats returns the counter's figures.
func (c *Counter) Stats() Stats {
	st := Stats{Refused: c.refused.Load()}
	for i := range c.shards {
		c.shards[i].addTo(&st)
	}
	return st
}
