package clock

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

const videoRate = 90000

// frames runs timestamps that arrive in real time, 33 ms apart, through a new
// video track.
func frames(ts ...uint32) (dts []int64, jumps int) {
	var c Clock
	t := c.Track(videoRate, 0)
	for i, s := range ts {
		d, j := t.Next(s, time.Duration(i)*33*time.Millisecond)
		if dts = append(dts, d); j {
			jumps++
		}
	}
	return dts, jumps
}

func TestVideo(t *testing.T) {
	wrap := uint32(1<<32 - 20)
	tests := []struct {
		name  string
		ts    []uint32
		want  []int64 // ms
		jumps int
	}{
		{"begins at zero wherever the encoder begins", []uint32{5000, 5033, 5066}, []int64{0, 33, 66}, 0},
		{"wrap at 2^32", []uint32{wrap, wrap + 10, wrap + 30, wrap + 50}, []int64{0, 10, 30, 50}, 0},
		{"sign at 2^31", []uint32{1<<31 - 10, 1<<31 + 10}, []int64{0, 20}, 0},
		{"repeated timestamp", []uint32{0, 33, 33, 66}, []int64{0, 33, 34, 66}, 0},
		{"small step back", []uint32{0, 100, 80, 133}, []int64{0, 100, 101, 133}, 0},
		{"pause of 10 s", []uint32{0, 33, 10033}, []int64{0, 33, 10033}, 0},
		{"jump forward", []uint32{0, 33, 1_000_000, 1_000_033}, []int64{0, 33, 66, 99}, 1},
		{"jump back", []uint32{500_000, 500_033, 0, 33}, []int64{0, 33, 66, 99}, 1},
		{"creeping back is a jump at last", []uint32{10_000, 9_100, 8_200, 8_233}, []int64{0, 1, 2, 35}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, jumps := frames(tt.ts...)
			for i, w := range tt.want {
				if got[i] != w*90 {
					t.Errorf("frame %d at %d ticks, want %d", i, got[i], w*90)
				}
			}
			if jumps != tt.jumps {
				t.Errorf("%d jumps, want %d", jumps, tt.jumps)
			}
		})
	}
}

// TestAudioFollowsTheSampleClock: 44.1 kHz frames last 23.2 ms and RTMP says
// 23 or 24; a day of that must neither jitter nor drift.
func TestAudioFollowsTheSampleClock(t *testing.T) {
	var c Clock
	a := c.Track(44100, 1024)
	for i := int64(0); i < 24*3600*43; i++ {
		ms := i * 1024 * 1000 / 44100
		d, jumped := a.Next(uint32(ms), time.Duration(ms)*time.Millisecond)
		if d != i*1024 || jumped {
			t.Fatalf("frame %d at %d, want %d (jumped: %v)", i, d, i*1024, jumped)
		}
	}
}

func TestAudioGapMovesOn(t *testing.T) {
	var c Clock
	a := c.Track(48000, 1024)
	a.Next(0, 0)
	a.Next(21, 0)
	if d, jumped := a.Next(3000, 0); d != 3000*48 || jumped {
		t.Errorf("after a gap of 3 s: %d, jumped %v", d, jumped)
	}
}

// TestStandingTimestamps: all zero; time then passes as frames arrive.
func TestStandingTimestamps(t *testing.T) {
	var c Clock
	v, a := c.Track(videoRate, 0), c.Track(48000, 1024)
	const seconds = 20
	var vd, ad int64
	for ms := 0; ms < seconds*1000; ms++ {
		at := time.Duration(ms) * time.Millisecond
		if ms%40 == 0 {
			d, jumped := v.Next(0, at)
			if jumped || ms > 0 && d <= vd {
				t.Fatalf("video at %d after %d, jumped %v", d, vd, jumped)
			}
			vd = d
		}
		if ms%21 == 0 {
			d, jumped := a.Next(0, at)
			if jumped || ms > 0 && d <= ad {
				t.Fatalf("audio at %d after %d, jumped %v", d, ad, jumped)
			}
			ad = d
		}
	}
	for name, sec := range map[string]float64{"video": float64(vd) / videoRate, "audio": float64(ad) / 48000} {
		if sec < seconds-1 || sec > seconds+1 {
			t.Errorf("%s: %.1f s passed, %d s arrived", name, sec, seconds)
		}
	}
}

// TestTracksStayInStep: both jump, video first, with frames of the old clock
// still to come; the distance between the tracks is as before.
func TestTracksStayInStep(t *testing.T) {
	for _, jump := range []int64{100_000, -40_000} {
		var c Clock
		v, a := c.Track(videoRate, 0), c.Track(48000, 1024)
		jumps := 0
		for ms := int64(50_000); ms < 60_000; ms++ {
			now := time.Duration(ms) * time.Millisecond
			vts, ats := ms, ms
			if ms >= 55_000 {
				vts += jump
			}
			if ms >= 55_050 {
				ats += jump
			}
			if ms%40 == 0 {
				if _, j := v.Next(uint32(vts), now); j {
					jumps++
				}
			}
			if ms%20 == 0 {
				if _, j := a.Next(uint32(ats), now); j {
					jumps++
				}
			}
		}
		if d := v.now() - a.now(); d > 60 || d < -60 {
			t.Errorf("jump of %d ms: video is %d ms ahead of audio", jump, d)
		}
		if jumps != 2 {
			t.Errorf("jump of %d ms: %d jumps, want one per track", jump, jumps)
		}
	}
}

