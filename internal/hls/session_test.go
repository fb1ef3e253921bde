package hls_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/hls"
	"tally/internal/hls/hlscheck"
	"tally/internal/livestream"
	"tally/internal/media"
)

// A stage is one stream in virtual time.
type stage struct {
	t        *testing.T
	registry *hls.Registry
	p        *hls.Packager
	v        *viewer
	began    time.Time
}

// onStage runs f in a bubble with an open run.
func onStage(t *testing.T, c hls.Config, o hls.OpenOptions, f func(*stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, registry: hls.NewRegistry(c), began: time.Now()}
		s.p = s.registry.Open(o)
		s.v = newViewer(t, s.stream().Window(), hlscheck.Options{})
		f(s)
		s.registry.Close()
		s.v.done()
	})
}

func (s *stage) stream() *hls.Stream { return s.registry.Stream("play") }

func (s *stage) begin(epoch int64) {
	s.p.Begin(epoch)
	s.p.Mark(farAhead, farAhead)
}

// send writes items in their own time from now on.
func (s *stage) send(epoch int64, items []item) {
	s.t.Helper()
	start := time.Now()
	for _, it := range items {
		time.Sleep(it.at - time.Since(start))
		if err := write(s.p, epoch, it); err != nil {
			s.t.Fatal(err)
		}
		s.v.look()
	}
}

func (s *stage) playlist() string {
	s.t.Helper()
	s.v.look()
	b := s.v.window.Current().Playlist(false, false)
	if b == nil {
		s.t.Fatal("nothing is listed")
	}
	return string(b.Data)
}

func (s *stage) wantStage(want livestream.Stage) {
	s.t.Helper()
	if got := s.stream().Stage(); got != want {
		s.t.Errorf("the stream is %v, want %v", got, want)
	}
}

// count tells how often a tag stands in the playlist.
func count(text, tag string) int { return strings.Count(text, "\n#"+tag) }

var av = synth{fps: 30, gop: 30, rate: 48000, announces: 1, length: 3 * time.Second}

func TestFirstPartMakesItPlayable(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		s.wantStage(livestream.StageWaiting)
		s.begin(1)
		s.p.Expect(1, media.First(true, true))
		if _, err := s.v.window.Wait(s.t.Context(), hls.Position{MSN: 1, Part: 0}, hls.Within{}); !errors.Is(err, hls.ErrStarting) {
			t.Errorf("waiting before anything is listed: %v", err)
		}
		changed := s.registry.Changed("play")
		var at time.Duration
		for _, it := range av.items(t) {
			time.Sleep(it.at - time.Since(s.began))
			if err := write(s.p, 1, it); err != nil {
				t.Fatal(err)
			}
			if s.p.Progress().Playable {
				at = time.Since(s.began)
				break
			}
		}
		// Ten frames: the tenth is sent after 300 ms and is not waited past.
		if at != 300*time.Millisecond {
			t.Errorf("playable after %v, want 300 ms", at)
		}
		s.wantStage(livestream.StageLive)
		select {
		case <-changed:
		default:
			t.Error("nobody was told")
		}
		got := s.playlist()
		want := "seg-1-1.m4s\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"part-1-1.m4s\"\n"
		if !strings.HasSuffix(got, want) || count(got, "EXTINF") != 1 || count(got, "EXT-X-PART:") != 1 {
			t.Errorf("want one segment of one part, ending with\n%s\ngot\n%s", want, got)
		}
	})
}

// Without onMetaData a second track is waited for, one second of arrival.
func TestTrackWait(t *testing.T) {
	for _, c := range []struct {
		name         string
		expect       bool
		video, audio bool // as announced
		hasAudio     bool
		playable     time.Duration
	}{
		{"nothing announced, both come", false, false, false, true, 300 * time.Millisecond},
		{"nothing announced, video alone", false, false, false, false, time.Second},
		{"video announced, video alone", true, true, false, false, 300 * time.Millisecond},
		{"audio announced, does not come", true, true, true, false, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			onStage(t, hls.Config{}, run(2), func(s *stage) {
				s.begin(1)
				if c.expect {
					s.p.Expect(1, media.First(c.video, c.audio))
				}
				src := av
				if !c.hasAudio {
					src.rate = 0
				}
				for _, it := range src.items(t) {
					time.Sleep(it.at - time.Since(s.began))
					if err := write(s.p, 1, it); err != nil {
						t.Fatal(err)
					}
					if s.p.Progress().Playable {
						break
					}
				}
				if at := time.Since(s.began); at != c.playable {
					t.Errorf("playable after %v, want %v", at, c.playable)
				}
				s.v.look()
			})
		})
	}
}

