package health

import (
	"strings"
	"testing"
	"time"

	"tally/internal/livestream"
	"tally/internal/media"
)

// A rendition is one video track of a ladder.
type rendition struct {
	size [2]int
	fps  int
	gop  float64 // seconds
	from float64 // when it stops, seconds; 0: it does not
	// offset is how much later than those of others its keyframes come, seconds.
	offset float64
}

// ladder sends renditions and sounds in languages ("": none) for that many
// seconds. stops: the index of a sound that is silent after 10 s, or -1.
func ladder(length int, renditions []rendition, languages []string, stops int) *Watcher {
	w := &Watcher{}
	for i, r := range renditions {
		t := h264
		t.ID, t.Width, t.Height, t.FrameRate = media.VideoID(uint8(i)), r.size[0], r.size[1], float64(r.fps)
		w.Track(t, 0)
	}
	for i, l := range languages {
		t := aac
		t.ID, t.Language = media.AudioID(uint8(i)), l
		w.Track(t, 0)
	}
	for ms := int64(0); ms < int64(length)*1000; ms++ {
		at := time.Duration(ms) * time.Millisecond
		for i, r := range renditions {
			if step := int64(1000 / r.fps); ms%step == 0 && (r.from == 0 || float64(ms) < r.from*1000) {
				key := ms == 0 || (ms-int64(r.offset*1000))/step%int64(r.gop*float64(r.fps)) == 0
				w.Frame(media.Frame{Track: media.VideoID(uint8(i)), DTS: ms * 90, PTS: ms * 90, Key: key}, 8000, at)
			}
		}
		for i := range languages {
			if ms%20 == 0 && (i != stops || ms < 10_000) {
				w.Frame(media.Frame{Track: media.AudioID(uint8(i)), DTS: ms * 48, PTS: ms * 48, Key: true}, 300, at)
			}
		}
	}
	return w
}

func warnings(w *Watcher) (texts []string) {
	for _, one := range w.Report().Warnings {
		texts = append(texts, one.String())
	}
	return texts
}

func TestLadder(t *testing.T) {
	good := []rendition{{[2]int{1920, 1080}, 50, 2, 0, 0}, {[2]int{1280, 720}, 50, 2, 0, 0}, {[2]int{640, 360}, 25, 2, 0, 0}}
	with := func(i int, change func(*rendition)) []rendition {
		rs := append([]rendition(nil), good...)
		change(&rs[i])
		return rs
	}
	for _, tt := range []struct {
		name       string
		renditions []rendition
		stops      int
		code       livestream.WarningCode // "": no warning
		says       []string
	}{
		{"all well", good, -1, "", nil},
		{"keyframes of one", with(1, func(r *rendition) { r.gop = 8 }), -1, livestream.KeyframeInterval,
			[]string{"video track 1 (1280x720): keyframes every 8 s", "set Keyframe Interval to 2 s"}},
		{"keyframes at other times", with(2, func(r *rendition) { r.offset = 1 }), -1, livestream.KeyframeInterval,
			[]string{"video track 2 (640x360): keyframes do not come at the times of those of video track 0", "same Keyframe Interval"}},
		{"keyframes twice as often", with(1, func(r *rendition) { r.gop = 1 }), -1, "", nil},
		{"keyframes half as often", with(1, func(r *rendition) { r.gop = 4 }), -1, "", nil},
		{"one stops", with(2, func(r *rendition) { r.from = 20 }), -1, livestream.FramesDropped,
			[]string{"video track 2 (640x360): ", "video frames of the last "}},
		{"a language stops", good, 1, livestream.NoAudio, []string{"audio track 1 (fr): no audio for"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := ladder(30, tt.renditions, []string{"en", "fr"}, tt.stops)
			got := warnings(w)
			if tt.code == "" {
				if len(got) != 0 {
					t.Errorf("warnings %q", got)
				}
				return
			}
			if len(got) != 1 || !strings.HasPrefix(got[0], string(tt.code)) {
				t.Fatalf("warnings %q, want one %s", got, tt.code)
			}
			for _, words := range tt.says {
				if !strings.Contains(got[0], words) {
					t.Errorf("%q does not say %q", got[0], words)
				}
			}
		})
	}
}

// TestLadderDoesNotFlood: one fault of all renditions is one warning and one line.
func TestLadderDoesNotFlood(t *testing.T) {
	var rs []rendition
	for i := range 8 {
		rs = append(rs, rendition{[2]int{160 * (8 - i), 90 * (8 - i)}, 25, 8, 0, 0})
	}
	w := ladder(30, rs, []string{"en"}, -1)
	got := warnings(w)
	if len(got) != 1 || !strings.Contains(got[0], "video track 0 (1280x720): keyframes every 8 s") || !strings.HasSuffix(got[0], "(so it is on 7 tracks more)") {
		t.Errorf("warnings %q", got)
	}
	lines := 0
	for _, n := range w.News() {
		if n.Kind == livestream.FactWarning {
			lines++
		}
	}
	if lines != 1 {
		t.Errorf("%d lines in the timeline", lines)
	}
}

func TestLadderInWords(t *testing.T) {
	w := ladder(6, []rendition{{[2]int{1920, 1080}, 50, 2, 0, 0}, {[2]int{1280, 720}, 25, 2, 0, 0}}, []string{"en", "fr"}, -1)
	const want = "H.264 High 1920x1080 50 fps + 1280x720 25 fps, AAC-LC 48 kHz stereo (en) + 48 kHz stereo (fr)"
	if got := w.Report().Media; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, tt := range []struct {
		media.Track
		want string
	}{
		{media.Track{Codec: media.HEVC, CodecString: "hvc1.1.6.L93.B0"}, "HEVC Main"},
		{media.Track{Codec: media.HEVC, CodecString: "hvc1.A2.4.H93.B0"}, "HEVC Main 10"},
		{media.Track{Codec: media.AV1, CodecString: "av01.0.08M.10"}, "AV1 Main"},
		{media.Track{Codec: media.VP9, CodecString: "vp09.00.10.08"}, "VP9"},
		{media.Track{Codec: media.Opus, CodecString: "opus"}, "Opus"},
		{media.Track{Codec: media.FLAC, CodecString: "fLaC"}, "FLAC"},
	} {
		if got := codec(tt.Track); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.CodecString, got, tt.want)
		}
	}
}
