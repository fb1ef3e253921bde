package hls_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"tally/internal/hls"
	"tally/internal/hls/hlscheck"
	"tally/internal/hls/playlist"
	"tally/internal/livestream"
	"tally/internal/media"
)

// wait lets time pass, with the viewer looking on.
func (s *stage) wait(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); s.v.look() {
		time.Sleep(min(50*time.Millisecond, time.Until(end)))
	}
}

// stretches are the lengths of what lies between discontinuities, held ones
// negative.
func (s *stage) stretches() []time.Duration {
	s.playlist()
	var out []time.Duration
	for i := range s.v.media.Segments {
		g := &s.v.media.Segments[i]
		if i == 0 || g.Discontinuity {
			out = append(out, 0)
		}
		if n := len(out) - 1; g.Held() || g.URI == "" && out[n] < 0 {
			out[n] -= g.Length()
		} else {
			out[n] += g.Length()
		}
	}
	return out
}

func near(a, b, within time.Duration) bool { return (a - b).Abs() <= within }

// However the encoder goes and comes back, whatever it sends: the playlist goes
// on after one target duration behind one discontinuity, in step with the
// clock, and behind another with the media.
func TestHeldPicture(t *testing.T) {
	kinds := map[string]synth{
		"sound and picture": av,
		"B-frames, 44.1":    {fps: 25, gop: 50, bframes: true, rate: 44100, announces: 1, length: 3 * time.Second},
		"video only":        {fps: 30, gop: 30, announces: 1, length: 3 * time.Second},
		"audio only":        {noVideo: true, rate: 44100, length: 3 * time.Second},
		"10 fps":            {fps: 10, gop: 20, rate: 48000, announces: 1, length: 3 * time.Second},
	}
	ways := map[string]func(s *stage, gap time.Duration) (epoch int64){
		"starved": func(s *stage, gap time.Duration) int64 { s.wait(gap); return 1 },
		"lost": func(s *stage, gap time.Duration) int64 {
			s.p.Lost(1)
			s.wait(gap)
			s.begin(2)
			return 2
		},
		"taken over": func(s *stage, gap time.Duration) int64 { s.wait(gap); s.begin(2); return 2 },
	}
	for kind, src := range kinds {
		for way, away := range ways {
			gaps := []time.Duration{3 * time.Second, 20 * time.Second}
			if kind == "sound and picture" {
				gaps = append(gaps, 59*time.Second)
			}
			for _, gap := range gaps {
				t.Run(fmt.Sprintf("%s, %s, %v", kind, way, gap), func(t *testing.T) {
					onStage(t, hls.Config{Window: 2 * time.Minute}, run(2), func(s *stage) {
						s.begin(1)
						s.p.Expect(1, media.First(!src.noVideo, src.rate > 0))
						s.send(1, src.items(t))
						before, stopped := s.p.Progress(), time.Now()
						epoch := away(s, gap)
						s.wantStage(livestream.StageReconnecting)
						again := src
						again.start = src.length + gap
						back := time.Now()
						s.send(epoch, again.items(t))
						s.wantStage(livestream.StageLive)
						after := s.p.Progress()
						if after.Discontinuity != before.Discontinuity+2 || after.MSN <= before.MSN {
							t.Errorf("numbers went from %+v to %+v", before, after)
						}
						got := s.stretches()
						if len(got) != 3 || !near(got[0], 3*time.Second, 150*time.Millisecond) || !near(-got[1], gap, 200*time.Millisecond) {
							t.Errorf("media, held, media: %v; want 3 s, %v, 3 s", got, -gap)
						}
						if text := s.playlist(); count(text, "EXT-X-MAP") != 1 {
							t.Errorf("want one map:\n%s", text)
						}
						s.wantDates(stopped, back)
						end(s.p)
					})
				})
			}
		}
	}
}

// wantDates compares the dates of held segments with the clock: they begin
// where the media stopped, and end where it begins again.
func (s *stage) wantDates(stopped, back time.Time) {
	s.t.Helper()
	var first, last *playlist.Segment
	for i := range s.v.media.Segments {
		if g := &s.v.media.Segments[i]; g.Held() {
			if first == nil {
				first = g
			}
			last = g
		}
	}
	if first == nil {
		s.t.Error("nothing was held")
		return
	}
	if !near(first.ProgramDateTime.Sub(stopped), 0, 200*time.Millisecond) {
		s.t.Errorf("held from %v, want %v", first.ProgramDateTime, stopped)
	}
	if end := last.ProgramDateTime.Add(last.Duration); !near(end.Sub(back), 0, 120*time.Millisecond) {
		s.t.Errorf("held until %v, media came back at %v", end, back)
	}
}

