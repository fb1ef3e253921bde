package hls_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"tally/internal/hls"
	"tally/internal/hls/playlist"
	"tally/internal/livestream"
	"tally/internal/media"
	"tally/internal/media/captest"
)

const tick = media.VideoTimescale / 1000 // of a cue's time, in a millisecond

func textCue(ms int64, text string) media.Cue {
	return media.Cue{Class: "onTextData", At: ms * tick, Data: text}
}

// ranges are the date ranges that are listed now.
func (s *stage) ranges() []playlist.DateRange {
	s.playlist()
	return s.v.media.DateRanges
}

// wantRange is the only range listed.
func (s *stage) wantRange(data string) playlist.DateRange {
	s.t.Helper()
	all := s.ranges()
	if len(all) != 1 || playlist.UnescapeData(all[0].Data) != data {
		s.t.Fatalf("listed: %+v, want one of %q", all, data)
	}
	return all[0]
}

func (s *stage) cue(epoch int64, c media.Cue) media.Mark {
	s.t.Helper()
	mark, err := s.p.WriteCue(epoch, c)
	if err != nil {
		s.t.Fatal(err)
	}
	return mark
}

// sendFrom writes items whose time on the encoder's clock begins at from.
func (s *stage) sendFrom(epoch int64, from, length time.Duration) {
	src := av
	src.start, src.length = from, length
	s.send(epoch, src.items(s.t))
}

// A cue has the date of the media that it was sent with, and stays until the list
// has left it behind.
func TestCueIsDated(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		s.begin(1)
		s.sendFrom(1, 0, 3*time.Second)
		mark := s.cue(1, textCue(2500, "he said \"100 %\"\n"))
		if want := s.began.Add(2500 * time.Millisecond); !near(mark.Date.Sub(want), 0, 2*time.Millisecond) {
			t.Errorf("dated %v, want %v", mark.Date, want)
		}
		if all := s.ranges(); len(all) != 0 {
			t.Errorf("listed before the next part: %+v", all)
		}
		s.sendFrom(1, 3*time.Second, time.Second)
		r := s.wantRange("he said \"100 %\"\n")
		if r.ID != mark.ID || !r.Start.Equal(mark.Date) || r.Class != "onTextData" || !r.Known || r.Duration != 0 {
			t.Errorf("listed as %+v, mark %+v", r, mark)
		}
		s.sendFrom(1, 4*time.Second, 9*time.Second)
		s.wantRange("he said \"100 %\"\n")
		s.sendFrom(1, 13*time.Second, 6*time.Second)
		if all := s.ranges(); len(all) != 0 {
			t.Errorf("listed although the list begins at %v: %+v", s.v.media.Segments[0].ProgramDateTime, all)
		}
		end(s.p)
	})
}

