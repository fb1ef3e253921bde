package hls

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tally/internal/hls/playlist"
	"tally/internal/media"
)

// firstBandwidth is what the variant listed first comes closest to, in bits per
// second on average. Players without an estimate of their own begin with the first:
// hls.js does, AVPlayer did up to iOS 12 (developer.apple.com/forums/thread/729338);
// Apple's authoring specification has 2000 kb/s in mind for Wi-Fi.
const firstBandwidth = 2_000_000

// A lineup is what players may know of a stream's renditions. It is immutable.
type lineup struct {
	all     []*Rendition // in the order of Stream.all
	offered []*Rendition // those that a multivariant playlist lists: whose tracks there are
	several bool
}

// Rendition returns the rendition that URLs name so, or nil. Before the first
// media it is not known which there will be, and any name leads to one that
// lists nothing yet.
func (s *Stream) Rendition(name string) *Rendition {
	l := s.lineup.Load()
	if l == nil {
		return s.main
	}
	for _, r := range l.all {
		if r.name == name {
			return r
		}
	}
	return nil
}

// Renditions are those of the run so far: a muxed one, then video, then audio, each
// kind by index. The slice is shared and must not be changed.
func (s *Stream) Renditions() []*Rendition {
	if l := s.lineup.Load(); l != nil {
		return l.all
	}
	return nil
}

// show lets players see the renditions. The caller holds mu.
func (s *Stream) show() {
	l := &lineup{all: slices.Clone(s.all), several: s.several}
	for _, r := range l.all {
		if !s.several || r.id != 0 && r.of(s.tracks) != nil {
			l.offered = append(l.offered, r)
		}
	}
	s.lineup.Store(l)
}

// Listed reports whether [Stream.WaitListed] would return at once.
func (s *Stream) Listed() bool {
	if !s.main.window.Current().Listed() {
		return false
	}
	for _, r := range s.lineup.Load().offered {
		if !r.window.Current().Listed() && time.Since(r.since) < trackWait {
			return false
		}
	}
	return true
}

