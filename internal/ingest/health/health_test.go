package health

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"tally/internal/livestream"
	"tally/internal/media"
)

var (
	h264 = media.Track{ID: media.VideoTrack, Codec: media.H264, Timescale: media.VideoTimescale, Width: 1280, Height: 720, FrameRate: 30, CodecString: "avc1.64001f"}
	aac  = media.Track{ID: media.AudioTrack, Codec: media.AAC, Timescale: 48000, Channels: 2, CodecString: "mp4a.40.2"}
)

// An encoder makes a stream whose faults are functions of the media time in
// seconds. nil: no such fault.
type encoder struct {
	fps, gop  float64 // 0: 30 fps, 2 s
	video     bool
	audio     func(s float64) bool // is there audio now
	announced bool                 // by onMetaData, audio too
	bitrate   func(s float64) float64
	lost      func(picture int) bool                           // pictures that are not sent
	arrival   func(s float64) float64                          // when media of s is sent, seconds
	shift     func(picture int) int                            // PTS less DTS, frames
	spoil     func(picture int, s float64, f *media.Frame)     // what else is wrong with it
	track     func(picture int, s float64) (media.Track, bool) // a new configuration before it
	jitter    float64                                          // seconds, of the network
}

// run sends media of that many seconds through a watcher, and calls each after
// every second of media.
func (e encoder) run(seed uint64, length float64, each func(s float64, w *Watcher)) *Watcher {
	r := rand.New(rand.NewPCG(seed, 2))
	w := &Watcher{}
	fps, gop := e.fps, e.gop
	if fps == 0 {
		fps = 30
	}
	if gop == 0 {
		gop = 2
	}
	w.Expect(media.First(e.video, e.announced))
	type packet struct {
		s float64
		f media.Frame
		n int // bytes
		i int // of picture, -1 for audio
	}
	var ps []packet
	every := int(math.Round(gop * fps))
	for i := 0; e.video && float64(i)/fps < length; i++ {
		s := float64(i) / fps
		ms := math.Round(s*1000) / 1000 // as RTMP has it
		f := media.Frame{Track: media.VideoTrack, DTS: int64(math.Round(ms * media.VideoTimescale)), Key: i%every == 0}
		f.PTS = f.DTS
		if e.shift != nil {
			f.PTS += int64(math.Round(float64(e.shift(i))/fps*1000)) * 90
		}
		rate := 2.5e6
		if e.bitrate != nil {
			rate = e.bitrate(s)
		}
		size := rate / 8 / fps * (0.6 + 0.8*r.Float64())
		if f.Key {
			size *= 4
		}
		ps = append(ps, packet{s, f, int(size), i})
	}
	for i := 0; e.audio != nil && float64(i)*1024/48000 < length; i++ {
		s := float64(i) * 1024 / 48000
		if e.audio(s) {
			ps = append(ps, packet{s, media.Frame{Track: media.AudioTrack, DTS: int64(i) * 1024, PTS: int64(i) * 1024, Key: true}, 340, -1})
		}
	}
	slices.SortStableFunc(ps, func(a, b packet) int { return int(math.Copysign(1, a.s-b.s)) * btoi(a.s != b.s) })
	if e.video {
		w.Track(h264, 0)
	}
	if e.audio != nil && e.audio(0) {
		w.Track(aac, 0)
	}
	last, shown := time.Duration(0), 0.0
	for _, p := range ps {
		if p.i >= 0 && e.lost != nil && e.lost(p.i) {
			continue
		}
		at := p.s
		if e.arrival != nil {
			at = e.arrival(p.s)
		}
		at += e.jitter * math.Pow(r.Float64(), 4)
		last = max(last, time.Duration(at*1e9))
		if p.i >= 0 && e.track != nil {
			if t, ok := e.track(p.i, p.s); ok {
				w.Track(t, last)
			}
		}
		if e.spoil != nil {
			e.spoil(p.i, p.s, &p.f)
		}
		w.Frame(p.f, p.n, last)
		if each != nil && p.s >= shown+1 {
			shown++
			each(p.s, w)
		}
	}
	return w
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func always(float64) bool { return true }

// bPyramid is x264's order with n B-frames in a row, without pyramid.
func bFrames(n int) func(int) int {
	return func(i int) int {
		if i%(n+1) == 0 || n == 0 {
			return n + btoi(n > 0)
		}
		return 0
	}
}

// lines are a run's news as "second kind detail".
func lines(w *Watcher) []string {
	var all []string
	for _, n := range w.News() {
		all = append(all, fmt.Sprintf("%.0f %s %s", n.At.Seconds(), n.Kind, n.Detail))
	}
	return all
}

// TestWell: an encoder set as it should be, and what networks and usual
// settings make of it, gives no warning in ten minutes.
func TestWell(t *testing.T) {
	ordinary := encoder{video: true, audio: always, announced: true, shift: bFrames(3)}
	for name, change := range map[string]func(e *encoder){
		"as it should be":       func(*encoder) {},
		"25 fps":                func(e *encoder) { e.fps = 25 },
		"29.97 fps":             func(e *encoder) { e.fps = 30000. / 1001 },
		"59.94 fps":             func(e *encoder) { e.fps = 60000. / 1001 },
		"10 fps, no B-frames":   func(e *encoder) { e.fps, e.shift = 10, nil },
		"GOP 4 s":               func(e *encoder) { e.gop = 4 },
		"GOP 1 s":               func(e *encoder) { e.gop = 1 },
		"network of 1 s jitter": func(e *encoder) { e.jitter = 1 },
		"video only":            func(e *encoder) { e.audio, e.announced = nil, false },
		"audio only":            func(e *encoder) { e.video = false },
		"burst at 4x for 30 s, then in time": func(e *encoder) {
			e.arrival = func(s float64) float64 {
				if s < 120 {
					return s / 4
				}
				return 30 + (s - 120)
			}
		},
		"network stalls for 5 s and catches up, each minute": func(e *encoder) {
			e.arrival = func(s float64) float64 {
				if in := math.Mod(s, 60); s > 60 && in < 5 {
					return s - in + 5
				}
				return s
			}
		},
		"a slow start, then the programme": func(e *encoder) {
			e.bitrate = func(s float64) float64 { return 3e5 + 5e6*float64(btoi(s > 60)) }
		},
		"content moves the bitrate by a quarter": func(e *encoder) {
			e.bitrate = func(s float64) float64 { return 2.5e6 * (1 + 0.25*math.Sin(s/7)) }
		},
		"a clock that is wrong by 200 ppm": func(e *encoder) {
			e.arrival = func(s float64) float64 { return s * 1.0002 }
		},
		"one frame is lost now and then": func(e *encoder) { e.lost = func(i int) bool { return i%400 == 399 } },
		"one timestamp goes back now and then": func(e *encoder) {
			e.spoil = func(i int, s float64, f *media.Frame) {
				if i%500 == 499 {
					f.Stamp = media.StampBack
				}
			}
		},
		"a pause of 9 s": func(e *encoder) {
			e.arrival = func(s float64) float64 { return s + 9*float64(btoi(s > 100)) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := ordinary
			change(&e)
			seed := rand.Uint64()
			w := e.run(seed, 600, nil)
			for _, l := range lines(w) {
				if !strings.Contains(l, " media ") {
					t.Errorf("seed %d: %s", seed, l)
				}
			}
			if len(w.Report().Warnings) > 0 {
				t.Errorf("seed %d: in force: %v", seed, w.Report().Warnings)
			}
		})
	}
}

// TestWarnings: each fault is found within its time, named with what was
// measured and the setting, alone, once; and is over when it is mended.
func TestWarnings(t *testing.T) {
	between := func(s, from, to float64) bool { return s >= from && s < to }
	for _, c := range []struct {
		name   string
		e      encoder
		want   string // of the first warning
		begins [2]float64
		over   [2]float64 // 0: never
	}{
		{"OBS at Keyframe Interval 0", encoder{gop: 250. / 30}, "KEYFRAME_INTERVAL: keyframes every 8.3 s, the limit is 4 s; set Keyframe Interval to 2 s", [2]float64{8, 10}, [2]float64{}},
		{"GOP of a minute", encoder{gop: 60}, "KEYFRAME_INTERVAL: no keyframe for 1", [2]float64{10, 12}, [2]float64{}},
		{"GOP 6 s with changes of scene", encoder{gop: 6, spoil: func(i int, s float64, f *media.Frame) { f.Key = f.Key || i >= 0 && i%400 == 50 }},
			"KEYFRAME_INTERVAL: keyframes come irregularly, between ", [2]float64{6, 14}, [2]float64{}},
		{"constant quality", encoder{bitrate: func(s float64) float64 { return 5e5 + 6e6*float64(btoi(math.Mod(s, 30) < 12)) }},
			"BITRATE: the bitrate swings: ", [2]float64{60, 80}, [2]float64{}},
		{"a network that drops", encoder{lost: func(i int) bool { return between(float64(i)/30, 60, 120) && i%300 < 20 }},
			"FRAMES_DROPPED: 20 of the 900 video frames of the last 30 s are missing (2.2 %, the limit is 1 %); lower Bitrate", [2]float64{60, 64}, [2]float64{140, 170}},
		{"every third picture is lost", encoder{lost: func(i int) bool { return i > 900 && i%3 == 2 }}, "FRAMES_DROPPED: ", [2]float64{31, 40}, [2]float64{}},
		{"pictures stop, sound goes on", encoder{lost: func(i int) bool { return i > 900 }}, "FRAMES_DROPPED: ", [2]float64{32, 34}, [2]float64{}},
		{"zero timestamps", encoder{spoil: func(i int, s float64, f *media.Frame) { f.Stamp = media.StampFrozen }},
			"TIMESTAMPS: the timestamps of ", [2]float64{1, 2}, [2]float64{}},
		{"a jump", encoder{spoil: func(i int, s float64, f *media.Frame) { f.Discontinuity = i == 1000 }},
			"TIMESTAMPS: timestamps jumped once within 30 s", [2]float64{33, 36}, [2]float64{70, 90}},
		{"out of order", encoder{spoil: func(i int, s float64, f *media.Frame) {
			if i%20 == 19 {
				f.Stamp = media.StampBack
			}
		}}, "TIMESTAMPS: 3 timestamps of the last 2 s went back (the limit is 2); set B-frames to 0", [2]float64{1, 4}, [2]float64{}},
		{"PTS before DTS", encoder{shift: func(i int) int { return -(i % 2) }}, "TIMESTAMPS: 15 frames of the last 1 s are to be shown before they are decoded", [2]float64{0, 2}, [2]float64{}},
		{"PTS far away", encoder{spoil: func(i int, s float64, f *media.Frame) { f.Stamp = media.StampFar }}, "TIMESTAMPS: ", [2]float64{0, 2}, [2]float64{}},
		{"pushed at 4x", encoder{arrival: func(s float64) float64 { return s / 4 }}, "CLOCK_DRIFT: media comes at 4x real time (measured over 60 s, the limit is 0.5 % off); send it in real time", [2]float64{70, 82}, [2]float64{}},
		{"an upload too slow", encoder{arrival: func(s float64) float64 { return s * 1.1 }}, "CLOCK_DRIFT: media comes at 0.909x real time", [2]float64{70, 85}, [2]float64{}},
		{"a clock 1 % slow, with jitter", encoder{jitter: 0.3, arrival: func(s float64) float64 { return s * 1.01 }}, "CLOCK_DRIFT: media comes at 0.9", [2]float64{70, 85}, [2]float64{}},
		{"sound stops", encoder{audio: func(s float64) bool { return !between(s, 60, 90) }}, "NO_AUDIO: no audio for 5 s although the encoder sent it before", [2]float64{64, 67}, [2]float64{95, 105}},
		{"sound announced", encoder{audio: func(float64) bool { return false }}, "NO_AUDIO: no audio for 5 s although the encoder announced it", [2]float64{4, 7}, [2]float64{}},
		{"16 B-frames", encoder{shift: bFrames(16)}, "B_FRAMES: B-frames delay every picture by 567 ms, more than one part (the limit is 335 ms); set B-frames to 0", [2]float64{1, 2}, [2]float64{}},
		{"3 B-frames at 10 fps", encoder{fps: 10, shift: bFrames(3)}, "B_FRAMES: B-frames delay every picture by 400 ms", [2]float64{1, 2}, [2]float64{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.e.video, c.e.announced = true, true
			if c.e.audio == nil {
				c.e.audio = always
			}
			seed := rand.Uint64()
			w := c.e.run(seed, 300, nil)
			var told []News
			for _, n := range w.News() {
				if n.Kind != livestream.FactMedia {
					told = append(told, n)
				}
			}
			want := 1
			if c.over[1] > 0 {
				want = 2
			}
			if len(told) != want {
				t.Fatalf("seed %d: told %v, want %d lines", seed, told, want)
			}
			inside := func(n News, within [2]float64) {
				if s := n.At.Seconds(); s < within[0] || s > within[1] {
					t.Errorf("seed %d: %s after %.1f s, want between %v: %s", seed, n.Kind, s, within, n.Detail)
				}
			}
			inside(told[0], c.begins)
			if !strings.HasPrefix(told[0].Detail, c.want) {
				t.Errorf("seed %d: %q\nwant %q", seed, told[0].Detail, c.want)
			}
			if force := len(w.Report().Warnings); force != 2-want {
				t.Errorf("seed %d: in force %v", seed, w.Report().Warnings)
			}
			if want == 2 {
				inside(told[1], c.over)
				code, _, _ := strings.Cut(c.want, ":")
				if !strings.HasPrefix(told[1].Detail, code+": over after ") || told[1].Kind != livestream.FactWarningOver {
					t.Errorf("seed %d: %+v", seed, told[1])
				}
			}
		})
	}
}

// TestDescription: what is sent, in words, and when it changes.
func TestDescription(t *testing.T) {
	with := func(change func(*media.Track)) media.Track { one := h264; change(&one); return one }
	for _, c := range []struct {
		name string
		e    encoder
		want string // Report.Media in the end
		key  time.Duration
		told []string
	}{
		{"ordinary", encoder{video: true, audio: always}, "H.264 High 1280x720 30 fps, AAC-LC 48 kHz stereo", 2 * time.Second,
			[]string{"1 media H.264 High 1280x720 30 fps, AAC-LC 48 kHz stereo"}},
		{"video only", encoder{video: true, fps: 25}, "H.264 High 1280x720 25 fps, no audio", 2 * time.Second,
			[]string{"3 media H.264 High 1280x720 25 fps, no audio at 2.5 Mbit/s"}},
		{"audio only", encoder{audio: always}, "AAC-LC 48 kHz stereo, no video", 0, []string{"3 media AAC-LC 48 kHz stereo, no video"}},
		{"fractional rate", encoder{video: true, audio: always, fps: 30000. / 1001}, "H.264 High 1280x720 30 fps, AAC-LC 48 kHz stereo", 2002 * time.Millisecond,
			[]string{"1 media H.264 High 1280x720 30 fps, AAC-LC 48 kHz stereo"}},
		{"another size", encoder{video: true, audio: always, track: func(i int, s float64) (media.Track, bool) {
			return with(func(t *media.Track) { t.Width, t.Height, t.CodecString = 1920, 1080, "avc1.4d0028" }), i == 900
		}}, "H.264 Main 1920x1080 30 fps, AAC-LC 48 kHz stereo", 2 * time.Second,
			[]string{"1 media H.264 High 1280x720 30 fps, AAC-LC 48 kHz stereo", "30 media H.264 Main 1920x1080 30 fps, AAC-LC 48 kHz stereo at 2.5 Mbit/s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := c.e.run(1, 60, nil)
			got := lines(w)
			same := len(got) == len(c.told)
			for i := 0; same && i < len(got); i++ {
				head, _, _ := strings.Cut(got[i], " at ")
				want, _, _ := strings.Cut(c.told[i], " at ")
				same = head == want
			}
			if !same {
				t.Errorf("told %q\nwant %q", got, c.told)
			}
			key := c.key.Round(10 * time.Millisecond)
			if r := w.Report(); r.Media != c.want || r.Keyframe != key {
				t.Errorf("%q, keyframes every %v; want %q, %v", r.Media, r.Keyframe, c.want, key)
			}
		})
	}
}

// TestProfiles: codecs by their names.
func TestProfiles(t *testing.T) {
	for text, want := range map[string]string{
		"avc1.42c01e": "H.264 Baseline", "avc1.4d401f": "H.264 Main", "avc1.6e0032": "H.264 High 10", "avc1.ff0032": "H.264", "avc1": "H.264",
		"mp4a.40.5": "HE-AAC", "mp4a.40.29": "HE-AACv2", "mp4a.40.99": "AAC",
	} {
		one := h264
		if strings.HasPrefix(text, "mp4a") {
			one = aac
		}
		one.CodecString = text
		if got := codec(one); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	for n, want := range map[int]string{1: "mono", 3: "3 channels", 6: "5.1", 8: "7.1"} {
		if got := channels(n); got != want {
			t.Errorf("%d channels: %q, want %q", n, got, want)
		}
	}
	he := aac
	he.Timescale, he.CodecString = 22050, "mp4a.40.5"
	if got := heardRate(he); got != 44100 {
		t.Errorf("HE-AAC over a core of 22.05 kHz: %v Hz", got)
	}
}

// TestBound: an encoder whose faults come and go as they like does not fill the
// timeline.
func TestBound(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 9))
	sizes := 0
	e := encoder{video: true, announced: true,
		audio: func(s float64) bool { return math.Mod(s, 25) < 12 },
		lost:  func(i int) bool { return i/30%50 == 0 && i%2 == 0 },
		spoil: func(i int, s float64, f *media.Frame) { f.Discontinuity = i >= 0 && r.IntN(1500) == 0 },
		track: func(i int, s float64) (media.Track, bool) {
			one := h264
			sizes++
			one.Width += sizes % 3
			return one, i%30 == 0
		},
	}
	perHour := make([]int, 3)
	count := func(s float64, w *Watcher) {
		for range w.News() {
			perHour[int(s)/3600]++
		}
	}
	e.run(seed, 3*3600, count)
	t.Logf("seed %d: lines per hour %v", seed, perHour)
	if perHour[0] > 140 || perHour[1] > 14+12 || perHour[2] > 14+12 || perHour[0] < 10 {
		t.Errorf("seed %d: lines per hour %v; want at most 140, then 14 and 12 changes of the media", seed, perHour)
	}
}

