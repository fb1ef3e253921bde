package hls

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"tally/internal/hls/archive"
	"tally/internal/hls/cmaf"
	"tally/internal/hls/playlist"
	"tally/internal/livestream"
)

// A segment is the ring's own record of a segment, open or complete.
type segment struct {
	epoch         int64 // in its name
	msn           int64
	disc          int64 // its discontinuity sequence number
	discontinuity bool  // the tag stands before it
	stand         stand // in for media that did not come
	gap           bool  // listed and not there
	at            time.Time
	init          *Init
	mapURI        string
	uri           string // "" while open
	parts         []*Part
	lines         []playlist.Part // the parts as listed
	start         time.Duration   // of listed media before it, since the run began
	length        time.Duration
	sizeBytes     int64
	heldBytes     int64          // of memory: what parts share counts once
	done          *Segment       // nil while open
	left          time.Duration  // the edge when it left the list; -1: it has not
	rest          *archive.Entry // on its way to rest; nil: it is not put there
}

func (s *segment) end() time.Duration { return s.start + s.length }

// A ring holds a run's segments from the oldest that can be fetched to the open
// one. Media time counts for every rule, so it stands still when media does.
type ring struct {
	target   time.Duration // TARGETDURATION
	listFor  time.Duration // media time listed: the window, at least three targets
	capBytes int64
	segs     []*segment    // the last may be open
	listFrom int64         // MSN of the first listed segment
	inits    []*Init       // those that segs need, then the newest
	bytes    int64         // of memory that segs hold
	edge     time.Duration // media time of everything so far
	nextPart int64
	nextMSN  int64
	nextInit int64
	epoch    int64 // of the publish that segs and parts belong to from now on
	hinted   int64 // epoch in the name of the next part, which a playlist may have told
	disc     int64 // of the newest segment begun
	discNext bool  // the next segment stands behind a discontinuity
	sequence uint32
	markMSN  int64 // no number above these is listed
	markDisc int64
	peakBps  int64 // of any segment long enough to tell
	allBytes int64
	allTime  time.Duration  // that allBytes are for: edge without gaps
	leave    func(*segment) // is told what leaves the list
}

// open is the open segment, or nil.
func (r *ring) open() *segment {
	if n := len(r.segs); n > 0 && r.segs[n-1].done == nil {
		return r.segs[n-1]
	}
	return nil
}

// addInit makes init the one that the following segments need.
func (r *ring) addInit(init *Init) {
	init.Number = r.nextInit
	r.nextInit++
	// Snapshots share the slice, so it is replaced.
	r.inits = append(slices.Clone(r.inits), init)
}

// begins makes epoch that of what follows. The part that the playlist hints at
// keeps the name under which players may be asking for it: counters are unique
// without the epoch.
func (r *ring) begins(epoch int64) {
	r.epoch = epoch
	if r.nextPart == 0 {
		r.hinted = epoch
	}
}

// begin starts a segment at that wall time.
func (r *ring) begin(at time.Time) *segment {
	init := r.inits[len(r.inits)-1]
	s := &segment{
		epoch: r.epoch, msn: r.nextMSN, at: at, init: init, start: r.edge, left: -1,
		mapURI: "init-" + number(init.Epoch) + "-" + number(init.Number) + ".mp4",
	}
	if r.discNext {
		r.discNext, s.discontinuity = false, true
		r.disc++
	}
	s.disc = r.disc
	r.nextMSN++
	if len(r.segs) == 0 {
		r.listFrom = s.msn
	}
	r.segs = append(r.segs, s)
	return s
}

// listedLonger is by how much the first part of each segment is listed longer than
// it is, and the segment with it. So no part begins in the sum of durations before
// its media do, by however little: where one does, Shaka 4.3 to 5.2.12 aborts its
// source buffer before it appends it, and drops all up to the next keyframe
// (shaka-player#10589). It is the least that is printed, which is more than
// durations are rounded by between them: ticks of pictures are 11.1 us. (Who joins at
// a keyframe amid a segment may still lose the rest of that segment, once.)
const listedLonger = playlist.Precision

// add appends a part to the open segment, which begins with it if there is none.
func (r *ring) add(c cut, at time.Time) *Part {
	s := r.open()
	if s == nil {
		s = r.begin(at)
		s.gap = c.stand == standGap
		if !c.live {
			s.stand = c.stand
		}
		c.duration += listedLonger
	}
	p := &Part{
		Epoch: r.hinted, Counter: r.nextPart, MSN: s.msn, Index: len(s.parts),
		Start: c.at, Duration: c.duration, Independent: c.independent,
		Held: c.stand != standNone && !c.live, Gap: c.stand == standGap, init: s.init,
	}
	shared := int64(0)
	switch {
	case p.Gap:
	case c.stand == standPicture:
		r.sequence++
		p.Data, p.Tail = cmaf.SplitChunk(r.sequence, c.runs)
		if c.again {
			shared = int64(len(p.Tail)) // counted with the first that holds it
		}
	default:
		r.sequence++
		p.Data = cmaf.Chunk(r.sequence, c.runs)
	}
	p.Length = lengthOf(p.Size())
	s.parts = append(s.parts, p)
	s.lines = append(s.lines, playlist.Part{URI: partURI(p.Epoch, p.Counter), Duration: p.Duration, Independent: p.Independent, Gap: p.Gap})
	size := int64(p.Size())
	s.length += p.Duration
	s.sizeBytes += size
	s.heldBytes += size - shared
	r.nextPart, r.hinted = r.nextPart+1, r.epoch
	r.edge += p.Duration
	r.bytes += size - shared
	if !p.Gap {
		r.allBytes += size
		r.allTime += p.Duration
	}
	return p
}

