package rtmpserver

import (
	"slices"
	"strconv"
	"strings"

	"tally/internal/media"
	"tally/internal/rtmp"
	"tally/internal/rtmp/amf0"
	"tally/internal/rtmp/chunk"
)

// about is what onMetaData says of a track for people.
type about struct{ language, name string }

const (
	maxLanguage = 35 // bytes; RFC 5646 section 4.4.1
	maxName     = 64 // bytes
)

// data reads a data message: onMetaData says which tracks are to come. Encoders
// send it as @setDataFrame "onMetaData" {…}; some leave the wrapper out.
func (c *conn) data(m chunk.Message) {
	cmd, err := rtmp.ParseCommand(m)
	if err != nil {
		return
	}
	name, values := cmd.Name, cmd.Args
	if name == "@setDataFrame" && len(values) > 0 {
		name, _ = values[0].(string)
		values = values[1:]
	}
	if name == "onMetaData" && len(values) > 0 {
		c.in.metadata(values[0])
	}
}

// metadata takes onMetaData's argument: the properties of track 0 of each kind,
// and maps with those of further ones (Enhanced RTMP v2, section "Enhancing
// onMetaData"). What is said of a track counts from its next configuration on.
func (in *intake) metadata(meta any) {
	ids := media.First(announced(meta, "videocodecid", "width"), announced(meta, "audiocodecid", "audiosamplerate"))
	in.about = map[media.TrackID]about{}
	ids = in.trackMap(ids, amf0.Lookup(meta, "videoTrackIdInfoMap"), media.VideoID)
	ids = in.trackMap(ids, amf0.Lookup(meta, "audioTrackIdInfoMap"), media.AudioID)
	if len(ids) > 0 {
		in.pub.Expect(ids)
	}
}

// trackMap adds the tracks of a map from track ids to properties, as long as
// they are not more than are taken.
func (in *intake) trackMap(ids []media.TrackID, entries any, id func(uint8) media.TrackID) []media.TrackID {
	n := 0
	for _, p := range amf0.Properties(entries) {
		number, err := strconv.ParseUint(p.Name, 10, 8)
		if err != nil || n == maxTracks {
			continue
		}
		n++
		one := id(uint8(number))
		in.about[one] = about{language: languageOf(p.Value), name: nameOf(p.Value)}
		if !slices.Contains(ids, one) {
			ids = append(ids, one)
		}
	}
	return ids
}

// languageOf is a track's language tag, "" when it is none by its letters.
func languageOf(properties any) string {
	tag := amf0.Text(properties, "language")
	if tag == "" {
		tag = amf0.Text(properties, "lang")
	}
	for _, r := range tag {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-'
		if !letter || len(tag) > maxLanguage {
			return ""
		}
	}
	return tag
}

// nameOf is what people call a track, cut to what fits into a list.
func nameOf(properties any) string {
	for _, property := range []string{"name", "title", "label"} {
		name := amf0.Text(properties, property)
		if name = strings.TrimSpace(plain(name[:min(len(name), maxName)])); name != "" {
			return name
		}
	}
	return ""
}

// announced reports whether metadata promises a track: by its codec id, a number
// or a FourCC as a number or a string, or where that is left out by a property
// that only such a track has.
func announced(meta any, codec, other string) bool {
	v := amf0.Lookup(meta, codec)
	if v == nil {
		v = amf0.Lookup(meta, other)
	}
	switch v := v.(type) {
	case float64:
		return v > 0
	case string:
		return strings.TrimSpace(v) != ""
	}
	return false
}
