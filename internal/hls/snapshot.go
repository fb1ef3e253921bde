package hls

import (
	"bytes"
	"compress/gzip"
	"strconv"
	"sync"
	"time"

	"tally/internal/hls/playlist"
	"tally/internal/media"
)

// A Part is one Partial Segment: moof and mdat. It is immutable. Its bytes are
// Data, then Tail.
type Part struct {
	SessionID   string // whose media it is; a run may hold that of several, a segment of one
	Epoch       int64  // in its name: of its publish, or of the one before if the name was hinted at by then
	Counter     int64  // rises by one from part to part over the whole run
	MSN         int64
	Index       int           // within the segment
	Start       time.Duration // media time since the run began, the same for what all renditions show at once
	Duration    time.Duration // as listed, a multiple of a microsecond
	Independent bool          // starts with a keyframe
	Held        bool          // stands in for media that did not come: nobody watched anything
	Gap         bool          // listed and not there
	Data        []byte
	Tail        []byte   // of held parts: the picture, which they share
	Length      []string // the Content-Length header's value, prebuilt

	init *Init // of its segment
	cues int64 // serial of the newest date range that is listed with it
}

// Size is the part's length in bytes.
func (p *Part) Size() int { return len(p.Data) + len(p.Tail) }

// A Segment is a complete Media Segment: its parts in order. It is immutable.
// The media it holds are those of the parts counted from FirstPart to
// FirstPart+len(Parts)-1.
type Segment struct {
	Epoch     int64
	MSN       int64
	Duration  time.Duration // EXTINF: the sum of the parts' durations
	FirstPart int64         // Counter of Parts[0]
	Parts     []*Part
	Gap       bool // listed and not there
	SizeBytes int64
	Length    []string // the Content-Length header's value, prebuilt
}

// An Init is a Media Initialization Section. It is immutable.
type Init struct {
	Epoch  int64
	Number int64 // rises by one with each that a run has
	Data   []byte
	Length []string // the Content-Length header's value, prebuilt

	video bool // it has a picture
}

// A Body is a prepared response.
type Body struct {
	Data   []byte
	Length []string // the Content-Length header's value, prebuilt
	ETag   []string // the ETag header's value, prebuilt; strong
}

// A Snapshot is a run's playlist and media at one moment. To its users it is
// immutable: all methods may be called concurrently.
type Snapshot struct {
	Ended    bool  // the playlist has ENDLIST
	Epoch    int64 // in the name of the part that the playlist hints at
	NextPart int64 // Counter of the part that the playlist hints at
	FirstMSN int64 // of the first listed segment that is in memory; the past is before it
	LastMSN  int64 // of the last listed complete segment; FirstMSN-1 when there is none
	// OpenParts is how many parts of segment LastMSN+1 are listed.
	OpenParts int

	PartTarget time.Duration

	listed   bool
	segments []*Segment // complete ones that can be fetched, numbers without holes
	parts    []*Part    // that can be fetched, counters without holes
	inits    []*Init    // numbers without holes
	past     *pastView  // nil: nothing is listed that has left memory

	full, delta *text  // delta is full where there is nothing to skip
	shared      string // what stands before each URI in shared delivery
	variant     playlist.Variant
	tracks      []media.Track
	muxed       bool     // sound comes with the picture
	captions    []string // closed captions in the picture

	next chan struct{} // closed after the successor was stored
}

// Still returns the newest part that can be fetched and begins with a keyframe,
// and its initialization section; nil where there is no picture.
func (s *Snapshot) Still() (*Init, *Part) {
	for i := len(s.parts) - 1; i >= 0; i-- {
		if p := s.parts[i]; p.Independent && !p.Gap && p.init.video {
			return p.init, p
		}
	}
	return nil, nil
}

// Listed reports whether the playlist lists anything. Without, it must not be
// shown: players refuse a playlist without segments.
func (s *Snapshot) Listed() bool { return s.listed }

