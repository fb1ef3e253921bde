package obs

import (
	"maps"
	"slices"
)

// An encoder is one of OBS' H.264 encoders, and the settings that make it fit for
// a ladder: constant bitrate, keyframes at fixed distances, none between. OBS
// itself sets disable_scenecut (MultitrackVideoOutput.cpp).
type encoder struct {
	id       string
	settings map[string]any
}

// encoders in the order of preference: those of graphics cards first, since four
// pictures at once are much for a processor. x264 is in every OBS.
var encoders = []encoder{
	{"obs_nvenc_h264_tex", map[string]any{"preset": "p4", "profile": "high", "bf": 2, "multipass": "disabled", "lookahead": false}},
	{"jim_nvenc", map[string]any{"preset2": "p4", "profile": "high", "bf": 2, "multipass": "disabled", "lookahead": false}},
	{"h264_texture_amf", map[string]any{"preset": "balanced", "profile": "high", "bf": 0}},
	{"obs_qsv11_v2", map[string]any{"target_usage": "TU4", "profile": "high", "bframes": 2}},
	{"com.apple.videotoolbox.videoencoder.ave.avc", map[string]any{"profile": "high", "bframes": false}},
	{x264, map[string]any{"preset": "veryfast", "profile": "high", "x264opts": "scenecut=0"}},
}

const x264 = "obs_x264"

// choose returns the first encoder that OBS says it has. An OBS that says nothing
// gets x264.
func choose(has []string) encoder {
	for _, e := range encoders {
		if slices.Contains(has, e.id) {
			return e
		}
	}
	return encoders[len(encoders)-1]
}

// with is the encoder's settings for a bitrate.
func (e encoder) with(kbps uint64) map[string]any {
	s := maps.Clone(e.settings)
	s["rate_control"], s["bitrate"], s["keyint_sec"] = "CBR", kbps, keyframes
	return s
}