func TestReconnect(t *testing.T) {
	onStage(t, hls.Config{Window: time.Minute}, run(2), func(s *stage) {
		s.begin(1)
		s.send(1, av.items(t))
		before := s.p.Progress()
		s.p.Lost(1)
		s.wantStage(livestream.StageReconnecting)
		if err := write(s.p, 1, av.items(t)[5]); !errors.Is(err, livestream.ErrStale) {
			t.Errorf("a frame after the loss: %v", err)
		}
		// Everything received is listed: three seconds of it.
		s.playlist()
		if got := s.v.media.Length(); got < 2900*time.Millisecond || got > 3100*time.Millisecond || s.v.media.Open() != nil {
			t.Errorf("%v listed after the loss, want 3 s in whole segments", got)
		}
		hint := s.v.window.Current().NextPart
		held := make(chan error, 1)
		go func() {
			_, err := s.v.window.WaitPart(s.t.Context(), 1, hint, hls.Within{})
			held <- err
		}()
		time.Sleep(1900 * time.Millisecond) // not a target duration yet
		synctest.Wait()
		select {
		case err := <-held:
			t.Fatalf("the hinted part was answered while nobody publishes: %v", err)
		default:
		}
		s.begin(2)
		s.wantStage(livestream.StageReconnecting)
		again := av
		again.start = 500 * time.Second // a clock of its own
		s.send(2, again.items(t))
		s.wantStage(livestream.StageLive)
		if err := <-held; err != nil {
			t.Errorf("the hint of the lost publisher: %v", err)
		}
		got := s.playlist()
		if count(got, "EXT-X-DISCONTINUITY\n") != 1 || count(got, "EXT-X-MAP") != 1 {
			t.Errorf("want one discontinuity and the same map:\n%s", got)
		}
		after := s.p.Progress()
		if after.MSN <= before.MSN || after.Discontinuity != before.Discontinuity+1 {
			t.Errorf("numbers went from %+v to %+v", before, after)
		}
		if s.p.WriteFrame(1, media.Frame{}) != livestream.ErrStale {
			t.Error("the older epoch may write")
		}
	})
}

// A publisher takes over without the one before having been lost.
func TestTakeover(t *testing.T) {
	onStage(t, hls.Config{Window: time.Minute}, run(2), func(s *stage) {
		s.begin(1)
		s.send(1, av.items(t))
		s.begin(2)
		other := av
		other.config = avc1080p
		s.send(2, other.items(t))
		got := s.playlist()
		if count(got, "EXT-X-DISCONTINUITY\n") != 1 || count(got, "EXT-X-MAP") != 2 || !strings.Contains(got, "init-2-1.mp4") {
			t.Errorf("want one discontinuity and a new map:\n%s", got)
		}
	})
}

func TestChangedParameters(t *testing.T) {
	onStage(t, hls.Config{Window: time.Minute}, run(2), func(s *stage) {
		s.begin(1)
		s.send(1, av.items(t))
		same := av
		same.start = 3 * time.Second
		s.send(1, same.items(t)) // the same sequence headers again
		if got := s.playlist(); count(got, "EXT-X-DISCONTINUITY\n") != 0 {
			t.Errorf("a repeated configuration makes a discontinuity:\n%s", got)
		}
		other := av
		other.start, other.config = 6*time.Second, avc1080p
		s.send(1, other.items(t))
		got := s.playlist()
		if count(got, "EXT-X-DISCONTINUITY\n") != 1 || count(got, "EXT-X-MAP") != 2 {
			t.Errorf("want one discontinuity and a new map:\n%s", got)
		}
		if m := string(s.v.window.Current().AppendMultivariant(nil, "x/index.m3u8")); !strings.Contains(m, "RESOLUTION=1920x1080") {
			t.Errorf("multivariant playlist\n%s", m)
		}
	})
}

