package archive

import (
	"time"

	"tally/internal/hls/playlist"
)

// Playlist returns the Media Playlist of a rendition: everything that was
// received, without held pictures and without what was lost, from number 0 on,
// ended. Its URIs are relative to where it stands. It is nil when there is none
// of that name, and the same bytes at each call.
func (r *Recording) Playlist(rendition string) []byte { return r.texts[rendition] }

// render makes the playlists; once, when the recording is loaded.
func (r *Recording) render() {
	r.texts = map[string][]byte{}
	for i := range r.Renditions {
		rd := &r.Renditions[i]
		r.texts[rd.Name] = rd.media(r.Target).AppendText(nil)
	}
}

func (r *Rendition) media(target int) *playlist.Media {
	m := &playlist.Media{TargetDuration: max(target, 1), VOD: true, EndList: true}
	var before *Segment
	for i := range r.Segments {
		s := &r.Segments[i]
		if !s.played() {
			continue
		}
		in := r.Init(s)
		if in == nil {
			continue
		}
		m.Segments = append(m.Segments, playlist.Segment{
			URI: SegmentName(s.Epoch, s.MSN), Duration: s.Duration, ProgramDateTime: s.At,
			Discontinuity: before != nil && !s.follows(before), Map: InitName(in.Epoch, in.Number),
		})
		m.TargetDuration = max(m.TargetDuration, int((s.Duration+time.Second/2)/time.Second))
		before = s
	}
	return m
}

// follows reports whether the decode times of s go on where those of before end.
func (s *Segment) follows(before *Segment) bool {
	return s.MSN == before.MSN+1 && s.Disc == before.Disc && !s.Discontinuity && !before.short
}

// AppendMultivariant appends the Multivariant Playlist of the recording, whose
// media playlists are {below}{rendition}/index.m3u8, and returns the extended
// buffer.
func (r *Recording) AppendMultivariant(dst []byte, below string) []byte {
	m := playlist.Multivariant{}
	for i := range r.Renditions {
		rd := &r.Renditions[i]
		in := rd.newestInit()
		if in == nil || len(r.texts[rd.Name]) == 0 || rd.Length() == 0 {
			continue
		}
		v := playlist.Variant{
			URI: below + rd.Name + "/index.m3u8", Codecs: in.Codecs, Width: in.Width, Height: in.Height,
			FrameRate: in.FrameRate, NoClosedCaptions: true,
		}
		v.Bandwidth, v.AverageBandwidth = rd.bandwidths()
		m.Variants = append(m.Variants, v)
	}
	return m.AppendText(dst)
}

// newestInit is the initialization section of the newest segment that is played.
func (r *Rendition) newestInit() *Init {
	for i := len(r.Segments) - 1; i >= 0; i-- {
		if r.Segments[i].played() {
			return r.Init(&r.Segments[i])
		}
	}
	return nil
}

// bandwidths are the bits per second of the busiest segment, and of all. Half a
// second is mostly its keyframe, and does not tell.
func (r *Rendition) bandwidths() (peak, average int64) {
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
