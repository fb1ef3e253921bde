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
	told   string // in the timeline
	tokens int    // changes that may be told; valid when told is not ""
	refill time.Duration
}

// describe brings the report up to date. It reports whether that changed, or
// there is news.
func (w *Watcher) describe() bool {
	var key time.Duration
	for i, l := range w.pictures {
		if l.settleRate(); i == 0 {
			key = l.keys.typical().Round(10 * time.Millisecond)
		}
	}
	text := w.text()
	changed := text != w.report.Media || key != w.report.Keyframe
	w.report.Media, w.report.Keyframe = text, key
	return w.tellMedia(text) || changed
}

// settleRate takes over the measured frame rate: the first, and another when it
// lasted 5 s.
func (l *lane) settleRate() {
	fps := l.spacing.fps
	switch {
	case l.spacing.variable, fps == 0, math.Abs(fps-l.fps) <= l.fps/10:
		l.differ = 0
		return
	case l.fps != 0:
		if l.differ++; l.differ < 5 {
			return
		}
	}
	l.fps, l.differ = fps, 0
	if announced := l.FrameRate; math.Abs(fps-announced) <= fps/200 {
		l.fps = announced // what timestamps in milliseconds cannot tell apart
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
	rate := 0.0
	for _, l := range w.pictures {
		rate += l.bitrate.now(l.keys.dts)
	}
	if rate > 0 {
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
	for _, l := range w.pictures {
		if !l.seen || l.fps == 0 {
			return false
		}
	}
	for _, l := range w.sounds {
		if !l.seen {
			return false
		}
	}
	return len(w.pictures) > 0 && len(w.sounds) > 0
}

// start is when the first frame arrived, or now.
func (w *Watcher) start() time.Duration {
	first := w.now
	for _, list := range [][]*lane{w.pictures, w.sounds} {
		for _, l := range list {
			if l.seen {
				first = min(first, l.first)
			}
		}
	}
	return first
}

// text describes the tracks: pictures, then sounds, of each kind all with a plus
// between. A codec is not repeated.
func (w *Watcher) text() string {
	var parts []string
	add := func(list []*lane, describe func(*lane) string) (found bool) {
		var texts []string
		last := ""
		for _, l := range list {
			if l.Codec == 0 {
				continue
			}
			text := describe(l)
			if name := codec(l.Track); name != last {
				text, last = name+" "+text, name
			}
			texts = append(texts, text)
		}
		if texts != nil {
			parts = append(parts, strings.Join(texts, " + "))
		}
		return texts != nil
	}
	video := add(w.pictures, (*lane).picturesText)
	audio := add(w.sounds, (*lane).soundText)
	switch {
	case video != audio && w.now-w.start() < settle:
	case video && !audio:
		parts = append(parts, "no audio")
	case audio && !video:
		parts = append(parts, "no video")
	}
	return strings.Join(parts, ", ")
}

func (l *lane) picturesText() string {
	text := fmt.Sprintf("%dx%d", l.Width, l.Height)
	if fps := cmp.Or(l.fps, l.FrameRate); fps > 0 {
		text += " " + trimmed(fps, 2) + " fps"
	}
	return text
}

func (l *lane) soundText() string {
	text := fmt.Sprintf("%s kHz %s", trimmed(heardRate(l.Track)/1000, 3), channels(l.Channels))
	if l.Language != "" {
		text += " (" + l.Language + ")"
	}
	return text
}

// h264Profiles by profile_idc (ITU-T H.264 annex A.2).
var h264Profiles = map[byte]string{
	44: "CAVLC 4:4:4 Intra", 66: "Baseline", 77: "Main", 88: "Extended", 100: "High", 110: "High 10", 122: "High 4:2:2", 244: "High 4:4:4 Predictive",
}

// hevcProfiles by general_profile_idc (ITU-T H.265 annex A.3).
var hevcProfiles = map[byte]string{1: "Main", 2: "Main 10", 3: "Main Still Picture", 4: "Range Extensions"}

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
	case media.HEVC:
		var idc byte
		if _, err := fmt.Sscanf(strings.TrimLeft(strings.TrimPrefix(t.CodecString, "hvc1."), "ABC"), "%d.", &idc); err == nil && hevcProfiles[idc] != "" {
			return "HEVC " + hevcProfiles[idc]
		}
	case media.AV1:
		var idc byte
		if _, err := fmt.Sscanf(t.CodecString, "av01.%1d", &idc); err == nil && idc < 3 {
			return "AV1 " + [3]string{"Main", "High", "Professional"}[idc]
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