// A gap shorter than one target duration changes nothing at all.
func TestShortGapHoldsNothing(t *testing.T) {
	onStage(t, hls.Config{Window: time.Minute}, run(4), func(s *stage) {
		s.begin(1)
		s.send(1, av.items(t))
		s.p.Lost(1)
		snap := s.v.window.Current()
		for range 39 {
			time.Sleep(100 * time.Millisecond)
			if s.v.window.Current() != snap {
				t.Fatal("the playlist has changed")
			}
		}
		s.begin(2)
		s.send(2, av.items(t))
		if got := s.stretches(); len(got) != 2 || got[1] < 0 {
			t.Errorf("stretches %v, want two of media", got)
		}
	})
}

// While the picture is held the playlist grows by a part each PART-TARGET, each
// begins with the keyframe, and a hint is answered by the held part.
func TestHeldPartsAreSteady(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		s.begin(1)
		s.send(1, av.items(t))
		s.p.Lost(1)
		s.wait(2500 * time.Millisecond)
		for range 40 {
			snap, at := s.v.window.Current(), time.Now()
			p, err := s.v.window.WaitPart(s.t.Context(), snap.Epoch, snap.NextPart, hls.Within{})
			if err != nil || !p.Held || !p.Independent || p.SessionID != "session" {
				t.Fatalf("part %+v, %v", p, err)
			}
			if took := time.Since(at); took > snap.PartTarget+2*time.Millisecond {
				t.Errorf("a part after %v, PART-TARGET is %v", took, snap.PartTarget)
			}
			s.v.look()
		}
		for _, g := range s.v.media.Segments {
			if g.Duration > 2*time.Second {
				t.Errorf("a segment of %v", g.Duration)
			}
		}
	})
}

// The held picture ends with the session, and there is none without one.
func TestHeldWhileTheSessionIsPlayable(t *testing.T) {
	still := func(s *stage, what string) {
		t.Helper()
		snap := s.v.window.Current()
		time.Sleep(8 * time.Second)
		if s.v.window.Current() != snap {
			t.Errorf("the playlist goes on %s", what)
		}
	}
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		still(s, "before a publish")
		s.begin(1)
		still(s, "before media")
		s.send(1, av.items(t))
		s.p.Lost(1)
		s.wait(10 * time.Second)
		end(s.p) // the window is over
		if got := s.playlist(); count(got, "EXT-X-ENDLIST") != 1 {
			t.Errorf("no end:\n%s", got)
		}
		still(s, "after its end")
	})
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		s.begin(1)
		s.send(1, av.items(t))
		s.wait(3 * time.Second)
		s.p.End(true) // a clean end while the picture is held
		if s.v.look(); s.v.media.Open() != nil {
			t.Error("the held segment is left open")
		}
		still(s, "during the delay of its end")
		s.p = s.registry.Open(hls.OpenOptions{PlaybackID: "play", SessionID: "next", Run: run(2).Run})
		s.p.Begin(2)
		s.p.Mark(farAhead, farAhead)
		s.v.look()
		still(s, "for a session that is not playable yet")
		s.send(2, av.items(t))
		s.wait(4 * time.Second)
		if got := s.stretches(); len(got) != 4 || got[3] > 0 {
			t.Errorf("stretches %v", got)
		}
	})
}