// TestGarbage: no frame whatever it says brings the watcher down.
func TestGarbage(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 3))
	w := &Watcher{}
	odd := func() int64 {
		switch r.IntN(4) {
		case 0:
			return math.MaxInt64 - int64(r.IntN(3))
		case 1:
			return math.MinInt64 + int64(r.IntN(3))
		}
		return int64(r.IntN(1 << 40))
	}
	defer func() {
		if v := recover(); v != nil {
			t.Fatalf("seed %d: %v", seed, v)
		}
	}()
	for range 200_000 {
		if r.IntN(500) == 0 {
			one := h264
			one.Timescale, one.FrameRate, one.CodecString = r.Uint32(), r.Float64()*float64(r.IntN(2)), strings.Repeat("avc1.", r.IntN(3))
			one.Codec = media.Codec(r.IntN(4))
			w.Track(one, time.Duration(r.IntN(1e12)))
		}
		f := media.Frame{Track: media.TrackID(r.IntN(4)), DTS: odd(), PTS: odd(), Key: r.IntN(9) == 0, Discontinuity: r.IntN(50) == 0, Stamp: media.Stamp(r.IntN(5))}
		w.Frame(f, r.IntN(1<<24), time.Duration(r.IntN(1e12)))
		w.Report()
	}
	w.News()
}

// TestNoAllocation: a frame costs none; a second may.
func TestNoAllocation(t *testing.T) {
	e := encoder{video: true, audio: always}
	w := e.run(1, 60, nil)
	at, dts := w.now.Truncate(time.Second)+100*time.Millisecond, w.pictures[0].keys.dts
	w.Frame(media.Frame{Track: media.VideoTrack, DTS: dts, PTS: dts}, 1000, at)
	if n := testing.AllocsPerRun(20, func() {
		at += time.Millisecond
		dts += 90
		w.Frame(media.Frame{Track: media.VideoTrack, DTS: dts, PTS: dts, Key: true}, 1000, at)
	}); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
}

// BenchmarkFrame is a frame of 30 fps, what is looked at once a second included.
func BenchmarkFrame(b *testing.B) {
	w := &Watcher{}
	w.Track(h264, 0)
	b.ReportAllocs()
	i := int64(0)
	for b.Loop() {
		f := media.Frame{Track: media.VideoTrack, DTS: i * 3000, PTS: i * 3000, Key: i%60 == 0}
		w.Frame(f, 10_000, time.Duration(i)*time.Second/30)
		i++
	}
}
