package hls_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"tally/internal/hls"
	"tally/internal/hls/playlist"
	"tally/internal/media"
)

// A drifter is an encoder whose clock is not ours.
type drifter struct {
	*stage
	ppm    int // how much faster than ours its clock goes
	jitter time.Duration
	rate   int64 // frames per second; a keyframe each 2 s
	frames int64
	began  time.Time
	dice   *rand.Rand
}

func (s *stage) drift(ppm int, jitter time.Duration) *drifter {
	s.t.Helper()
	d := s.driftAt(5, ppm, jitter)
	s.p.Expect(1, []media.TrackID{media.VideoTrack})
	return d
}

// driftAt is drift with that many frames a second, by an encoder that does not say
// what it will send.
func (s *stage) driftAt(rate int64, ppm int, jitter time.Duration) *drifter {
	s.t.Helper()
	s.begin(1)
	v := videoTrack(s.t, avc720p30)
	v.FrameRate = float64(rate)
	if err := s.p.WriteTrack(1, v); err != nil {
		s.t.Fatal(err)
	}
	return &drifter{stage: s, ppm: ppm, jitter: jitter, rate: rate, began: time.Now(), dice: rand.New(rand.NewPCG(1, 2))}
}

// sent is when the frame of a time of the encoder's is sent, by our clock.
func (d *drifter) sent(at time.Duration) time.Time {
	return d.began.Add(at - at/1_000_000*time.Duration(d.ppm))
}

// write lets the next frame come.
func (d *drifter) write() {
	d.t.Helper()
	key := d.frames%(2*d.rate) == 0
	dts := d.frames * media.VideoTimescale / d.rate
	f := media.Frame{Track: media.VideoTrack, DTS: dts, PTS: dts, Key: key, Payload: synth{}.picture(key)}
	if err := d.p.WriteFrame(1, f); err != nil {
		d.t.Fatal(err)
	}
	d.frames++
}

// send lets frames come for that long.
func (d *drifter) send(length time.Duration) {
	d.t.Helper()
	for until := time.Now().Add(length); time.Now().Before(until); {
		at := d.sent(time.Duration(d.frames) * time.Second / time.Duration(d.rate))
		if d.jitter > 0 {
			at = at.Add(time.Duration(d.dice.Int64N(int64(d.jitter))))
		}
		time.Sleep(time.Until(at)) // none overtakes another
		d.write()
	}
}

// edge is the date at which the newest media ends, and the encoder's time of that.
func (d *drifter) edge() (end time.Time, at time.Duration) {
	d.t.Helper()
	snap := d.stream().Window().Current()
	m, err := playlist.ParseMedia(string(snap.Playlist(false, false).Data))
	if err != nil {
		d.t.Fatal(err)
	}
	for i := range m.Segments[1:] {
		before, s := &m.Segments[i], &m.Segments[i+1]
		if off := s.ProgramDateTime.Sub(before.ProgramDateTime.Add(before.Duration)); off.Abs() > 4*time.Millisecond && !s.Discontinuity {
			d.t.Fatalf("a segment begins %v behind the end of the one before", off)
		}
	}
	s := &m.Segments[len(m.Segments)-1]
	last := s.Parts[len(s.Parts)-1]
	var epoch, n int64
	scan(last.URI, "part-%d-%d.m4s", &epoch, &n)
	return s.ProgramDateTime.Add(s.Length()), snap.Part(epoch, n).Start + last.Duration
}

// off is by how much the newest media is dated later than it was sent.
func (d *drifter) off() time.Duration {
	d.t.Helper()
	end, at := d.edge()
	return end.Sub(d.sent(at))
}

// holds fails where the newest media's date is not that of when it was sent.
func (d *drifter) holds(most time.Duration) {
	d.t.Helper()
	if off := d.off(); off.Abs() > most {
		d.t.Errorf("after %v media is dated %v later than it was sent", time.Since(d.began).Round(time.Second), off)
	}
}

// An encoder's clock that is off by a thousandth moves no date away from arrival,
// and no date jumps.
func TestDatesFollowArrival(t *testing.T) {
	for ppm, hours := range map[int]int{1000: 12, -1000: 3} {
		onStage(t, hls.Config{}, run(2), func(s *stage) {
			d := s.drift(ppm, 20*time.Millisecond)
			for range 6 * hours {
				d.send(10 * time.Minute)
				d.holds(200 * time.Millisecond)
			}
		})
	}
}

// Where the clocks agree no date moves, whatever the network does: neither jitter
// nor five seconds that come at once.
func TestDatesStandStill(t *testing.T) {
	onStage(t, hls.Config{}, run(10), func(s *stage) {
		d := s.drift(0, 0)
		d.send(10 * time.Minute)
		for range 20 {
			d.jitter = 300 * time.Millisecond
			d.send(time.Minute)
			time.Sleep(5 * time.Second)
			d.send(time.Minute) // first what was to come meanwhile
			d.jitter = 0
			d.send(time.Second)
			if off := d.off(); off.Abs() > 2*time.Millisecond { // segments are listed 1 us longer than they are
				t.Fatalf("dates moved by %v", off)
			}
		}
	})
}

