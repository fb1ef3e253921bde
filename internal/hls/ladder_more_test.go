package hls_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tally/internal/hls"
	"tally/internal/hls/playlist"
	"tally/internal/livestream"
	"tally/internal/media"
)

// without leaves out what a track sends in a stretch of time.
func without(items []item, from, to time.Duration) (out []item) {
	for _, it := range items {
		if it.track != nil || it.at < from || it.at >= to {
			out = append(out, it)
		}
	}
	return out
}

// later has frames sent later than they belong.
func later(items []item, by time.Duration) []item {
	out := shift(items, by)
	for i := range out {
		if out[i].track != nil {
			out[i].at = 0
		}
	}
	return out
}

// onClock moves items on the encoder's clock.
func onClock(items []item, by time.Duration) []item {
	out := slices.Clone(items)
	scale := map[media.TrackID]int64{}
	for i := range out {
		if t := out[i].track; t != nil {
			scale[t.ID] = int64(t.Timescale)
		} else {
			ticks := int64(by/time.Second) * scale[out[i].frame.Track]
			out[i].frame.DTS += ticks
			out[i].frame.PTS += ticks
		}
	}
	return out
}

func with(s synth, change func(*synth)) synth {
	change(&s)
	return s
}

func v1(items []item) []item { return as(items, media.VideoID(1)) }
func a1(items []item) []item { return as(items, media.AudioID(1)) }