// WaitListed returns once the stream lists something, and each of its renditions
// does or has had a second for it. It ends like [Window.WaitListed].
func (s *Stream) WaitListed(ctx context.Context) error {
	if _, err := s.main.window.WaitListed(ctx); err != nil {
		return err
	}
	for _, r := range s.lineup.Load().offered {
		left := time.Until(r.since.Add(trackWait))
		if left <= 0 || r.window.Current().Listed() {
			continue
		}
		short, cancel := context.WithTimeout(ctx, left)
		r.window.WaitListed(short) // it is left out if it lists nothing by then
		cancel()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// AppendMultivariant appends a Multivariant Playlist to dst and returns the
// extended buffer. dir is what leads from it to the stream's playlists: a path
// that ends in a slash. Nil when nothing is listed.
//
// Of several renditions each video is a variant, once for each group of audio
// renditions: see audioGroups. There is none of audio alone beside
// video: video.js would begin with it on a slow link and stay there
// (videojs/video.js#5583), others pass it over (hls.js#2654, shaka-player#861).
func (s *Stream) AppendMultivariant(dst []byte, dir string) []byte {
	l := s.lineup.Load()
	if l == nil {
		return nil
	}
	if !l.several {
		return s.main.window.Current().AppendMultivariant(dst, dir+"index.m3u8")
	}
	var start *playlist.Start
	var captions []string
	var videos []playlist.Variant
	var sounds []sound
	for _, r := range l.offered {
		n := r.window.Current()
		if !n.listed {
			continue
		}
		v := n.variant
		v.URI = dir + r.name + "/index.m3u8"
		if r.id.Video() {
			if len(videos) == 0 {
				start, captions = n.start(), n.captions
			}
			// All name the captions of the lead, or all say that there are none.
			if v.NoClosedCaptions, v.CaptionGroup = len(captions) == 0, ""; !v.NoClosedCaptions {
				v.CaptionGroup = playlist.CaptionGroup
			}
			videos = append(videos, v)
		} else {
			sounds = append(sounds, sound{&n.tracks[0], v})
		}
	}
	groups := audioGroups(sounds)
	m := playlist.Multivariant{Start: start, ClosedCaptions: captions, Variants: variants(videos, groups)}
	for i := range groups {
		m.Renditions = append(m.Renditions, groups[i].members...)
	}
	return m.AppendText(dst)
}

// variants combines videos with audio groups: first what a player may well begin
// with, the others from the lowest up.
func variants(videos []playlist.Variant, groups []audioGroup) (all []playlist.Variant) {
	if len(videos) == 0 {
		for i := range groups {
			g := &groups[i]
			all = append(all, g.with(playlist.Variant{URI: g.members[0].URI, NoClosedCaptions: true}))
		}
		return all
	}
	slices.SortStableFunc(videos, func(a, b playlist.Variant) int { return cmp.Compare(a.AverageBandwidth, b.AverageBandwidth) })
	first := 0
	for i := range videos {
		if ratio(videos[i].AverageBandwidth) < ratio(videos[first].AverageBandwidth) {
			first = i
		}
	}
	v := videos[first]
	videos = slices.Insert(slices.Delete(videos, first, first+1), 0, v)
	for _, v := range videos {
		if len(groups) == 0 {
			all = append(all, v)
		}
		for i := range groups {
			all = append(all, groups[i].with(v))
		}
	}
	return all
}

// ratio is by how many times a bandwidth differs from firstBandwidth.
func ratio(bps int64) float64 {
	x := float64(max(bps, 1)) / firstBandwidth
	return max(x, 1/x)
}

// An audioGroup is audio renditions of which a player takes one.
type audioGroup struct {
	id            string
	codecs        []string
	peak, average int64 // bits per second, of the busiest member
	members       []playlist.Rendition
}

// A sound is an audio rendition: its track, and a variant with its URI, CODECS and
// bandwidths.
type sound struct {
	track   *media.Track
	variant playlist.Variant
}

// audioGroups makes a group of the renditions of each codec, so that a player
// takes the codec that it has. All groups must have the same members then
// (rfc8216bis-22 section 4.4.6.1.1); where they would not, there is one group of
// all codecs.
func audioGroups(all []sound) (groups []audioGroup) {
	for _, s := range all {
		groups = join(groups, strings.ToLower(s.track.Codec.String()), s)
	}
	for i := range groups {
		if !groups[i].like(&groups[0]) {
			groups = nil
			for _, s := range all {
				groups = join(groups, "audio", s)
			}
			return groups
		}
	}
	return groups
}

// like reports whether two groups have the same members: those that a person
// would take for the same.
func (g *audioGroup) like(o *audioGroup) bool {
	return slices.EqualFunc(g.members, o.members, func(a, b playlist.Rendition) bool {
		return a.Name == b.Name && a.Language == b.Language && a.Default == b.Default && a.AutoSelect == b.AutoSelect
	})
}

// join adds a rendition to the group of that name.
func join(groups []audioGroup, id string, s sound) []audioGroup {
	t, v := s.track, s.variant
	i := slices.IndexFunc(groups, func(g audioGroup) bool { return g.id == id })
	if i < 0 {
		i = len(groups)
		groups = append(groups, audioGroup{id: id})
	}
	g := &groups[i]
	if !slices.Contains(g.codecs, v.Codecs) {
		g.codecs = append(g.codecs, v.Codecs)
	}
	g.peak, g.average = max(g.peak, v.Bandwidth), max(g.average, v.AverageBandwidth)
	r := playlist.Rendition{
		Type: "AUDIO", GroupID: id, Name: g.name(t), Language: languageTag(t.Language),
		Default: len(g.members) == 0, AutoSelect: true, URI: v.URI,
	}
	if t.Channels > 0 {
		r.Channels = strconv.Itoa(t.Channels)
	}
	g.members = append(g.members, r)
	return groups
}

// with makes v a variant that goes with the group.
func (g *audioGroup) with(v playlist.Variant) playlist.Variant {
	v.Audio = g.id
	v.Bandwidth += g.peak
	v.AverageBandwidth += g.average
	codecs := strings.Join(g.codecs, ",")
	if v.Codecs != "" {
		codecs = v.Codecs + "," + codecs
	}
	v.Codecs = codecs
	return v
}

// maxName bounds what an encoder calls a track, in bytes.
const maxName = 64

// name is what people see of a track; no other of the group has it.
func (g *audioGroup) name(t *media.Track) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r == utf8.RuneError || unicode.IsControl(r):
			return -1
		}
		return r
	}, t.Name)
	for len(name) > maxName {
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	if name = strings.TrimSpace(name); name == "" {
		name = languageTag(t.Language)
	}
	if name == "" {
		name = "Audio " + strconv.Itoa(len(g.members)+1)
	}
	taken := func(s string) bool {
		return slices.ContainsFunc(g.members, func(r playlist.Rendition) bool { return r.Name == s })
	}
	unique := name
	for n := 2; taken(unique); n++ {
		unique = name + " " + strconv.Itoa(n)
	}
	return unique
}

// languageTag is s where it has the shape of a language tag (RFC 5646), else "".
func languageTag(s string) string {
	if len(s) > 35 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" || strings.Trim(s, "-") != s {
		return ""
	}
	return s
}