// Audio that comes too late for the first init section gets one with it.
func TestLateAudio(t *testing.T) {
	onStage(t, hls.Config{Window: time.Minute}, run(2), func(s *stage) {
		s.begin(1)
		alone := av
		alone.rate = 0
		s.send(1, alone.items(t))
		all := av
		all.start = 3 * time.Second
		s.send(1, all.items(t))
		got := s.playlist()
		if count(got, "EXT-X-DISCONTINUITY\n") != 1 || count(got, "EXT-X-MAP") != 2 {
			t.Errorf("want one discontinuity and a new map:\n%s", got)
		}
		if m := string(s.v.window.Current().AppendMultivariant(nil, "")); !strings.Contains(m, `CODECS="avc1.64001f,mp4a.40.2"`) {
			t.Errorf("multivariant playlist\n%s", m)
		}
	})
}

// A jump of the encoder's clock is flagged on each track, and is one.
func TestClockJump(t *testing.T) {
	for _, first := range []media.TrackID{media.VideoTrack, media.AudioTrack} {
		onStage(t, hls.Config{Window: time.Minute}, run(2), func(s *stage) {
			s.begin(1)
			s.send(1, av.items(t))
			jumped := av
			jumped.start = 1000 * time.Second
			items := jumped.items(t)
			if first == media.AudioTrack {
				items = slices.Delete(items, 2, 3) // the picture that is sent before it
			}
			flagged := map[media.TrackID]bool{}
			for i := range items {
				if f := &items[i].frame; items[i].track == nil && !flagged[f.Track] && (len(flagged) > 0 || f.Track == first) {
					f.Discontinuity, flagged[f.Track] = true, true
				}
			}
			s.send(1, items)
			if got := s.playlist(); count(got, "EXT-X-DISCONTINUITY\n") != 1 {
				t.Errorf("track %d jumps first: want one discontinuity:\n%s", first, got)
			}
		})
	}
}

// A pause of both tracks is bridged when it is short, cut when it is long, and
// from one target duration on the picture is held.
func TestPause(t *testing.T) {
	for _, c := range []struct {
		pause time.Duration
		cuts  int
	}{{200 * time.Millisecond, 0}, {1500 * time.Millisecond, 1}, {5 * time.Second, 2}} {
		onStage(t, hls.Config{Window: time.Minute}, run(2), func(s *stage) {
			// The clip ends inside a part.
			src := av
			src.rate, src.length = 0, 2900*time.Millisecond
			s.begin(1)
			s.p.Expect(1, media.First(true, false))
			s.send(1, src.items(t))
			next := src
			next.start = src.length + c.pause
			s.send(1, shift(next.items(t), c.pause))
			got := s.playlist()
			if n := count(got, "EXT-X-DISCONTINUITY\n"); n != c.cuts {
				t.Errorf("a pause of %v makes %d discontinuities, want %d:\n%s", c.pause, n, c.cuts, got)
			}
		})
	}
}

// The picture stands still, the sound goes on: so does the playlist, with no
// part too long, and the picture comes back where it belongs.
func TestVideoStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := hls.NewRegistry(hls.Config{Window: time.Minute})
		p := r.Open(run(2))
		// With no picture in a part nothing but audio can tell its length.
		v := newViewer(t, r.Stream("play").Window(), hlscheck.Options{Ignore: []string{"media-duration", "tfdt-continuity"}})
		p.Begin(1)
		p.Mark(farAhead, farAhead)
		src := av
		src.length = 10 * time.Second
		start := time.Now()
		edges := map[int]int64{}
		for _, it := range src.items(t) {
			if it.track == nil && it.frame.Track == media.VideoTrack && it.at > 3100*time.Millisecond && it.at < 6*time.Second {
				continue
			}
			time.Sleep(it.at - time.Since(start))
			if err := write(p, 1, it); err != nil {
				t.Fatal(err)
			}
			v.look()
			edges[int(time.Since(start)/time.Second)] = v.window.Current().NextPart
		}
		end(p)
		v.look()
		v.done()
		for sec := 3; sec < 6; sec++ {
			if n := edges[sec] - edges[sec-1]; n < 2 {
				t.Errorf("%d parts in second %d", n, sec)
			}
		}
		if n := count(v.texts[len(v.texts)-1], "EXT-X-DISCONTINUITY\n"); n != 0 {
			t.Errorf("%d discontinuities", n)
		}
		if got := v.media.Length(); got < 9900*time.Millisecond || got > 10100*time.Millisecond {
			t.Errorf("%v listed of 10 s", got)
		}
		r.Close()
	})
}

