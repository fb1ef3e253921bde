package hls

import (
	"time"
)

// A Part is one Partial Segment: moof and mdat. It is immutable.
type Part struct {
	Epoch       int64
	Counter     int64 // rises by one from part to part over the whole run
	MSN         int64
	Index       int           // within the segment
	Duration    time.Duration // as listed, a multiple of a microsecond
	Independent bool          // starts with a keyframe
	Data        []byte
	Length      []string // the Content-Length header's value, prebuilt
	uri         string
}

// A Segment is a complete Media Segment: its parts in order. It is immutable.
// The media it holds are those of parts FirstPart to FirstPart+len(Parts)-1.
type Segment struct {
	Epoch     int64
	MSN       int64
	Duration  time.Duration // EXTINF
	FirstPart int64         // Counter of Parts[0]
	Parts     []*Part
	SizeBytes int64
	Length    []string // the Content-Length header's value, prebuilt
}

// An Init is a Media Initialization Section. It is immutable.
type Init struct {
	Epoch  int64
	Number int64 // rises by one with each that a run has
	Data   []byte
	Length []string // the Content-Length header's value, prebuilt
	uri    string
}

// A Body is a prepared response.
type Body struct {
	Data   []byte
	Length []string // the Content-Length header's value, prebuilt
	ETag   []string // the ETag header's value, prebuilt; strong
}

// A Snapshot is a run's playlist and media at one moment. It is immutable, but
// for texts that are compressed when they are first asked for.
type Snapshot struct {
	Ended    bool  // the playlist has ENDLIST
	Epoch    int64 // of the publish that the next part will belong to
	NextPart int64 // Counter of the part that the playlist hints at
	FirstMSN int64 // of the first listed segment
	LastMSN  int64 // of the last listed complete segment; FirstMSN-1 when there is none

	PartTarget time.Duration

	next chan struct{} // closed after the successor was stored
}

// Listed reports whether the playlist lists anything. Without, it must not be
// shown: players refuse a playlist without segments.
func (s *Snapshot) Listed() bool { return false }

// Has reports whether the playlist has what a blocking reload waits for. What
// has left it already counts as had.
func (s *Snapshot) Has(want Position) bool { return false }

func (s *Snapshot) tooFar(want Position) bool { return false }

// Part returns the part of that name, or nil. It allocates nothing.
func (s *Snapshot) Part(epoch, counter int64) *Part { return nil }

// Segment returns the complete segment of that name, or nil. It allocates
// nothing.
func (s *Snapshot) Segment(epoch, msn int64) *Segment { return nil }

// Init returns the initialization section of that name, or nil. It allocates
// nothing.
func (s *Snapshot) Init(epoch, number int64) *Init { return nil }

// Playlist returns the Media Playlist, which is the same for all viewers: its
// URIs are relative. With delta it is a Playlist Delta Update where there is
// something to skip; with gzip it is compressed.
func (s *Snapshot) Playlist(delta, gzip bool) *Body { return nil }

// AppendMultivariant appends a Multivariant Playlist whose only variant is
// mediaURI, and returns the extended buffer.
func (s *Snapshot) AppendMultivariant(dst []byte, mediaURI string) []byte { return dst }