// Dates go exactly with durations for most of an hour, as printed: players that
// place media by them (Shaka) are to have no reason to. The first frame comes late,
// and the encoder's clock is off by as much as most are.
func TestDatesGoWithDurations(t *testing.T) {
	for _, ppm := range []int{0, 40, -40} {
		onStage(t, hls.Config{}, run(2), func(s *stage) {
			d := s.driftAt(30, ppm, 20*time.Millisecond)
			if ppm != 0 { // else it is waited for whether there is sound
				s.p.Expect(1, []media.TrackID{media.VideoTrack})
			}
			d.began = d.began.Add(-250 * time.Millisecond)
			var first time.Time
			var from int64
			sum := map[int64]time.Duration{} // listed before a segment
			for range 45 * 60 / 10 {
				d.send(10 * time.Second)
				m, err := playlist.ParseMedia(string(d.stream().Window().Current().Playlist(false, false).Data))
				if err != nil {
					t.Fatal(err)
				}
				if first.IsZero() {
					first, from = m.Segments[0].ProgramDateTime, m.MediaSequence
				}
				for i := range m.Segments {
					g, msn := &m.Segments[i], m.MediaSequence+int64(i)
					if _, ok := sum[msn]; !ok && msn != from {
						t.Fatalf("segment %d was not seen", msn)
					}
					if off := g.ProgramDateTime.Sub(first.Add(sum[msn])); off.Abs() >= time.Millisecond {
						t.Fatalf("clock off by %d ppm, after %v: segment %d is dated %v off the durations before it", ppm, time.Since(d.began), msn, off)
					}
					sum[msn+1] = sum[msn] + g.Length()
				}
			}
			d.holds(200 * time.Millisecond)
		})
	}
}

// What is told with the first frames has their dates, which are known with the first
// part only: the first frame comes late.
func TestDatesOfCuesOfALateBegin(t *testing.T) {
	for _, announced := range []bool{true, false} {
		onStage(t, hls.Config{}, run(2), func(s *stage) {
			d := s.driftAt(30, 0, 0)
			if announced {
				s.p.Expect(1, []media.TrackID{media.VideoTrack})
			}
			d.began = d.began.Add(-250 * time.Millisecond)
			s.cue(1, textCue(0, "zero"))
			d.write()
			s.cue(1, textCue(100, "one"))
			d.send(100 * time.Millisecond)
			s.cue(1, textCue(200, "two"))
			d.send(3 * time.Second)
			all := s.ranges()
			if len(all) != 3 {
				t.Fatalf("announced %t: listed: %+v", announced, all)
			}
			begin := s.v.media.Segments[0].ProgramDateTime
			if late := begin.Sub(d.began); late < 0 || late > 40*time.Millisecond {
				t.Errorf("announced %t: the broadcast is dated %v later than it was sent", announced, late)
			}
			for i, at := range []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond} {
				if off := all[i].Start.Sub(begin.Add(at)); off.Abs() > time.Millisecond {
					t.Errorf("announced %t: cue %d is dated %v later than its media", announced, i, off)
				}
			}
		})
	}
}

// Who comes back with a second that it had meanwhile at once is dated no earlier than
// the end of what stood in for it.
func TestDatesDoNotGoBack(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		d := s.driftAt(30, 0, 0)
		d.send(10 * time.Second)
		s.p.Lost(1)
		s.wait(5 * time.Second)
		s.begin(2)
		back := synth{fps: 30, gop: 30, length: 6 * time.Second}.items(t)
		for i := range back {
			back[i].at = max(0, back[i].at-time.Second)
		}
		s.p.Expect(2, media.First(true, false))
		s.send(2, back)
		s.playlist()
		stood := false
		for i := range s.v.media.Segments[1:] {
			before, g := &s.v.media.Segments[i], &s.v.media.Segments[i+1]
			stood = stood || g.Discontinuity && before.Title == playlist.TitleHeld
			if off := g.ProgramDateTime.Sub(before.ProgramDateTime.Add(before.Length())); off < -time.Millisecond {
				t.Errorf("a segment begins %v before the end of the one before\n%s", -off, s.playlist())
			}
		}
		if !stood {
			t.Errorf("nothing stood in:\n%s", s.playlist())
		}
	})
}