// Whatever the tracks of an encoder do, each rendition keeps every rule, and all
// of them the same grid.
func TestLaddersKeepEveryRule(t *testing.T) {
	s := time.Second
	for _, c := range []struct {
		name    string
		target  int
		sources func(t *testing.T) [][]item
	}{
		{"B-frames in one", 2, func(t *testing.T) [][]item {
			return [][]item{hi.items(t), v1(with(lo, func(x *synth) { x.bframes = true }).items(t)), voice.items(t)}
		}},
		{"60 and 30 pictures per second", 2, func(t *testing.T) [][]item {
			return [][]item{with(hi, func(x *synth) { x.fps, x.gop = 60, 120 }).items(t), v1(lo.items(t)), voice.items(t)}
		}},
		{"keyframes elsewhere", 2, func(t *testing.T) [][]item {
			return [][]item{hi.items(t), v1(with(lo, func(x *synth) { x.gop = 47 }).items(t)), voice.items(t)}
		}},
		{"decode times apart", 2, func(t *testing.T) [][]item {
			return [][]item{hi.items(t), v1(with(lo, func(x *synth) { x.start = 66 * time.Millisecond }).items(t)), voice.items(t)}
		}},
		{"keyframes each half second", 2, func(t *testing.T) [][]item {
			return [][]item{with(hi, func(x *synth) { x.gop = 15 }).items(t), v1(with(lo, func(x *synth) { x.gop = 15 }).items(t)), voice.items(t)}
		}},
		{"keyframes each 8 s", 4, func(t *testing.T) [][]item {
			return [][]item{with(hi, func(x *synth) { x.gop, x.length = 240, 40*s }).items(t), v1(with(lo, func(x *synth) { x.gop, x.length = 240, 40*s }).items(t)),
				with(voice, func(x *synth) { x.length = 40 * s }).items(t)}
		}},
		{"every picture a keyframe", 2, func(t *testing.T) [][]item {
			return [][]item{with(hi, func(x *synth) { x.gop = 1 }).items(t), v1(with(lo, func(x *synth) { x.gop = 1 }).items(t)), voice.items(t)}
		}},
		{"the second video stops and is back", 2, func(t *testing.T) [][]item {
			return [][]item{hi.items(t), v1(without(lo.items(t), 6*s, 13*s)), voice.items(t)}
		}},
		{"keyframes each 5 s, and the second video stops and is back", 2, func(t *testing.T) [][]item {
			long := with(hi, func(x *synth) { x.gop, x.start = 150, 66*time.Millisecond })
			return [][]item{long.items(t), v1(without(with(lo, func(x *synth) { x.gop = 150 }).items(t), 6*s, 13*s)), voice.items(t)}
		}},
		{"the lead stops and is back", 2, func(t *testing.T) [][]item {
			return [][]item{without(hi.items(t), 6500*time.Millisecond, 13*s), v1(lo.items(t)), voice.items(t)}
		}},
		{"the lead stops for a second", 2, func(t *testing.T) [][]item {
			return [][]item{without(hi.items(t), 6500*time.Millisecond, 7500*time.Millisecond), v1(lo.items(t)), voice.items(t)}
		}},
		{"the sound stops and is back", 2, func(t *testing.T) [][]item {
			return [][]item{hi.items(t), v1(lo.items(t)), without(voice.items(t), 6*s, 13*s), a1(second.items(t))}
		}},
		{"the sound has holes", 2, func(t *testing.T) [][]item {
			return [][]item{hi.items(t), v1(lo.items(t)), without(without(voice.items(t), 6*s, 6400*time.Millisecond), 9*s, 10*s), a1(second.items(t))}
		}},
		{"all video stops and is back", 2, func(t *testing.T) [][]item {
			return [][]item{without(hi.items(t), 6*s, 13*s), v1(without(lo.items(t), 6*s, 13*s)), voice.items(t)}
		}},
		{"all video stops for good", 2, func(t *testing.T) [][]item {
			return [][]item{without(hi.items(t), 6*s, 60*s), v1(without(lo.items(t), 6*s, 60*s)), voice.items(t)}
		}},
		{"the sound begins late", 2, func(t *testing.T) [][]item {
			return [][]item{hi.items(t), v1(lo.items(t)), without(voice.items(t), 0, 5*s)}
		}},
		{"the sound begins a little late", 2, func(t *testing.T) [][]item {
			return [][]item{hi.items(t), v1(lo.items(t)), without(voice.items(t), 0, 400*time.Millisecond)}
		}},
		{"the second video begins late", 2, func(t *testing.T) [][]item {
			return [][]item{hi.items(t), v1(without(lo.items(t), 0, 4*s)), voice.items(t)}
		}},
		{"the sound is sent late", 2, func(t *testing.T) [][]item {
			return [][]item{hi.items(t), v1(lo.items(t)), later(voice.items(t), 700*time.Millisecond)}
		}},
		{"the sound is sent very late", 2, func(t *testing.T) [][]item {
			return [][]item{hi.items(t), v1(lo.items(t)), later(voice.items(t), 1900*time.Millisecond)}
		}},
		{"the picture is sent late", 2, func(t *testing.T) [][]item {
			return [][]item{later(hi.items(t), 700*time.Millisecond), later(v1(lo.items(t)), 700*time.Millisecond), voice.items(t)}
		}},
		{"the lead is sent late", 2, func(t *testing.T) [][]item {
			return [][]item{later(hi.items(t), 600*time.Millisecond), v1(lo.items(t)), voice.items(t)}
		}},
		{"a clock of its own", 2, func(t *testing.T) [][]item {
			return [][]item{hi.items(t), v1(lo.items(t)), with(voice, func(x *synth) { x.start = time.Hour }).items(t)}
		}},
		{"sound in several languages", 4, func(t *testing.T) [][]item { return [][]item{voice.items(t), a1(second.items(t))} }},
		{"one picture, sound in two languages", 2, func(t *testing.T) [][]item { return [][]item{hi.items(t), voice.items(t), a1(second.items(t))} }},
		{"no sound", 2, func(t *testing.T) [][]item { return [][]item{hi.items(t), v1(lo.items(t))} }},
		{"a track with one frame", 2, func(t *testing.T) [][]item { return [][]item{hi.items(t), v1(lo.items(t)), voice.items(t)[:2]} }},
		{"a video with one frame", 2, func(t *testing.T) [][]item { return [][]item{hi.items(t), v1(lo.items(t)[:2]), voice.items(t)} }},
		{"a track without a frame", 2, func(t *testing.T) [][]item { return [][]item{hi.items(t), v1(lo.items(t)), voice.items(t)[:1]} }},
		{"2 pictures per second", 2, func(t *testing.T) [][]item {
			return [][]item{hi.items(t), v1(with(lo, func(x *synth) { x.fps, x.gop = 2, 4 }).items(t)), voice.items(t)}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			onLadder(t, hls.Config{}, run(c.target), func(l *ladder) {
				src := together(c.sources(t)...)
				l.broadcast(1, src)
				l.p.Lost(1)
				l.look()
				time.Sleep(7 * time.Second) // the picture is held
				l.look()
				src = onClock(src, time.Hour)
				l.broadcast(2, src[:len(src)/2])
				end(l.p)
				l.look()
			})
		})
	}
}

