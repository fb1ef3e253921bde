package hls

import (
	"slices"
	"time"

	"tally/internal/hls/archive"
	"tally/internal/hls/playlist"
)

// blockSegments is how many segments of the past share a block: 12 h of 2 s
// segments are 169 blocks. A choice: what is compressed anew for each full
// playlist are the newest and the oldest block.
const blockSegments = 128

// A PastSegment is a segment that has left memory and is listed. It is immutable.
type PastSegment struct {
	SessionID string
	Epoch     int64
	MSN       int64
	Start     time.Duration // as of its first part; of another process negative
	Duration  time.Duration
	SizeBytes int64
	FirstPart int64    // counter of its first part
	Parts     []uint32 // their durations in microseconds
	Held      bool     // stands in for media that did not come
	Gap       bool     // listed and not there

	at            time.Time
	start         time.Duration // of listed media before it, as ring.edge counts
	disc          int64
	discontinuity bool
	mapURI        string
	mapped        bool // its lines name the map
	text          int  // where its lines begin in its block's text
}

func (s *PastSegment) end() time.Duration { return s.start + s.Duration }

// A block is segments, one after the other, and their lines. Both only grow, up to
// blockSegments; what views know of them does not change.
type block struct {
	segs []PastSegment
	text []byte
	zip  blockZip // used once it is full
}

// A past is what a rendition's playlist lists before the segments that are in
// memory. Its lines are written once, when a segment leaves memory. Numbers have
// no holes. It is the writers', under Stream.mu; readers have a pastView.
type past struct {
	listFor  time.Duration // media time listed in all; 0: nothing is listed once it left memory
	blocks   []*block      // all but the last are full
	base     int64         // MSN of the first segment of the first block
	keepFrom int64         // the oldest that can be fetched
	listFrom int64         // the oldest that is listed
	next     int64         // MSN behind the newest
	left     []time.Duration
	line     []byte
}

// at returns the segment of a number from base to before next.
func (p *past) at(msn int64) *PastSegment {
	i := msn - p.base
	return &p.blocks[i/blockSegments].segs[i%blockSegments]
}

// last is the newest segment, or nil.
func (p *past) last() *PastSegment {
	if p.listFrom == p.next {
		return nil
	}
	return p.at(p.next - 1)
}

// add lists a segment behind the others. Where it is not the one that follows
// them, they are forgotten.
func (p *past) add(s PastSegment) {
	if s.MSN != p.next {
		p.blocks, p.left = nil, nil
		p.base, p.keepFrom, p.listFrom, p.next = s.MSN, s.MSN, s.MSN, s.MSN
	}
	lastMap := ""
	if p.next > p.base {
		lastMap = p.at(p.next - 1).mapURI
	}
	n := len(p.blocks)
	if n == 0 || len(p.blocks[n-1].segs) == blockSegments {
		b := &block{}                        // without room for more: a short broadcast has a few, for hours maybe
		p.blocks = append(p.blocks[:n:n], b) // views share the slice
		n++
	}
	b := p.blocks[n-1]
	s.text, s.mapped = len(b.text), s.mapURI != lastMap
	line := playlist.Segment{
		URI: archive.SegmentName(s.Epoch, s.MSN), Duration: s.Duration, ProgramDateTime: s.at,
		Discontinuity: s.discontinuity, Gap: s.Gap, Map: s.mapURI,
	}
	if s.Held {
		line.Title = playlist.TitleHeld
	}
	p.line = line.AppendText(p.line[:0], lastMap)
	b.text = append(b.text, p.line...)
	b.segs = append(b.segs, s)
	p.next++
}

