package hlscheck

import (
	"crypto/sha256"
	"fmt"
	"time"

	"tally/internal/hls/playlist"
)

// sum is what is kept of a body.
type sum struct {
	size int
	hash [sha256.Size]byte
}

func sumOf(b []byte) sum { return sum{len(b), sha256.Sum256(b)} }

// maxPending bounds the bodies kept for parts that no playlist lists yet.
const maxPending = 8

// mediaState is what the media rules remember.
type mediaState struct {
	inits   map[string]*Init
	sums    map[string]sum // of init sections
	pending map[string][]byte
	parts   timeline // of parts fetched one after the other
	whole   timeline // of whole segments
}

func newMediaState() mediaState {
	return mediaState{inits: map[string]*Init{}, sums: map[string]sum{}, pending: map[string][]byte{}}
}

// timeline is where each track's last piece of media ended.
type timeline struct {
	valid bool
	msn   int64 // of the piece checked last
	part  int   // its index; for whole segments the number of parts is of no interest
	disc  int64
	ends  map[uint32]int64 // by track id, in its ticks
}

// Init checks an initialization section that a map names.
func (c *Checker) Init(uri string, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := sumOf(body)
	if old, ok := c.media.sums[uri]; ok {
		if old != s {
			c.report("immutable", -1, "%s has changed", uri)
		}
		return
	}
	in, err := ParseInit(body)
	if err != nil {
		c.report("init-parse", -1, "%s: %v", uri, err)
	}
	// A stream with ever new maps would be one with ever new codecs.
	if len(c.media.sums) >= 1000 {
		clear(c.media.sums)
		clear(c.media.inits)
	}
	c.media.sums[uri], c.media.inits[uri] = s, in
	c.checkCodecs(uri, in)
}

// Part checks a part. One that no playlist shown so far lists (it was fetched
// on a preload hint) waits for the next playlist. Its init section must have
// been shown before.
func (c *Checker) Part(uri string, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.part(uri, body) {
		return
	}
	if len(c.media.pending) >= maxPending {
		clear(c.media.pending)
	}
	c.media.pending[uri] = body
}

// Segment checks a whole segment that a playlist lists.
func (c *Checker) Segment(uri string, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for msn, s := range c.segs {
		if s.URI == uri {
			c.segment(msn, s, body)
			return
		}
	}
}

func (c *Checker) mediaPending() {
	for uri, body := range c.media.pending {
		if c.part(uri, body) {
			delete(c.media.pending, uri)
		}
	}
}

// part checks a part if it is listed.
func (c *Checker) part(uri string, body []byte) bool {
	for msn, s := range c.segs {
		for i := range s.Parts {
			if s.Parts[i].URI == uri {
				c.listedPart(msn, i, s, body)
				return true
			}
		}
	}
	return false
}

func (c *Checker) listedPart(msn int64, i int, s *segment, body []byte) {
	p := &s.Parts[i]
	if !c.once(msn, s, p.URI, body) {
		return
	}
	frags := c.parse(msn, s, p.URI, body)
	if frags == nil {
		return
	}
	c.checkDuration(msn, p.URI, p.Duration, frags)
	c.checkSamples(msn, p.URI, frags)
	c.checkIndependent(msn, p, frags)
	follows := c.media.parts.msn == msn && c.media.parts.part == i-1
	if before := c.segs[msn-1]; i == 0 && before != nil && before.complete {
		follows = c.media.parts.msn == msn-1 && c.media.parts.part == len(before.Parts)-1
	}
	c.media.parts.check(c, msn, i, s.disc, follows, p.URI, frags)
}

func (c *Checker) segment(msn int64, s *segment, body []byte) {
	if !c.once(msn, s, s.URI, body) {
		return
	}
	c.checkConcat(msn, s, body)
	frags := c.parse(msn, s, s.URI, body)
	if frags == nil {
		return
	}
	c.checkDuration(msn, s.URI, s.Duration, frags)
	c.checkBandwidth(msn, s, len(body))
	c.media.whole.check(c, msn, 0, s.disc, c.media.whole.msn == msn-1, s.URI, frags)
}

