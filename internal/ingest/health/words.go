package health

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"tally/internal/livestream"
	"tally/internal/media"
)

const (
	// settle is how long a publication may keep the second track to itself until
	// it is described without.
	settle = 3 * time.Second
	// Changes of the media are told mediaBurst times, then once in mediaEvery; in
	// between the last of them waits.
	mediaBurst = 5
	mediaEvery = 5 * time.Minute
)

// words keeps what was told of the media.
type words struct {
	fps    float64 // in the description
	differ int     // seconds that the measured rate is another
	told   string  // in the timeline
	tokens int     // changes that may be told; valid when told is not ""
	refill time.Duration
}

// describe brings the report up to date. It reports whether that changed, or
// there is news.
func (w *Watcher) describe() bool {
	w.settleRate()
	text, key := w.text(), w.keys.typical().Round(10*time.Millisecond)
	changed := text != w.report.Media || key != w.report.Keyframe
	w.report.Media, w.report.Keyframe = text, key
	return w.tellMedia(text) || changed
}

// settleRate takes over the measured frame rate: the first, and another when it
// lasted 5 s.
func (w *Watcher) settleRate() {
	v := &w.words
	fps := w.pictures.fps
	switch {
	case w.pictures.variable, fps == 0, math.Abs(fps-v.fps) <= v.fps/10:
		v.differ = 0
		return
	case v.fps != 0:
		if v.differ++; v.differ < 5 {
			return
		}
	}
	v.fps, v.differ = fps, 0
	if announced := w.video.FrameRate; math.Abs(fps-announced) <= fps/200 {
		v.fps = announced // what timestamps in milliseconds cannot tell apart
	}
}

// tellMedia puts the description into the timeline once it is complete, and when
// it changed.
func (w *Watcher) tellMedia(text string) bool {
	v := &w.words
	if text == "" || text == v.told || !w.settled() {
		return false
	}
	if v.told == "" {
		v.tokens, v.refill = mediaBurst, w.now
	}
	for ; w.now-v.refill >= mediaEvery; v.refill += mediaEvery {
		v.tokens = min(v.tokens+1, mediaBurst)
	}
	if v.tokens == 0 {
		return false
	}
	v.tokens--
	v.told = text
	if rate := w.bitrate.now(w.keys.dts); rate > 0 {
		text += " at " + bits(rate)
	}
	w.tell(livestream.FactMedia, text)
	return true
}

// settled reports whether what there is to describe is known.
func (w *Watcher) settled() bool {
	if w.now-w.start() >= settle {
		return true
	}
	return w.video.seen && w.audio.seen && w.words.fps > 0
}

// start is when the first frame arrived, or now.
func (w *Watcher) start() time.Duration {
	first := w.now
	for _, t := range []*track{&w.video, &w.audio} {
		if t.seen {
			first = min(first, t.first)
		}
	}
	return first
}

// text describes the tracks.
func (w *Watcher) text() string {
	var parts []string
	if w.video.Codec != 0 {
		text := fmt.Sprintf("%s %dx%d", codec(w.video.Track), w.video.Width, w.video.Height)
		if fps := cmp.Or(w.words.fps, w.video.FrameRate); fps > 0 {
			text += " " + trimmed(fps, 2) + " fps"
		}
		parts = append(parts, text)
	}
	if w.audio.Codec != 0 {
		parts = append(parts, fmt.Sprintf("%s %s kHz %s", codec(w.audio.Track), trimmed(heardRate(w.audio.Track)/1000, 3), channels(w.audio.Channels)))
	}
	switch {
	case len(parts) == 1 && w.now-w.start() < settle:
	case w.audio.Codec == 0 && w.video.Codec != 0:
		parts = append(parts, "no audio")
	case w.video.Codec == 0 && w.audio.Codec != 0:
		parts = append(parts, "no video")
	}
	return strings.Join(parts, ", ")
}

// h264Profiles by profile_idc (ITU-T H.264 annex A.2).
var h264Profiles = map[byte]string{
	44: "CAVLC 4:4:4 Intra", 66: "Baseline", 77: "Main", 88: "Extended", 100: "High", 110: "High 10", 122: "High 4:2:2", 244: "High 4:4:4 Predictive",
}

// aacObjects by the object type that RFC 6381 names.
var aacObjects = map[string]string{
	"mp4a.40.1": "AAC Main", "mp4a.40.2": "AAC-LC", "mp4a.40.3": "AAC SSR", "mp4a.40.4": "AAC LTP", "mp4a.40.5": "HE-AAC", "mp4a.40.29": "HE-AACv2",
}

// codec is the codec with its profile.
func codec(t media.Track) string {
	switch t.Codec {
	case media.H264:
		var idc byte
		if _, err := fmt.Sscanf(t.CodecString, "avc1.%2x", &idc); err == nil && h264Profiles[idc] != "" {
			return "H.264 " + h264Profiles[idc]
		}
	case media.AAC:
		if name := aacObjects[t.CodecString]; name != "" {
			return name
		}
	}
	return t.Codec.String()
}

// heardRate is the sample rate after decoding: HE-AAC doubles the core coder's.
func heardRate(t media.Track) float64 {
	if name := aacObjects[t.CodecString]; strings.HasPrefix(name, "HE-") {
		return 2 * float64(t.Timescale)
	}
	return float64(t.Timescale)
}

func channels(n int) string {
	switch n {
	case 1:
		return "mono"
	case 2:
		return "stereo"
	case 6:
		return "5.1"
	case 8:
		return "7.1"
	}
	return strconv.Itoa(n) + " channels"
}

// trimmed writes v with at most that many decimals.
func trimmed(v float64, decimals int) string {
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".")
}

// seconds writes a duration into a sentence.
func seconds(d time.Duration) string { return trimmed(d.Seconds(), 1) + " s" }

// span writes how long something lasted.
func span(d time.Duration) string {
	if d < 2*time.Minute {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// bits writes a bitrate.
func bits(perSecond float64) string {
	if perSecond < 999_500 {
		return fmt.Sprintf("%.0f kbit/s", perSecond/1000)
	}
	return fmt.Sprintf("%.1f Mbit/s", perSecond/1e6)
}

func times(n int32) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return strconv.Itoa(int(n)) + " times"
}