// An encoder comes back with other tracks: what players know goes on, and who
// comes is offered what there is.
func TestTrackSetsOverReconnects(t *testing.T) {
	short := func(s synth) synth { s.length = 7 * time.Second; return s }
	h, l, a, b := short(hi), short(lo), short(voice), short(second)
	for _, c := range []struct {
		name  string
		steps []func() [][]item
		want  []string // what is offered at the end
	}{
		{"muxed, then a ladder, then muxed", []func() [][]item{
			func() [][]item { return [][]item{h.items(t), a.items(t)} },
			func() [][]item { return [][]item{h.items(t), v1(l.items(t)), a.items(t), a1(b.items(t))} },
			func() [][]item { return [][]item{h.items(t), a.items(t)} },
		}, []string{"v0", "a0"}},
		{"a ladder, then sound alone, then a ladder", []func() [][]item{
			func() [][]item { return [][]item{h.items(t), v1(l.items(t)), a.items(t)} },
			func() [][]item { return [][]item{a.items(t)} },
			func() [][]item { return [][]item{h.items(t), v1(l.items(t)), a.items(t)} },
		}, []string{"v0", "v1", "a0"}},
		{"other tracks each time", []func() [][]item{
			func() [][]item { return [][]item{h.items(t), v1(l.items(t))} },
			func() [][]item { return [][]item{v1(l.items(t)), a1(b.items(t))} },
			func() [][]item { return [][]item{as(l.items(t), media.VideoID(2)), a.items(t), a1(b.items(t))} },
		}, []string{"v2", "a0", "a1"}},
		{"sound, then pictures too", []func() [][]item{
			func() [][]item { return [][]item{a.items(t)} },
			func() [][]item { return [][]item{h.items(t), v1(l.items(t)), a.items(t)} },
		}, []string{"v0", "v1", "a0"}},
		{"another picture size and rate", []func() [][]item{
			func() [][]item { return [][]item{h.items(t), v1(l.items(t)), a.items(t)} },
			func() [][]item { return [][]item{l.items(t), v1(h.items(t)), b.items(t)} },
		}, []string{"v0", "v1", "a0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			onLadder(t, hls.Config{}, run(2), func(l *ladder) {
				for i, step := range c.steps {
					src := together(step()...)
					epoch := int64(i + 1)
					l.broadcast(epoch, src)
					l.p.Lost(epoch)
					l.look()
					time.Sleep(time.Duration(i) * 4 * time.Second) // at first at once, then with a picture held
					l.look()
				}
				var m playlist.Multivariant
				text := string(l.stream().AppendMultivariant(nil, "run/viewer/"))
				if got, err := playlist.ParseMultivariant(text); err != nil {
					t.Error(err)
				} else {
					m = *got
				}
				var offered []string
				for _, r := range l.stream().Renditions() {
					uri := "run/viewer/" + r.Name() + "/index.m3u8"
					if strings.Contains(text, uri) {
						offered = append(offered, r.Name())
					}
				}
				if !slices.Equal(offered, c.want) || len(m.Variants) == 0 {
					t.Errorf("offered are %v, want %v\n%s", offered, c.want, text)
				}
				end(l.p)
				l.look()
			})
		})
	}
}

// The cap on memory is for all renditions together; what they list shortens
// alike, and what does not fit ends the publication.
func TestLadderFitsInMemory(t *testing.T) {
	const limit = 3 << 20
	onLadder(t, hls.Config{RingBytes: limit}, run(2), func(l *ladder) {
		// 2.4 Mbit/s: six seconds, and what goes on, fit; twelve do not.
		h := with(hi, func(s *synth) { s.bytes, s.length = 6000, 30*time.Second })
		m := with(lo, func(s *synth) { s.bytes, s.length = 3000, 30*time.Second })
		src := together(h.items(t), v1(m.items(t)), with(voice, func(s *synth) { s.length = 30 * time.Second }).items(t))
		l.begin(1)
		l.p.Expect(1, ids(src))
		start, most := time.Now(), 0
		for _, it := range src {
			time.Sleep(it.at - time.Since(start))
			if err := write(l.p, 1, it); err != nil {
				t.Fatal(err)
			}
			l.look()
			held := 0
			for _, r := range l.stream().Renditions() {
				held += r.Window().Current().Bytes()
			}
			most = max(most, held)
		}
		if most > limit*11/10 { // others publish their shorter lists a little later
			t.Errorf("%d bytes are held, the cap is %d", most, limit)
		}
		for _, name := range l.all.names {
			got, lead := l.all.views[name].media.Length(), l.all.views["v0"].media.Length()
			if got < 6*time.Second || lead > 11*time.Second || (got-lead).Abs() > 3*time.Second {
				t.Errorf("%s lists %v, v0 %v", name, got, lead)
			}
		}
	})
	onLadder(t, hls.Config{RingBytes: limit}, run(2), func(l *ladder) {
		h := with(hi, func(s *synth) { s.bytes = 12000 })
		src := together(h.items(t), v1(h.items(t)), as(h.items(t), media.VideoID(2)))
		l.begin(1)
		l.p.Expect(1, ids(src))
		for _, it := range src {
			if err := write(l.p, 1, it); err != nil {
				var e *hls.Error
				if !errors.As(err, &e) || e.Reason().Code != livestream.BitrateTooHigh {
					t.Errorf("%v, want %s", err, livestream.BitrateTooHigh)
				}
				return
			}
			l.look()
		}
		t.Error("9.6 Mbit/s fit into 3 MB")
	})
}

