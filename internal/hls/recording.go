package hls

import (
	"strings"

	"tally/internal/hls/archive"
	"tally/internal/hls/playlist"
	"tally/internal/media"
)

// AppendRecording appends the Multivariant Playlist of a recording to dst and
// returns the extended buffer: what [Stream.AppendMultivariant] said of the
// broadcast. Its media playlists are {dir}{rendition}/index.m3u8.
func AppendRecording(dst []byte, rec *archive.Recording, dir string) []byte {
	var captions []string
	var videos []playlist.Variant
	var sounds []sound
	for i := range rec.Renditions {
		r := &rec.Renditions[i]
		in := r.NewestInit()
		if in == nil {
			continue
		}
		v := playlist.Variant{
			URI: dir + r.Name + "/index.m3u8", Codecs: in.Codecs, Width: in.Width, Height: in.Height,
			FrameRate: in.FrameRate, VideoRange: in.VideoRange, NoClosedCaptions: true,
		}
		v.Bandwidth, v.AverageBandwidth = r.Bandwidths()
		if in.Captions != "" {
			v.NoClosedCaptions, v.CaptionGroup = false, playlist.CaptionGroup
			captions = strings.Split(in.Captions, ",")
		}
		if id, ok := trackOf(r.Name); ok && !id.Video() {
			sounds = append(sounds, sound{&media.Track{ID: id, Codec: soundCodec(in.Codecs), Language: in.Language, Name: in.Name, Channels: in.Channels}, v})
		} else {
			videos = append(videos, v)
		}
	}
	groups := audioGroups(sounds)
	m := playlist.Multivariant{ClosedCaptions: captions, Variants: variants(videos, groups)}
	for i := range groups {
		m.Renditions = append(m.Renditions, groups[i].members...)
	}
	return m.AppendText(dst)
}

// soundCodec is the codec of an audio rendition by its CODECS.
func soundCodec(codecs string) media.Codec {
	for prefix, c := range map[string]media.Codec{"mp4a": media.AAC, "opus": media.Opus, "flac": media.FLAC} {
		if strings.HasPrefix(strings.ToLower(codecs), prefix) {
			return c
		}
	}
	return media.CodecNone
}