func TestMarkHidesNumbers(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		s.p.Begin(1)
		s.send(1, av.items(t))
		if s.p.Progress().Playable || s.v.window.Current().Listed() {
			t.Error("listed, though no number is durable")
		}
		s.p.Mark(1, 0)
		s.v.look()
		if snap := s.v.window.Current(); !s.p.Progress().Playable || snap.LastMSN != 1 || snap.OpenParts != 0 || snap.NextPart != 1 {
			t.Errorf("mark 1 lists up to %d, %d parts, hint %d", snap.LastMSN, snap.OpenParts, snap.NextPart)
		}
		s.wantStage(livestream.StageLive)
		s.p.Mark(2, 0)
		s.v.look()
		if snap := s.v.window.Current(); snap.LastMSN != 2 {
			t.Errorf("mark 2 lists up to %d", snap.LastMSN)
		}
		s.p.Mark(farAhead, farAhead)
	})
}

func TestRestartGoesOnBehindTheMark(t *testing.T) {
	o := run(2)
	o.Run.MSNMark, o.Run.DiscontinuityMark, o.Run.PartTarget = 50, 3, 250*time.Millisecond
	onStage(t, hls.Config{}, o, func(s *stage) {
		if p := s.p.Progress(); p.MSN != 50 || p.Discontinuity != 3 {
			t.Errorf("progress before media: %+v", p)
		}
		s.v.check = hlscheck.New(hlscheck.Options{Ignore: []string{"part-85"}}) // 250 ms suit no 30 fps
		s.begin(7)
		s.send(7, av.items(t))
		got := s.playlist()
		for _, want := range []string{"#EXT-X-MEDIA-SEQUENCE:51\n", "#EXT-X-DISCONTINUITY-SEQUENCE:3\n", "\n#EXT-X-DISCONTINUITY\n",
			"PART-TARGET=0.25\n", "seg-7-51.m4s"} {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in\n%s", want, got)
			}
		}
		// Players that were there go by the mean of what is listed.
		if first := s.v.media.Segments[0]; first.Duration < 850*time.Millisecond || first.Duration > 1100*time.Millisecond || len(first.Parts) < 4 {
			t.Errorf("the first segment has %v in %d parts, want a second", first.Duration, len(first.Parts))
		}
	})
}

// Whatever sound an encoder sent ahead of its last picture, no segment is without
// one: hls.js 1.7 waits for ever behind a last segment of sound alone.
func TestEndsWithAPicture(t *testing.T) {
	for _, ahead := range []time.Duration{0, 60 * time.Millisecond, 160 * time.Millisecond, 300 * time.Millisecond} {
		onStage(t, hls.Config{Window: time.Minute}, run(2), func(s *stage) {
			s.begin(1)
			src := av
			src.length += ahead
			s.send(1, slices.DeleteFunc(src.items(t), func(it item) bool {
				return it.track == nil && it.frame.Track == media.VideoTrack && it.at >= av.length
			}))
			end(s.p)
			s.playlist()
			for i := range s.v.media.Segments {
				g := &s.v.media.Segments[i]
				in, err := hlscheck.ParseInit(s.v.files[g.Map])
				if err != nil {
					t.Fatal(err)
				}
				frags, err := in.ParseMedia(s.v.files[g.URI])
				if err != nil || !slices.ContainsFunc(frags, func(f hlscheck.Fragment) bool { return f.Track.Handler == "vide" }) {
					t.Errorf("sound %v ahead: segment %d of %v has no picture: %v", ahead, i, g.Duration, err)
				}
			}
		})
	}
}