// A run's renditions are bounded, and a configuration that cannot be packaged ends
// a publish but not the run.
func TestTracksThatCannotBePackaged(t *testing.T) {
	onLadder(t, hls.Config{}, run(2), func(l *ladder) {
		short := with(voice, func(s *synth) { s.length = 2 * time.Second }).items(t)
		var err error
		for epoch := int64(1); err == nil; epoch++ {
			if epoch > 40 {
				t.Fatal("40 sets of tracks are taken")
			}
			src := together(short, as(short, media.AudioID(uint8(epoch))), as(short, media.AudioID(uint8(epoch+100))))
			l.begin(epoch)
			l.p.Expect(epoch, ids(src))
			start := time.Now()
			for i := 0; i < len(src) && err == nil; i++ {
				time.Sleep(src[i].at - time.Since(start))
				err = write(l.p, epoch, src[i])
				l.look()
			}
		}
		var e *hls.Error
		if !errors.As(err, &e) || e.Reason().Code != livestream.BadMedia || len(l.all.names) > 32 {
			t.Errorf("%v after %d renditions", err, len(l.all.names))
		}
		l.broadcast(100, together(short, as(short, media.AudioID(1))))
	})
	onLadder(t, hls.Config{}, run(2), func(l *ladder) {
		good := together(hi.items(t), v1(lo.items(t)), voice.items(t))
		bad := slices.Clone(good)
		for i := range bad {
			if tr := bad[i].track; tr != nil && tr.ID == media.VideoID(1) {
				wrong := *tr
				wrong.Config = nil
				bad[i].track = &wrong
			}
		}
		l.begin(1)
		l.p.Expect(1, ids(bad))
		var err error
		for i := 0; i < len(bad) && err == nil; i++ {
			err = write(l.p, 1, bad[i])
		}
		if err == nil {
			t.Error("a track without configuration is packaged")
		}
		l.broadcast(2, together(hi.items(t), voice.items(t), a1(second.items(t))))
		if want := []string{"v0", "a0", "a1"}; !slices.Equal(l.all.names, want) {
			t.Errorf("renditions %v, want %v", l.all.names, want)
		}
	})
}

// A video that stopped comes back also where its keyframes lie amid the segments
// of the lead: shown, not as a gap for good, and without a hole before it.
func TestVideoComesBackAmidASegment(t *testing.T) {
	for _, off := range []int{7, 8, 20, 30, 45} { // pictures behind the lead's keyframe
		t.Run(fmt.Sprint(off), func(t *testing.T) {
			onLadder(t, hls.Config{}, run(2), func(l *ladder) {
				own := v1(lo.items(t))
				for n, i := 0, 0; i < len(own); i++ {
					if own[i].track == nil {
						own[i].frame.Key = n == 0 || n%60 == off
						own[i].frame.Payload = lo.picture(own[i].frame.Key)
						n++
					}
				}
				l.broadcast(1, together(hi.items(t), without(own, 6*time.Second, 9*time.Second), voice.items(t)))
				if text := l.text("v1"); strings.Contains(text[strings.Index(text, "#EXT-X-PART:"):], "GAP") {
					t.Errorf("ten seconds after it came back:\n%s", text)
				}
				end(l.p)
				l.look()
			})
		})
	}
}
