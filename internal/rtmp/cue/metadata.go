package cue

import (
	"strings"

	"tally/internal/media"
	"tally/internal/rtmp/amf0"
)

// Metadata notices what an encoder adds of its own to onMetaData amid the
// broadcast, such as a title. What it says at first, and whatever describes the
// media, is no cue.
type Metadata struct {
	seen bool
	last string
}

// Changed reads onMetaData, and returns a cue with all properties of the
// encoder's own as JSON when they are others than before.
func (d *Metadata) Changed(values []any) (Message, bool) {
	if len(values) == 0 {
		return Message{}, false
	}
	var own amf0.Object
	for _, p := range properties(values[0]) {
		if !describes(p.Name) {
			own = append(own, p)
		}
	}
	text := string(appendJSON(nil, own))
	first := !d.seen
	if len(text) > media.MaxCueData || text == d.last {
		return Message{}, false
	}
	d.seen, d.last = true, text
	if first {
		return Message{}, false
	}
	return Message{Cue: media.Cue{Class: "onMetaData", Data: text}}, true
}

func properties(v any) []amf0.Property {
	switch v := v.(type) {
	case amf0.Object:
		return v
	case amf0.ECMAArray:
		return v
	}
	return nil
}

// describing are the properties of onMetaData that tell of the file and its media
// (Adobe Flash Video File Format Specification 10.1, section E.5; Enhanced RTMP
// v2), and those that OBS and ffmpeg add. Names with these beginnings are too.
var describing = map[string]bool{
	"duration": true, "filesize": true, "width": true, "height": true, "displaywidth": true, "displayheight": true,
	"framewidth": true, "frameheight": true, "framerate": true, "fps": true, "stereo": true, "encoder": true, "stereoscopic": true,
	"canseektoend": true, "creationdate": true, "metadatacreator": true, "major_brand": true, "minor_version": true,
	"compatible_brands": true, "server": true, "presetname": true, "avcprofile": true, "avclevel": true, "aacaot": true,
	"profile": true, "level": true, "hasaudio": true, "hasvideo": true, "hasmetadata": true, "haskeyframes": true, "keyframes": true,
	"lasttimestamp": true, "lastkeyframetimestamp": true, "2.1": true, "3.1": true, "4.0": true, "4.1": true, "5.1": true, "7.1": true,
}

func describes(name string) bool {
	name = strings.ToLower(name)
	return describing[name] || strings.HasPrefix(name, "video") || strings.HasPrefix(name, "audio")
}