func TestBitrateTooHigh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := hls.NewRegistry(hls.Config{RingBytes: 1 << 20})
		defer r.Close()
		p := r.Open(run(2))
		p.Begin(1)
		p.Mark(farAhead, farAhead)
		p.Expect(1, media.First(true, true))
		src := av
		src.bytes, src.length = 10000, time.Minute // 2.6 Mbit/s: 6 s are 2 MB
		var err error
		for _, it := range src.items(t) {
			if err = write(p, 1, it); err != nil {
				break
			}
		}
		var reasoned interface{ Reason() livestream.Reason }
		if !errors.As(err, &reasoned) || reasoned.Reason().Code != livestream.BitrateTooHigh {
			t.Fatalf("got %v, want BITRATE_TOO_HIGH", err)
		}
		t.Log(err)
		end(p)
		time.Sleep(time.Minute)
	})
}

// The cap shortens the list before it ends the broadcast.
func TestByteCapShortensTheList(t *testing.T) {
	onStage(t, hls.Config{RingBytes: 5 << 19}, run(2), func(s *stage) {
		src := av
		src.bytes, src.length = 8000, 40*time.Second // 2.1 Mbit/s: 6 s are 1.6 MB, 12 s are 3.2 MB
		s.begin(1)
		s.send(1, src.items(t))
		if got := s.v.media.Length(); got < 6*time.Second || got > 11*time.Second {
			t.Errorf("%v listed, want 6 s to 11 s", got)
		}
		end(s.p)
	})
}

// Frames whose clock hardly moves fill no part, but they must not fill the
// memory either.
func TestStandingClock(t *testing.T) {
	onStage(t, hls.Config{RingBytes: 8 << 20}, run(2), func(s *stage) {
		s.begin(1)
		s.p.Expect(1, media.First(true, false))
		if err := s.p.WriteTrack(1, av.tracks(t)[0]); err != nil {
			t.Fatal(err)
		}
		big := synth{bytes: 1 << 20}.picture(false)
		var err error
		n := int64(0)
		for ; err == nil && n < 300; n++ {
			err = s.p.WriteFrame(1, media.Frame{Track: media.VideoTrack, Key: n == 0, DTS: n, PTS: n, Payload: big})
		}
		var reasoned interface{ Reason() livestream.Reason }
		if !errors.As(err, &reasoned) || reasoned.Reason().Code != livestream.BitrateTooHigh || n > 20 {
			t.Errorf("after %d MB: %v", n, err)
		}
		end(s.p)
	})
}

// One picture, then sound alone: sound makes the parts.
func TestOnePicture(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		s.v.check = hlscheck.New(hlscheck.Options{Ignore: []string{"media-duration"}})
		s.begin(1)
		src := av
		src.announces = 0
		pictures := 0
		items := slices.DeleteFunc(src.items(t), func(it item) bool {
			if it.track == nil && it.frame.Track == media.VideoTrack {
				pictures++
			}
			return it.track == nil && it.frame.Track == media.VideoTrack && pictures > 1
		})
		s.send(1, items)
		if got := s.v.window.Current().NextPart; got < 7 {
			t.Errorf("%d parts in 3 s", got)
		}
		end(s.p)
	})
}

// Both stop, the sound later than the picture, and a keyframe is first to come
// back: no part is without media.
func TestStallEndsWithAKeyframe(t *testing.T) {
	for stop := 3400 * time.Millisecond; stop < 3980*time.Millisecond; stop += 20 * time.Millisecond {
		onStage(t, hls.Config{}, run(4), func(s *stage) {
			s.v.check = hlscheck.New(hlscheck.Options{Ignore: []string{"media-duration", "tfdt-continuity", "part-85", "pdt-consistent"}})
			s.begin(1)
			src := av
			src.length = 6 * time.Second
			s.send(1, slices.DeleteFunc(src.items(t), func(it item) bool {
				from := stop
				if it.frame.Track == media.VideoTrack {
					from = 3100 * time.Millisecond
				}
				return it.track == nil && it.at > from && it.at < 4*time.Second
			}))
			end(s.p)
		})
	}
}