// What is said before the first keyframe, behind a jump, while the picture is
// held and while nobody publishes.
func TestCuesWithoutMedia(t *testing.T) {
	onStage(t, hls.Config{Window: time.Minute}, run(2), func(s *stage) {
		if _, err := s.p.WriteCue(1, textCue(0, "a")); !errors.Is(err, livestream.ErrStale) {
			t.Errorf("before the publish: %v", err)
		}
		s.begin(1)
		now := media.Cue{Class: "cue", Data: "api", Now: true}
		if _, err := s.p.WriteCue(1, now); !errors.Is(err, livestream.ErrNotActive) {
			t.Errorf("before anything is playable: %v", err)
		}
		if mark := s.cue(1, textCue(0, "early")); mark.ID != "" {
			t.Errorf("placed before any media: %+v", mark)
		}
		s.sendFrom(1, 0, 3*time.Second)
		if r := s.wantRange("early"); !r.Start.Equal(s.v.media.Segments[0].ProgramDateTime) {
			t.Errorf("dated %v, the first segment %v", r.Start, s.v.media.Segments[0].ProgramDateTime)
		}

		s.wait(10 * time.Second) // the connection is silent: the picture is held
		s.wantStage(livestream.StageReconnecting)
		s.cue(1, textCue(5000, "amid"))
		held := s.cue(1, now)
		if late := time.Since(held.Date); late < -time.Second || late > time.Second {
			t.Errorf("the API's cue is dated %v, now is %v", held.Date, time.Now())
		}
		s.wait(time.Second)
		if all := s.ranges(); len(all) != 2 || all[1].ID != held.ID {
			t.Errorf("while the picture is held: %+v", all)
		}
		back := time.Now()
		s.sendFrom(1, 14*time.Second, 2*time.Second)
		all := s.ranges()
		if len(all) != 3 || all[2].Data != "amid" || !near(all[2].Start.Sub(back), 0, 150*time.Millisecond) {
			t.Errorf("after the held picture, which ended at %v: %+v", back, all)
		}

		s.p.Lost(1)
		if _, err := s.p.WriteCue(1, textCue(16000, "gone")); !errors.Is(err, livestream.ErrStale) {
			t.Errorf("of a publisher that is gone: %v", err)
		}
		s.cue(1, now)
		s.begin(2)
		s.cue(2, textCue(0, "of the other clock"))
		s.begin(3) // it never sent media
		s.sendFrom(3, 0, 2*time.Second)
		s.cue(3, textCue(1000, "again"))
		s.sendFrom(3, 2*time.Second, time.Second)
		all = s.ranges()
		if n := len(all); n != 5 || all[4].Data != "again" || all[3].Data != "api" {
			t.Errorf("after a reconnect: %+v", all)
		}
		ids := map[string]bool{}
		for _, r := range all {
			if ids[r.ID] {
				t.Errorf("two cues are %s", r.ID)
			}
			ids[r.ID] = true
		}
		end(s.p)
		if _, err := s.p.WriteCue(3, now); !errors.Is(err, livestream.ErrStale) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// A splice is one range with two tags; told again it is the same.
func TestSplice(t *testing.T) {
	onStage(t, hls.Config{Window: time.Minute}, run(2), func(s *stage) {
		s.begin(1)
		s.sendFrom(1, 0, 3*time.Second)
		out := media.Cue{Class: "scte35", At: 3000 * tick, Splice: media.SpliceOut, Event: 7, Section: []byte{0xfc, 1}, Duration: 30 * time.Second, Planned: true}
		mark := s.cue(1, out)
		s.sendFrom(1, 3*time.Second, 2*time.Second)
		out.At, out.Section = 5000*tick, []byte{0xfc, 2}
		if again := s.cue(1, out); again != mark {
			t.Errorf("told again it is %+v, was %+v", again, mark)
		}
		in := media.Cue{Class: "scte35", At: 5500 * tick, Splice: media.SpliceIn, Event: 7, Section: []byte{0xfc, 3}}
		s.cue(1, in)
		s.sendFrom(1, 5*time.Second, time.Second)
		all := s.ranges()
		want := []playlist.DateRange{
			{ID: mark.ID, Class: "scte35", Start: mark.Date, Planned: 30 * time.Second, Out: "0xFC01"},
			{ID: mark.ID, Class: "scte35", Start: mark.Date, Known: true, Duration: 2500 * time.Millisecond, In: "0xFC03"},
		}
		if len(all) != 2 || all[0] != want[0] || all[1] != want[1] {
			t.Errorf("listed %+v, want %+v", all, want)
		}
		if text := s.playlist(); !strings.Contains(text, `,PLANNED-DURATION=30.0,SCTE35-OUT=0xFC01`+"\n") {
			t.Errorf("no such tag:\n%s", text)
		}
		if lone := s.cue(1, in); lone.ID == mark.ID {
			t.Errorf("an end without a begin ends what has ended")
		}
		s.cue(1, media.Cue{Class: "scte35", At: 6000 * tick, Splice: media.SpliceCommand, Section: []byte{0xfc, 4}})
		open := media.Cue{Class: "scte35", At: 6000 * tick, Splice: media.SpliceOut, Event: 8, Section: []byte{0xfc, 5}}
		s.cue(1, open)
		s.sendFrom(1, 6*time.Second, 90*time.Second)
		if all := s.ranges(); len(all) != 1 || all[0].Out != "0xFC05" || all[0].Known {
			t.Errorf("of all splices one has no end: %+v", all)
		}
		end(s.p)
	})
}

// However many there are and however long: what a playlist holds is bounded, and
// the newest are in it.
func TestCuesAreBounded(t *testing.T) {
	for _, size := range []int{10, media.MaxCueData} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			onStage(t, hls.Config{Window: time.Minute}, run(2), func(s *stage) {
				s.begin(1)
				for i := range 100 { // before any media
					s.cue(1, textCue(0, fmt.Sprint(i)))
				}
				s.sendFrom(1, 0, 2*time.Second)
				if n := len(s.ranges()); n != 32 {
					t.Errorf("%d cues waited", n)
				}
				for i := range 300 {
					s.cue(1, textCue(2000, strings.Repeat("%", size-3)+fmt.Sprintf("%03d", i)))
				}
				s.sendFrom(1, 2*time.Second, time.Second)
				all := s.ranges()
				if n := len(all); n > 128 || n < 5 || !strings.HasSuffix(all[n-1].Data, "299") {
					t.Errorf("%d are listed, the last is %.20q", n, all[n-1].Data)
				}
				if n := len(s.playlist()); n > 40<<10 {
					t.Errorf("the playlist has %d bytes", n)
				}
				end(s.p)
			})
		})
	}
}

func TestCuesThatCannotBe(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		s.begin(1)
		s.sendFrom(1, 0, time.Second)
		for name, c := range map[string]media.Cue{
			"class with a quote":   {Class: `a"b`, Data: "x"},
			"class with a line":    {Class: "a\nb", Data: "x"},
			"class too long":       {Class: strings.Repeat("a", 200), Data: "x"},
			"data too long":        {Data: strings.Repeat("a", media.MaxCueData+1)},
			"data that is no text": {Data: "\xff"},
			"section too long":     {Section: make([]byte, media.MaxCueSection+1)},
			"for ever":             {Data: "x", Duration: 1 << 62},
			"less than nothing":    {Data: "x", Duration: -1},
		} {
			if _, err := s.p.WriteCue(1, c); !errors.Is(err, hls.ErrCue) {
				t.Errorf("%s: %v", name, err)
			}
		}
		end(s.p)
	})
}

