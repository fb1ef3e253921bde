package archive

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"tally/internal/blob"
	"tally/internal/hls/playlist"
)

// maxJournal bounds what is read of one journal: a thousand segments of 10 s in
// parts of 200 ms have 2 MB.
const maxJournal = 64 << 20

// A Recording is what there is of one session. It is immutable.
type Recording struct {
	About
	Renditions []Rendition // in the order of their names
	// Cues were told in each rendition, in the order of their dates; of a splice
	// that ended there are two.
	Cues []playlist.DateRange

	texts map[string][]byte
}

// A Rendition is one encoding of a recording.
type Rendition struct {
	Name     string
	Inits    []Init
	Segments []Segment // in the order of their numbers, lost ones too
}

// Length is how long the rendition plays: held pictures and what was lost are not
// in it.
func (r *Rendition) Length() (d time.Duration) {
	for i := range r.Segments {
		if s := &r.Segments[i]; s.played() {
			d += s.Duration
		}
	}
	return d
}

// Bytes is how much media the rendition has.
func (r *Rendition) Bytes() (n int64) {
	for i := range r.Segments {
		if !r.Segments[i].Lost {
			n += r.Segments[i].Size
		}
	}
	return n
}

// played reports whether a recording plays the segment: held pictures are for
// those who wait, not for those who come later.
func (s *Segment) played() bool { return !s.Gap() && s.Stand == StandNone && s.Duration > 0 }

// Init returns the initialization section of a segment, or nil.
func (r *Rendition) Init(s *Segment) *Init {
	for i := range r.Inits {
		if r.Inits[i].Number == s.Init && r.Inits[i].Epoch == s.InitEpoch {
			return &r.Inits[i]
		}
	}
	return nil
}

// Segment returns that of the name, or nil when there is nothing to fetch.
func (r *Rendition) Segment(epoch, msn int64) *Segment {
	i, ok := slices.BinarySearchFunc(r.Segments, msn, func(s Segment, msn int64) int { return int(s.MSN - msn) })
	if !ok || r.Segments[i].Epoch != epoch || r.Segments[i].Gap() {
		return nil
	}
	return &r.Segments[i]
}

// Rendition returns that of the name, or nil.
func (r *Recording) Rendition(name string) *Rendition {
	for i := range r.Renditions {
		if r.Renditions[i].Name == name {
			return &r.Renditions[i]
		}
	}
	return nil
}

// Length and Bytes are those of the recording: of its longest rendition, and of
// all.
func (r *Recording) Length() (d time.Duration) {
	for i := range r.Renditions {
		d = max(d, r.Renditions[i].Length())
	}
	return d
}

func (r *Recording) Bytes() (n int64) {
	for i := range r.Renditions {
		n += r.Renditions[i].Bytes()
	}
	return n
}

// Recording returns what is kept of a session. ErrNotFound when nothing is,
// ErrLive while it is written.
func (l *Library) Recording(sessionID string) (*Recording, error) {
	if l.isWriting(sessionID) {
		return nil, ErrLive
	}
	return l.cache.get(l, sessionID, func() (*Recording, error) {
		a, err := l.about(sessionID)
		if err == nil && !a.Keep {
			err = ErrNotFound
		}
		if err != nil {
			return nil, err
		}
		rec, err := l.read(a)
		if err == nil && rec.Length() == 0 {
			err = ErrNotFound // nothing that was ever playable
		}
		if err == nil {
			rec.render()
		}
		return rec, err
	})
}

// read reads a session's journals, and checks what they say against what is there.
func (l *Library) read(a About) (*Recording, error) {
	rec := &Recording{About: a}
	names, err := l.blobs.Dirs(a.SessionID)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		r, cues, err := l.readRendition(a.SessionID, name)
		if err != nil {
			return nil, err
		}
		rec.Cues = append(rec.Cues, cues...)
		if len(r.Segments) > 0 {
			rec.Renditions = append(rec.Renditions, r)
		}
	}
	// Each stands with the rendition whose part told it first.
	sortCues(rec.Cues)
	rec.Cues = rec.Cues[:min(len(rec.Cues), maxCues)]
	return rec, nil
}

// sortCues puts cues in the order of their dates, and a splice's end behind its
// begin.
func sortCues(all []playlist.DateRange) {
	slices.SortStableFunc(all, func(a, b playlist.DateRange) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID), cmp.Compare(a.In, b.In))
	})
}

func (l *Library) readRendition(sessionID, name string) (Rendition, []playlist.DateRange, error) {
	dir := sessionID + "/" + name
	all, err := l.blobs.List(dir)
	if err != nil {
		return Rendition{}, nil, err
	}
	sizes := make(map[string]int64, len(all))
	var in reader
	for _, i := range all { // journals are in the order of their numbers
		sizes[strings.TrimPrefix(i.Name, dir+"/")] = i.Size
		if _, ok := journalNumber(dir, i.Name); !ok {
			continue
		}
		text, err := l.readAll(i.Name, maxJournal)
		if err != nil {
			return Rendition{}, nil, err
		}
		if err := in.read(text); err != nil {
			// As after a loss of power, or a disk that was full.
			l.log.Info("a journal ends early", "name", i.Name, "err", err)
		}
	}
	r := Rendition{Name: name, Inits: in.inits}
	for _, s := range in.segs {
		size, ok := sizes[SegmentName(s.Epoch, s.MSN)]
		switch {
		case s.Size > 0 && (!ok || sizes[InitName(s.InitEpoch, s.Init)] == 0):
			s.Lost = true
		case s.Size > size:
			s.cut(size)
		}
		if len(s.Parts) > 0 {
			r.Segments = append(r.Segments, s)
		}
	}
	return r, in.cues, nil
}

// journalNumber reads the name of a journal in dir.
func journalNumber(dir, name string) (n int, ok bool) {
	digits, ok := strings.CutPrefix(name, dir+"/journal-")
	if !ok || len(digits) != 6 {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

func (l *Library) readAll(name string, most int64) ([]byte, error) {
	o, err := l.blobs.Open(name)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	text := make([]byte, min(o.Size(), most))
	n, err := io.ReadFull(o, text)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return text[:n], err
}

// Open opens a segment of a session, of which size bytes are to be served.
func (l *Library) Open(sessionID, rendition string, epoch, msn int64) (blob.Object, error) {
	return l.open(sessionID + "/" + rendition + "/" + SegmentName(epoch, msn))
}

// OpenInit opens an initialization section.
func (l *Library) OpenInit(sessionID, rendition string, epoch, n int64) (blob.Object, error) {
	return l.open(sessionID + "/" + rendition + "/" + InitName(epoch, n))
}

func (l *Library) open(name string) (blob.Object, error) {
	o, err := l.blobs.Open(name)
	if errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrName) {
		err = ErrNotFound
	}
	return o, err
}