// Has reports whether the playlist has what a blocking reload waits for. What
// has left it already counts as had. A part index past the last one of its
// segment is part 0 of the next (rfc8216bis-22 section 6.2.5.2).
func (s *Snapshot) Has(want Position) bool {
	switch {
	case !s.listed:
		return false
	case want.MSN > s.LastMSN+1:
		return false
	case want.MSN == s.LastMSN+1:
		return want.Part >= 0 && want.Part < s.OpenParts
	case want.MSN < s.LastMSN || want.Part < 0 || len(s.segments) == 0: // all is at rest
		return true
	}
	last := s.segments[len(s.segments)-1]
	return want.Part < len(last.Parts) || s.OpenParts > 0
}

// last is the newest media that is listed, as a rendition report tells it: the
// number of its segment, open or not, and the index of its part.
func (s *Snapshot) last() (msn, part int64) {
	switch {
	case s.OpenParts > 0:
		return s.LastMSN + 1, int64(s.OpenParts) - 1
	case len(s.segments) == 0: // all is at rest
		return s.LastMSN, -1
	}
	return s.LastMSN, int64(len(s.segments[len(s.segments)-1].Parts)) - 1
}

// tooFar reports whether a request is answered 400 (rfc8216bis-22 section
// 6.2.5.2): more than two segments ahead, or past the Advance Part Limit.
func (s *Snapshot) tooFar(want Position) bool {
	limit := 3
	if s.PartTarget > 0 && s.PartTarget < time.Second {
		limit = int((3*time.Second + s.PartTarget - 1) / s.PartTarget)
	}
	switch {
	case want.MSN > s.LastMSN+2:
		return true
	case want.MSN == s.LastMSN+2:
		return want.Part > limit
	case want.MSN == s.LastMSN+1:
		return want.Part > s.OpenParts-1+limit
	}
	return false
}

// Part returns the part of that name, or nil where there is none or it is a
// gap. It allocates nothing.
func (s *Snapshot) Part(epoch, counter int64) *Part {
	if len(s.parts) == 0 {
		return nil
	}
	i := counter - s.parts[0].Counter
	if i < 0 || i >= int64(len(s.parts)) || s.parts[i].Epoch != epoch || s.parts[i].Gap {
		return nil
	}
	return s.parts[i]
}

// Segment returns the complete segment of that name, or nil where there is
// none or it is a gap. It allocates nothing.
func (s *Snapshot) Segment(epoch, msn int64) *Segment {
	if len(s.segments) == 0 {
		return nil
	}
	i := msn - s.segments[0].MSN
	if i < 0 || i >= int64(len(s.segments)) || s.segments[i].Epoch != epoch || s.segments[i].Gap {
		return nil
	}
	return s.segments[i]
}

// Init returns the initialization section of that name, or nil. It allocates
// nothing.
func (s *Snapshot) Init(epoch, number int64) *Init {
	if len(s.inits) == 0 {
		return nil
	}
	i := number - s.inits[0].Number
	if i < 0 || i >= int64(len(s.inits)) || s.inits[i].Epoch != epoch {
		return nil
	}
	return s.inits[i]
}

// Playlist returns the Media Playlist, which is the same for all viewers: its
// URIs are relative. With delta it is a Playlist Delta Update where there is
// something to skip; with compressed it is in gzip. It is nil when nothing is
// listed. The first call for a compressed one does the compressing.
func (s *Snapshot) Playlist(delta, compressed bool) *Body {
	t := s.full
	if delta {
		t = s.delta
	}
	if t == nil {
		return nil
	}
	if compressed {
		return t.gzip()
	}
	return t.plain()
}

// SharedPlaylist is Playlist for *shared* delivery: its media URIs name no
// viewer, so any cache can serve them to all (design section 4). The first call
// for each form does the rendering; without one, it costs nothing.
func (s *Snapshot) SharedPlaylist(delta, compressed bool) *Body {
	t := s.full
	if delta {
		t = s.delta
	}
	if t == nil {
		return nil
	}
	t = t.shared(s.shared)
	if compressed {
		return t.gzip()
	}
	return t.plain()
}