// Both deliveries and delta updates have the same date ranges.
func TestCuesInEveryForm(t *testing.T) {
	onStage(t, hls.Config{Window: 30 * time.Second}, run(2), func(s *stage) {
		s.begin(1)
		for i := range 20 {
			s.sendFrom(1, time.Duration(i)*time.Second, time.Second)
			s.cue(1, textCue(int64(i)*1000+500, fmt.Sprint("part-", i, ".m4s")))
		}
		s.sendFrom(1, 20*time.Second, time.Second)
		snap := s.stream().Window().Current()
		full, delta, shared := snap.Playlist(false, false), snap.Playlist(true, false), snap.SharedPlaylist(false, false)
		tags := func(b *hls.Body) (lines []string) {
			for line := range strings.Lines(string(b.Data)) {
				if strings.HasPrefix(line, "#EXT-X-DATERANGE") {
					lines = append(lines, line)
				}
			}
			return lines
		}
		if bytes.Equal(full.Data, delta.Data) {
			t.Fatal("nothing to skip")
		}
		want := fmt.Sprint(tags(full))
		if len(tags(full)) != 20 || fmt.Sprint(tags(delta)) != want || fmt.Sprint(tags(shared)) != want {
			t.Errorf("full:\n%s\ndelta:\n%s\nshared:\n%s", full.Data, delta.Data, shared.Data)
		}
		end(s.p)
	})
}

// At random, through reconnects and takeovers: the checker sees nothing wrong.
func TestCuesAtRandom(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		epoch, at := int64(1), time.Duration(0)
		s.begin(epoch)
		s.sendFrom(epoch, 0, 3*time.Second)
		at = 3 * time.Second
		for range 60 {
			switch r.IntN(6) {
			case 0:
				s.p.Lost(epoch)
				s.wait(time.Duration(r.IntN(8)) * time.Second)
				epoch++
				s.begin(epoch)
				at = 0
			case 1:
				s.wait(time.Duration(r.IntN(5000)) * time.Millisecond)
			}
			for range r.IntN(4) {
				c := media.Cue{Class: "c", At: (at.Milliseconds() + r.Int64N(3000) - 1500) * tick, Data: fmt.Sprint(r.IntN(9)), Now: r.IntN(4) == 0,
					Splice: media.Splice(r.IntN(4)), Event: r.Uint32N(3), Duration: time.Duration(r.IntN(3000)) * time.Millisecond, Planned: r.IntN(2) == 0}
				if _, err := s.p.WriteCue(epoch, c); err != nil && !errors.Is(err, livestream.ErrNotActive) {
					t.Fatal(err)
				}
			}
			d := time.Duration(500+r.IntN(2000)) * time.Millisecond
			s.sendFrom(epoch, at, d)
			at += d
		}
		end(s.p)
	})
}

// All renditions list the same date ranges (rfc8216bis-22 section 6.2.4), the
// captions are announced for all variants, and the picture is the lead's.
func TestCuesOfSeveralRenditions(t *testing.T) {
	onLadder(t, hls.Config{}, run(2), func(l *ladder) {
		src := four(t)
		said := slices.IndexFunc(src, func(it item) bool { return it.at >= 5*time.Second })
		f := &src[slices.IndexFunc(src, func(it item) bool { return it.track == nil && it.frame.Track == media.VideoTrack })].frame
		f.Payload = slices.Concat(captest.SEI(false, captest.RollUp(2, "a")[0]), f.Payload)
		l.begin(1)
		l.p.Expect(1, ids(src))
		l.send(1, src[:said])
		l.cue(1, textCue(5000, "one"))
		l.cue(1, media.Cue{Class: "cue", Data: "two", Now: true, Duration: time.Minute})
		rest := slices.Clone(src[said:])
		for i := range rest {
			rest[i].at -= 5 * time.Second
		}
		l.send(1, rest[:len(rest)/3])
		var lines []string
		for _, name := range l.all.names {
			m, err := playlist.ParseMedia(l.text(name))
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, fmt.Sprint(m.DateRanges))
			if len(m.DateRanges) != 2 || lines[0] != fmt.Sprint(m.DateRanges) {
				t.Errorf("%s lists %+v, %s %s", name, m.DateRanges, l.all.names[0], lines[0])
			}
		}
		if text := string(l.stream().AppendMultivariant(nil, "run/viewer/")); strings.Count(text, `INSTREAM-ID="CC2"`) != 1 ||
			strings.Count(text, `,CLOSED-CAPTIONS="cc"`) != strings.Count(text, "EXT-X-STREAM-INF") {
			t.Errorf("the lead's captions are not announced for all:\n%s", text)
		}
		init, part := l.stream().Window().Current().Still()
		if init == nil || part == nil || !part.Independent {
			t.Error("no picture")
		}
	})
}
