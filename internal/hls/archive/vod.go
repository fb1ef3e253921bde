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
		in := r.Init(s.Init)
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