// Past returns the segment of that name that is listed and has left memory, or
// nil where there is none or it is a gap. It allocates nothing.
func (s *Snapshot) Past(epoch, msn int64) *PastSegment {
	v := s.past
	if v == nil || msn < v.keepFrom || msn >= v.next {
		return nil
	}
	if p := v.at(msn); p.Epoch == epoch && !p.Gap {
		return p
	}
	return nil
}

// SessionID names the session that the newest media belongs to; "" where there
// is none that can be fetched.
func (s *Snapshot) SessionID() string {
	switch {
	case len(s.parts) > 0:
		return s.parts[len(s.parts)-1].SessionID
	case s.past != nil:
		return s.past.at(s.past.next - 1).SessionID
	}
	return ""
}

// Held reports whether the newest part stands in for media that did not come.
func (s *Snapshot) Held() bool {
	return len(s.parts) > 0 && s.parts[len(s.parts)-1].Held
}

// AppendMultivariant appends a Multivariant Playlist whose only variant is
// mediaURI, and returns the extended buffer. It says where to begin when a
// player could not show a picture from where it would begin by itself.
func (s *Snapshot) AppendMultivariant(dst []byte, mediaURI string) []byte {
	v := s.variant
	v.URI = mediaURI
	m := playlist.Multivariant{Start: s.start(), ClosedCaptions: s.captions, Variants: []playlist.Variant{v}}
	return m.AppendText(dst)
}

// A text is one playlist, compressed once and only if anybody asks: most
// snapshots of a stream that nobody watches never are. One of a long window is not
// even put together before.
type text struct {
	raw  Body
	once sync.Once
	zip  Body

	shareOnce sync.Once
	shareable *text // the same for shared delivery

	long     *long // raw is made of it; nil: it is there
	prefix   string
	longOnce sync.Once
}

func newText(data []byte, tag string) *text {
	return &text{raw: Body{Data: data, Length: lengthOf(len(data)), ETag: etag(tag)}}
}

func newLongText(l *long, prefix, tag string) *text {
	return &text{raw: Body{ETag: etag(tag)}, long: l, prefix: prefix}
}

func etag(tag string) []string { return []string{`"` + tag + `"`} }

// tag is the ETag without its quotes.
func (t *text) tag() string { return t.raw.ETag[0][1 : len(t.raw.ETag[0])-1] }

// plain returns the text as it is.
func (t *text) plain() *Body {
	if t.long != nil {
		t.longOnce.Do(func() {
			t.raw.Data = t.long.raw(t.prefix)
			t.raw.Length = lengthOf(len(t.raw.Data))
		})
	}
	return &t.raw
}

// compressors are shared: one holds about 800 KB.
var compressors = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

func (t *text) gzip() *Body {
	t.once.Do(func() {
		var data []byte
		if t.long != nil {
			data = t.long.gzip(t.prefix)
		} else {
			data = compress(t.raw.Data)
		}
		t.zip = Body{Data: data, Length: lengthOf(len(data)), ETag: etag(t.tag() + "-gz")}
	})
	return &t.zip
}

func compress(data []byte) []byte {
	var b bytes.Buffer
	z := compressors.Get().(*gzip.Writer)
	z.Reset(&b)
	z.Write(data) // into memory: cannot fail
	z.Close()
	compressors.Put(z)
	return bytes.Clone(b.Bytes())
}

// shared returns the text with prefix before its URIs, the same at each call.
func (t *text) shared(prefix string) *text {
	t.shareOnce.Do(func() {
		tag := t.tag() + "-s"
		if t.long != nil {
			t.shareable = newLongText(t.long, prefix, tag)
			return
		}
		names := bytes.Count(t.raw.Data, []byte(".m")) // all end in .m4s or .mp4
		data := make([]byte, 0, len(t.raw.Data)+names*len(prefix))
		t.shareable = newText(playlist.AppendPrefixed(data, t.raw.Data, prefix), tag)
	})
	return t.shareable
}

func lengthOf(n int) []string { return []string{strconv.Itoa(n)} }