// What cannot be held is a gap: too large a keyframe, channels that nobody
// knows silence for.
func TestGaps(t *testing.T) {
	own, err := media.AACTrack([]byte{0x11, 0x80, 0x04, 0xc4, 0x00, 0x00, 0x20, 0x00})
	if err != nil {
		t.Fatal(err)
	}
	large := synth{bytes: 600 << 10}.picture(true) // 2.4 MB
	for name, edit := range map[string]func([]item) []item{
		"large keyframes": func(items []item) []item {
			for i := range items {
				if f := &items[i].frame; items[i].track == nil && f.Track == media.VideoTrack && f.Key {
					f.Payload = large
				}
			}
			return items
		},
		"own channels": func(items []item) []item {
			for i := range items {
				if items[i].track != nil && items[i].track.Codec == media.AAC {
					items[i].track = &own
				}
			}
			return items
		},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, hls.Config{Window: time.Minute, RingBytes: 1 << 30}, run(2), func(s *stage) {
				s.begin(1)
				s.send(1, edit(av.items(t)))
				s.wait(5 * time.Second)
				got := s.playlist()
				if count(got, "EXT-X-GAP") < 3 || !strings.Contains(got, "GAP=YES") {
					t.Errorf("no gaps:\n%s", got)
				}
				snap := s.v.window.Current()
				if p := snap.Part(1, snap.NextPart-1); p != nil {
					t.Errorf("a gap can be fetched: %+v", p)
				}
				if g := snap.Segment(1, snap.LastMSN); g != nil {
					t.Errorf("a gap can be fetched: %+v", g)
				}
				if _, err := s.v.window.WaitPart(s.t.Context(), 1, snap.NextPart, hls.Within{}); !errors.Is(err, livestream.ErrNotFound) {
					t.Errorf("the hint of a gap: %v", err)
				}
				s.send(1, edit(av.items(t)))
				if got := s.stretches(); len(got) != 3 || got[2] < 2*time.Second {
					t.Errorf("stretches %v", got)
				}
			})
		})
	}
}

// Numbers that are not durable are not listed, held or not, and none are piled
// up meanwhile.
func TestHeldNumbersAreDurable(t *testing.T) {
	onStage(t, hls.Config{Window: time.Minute}, run(2), func(s *stage) {
		s.p.Begin(1)
		s.p.Mark(6, 1)
		s.send(1, av.items(t)) // MSN 1 to 4
		s.p.Lost(1)
		s.wait(20 * time.Second)
		if snap := s.v.window.Current(); snap.LastMSN > 6 {
			t.Errorf("listed up to %d, the mark is 6", snap.LastMSN)
		}
		if p := s.p.Progress(); p.MSN > 7 {
			t.Errorf("begun up to %d, the mark is 6", p.MSN)
		}
		s.p.Mark(farAhead, farAhead)
		s.wait(10 * time.Second)
		if p := s.p.Progress(); p.MSN < 15 {
			t.Errorf("%d after the mark was raised", p.MSN)
		}
	})
}

// A picture is held once, however often it is listed, and frees the ring.
func TestHeldPartsShareThePicture(t *testing.T) {
	onStage(t, hls.Config{RingBytes: 2 << 20}, run(2), func(s *stage) {
		src := av
		src.bytes, src.length = 4000, 3*time.Second
		items := src.items(t)
		key := synth{bytes: 100 << 10}.picture(true) // 400 KB, listed three times a second
		last := -1
		for i := range items {
			if items[i].track == nil && items[i].frame.Track == media.VideoTrack && items[i].frame.Key {
				last = i
			}
		}
		items[last].frame.Payload = key
		s.begin(1)
		s.send(1, items)
		s.wait(30 * time.Second)
		snap := s.v.window.Current()
		seen := map[*byte]bool{}
		for n := snap.NextPart - 40; n < snap.NextPart; n++ {
			p := snap.Part(1, n)
			if p == nil || len(p.Data) > 4000 || len(p.Tail) != len(key) {
				t.Fatalf("part %d: %+v", n, p)
			}
			seen[&p.Tail[0]] = true
		}
		if len(seen) != 1 {
			t.Errorf("%d copies of the picture", len(seen))
		}
		if got := s.v.media.Length(); got < 12*time.Second {
			t.Errorf("%v listed: the cap counts shared bytes", got)
		}
	})
}

// When the timer was not heard for long, what is missing is not made up for.
func TestHeldAfterAHang(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		s.p.Begin(1)
		s.p.Mark(6, farAhead)
		s.send(1, av.items(t))
		s.wait(10 * time.Minute) // the store hangs: nothing becomes durable
		s.p.Mark(farAhead, farAhead)
		s.wait(2 * time.Second)
		if p := s.p.Progress(); p.MSN > 15 {
			t.Errorf("%d segments at once", p.MSN)
		}
		s.wait(5 * time.Second)
		s.playlist()
		g := s.v.media.Segments[len(s.v.media.Segments)-1]
		if late := time.Since(g.ProgramDateTime.Add(g.Length())); late < 0 || late > time.Second {
			t.Errorf("the held picture is %v late", late)
		}
	})
}