// bridge lists the numbers up to before msn as gaps: those that were never used,
// or whose media was lost with the process. The first of them have that many
// discontinuities. What follows begins at that time.
func (p *past) bridge(msn, tags int64, at time.Time, target time.Duration) {
	if p.next == p.base || msn <= p.next {
		return
	}
	last := *p.at(p.next - 1)
	missing := msn - p.next
	over := last.at.Add(last.Duration)
	each := min(max(at.Sub(over)/time.Duration(missing), time.Millisecond), target).Truncate(time.Microsecond)
	for i := range missing {
		p.add(PastSegment{
			SessionID: last.SessionID, Epoch: last.Epoch, MSN: last.MSN + 1 + i, Duration: each, Gap: true,
			at: over.Add(time.Duration(i) * each), start: last.end() + time.Duration(i)*each,
			disc: last.disc + min(i+1, tags), discontinuity: i < tags, mapURI: last.mapURI,
		})
	}
}

// trim takes off the list what lies further back than the window, and forgets
// what cannot be fetched any more: a target duration after it left. edge is where
// the media ends. What is below keepFrom is on no disk for long.
func (p *past) trim(edge, target time.Duration) {
	for p.listFrom < p.next && edge-p.at(p.listFrom).end() >= p.listFor {
		p.left = append(p.left, edge)
		p.listFrom++
	}
	n := 0
	for n < len(p.left) && edge >= p.left[n]+target {
		n++
	}
	p.left = append(p.left[:0], p.left[n:]...)
	p.keepFrom += int64(n)
	for p.keepFrom-p.base >= blockSegments {
		p.blocks = slices.Clone(p.blocks[1:]) // views share the slice, so it is replaced
		p.base += blockSegments
	}
}

// view is what readers may know of it from now on; nil when nothing is listed.
func (p *past) view() *pastView {
	if p.keepFrom == p.next {
		return nil
	}
	b := p.blocks[len(p.blocks)-1]
	return &pastView{
		blocks: p.blocks, segs: b.segs, text: b.text,
		base: p.base, keepFrom: p.keepFrom, listFrom: p.listFrom, next: p.next,
	}
}

// A pastView is a past at one moment. It is immutable.
type pastView struct {
	blocks []*block
	segs   []PastSegment // of the last block
	text   []byte        // of the last block

	base, keepFrom, listFrom, next int64
}

// at returns the segment of a number from keepFrom to before next.
func (v *pastView) at(msn int64) *PastSegment {
	i := msn - v.base
	if b := i / blockSegments; b < int64(len(v.blocks))-1 {
		return &v.blocks[b].segs[i%blockSegments]
	}
	return &v.segs[i%blockSegments]
}

// listed is how many segments are listed; 0 for nil.
func (v *pastView) listed() int64 {
	if v == nil {
		return 0
	}
	return v.next - v.listFrom
}

// pieces calls f for the text from segment msn on, piece by piece: first what is
// part of a block, and of the block only if it is not whole.
func (v *pastView) pieces(msn int64, f func(text []byte, whole *block)) {
	for i := (msn - v.base) / blockSegments; i < int64(len(v.blocks)); i++ {
		b, last := v.blocks[i], i == int64(len(v.blocks))-1
		text := v.text
		if !last {
			text = b.text
		}
		from := 0
		if first := v.base + i*blockSegments; msn > first {
			from = v.at(msn).text
		}
		whole := b
		if from > 0 || len(v.segs) < blockSegments && last {
			whole = nil
		}
		f(text[from:], whole)
	}
}

// appendFrom appends the lines of segment msn and of those behind it, with its
// map before them where they do not begin with one.
func (v *pastView) appendFrom(dst []byte, msn int64) []byte {
	dst = v.appendMap(dst, msn)
	v.pieces(msn, func(text []byte, _ *block) { dst = append(dst, text...) })
	return dst
}

// appendMap appends the map of segment msn, unless its own lines have it.
func (v *pastView) appendMap(dst []byte, msn int64) []byte {
	if s := v.at(msn); !s.mapped && s.mapURI != "" {
		dst = append(append(append(dst, "#EXT-X-MAP:URI=\""...), s.mapURI...), "\"\n"...)
	}
	return dst
}