// Where dates are ahead of arrival, as by a clock that is fast, what comes behind a
// leap of timestamps goes on where they were.
func TestDatesDoNotGoBackAtALeap(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		d := s.drift(100, 0)
		d.send(20 * time.Minute)                                                                            // 120 ms
		d.send(time.Until(d.sent(time.Duration((d.frames+9)/10*10) * time.Second / time.Duration(d.rate)))) // up to a keyframe
		for i := range int64(20) {
			time.Sleep(time.Second / time.Duration(d.rate))
			dts := 10_000*media.VideoTimescale + i*media.VideoTimescale/d.rate
			key := i%10 == 0
			f := media.Frame{Track: media.VideoTrack, DTS: dts, PTS: dts, Key: key, Payload: synth{}.picture(key), Discontinuity: i == 0}
			if err := s.p.WriteFrame(1, f); err != nil {
				t.Fatal(err)
			}
		}
		s.playlist()
		leaps := 0
		for i := range s.v.media.Segments[1:] {
			before, g := &s.v.media.Segments[i], &s.v.media.Segments[i+1]
			if !g.Discontinuity {
				continue
			}
			leaps++
			if off := g.ProgramDateTime.Sub(before.ProgramDateTime.Add(before.Length())); off < -time.Millisecond {
				t.Errorf("behind the leap dates begin %v before the end of what was before", -off)
			}
		}
		if leaps != 1 {
			t.Errorf("%d leaps are listed:\n%s", leaps, s.playlist())
		}
	})
}

// A first frame that came late, and a backlog that is sent after a silence, are
// made up for in time, and then nothing moves.
func TestDatesSettle(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		d := s.drift(0, 300*time.Millisecond)
		d.send(5 * time.Minute)
		d.holds(100 * time.Millisecond)
		time.Sleep(5 * time.Second) // the picture is held, and then dates begin anew
		d.send(time.Second)
		ahead := func() time.Duration { // of now, the end of the newest frame that is listed
			end, _ := d.edge()
			return time.Until(end)
		}
		if got := ahead(); got < 5*time.Second/2 { // what comes before a keyframe is left out
			t.Fatalf("a backlog of five seconds ends %v after it came", got)
		}
		d.send(time.Hour)
		if got := ahead(); got > 300*time.Millisecond || got < -500*time.Millisecond {
			t.Errorf("an hour later the newest media ends %v after it came", got)
		}
		before := d.off()
		d.send(time.Hour)
		if after := d.off(); (after - before).Abs() > 20*time.Millisecond {
			t.Errorf("dates that were settled moved from %v to %v", before, after)
		}
	})
}

// All renditions have the same date for segments of the same number while dates
// move, also one that has no media for minutes.
func TestDatesOfALadder(t *testing.T) {
	onLadder(t, hls.Config{}, run(2), func(l *ladder) {
		const length = 8 * time.Minute
		video := synth{fps: 10, gop: 20, announces: 1, length: length}
		lacking := func(items []item) (out []item) {
			for _, it := range items {
				if it.track != nil || it.at < 3*time.Minute || it.at >= 5*time.Minute {
					out = append(out, it)
				}
			}
			return out
		}
		sound := synth{noVideo: true, rate: 48000, length: length}
		src := together(video.items(t), lacking(as(video.items(t), media.VideoID(1))), sound.items(t))
		for i := range src { // its clock is fast
			src[i].at -= src[i].at / 1000
		}
		l.broadcast(1, src)
		moved := time.Duration(0)
		for _, name := range l.all.names {
			main, own := l.all.views["v0"].media, l.all.views[name].media
			if main.MediaSequence != own.MediaSequence {
				t.Fatalf("%s begins with %d, v0 with %d", name, own.MediaSequence, main.MediaSequence)
			}
			for i := range min(len(main.Segments), len(own.Segments)) {
				if off := own.Segments[i].ProgramDateTime.Sub(main.Segments[i].ProgramDateTime); off.Abs() > 25*time.Millisecond { // a frame of sound
					t.Errorf("%s dates segment %d %v later than v0", name, own.MediaSequence+int64(i), off)
				}
			}
			last := &own.Segments[len(own.Segments)-1]
			moved = length - last.ProgramDateTime.Add(last.Length()).Sub(l.began)
			if moved < 300*time.Millisecond {
				t.Errorf("%s ends at a date %v before the encoder's, want the 480 ms that its clock is fast by", name, moved)
			}
		}
	})
}

// What left memory keeps the dates that it had, and all of a list goes together.
func TestDatesInTheDVRWindow(t *testing.T) {
	onDisk(t, t.TempDir(), dvrRun(5*time.Minute), func(s *stage, _ *shelf) {
		d := s.drift(-1000, 0)
		for range 8 * 60 / 2 {
			d.send(2 * time.Second)
			s.v.look() // dates that change, or differ from durations, are violations
		}
		if n := len(s.v.media.Segments); n < 140 {
			t.Errorf("%d segments are listed", n)
		}
		d.holds(200 * time.Millisecond)
	})
}