// Whatever an encoder sends and however it breaks off, the strict checker finds
// nothing in a playlist that is held now and then.
func TestHeldProperty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) {
			src := synth{
				fps:       rapid.SampledFrom([]float64{10, 15, 23.976, 25, 29.97, 30, 50, 60}).Draw(rt, "fps"),
				bframes:   rapid.Bool().Draw(rt, "bframes"),
				rate:      rapid.SampledFrom([]int{0, 32000, 44100, 48000}).Draw(rt, "rate"),
				announces: 1,
				audioLag:  time.Duration(rapid.IntRange(-150, 150).Draw(rt, "lag")) * time.Millisecond,
			}
			src.noVideo = src.rate > 0 && rapid.IntRange(0, 4).Draw(rt, "audio only") == 0
			src.gop = max(1, int(src.fps*rapid.Float64Range(0.3, 4).Draw(rt, "gop seconds")))
			r := hls.NewRegistry(hls.Config{Window: time.Duration(rapid.IntRange(6, 40).Draw(rt, "window")) * time.Second})
			defer r.Close()
			p := r.Open(run(rapid.IntRange(1, 6).Draw(rt, "target")))
			v := newViewer(rt, r.Stream("play").Window(), hlscheck.Options{})
			p.Mark(farAhead, farAhead)
			wait := func(d time.Duration) {
				for end := time.Now().Add(d); time.Now().Before(end); v.look() {
					time.Sleep(min(50*time.Millisecond, time.Until(end)))
				}
			}
			connected, lengths := false, time.Duration(0)
			for epoch := int64(0); epoch < 2 || rapid.IntRange(0, 3).Draw(rt, "more") > 0 && epoch < 5; {
				if !connected {
					epoch++
					p.Begin(epoch)
					p.Expect(epoch, media.First(!src.noVideo, src.rate > 0))
					connected, lengths = true, 0
				}
				src.start = lengths
				src.length = time.Duration(rapid.IntRange(100, 6000).Draw(rt, "sends")) * time.Millisecond
				if epoch == 1 {
					src.length += 500 * time.Millisecond // before something is playable nothing is held
				}
				start := time.Now()
				for _, it := range src.items(t) {
					time.Sleep(it.at - time.Since(start))
					if err := write(p, epoch, it); err != nil {
						rt.Fatal(err)
					}
					v.look()
				}
				gap := time.Duration(rapid.IntRange(0, 15000).Draw(rt, "gap")) * time.Millisecond
				switch rapid.IntRange(0, 2).Draw(rt, "goes by") {
				case 0:
					p.Lost(epoch)
					connected = false
				case 1: // is taken over from
					connected = false
				default: // falls silent, for longer than a pause within a part
					gap += 7 * time.Second
				}
				wait(gap)
				lengths += src.length + gap
			}
			end(p)
			v.look()
			for _, x := range v.check.Violations() {
				rt.Errorf("%v", x)
			}
			if rt.Failed() && len(v.texts) > 0 {
				rt.Logf("%s", v.texts[len(v.texts)-1])
			}
		})
	})
}

// A keyframe without a second picture, a track that comes while the picture is
// held, a publisher that announces and sends nothing: the picture stays.
func TestHeldUntilMediaIsComplete(t *testing.T) {
	onStage(t, hls.Config{Window: time.Minute}, run(2), func(s *stage) {
		s.begin(1)
		s.send(1, av.items(t))
		s.p.Lost(1)
		s.wait(4 * time.Second)
		s.begin(2)
		s.p.Expect(2, media.First(true, true))
		s.wait(4 * time.Second)
		other := av
		other.config = avc1080p
		items := other.items(t)
		for i := range items[:2] {
			if err := write(s.p, 2, items[i]); err != nil {
				t.Fatal(err)
			}
		}
		s.wait(4 * time.Second)
		later := slices.DeleteFunc(items[2:], func(it item) bool { // it begins within a group of pictures
			return it.frame.Track == media.VideoTrack && it.at < 500*time.Millisecond
		})
		s.send(2, later)
		got := s.stretches()
		if len(got) != 3 || !near(-got[1], 13*time.Second, 700*time.Millisecond) {
			t.Errorf("stretches %v", got)
		}
		if text := s.playlist(); count(text, "EXT-X-MAP") != 2 || count(text, "EXT-X-DISCONTINUITY\n") != 2 {
			t.Errorf("want two maps, two discontinuities:\n%s", text)
		}
	})
}