// complete ends the open segment, if there is one.
func (r *ring) complete() {
	s := r.open()
	if s == nil {
		return
	}
	first := s.parts[0]
	s.uri = "seg-" + number(s.epoch) + "-" + number(s.msn) + ".m4s"
	s.done = &Segment{
		Epoch: s.epoch, MSN: s.msn, Duration: s.length, FirstPart: first.Counter,
		Parts: s.parts, Gap: s.gap, SizeBytes: s.sizeBytes, Length: lengthOf(int(s.sizeBytes)),
	}
	if s.length >= minSegment/2 { // a short one is mostly its keyframe
		r.peakBps = max(r.peakBps, bitrate(s.sizeBytes, s.length))
	}
}

// expire takes off the list what is older than the window, and out of memory
// what has been off the list long enough: a segment stays fetchable for one
// target duration, its parts for three after they are no longer listed, which
// is three behind the edge (design section 5).
func (r *ring) expire() {
	for r.canUnlist(r.listFor) {
		r.unlist()
	}
	for len(r.segs) > 0 {
		s := r.segs[0]
		if s.left < 0 || r.edge < max(s.left+r.target, s.end()+6*r.target) {
			break
		}
		r.drop()
	}
}

// shed forgets the oldest segment, off the list if it must be. It reports
// whether that leaves three target durations.
func (r *ring) shed() bool {
	if !r.canShed() {
		return false
	}
	if r.segs[0].left < 0 {
		r.unlist()
	}
	r.drop()
	return true
}

func (r *ring) canShed() bool {
	return len(r.segs) > 0 && (r.segs[0].left >= 0 || r.canUnlist(3*r.target))
}

// shed keeps the media of all renditions, and of runs of before that are over,
// below the cap: those first, then the lowest numbers. It fails when three target
// durations do not fit.
func (s *Stream) shed() error {
	for {
		held := s.registry.lingering(s.playbackID)
		var oldest *ring
		for _, r := range s.all {
			g := &r.ring
			held += g.bytes
			if g.canShed() && (oldest == nil || g.segs[0].msn < oldest.segs[0].msn ||
				g.segs[0].msn == oldest.segs[0].msn && g.bytes > oldest.bytes) {
				oldest = g
			}
		}
		switch {
		case held <= s.main.ring.capBytes:
			return nil
		case s.makeRoom():
			continue
		case oldest == nil:
			return s.tooMuch()
		}
		oldest.shed()
	}
}

// canUnlist reports whether the complete segments behind the first listed one
// have that much media.
func (r *ring) canUnlist(rest time.Duration) bool {
	i, n := r.listIndex(), r.visible()
	if i+1 >= n {
		return false
	}
	last := r.segs[n-1]
	if last.done == nil {
		return last.start-r.segs[i+1].start >= rest
	}
	return last.end()-r.segs[i+1].start >= rest
}

// visible is how many of segs, from the first, have numbers that are durable.
func (r *ring) visible() int {
	n := len(r.segs)
	for n > 0 && (r.segs[n-1].msn > r.markMSN || r.segs[n-1].disc > r.markDisc) {
		n--
	}
	return n
}

func (r *ring) listIndex() int { return int(r.listFrom - (r.nextMSN - int64(len(r.segs)))) }

func (r *ring) unlist() {
	g := r.segs[r.listIndex()]
	g.left = r.edge
	r.listFrom++
	r.leave(g)
}

// drop forgets the oldest segment, and the initialization sections that only
// it needed. Snapshots have copies of the slices, so these may change.
func (r *ring) drop() {
	r.bytes -= r.segs[0].heldBytes
	copy(r.segs, r.segs[1:])
	r.segs[len(r.segs)-1] = nil
	r.segs = r.segs[:len(r.segs)-1]
	for len(r.inits) > 1 && (len(r.segs) == 0 || r.inits[0].Number < r.segs[0].init.Number) {
		r.inits = slices.Clone(r.inits[1:])
	}
}

// tooMuch is the error of a stream whose three target durations do not fit.
func (s *Stream) tooMuch() error {
	r := &s.main.ring
	if r.visible() < len(r.segs) {
		return &Error{livestream.Fault("the server could not store which media sequence numbers are in use; look at its disk")}
	}
	return &Error{livestream.TooMuch(s.load(), r.capBytes, 3*r.target)}
}

// load says how much media is held, for people.
func (s *Stream) load() string {
	bps := int64(0)
	for _, r := range s.all {
		if g := &r.ring; len(g.segs) > 0 {
			bps += bitrate(g.bytes, g.edge-g.segs[0].start)
		}
	}
	if bps == 0 {
		return "the frames of a single part"
	}
	return fmt.Sprintf("%.1f Mbit/s", float64(bps)/1e6)
}

// An Error ends a publication: the media cannot be packaged.
type Error struct{ reason livestream.Reason }

// Error gives the reason as text.
func (e *Error) Error() string { return e.reason.String() }

// Reason is what err_message says.
func (e *Error) Reason() livestream.Reason { return e.reason }

func bitrate(sizeBytes int64, d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64(float64(sizeBytes*8) / d.Seconds())
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func partURI(epoch, counter int64) string {
	return "part-" + number(epoch) + "-" + number(counter) + ".m4s"
}
