package cli

import (
	"slices"
	"testing"
)

func TestEncoderLines(t *testing.T) {
	const media = "H.264 High 1280x720 30 fps, AAC-LC 48 kHz stereo"
	for _, c := range []struct {
		name string
		e    Encoder
		want []string // nil: not measured yet
	}{
		{"well", Encoder{2.002, media, nil}, []string{"connected ✓  keyframes every 2.0 s ✓", "  " + media}},
		{"too rare", Encoder{8.33, media, []Warning{{"KEYFRAME_INTERVAL", "keyframes every 8.3 s, the limit is 4 s; set Keyframe Interval to 2 s"}}},
			[]string{"connected ✓  keyframes every 8.3 s ✗ set Keyframe Interval to 2 s", "  " + media}},
		{"none comes", Encoder{0, media, []Warning{{"KEYFRAME_INTERVAL", "no keyframe for 11 s, the limit is 4 s; set Keyframe Interval to 2 s"}}},
			[]string{"connected ✓  no keyframe for 11 s ✗ set Keyframe Interval to 2 s", "  " + media}},
		{"more to change", Encoder{2, media, []Warning{{"B_FRAMES", "B-frames delay every picture by 400 ms, more than one part (the limit is 335 ms); set B-frames to 0, or Tune to zerolatency"}, {"X", "no more"}}},
			[]string{"connected ✓  keyframes every 2.0 s ✓", "  " + media,
				"  B-frames delay every picture by 400 ms, more than one part (the limit is 335 ms) ✗ set B-frames to 0, or Tune to zerolatency", "  ✗ no more"}},
		{"audio only", Encoder{0, "AAC-LC 48 kHz stereo, no video", nil}, []string{"connected ✓", "  AAC-LC 48 kHz stereo, no video"}},
		{"no second keyframe yet", Encoder{0, media, nil}, nil},
		{"nothing yet", Encoder{}, nil},
	} {
		if got := c.e.measured(); got != (c.want != nil) {
			t.Errorf("%s: measured %v", c.name, got)
		}
		if got := c.e.lines(); c.want != nil && !slices.Equal(got, c.want) {
			t.Errorf("%s: %q\nwant %q", c.name, got, c.want)
		}
	}
}
