package archive

import (
	"cmp"
	"slices"
	"time"

	"tally/internal/hls/playlist"
)

// Playlist returns the Media Playlist of a rendition: everything that was
// received, without held pictures and without what was lost, from number 0 on,
// ended. What another rendition has and this one has not is a gap, so that all have
// the same segments. Its URIs are relative to where it stands. It is nil when there
// is none of that name, and the same bytes at each call.
func (r *Recording) Playlist(rendition string) []byte { return r.texts[rendition] }

// render makes the playlists; once, when the recording is loaded.
func (r *Recording) render() {
	r.Renditions = offered(r.Renditions)
	grid := r.grid()
	r.texts = map[string][]byte{}
	for i := range r.Renditions {
		rd := &r.Renditions[i]
		r.texts[rd.Name] = rd.media(r.Target, grid, r.Cues).AppendText(nil)
	}
}

// offered are the renditions that go together. A session that began with sound and
// picture in one and went on with several has both; the longer part is played.
func offered(all []Rendition) []Rendition {
	var muxed, several []Rendition
	for _, rd := range all {
		switch {
		case rd.Length() == 0:
		case rd.Name == Muxed:
			muxed = append(muxed, rd)
		default:
			several = append(several, rd)
		}
	}
	longest := func(of []Rendition) (d time.Duration) {
		for i := range of {
			d = max(d, of[i].Length())
		}
		return d
	}
	if longest(muxed) >= longest(several) {
		return muxed
	}
	return several
}

// grid is the segments that any rendition plays, in order: those of the first that
// has them.
func (r *Recording) grid() (all []*Segment) {
	known := map[int64]bool{}
	for i := range r.Renditions {
		for j := range r.Renditions[i].Segments {
			if s := &r.Renditions[i].Segments[j]; s.played() && !known[s.MSN] {
				known[s.MSN] = true
				all = append(all, s)
			}
		}
	}
	slices.SortFunc(all, func(a, b *Segment) int { return cmp.Compare(a.MSN, b.MSN) })
	return all
}

func (r *Rendition) media(target int, grid []*Segment, cues []playlist.DateRange) *playlist.Media {
	m := &playlist.Media{DateRanges: cues, TargetDuration: max(target, 1), VOD: true, EndList: true, Segments: make([]playlist.Segment, 0, len(grid))}
	var before *Segment
	in := r.Init(r.firstPlayed()) // of gaps before the first
	for _, s := range grid {
		line := playlist.Segment{
			URI: SegmentName(s.Epoch, s.MSN), Duration: s.Duration, ProgramDateTime: s.At,
			Discontinuity: before != nil && !s.follows(before),
		}
		own := r.Segment(s.Epoch, s.MSN)
		if own != nil && own.played() && r.Init(own) != nil {
			in, line.Duration = r.Init(own), own.Duration
		} else {
			line.Gap = true
		}
		if in != nil {
			line.Map = InitName(in.Epoch, in.Number)
		}
		m.Segments = append(m.Segments, line)
		m.TargetDuration = max(m.TargetDuration, int((line.Duration+time.Second/2)/time.Second))
		before = s
	}
	return m
}

// firstPlayed is the first segment that is played; a zero one when there is none.
func (r *Rendition) firstPlayed() *Segment {
	for i := range r.Segments {
		if r.Segments[i].played() {
			return &r.Segments[i]
		}
	}
	return &Segment{Init: -1}
}

// follows reports whether the decode times of s go on where those of before end.
func (s *Segment) follows(before *Segment) bool {
	return s.MSN == before.MSN+1 && s.Disc == before.Disc && !s.Discontinuity && !before.short
}

// NewestInit is the initialization section of the newest segment that is played.
func (r *Rendition) NewestInit() *Init {
	for i := len(r.Segments) - 1; i >= 0; i-- {
		if r.Segments[i].played() {
			return r.Init(&r.Segments[i])
		}
	}
	return nil
}

// Bandwidths are the bits per second of the busiest segment, and of all. Half a
// second is mostly its keyframe, and does not tell.
func (r *Rendition) Bandwidths() (peak, average int64) {
	for i := range r.Segments {
		if s := &r.Segments[i]; s.played() && s.Duration >= time.Second/2 {
			peak = max(peak, int64(float64(s.Size*8)/s.Duration.Seconds()))
		}
	}
	if d := r.Length(); d > 0 {
		average = int64(float64(r.Bytes()*8) / d.Seconds())
	}
	round := func(bps int64) int64 { return (bps + 999) / 1000 * 1000 }
	return round(max(peak, average, 1)), round(average)
}

// Has reports whether there is a recording of the session, without reading what is
// in it.
func (l *Library) Has(sessionID string) bool { return l.PlaybackID(sessionID) != "" }

// PlaybackID returns whose recording there is of a session, as Has does; "" when
// there is none.
func (l *Library) PlaybackID(sessionID string) string {
	if l.isWriting(sessionID) {
		return ""
	}
	if a, err := l.about(sessionID); err == nil && a.Keep {
		return a.PlaybackID
	}
	return ""
}
