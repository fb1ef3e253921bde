package rtmpserver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tally/internal/media"
	"tally/internal/rtmp/amf0"
	"tally/internal/rtmp/cue"
	"tally/internal/rtmp/flv"
	"tally/internal/rtmp/publisher"
)

// script is a data message as an encoder sends it.
func script(at int64, values ...any) flv.Tag {
	return flv.Tag{Type: flv.TypeScript, Time: at, Body: amf0.Append(nil, values...)}
}

// With the clip's frames around, each cue has the time of the media of its
// timestamp, however far the encoder's clock is from zero.
func TestCues(t *testing.T) {
	const splice = "/DAvAAAAAAAA///wFAVIAACPf+/+c2nALv4AUsz1AAAAAAAKAAhDVUVJAAABNWLbowo="
	for _, origin := range []int64{0, 1<<32 - 900} { // it wraps amid the clip
		t.Run(fmt.Sprint(origin), func(t *testing.T) {
			h := start(t, nil)
			clip := loadClip(t)
			var tags []flv.Tag
			said := false
			for _, tag := range clip.Tags {
				if flv.IsFrame(tag) && tag.Time >= 1200 && !said {
					said = true
					tags = append(tags,
						script(1200, "onTextData", amf0.Object{{Name: "text", Value: "hello"}}),
						script(1000, "@setDataFrame", "onCuePoint", amf0.Object{{Name: "name", Value: "late"}}),
						script(1200, "onAdCue", amf0.Object{{Name: "cue", Value: splice}, {Name: "time", Value: float64(uint32(origin+1700)) / 1000}}),
						script(90_000, "onUserDataEvent", "far away"),
						script(1200, "onTextData", amf0.Object{{Name: "text", Value: strings.Repeat("x", 5000)}}),
						script(1200, "onStatus", amf0.Object{}))
				}
				tags = append(tags, tag)
			}
			for i := range tags {
				if tags[i].Type != flv.TypeScript || i > 0 {
					tags[i].Time += origin
				}
			}
			if err := publishClip(t, publisher.Options{URL: h.url(), Source: publisher.FromClip(&flv.Clip{Tags: tags, Duration: clip.Duration}, false)}); err != nil {
				t.Fatal(err)
			}
			p := h.pub(t, 0)
			p.wait(t, "unpublish")
			want := []struct {
				class     string
				low, high int64 // ms
			}{{"onTextData", 1198, 1202}, {"onCuePoint", 998, 1002}, {cue.ClassSCTE35, 1698, 1702}, {"onUserDataEvent", 1150, 1200}}
			if len(p.cues) != len(want) {
				t.Fatalf("cues %+v", p.cues)
			}
			for i, w := range want {
				c := p.cues[i]
				if ms := c.At * 1000 / media.VideoTimescale; c.Class != w.class || ms < w.low || ms > w.high {
					t.Errorf("cue %d: %s at %d ms, want %s between %d and %d ms", i, c.Class, ms, w.class, w.low, w.high)
				}
			}
			if n := h.srv.Stats().Cues.Load(); n != int64(len(want)) {
				t.Errorf("%d cues are counted", n)
			}
		})
	}
}

// An encoder that talks without end fills no playlist, and splices pass longest.
func TestCuesAreLimited(t *testing.T) {
	now, passed := time.Now(), 0
	var s told
	for range 1000 {
		if s.allow("onTextData", false, now) {
			passed++
		}
	}
	if passed != cuesBurst {
		t.Errorf("%d cues at once", passed)
	}
	for range 2 * cuesBurst {
		if s.allow("onAdCue", true, now) {
			passed++
		}
	}
	if passed != 2*cuesBurst {
		t.Errorf("%d cues and splices at once", passed)
	}
	if s.allow("onTextData", false, now.Add(time.Second)) {
		t.Error("what splices took comes back at once")
	}
	if s = (told{}); !s.allow("onFI", false, now) || s.allow("onFI", false, now.Add(timeOfDay/2)) || !s.allow("onFI", false, now.Add(timeOfDay)) {
		t.Error("the time of day is told once a second")
	}
}