// once reports whether a body is new, and that it has changed if it did.
func (c *Checker) once(msn int64, s *segment, uri string, body []byte) bool {
	now := sumOf(body)
	old, ok := s.checked[uri]
	if ok && old != now {
		c.report("immutable", msn, "%s has changed", uri)
	}
	s.checked[uri] = now
	return !ok
}

func (c *Checker) parse(msn int64, s *segment, uri string, body []byte) []Fragment {
	in := c.media.inits[s.Map]
	if in == nil {
		c.report("media-parse", msn, "%s: no init section %q was read before it", uri, s.Map)
		return nil
	}
	frags, err := in.ParseMedia(body)
	if err != nil {
		c.report("media-parse", msn, "%s: %v", uri, err)
		return nil
	}
	return frags
}

// ticks turns a track's ticks into time.
func ticks(n int64, t *Track) time.Duration { return playlist.At(n, t.Timescale) }

// checkDuration: a part is cut by one track, and by which shows only in the
// durations: one of them must fit.
func (c *Checker) checkDuration(msn int64, uri string, listed time.Duration, frags []Fragment) {
	sums := map[*Track]int64{}
	for i := range frags {
		sums[frags[i].Track] += frags[i].Duration()
	}
	text := ""
	for t, n := range sums {
		d := ticks(n, t)
		if (d - listed).Abs() <= c.o.TimeTolerance {
			return
		}
		text += fmt.Sprintf(", track %d has %v", t.ID, d)
	}
	c.report("media-duration", msn, "%s is listed with %v%s", uri, listed, text)
}

// checkSamples: a sample of no duration leaves players without an order.
func (c *Checker) checkSamples(msn int64, uri string, frags []Fragment) {
	for i := range frags {
		for j := range frags[i].Samples {
			if frags[i].Samples[j].Duration == 0 {
				c.report("sample-duration", msn, "%s: sample %d of track %d lasts 0 ticks", uri, j, frags[i].Track.ID)
				return
			}
		}
	}
}

func (c *Checker) checkIndependent(msn int64, p *playlist.Part, frags []Fragment) {
	for i := range frags {
		f := &frags[i]
		if f.Track.Handler != "vide" {
			continue
		}
		first := &f.Samples[0]
		idr := first.Sync && f.Track.Starts(first.Data)
		if idr != p.Independent {
			c.report("independent-idr", msn, "%s: INDEPENDENT is %v, decoding can start at its first picture: %v (sync sample: %v)", p.URI, p.Independent, idr, first.Sync)
		}
		return
	}
}

// checkConcat compares a segment with its parts, if all of them were seen.
func (c *Checker) checkConcat(msn int64, s *segment, body []byte) {
	if len(s.Parts) == 0 {
		return
	}
	rest := body
	for i := range s.Parts {
		part, ok := s.checked[s.Parts[i].URI]
		if !ok {
			return
		}
		if part.size > len(rest) || sumOf(rest[:part.size]) != part {
			c.report("segment-bytes", msn, "%s differs from part %d at byte %d", s.URI, i, len(body)-len(rest))
			return
		}
		rest = rest[part.size:]
	}
	if len(rest) > 0 {
		c.report("segment-bytes", msn, "%s has %d bytes after its last part", s.URI, len(rest))
	}
}

// check compares each track's decode times with where it ended, and takes them
// on. follows: this piece comes right after the one checked last.
func (l *timeline) check(c *Checker, msn int64, part int, disc int64, follows bool, uri string, frags []Fragment) {
	if !l.valid || !follows || l.disc != disc {
		l.ends = map[uint32]int64{}
	}
	for i := range frags {
		f := &frags[i]
		if end, ok := l.ends[f.Track.ID]; ok {
			if off := ticks(f.Time, f.Track) - ticks(end, f.Track); off.Abs() > c.o.TimeTolerance {
				c.report("tfdt-continuity", msn, "%s: track %d begins %v after its end before (%d, %d ticks of 1/%d s)",
					uri, f.Track.ID, off, end, f.Time, f.Track.Timescale)
			}
		}
		l.ends[f.Track.ID] = f.Time + f.Duration()
	}
	l.valid, l.msn, l.part, l.disc = true, msn, part, disc
}
