package cli

import (
	"testing"
	"time"

	"tally/internal/hls/playlist"
)

// window renders a playlist of segments that each last segment, of which every
// n-th starts with a keyframe; the first listed one has number first.
func window(first, count, every int64, segment time.Duration) *playlist.Media {
	m := &playlist.Media{MediaSequence: first}
	for msn := first; msn < first+count; msn++ {
		half := segment / 2
		m.Segments = append(m.Segments, playlist.Segment{URI: "s", Duration: segment, Parts: []playlist.Part{
			{URI: "a", Duration: half, Independent: msn%every == 0}, {URI: "b", Duration: segment - half},
		}})
	}
	m.Segments = append(m.Segments, playlist.Segment{Parts: []playlist.Part{{URI: "open", Duration: segment / 2, Independent: true}}})
	return m
}

func TestKeyframeMeter(t *testing.T) {
	t.Run("each segment, looked at often", func(t *testing.T) {
		var m keyframeMeter
		for first := range int64(6) {
			m.add(window(first, 3, 1, 2*time.Second))
			m.add(window(first, 3, 1, 2*time.Second))
		}
		if m.longest != 2*time.Second || m.seen != 8 {
			t.Errorf("longest %v of %d keyframes, want 2s of 8", m.longest, m.seen)
		}
	})
	t.Run("every fourth segment", func(t *testing.T) {
		var m keyframeMeter
		for first := range int64(12) {
			m.add(window(first, 3, 4, 2*time.Second))
		}
		if m.longest != 8*time.Second {
			t.Errorf("longest %v, want 8s", m.longest)
		}
	})
	t.Run("segments missed", func(t *testing.T) {
		var m keyframeMeter
		m.add(window(0, 3, 1, time.Second))
		m.add(window(100, 3, 1, time.Second))
		if m.longest != time.Second {
			t.Errorf("longest %v, want 1s: a hole is no distance", m.longest)
		}
	})
	t.Run("discontinuity", func(t *testing.T) {
		var m keyframeMeter
		p := window(0, 8, 5, time.Second)
		p.Segments[3].Discontinuity = true
		m.add(p)
		if m.longest != 0 {
			t.Errorf("longest %v, want none: it spans a discontinuity", m.longest)
		}
	})
}

func TestKeyframesText(t *testing.T) {
	for _, c := range []struct {
		interval time.Duration
		want     string
	}{
		{8300 * time.Millisecond, "keyframes every 8.3 s ✗ set Keyframe Interval to 2 s"},
		{2002 * time.Millisecond, "keyframes every 2.0 s ✓"},
		{0, "no second keyframe within 20 s ✗ set Keyframe Interval to 2 s"},
	} {
		if got := keyframesOf(c.interval).String(); got != c.want {
			t.Errorf("%v: %q, want %q", c.interval, got, c.want)
		}
	}
}