// TestSeparateOrigins: audio counts from elsewhere, for ever.
// TestLadderStaysInStep: three renditions and two sounds jump one after the
// other, each in its own order; pictures of one timestamp have one decode time.
func TestLadderStaysInStep(t *testing.T) {
	var c Clock
	var v, a []*Track
	for range 3 {
		v = append(v, c.Track(videoRate, 0))
	}
	a = append(a, c.Track(48000, 1024), c.Track(48000, 960))
	for ms := int64(0); ms < 4000; ms++ {
		now, ts := time.Duration(ms)*time.Millisecond, ms
		if ms >= 2000 {
			ts += 500_000
		}
		if ms%21 == 0 {
			a[0].Next(uint32(ts), now)
		}
		if ms%40 == 0 {
			var dts [3]int64
			for i := range v {
				dts[(i+1)%3], _ = v[(i+1)%3].Next(uint32(ts), now)
			}
			if dts[0] != dts[1] || dts[1] != dts[2] {
				t.Fatalf("at %d ms: %d", ms, dts)
			}
		}
		if ms%20 == 0 {
			a[1].Next(uint32(ts), now)
		}
	}
	for _, s := range a {
		if d := v[0].now() - s.now(); d > 60 || d < -60 {
			t.Errorf("a sound is %d ms from the picture", d)
		}
	}
}

func TestSeparateOrigins(t *testing.T) {
	var c Clock
	v, a := c.Track(videoRate, 0), c.Track(48000, 960)
	for ms := int64(0); ms < 60_000; ms += 20 {
		now := time.Duration(ms) * time.Millisecond
		_, j1 := v.Next(uint32(ms), now)
		_, j2 := a.Next(uint32(ms)+3_000_000_000, now)
		if j1 || j2 {
			t.Fatalf("jump at %d ms", ms)
		}
	}
	if d := v.now() - a.now(); d > 40 || d < -40 {
		t.Errorf("video is %d ms ahead of audio", d)
	}
}

// TestPausedTrackKeepsItsPlace: video stands for 15 s while audio goes on.
func TestPausedTrackKeepsItsPlace(t *testing.T) {
	var c Clock
	v, a := c.Track(videoRate, 0), c.Track(48000, 960)
	v.Next(0, 0)
	for ms := int64(0); ms <= 15_000; ms += 20 {
		a.Next(uint32(ms), time.Duration(ms)*time.Millisecond)
	}
	if d, jumped := v.Next(15_000, 15*time.Second); d != 15_000*90 || jumped {
		t.Errorf("video goes on at %d ms, jumped %v", d/90, jumped)
	}
}

func TestRetune(t *testing.T) {
	var c Clock
	a := c.Track(48000, 1024)
	a.Next(0, 0)
	a.Next(1000, time.Second)
	a.Retune(44100, 1024)
	if d, jumped := a.Next(1023, time.Second); jumped || d != 44100+1024 {
		t.Errorf("after the change: %d, jumped %v", d, jumped)
	}
}

func TestDecodeTimeRises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c Clock
		tracks := []*Track{c.Track(videoRate, 0), c.Track(44100, 1024)}
		last := []int64{-1, -1}
		ts, now := rapid.Uint32().Draw(t, "start"), time.Duration(0)
		for range rapid.IntRange(1, 200).Draw(t, "frames") {
			step := rapid.OneOf(rapid.Int64Range(-50, 100), rapid.Just[int64](0),
				rapid.Int64Range(-1<<33, 1<<33)).Draw(t, "step")
			ts += uint32(step)
			now += time.Duration(rapid.IntRange(0, 3000).Draw(t, "wait")) * time.Millisecond
			i := rapid.IntRange(0, 1).Draw(t, "track")
			d, jumped := tracks[i].Next(ts, now)
			if d <= last[i] {
				t.Fatalf("track %d: %d after %d", i, d, last[i])
			}
			if gap := d - last[i]; jumped && gap > 2*near*tracks[i].rate/1000 {
				t.Fatalf("track %d went on %d ticks later after a jump", i, gap)
			}
			last[i] = d
		}
	})
}

// TestOriginDoesNotMatter: the same distances from another first timestamp,
// on either side of a wrap, give the same result.
func TestOriginDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shift := rapid.Uint32().Draw(t, "shift")
		steps := rapid.SliceOfN(rapid.Uint32Range(0, 200), 2, 100).Draw(t, "steps")
		var a, b []uint32
		at := uint32(0)
		for _, s := range steps {
			at += s
			a, b = append(a, at), append(b, at+shift)
		}
		da, ja := frames(a...)
		db, jb := frames(b...)
		for i := range da {
			if da[i] != db[i] {
				t.Fatalf("frame %d: %d and %d", i, da[i], db[i])
			}
		}
		if ja+jb != 0 {
			t.Fatal("jumped")
		}
	})
}

func BenchmarkNext(b *testing.B) {
	var c Clock
	v := c.Track(videoRate, 0)
	b.ReportAllocs()
	ts := uint32(0)
	for b.Loop() {
		ts += 33
		v.Next(ts, time.Duration(ts)*time.Millisecond)
	}
}

// TestRepairs: what was wrong with a timestamp is told of the frame that had it.
func TestRepairs(t *testing.T) {
	var c Clock
	track := c.Track(90_000, 0)
	at := time.Duration(0)
	for i, step := range []struct {
		ts           uint32
		back, frozen bool
	}{
		{1000, false, false}, {1033, false, false}, {1020, true, false}, {1066, false, false}, {1066, false, false},
		{1<<32 - 20, true, false}, {30, false, false}, // a jump back to before a wrap, and the wrap
		{30, false, false}, {30, false, false}, {30, false, true}, {30, false, true}, {900, false, false},
	} {
		at += 200 * time.Millisecond
		track.Next(step.ts, at)
		if track.Back() != step.back || track.Frozen() != step.frozen {
			t.Errorf("frame %d at %d ms: back %v, frozen %v; want %v, %v", i, step.ts, track.Back(), track.Frozen(), step.back, step.frozen)
		}
	}
}
