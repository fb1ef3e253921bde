package hls_test

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/hls"
	"tally/internal/hls/playlist"
	"tally/internal/media"
	"tally/internal/media/captest"
	"tally/internal/rtmp/clock"
)

var (
	days      = flag.Float64("days", 1./96, "how long TestDays lasts, in days")
	daysVideo = flag.Bool("days-video", false, "TestDays is one picture a second, so that 50 days fit a minute")
)

// A lasting broadcast is a ladder with sound, captions and cues, as its encoder's
// 32-bit clock tells it.
type lasting struct {
	*stage
	clock  clock.Clock
	clocks map[media.TrackID]*clock.Track
	began  time.Time
	rate   time.Duration // between pictures
	n      int64
	sound  int64 // samples sent
}

func (l *lasting) add(t media.Track) {
	l.t.Helper()
	if err := l.p.WriteTrack(1, t); err != nil {
		l.t.Fatal(err)
	}
	l.clocks[t.ID] = l.clock.Track(t.Timescale, t.FrameSamples)
}

func (l *lasting) write(id media.TrackID, at time.Duration, key bool, payload []byte) {
	l.t.Helper()
	dts, jumped := l.clocks[id].Next(uint32(at.Milliseconds()), time.Since(l.began))
	if jumped {
		l.t.Fatalf("the clock jumped after %v", at)
	}
	if err := l.p.WriteFrame(1, media.Frame{Track: id, DTS: dts, PTS: dts, Key: key, Payload: payload}); err != nil {
		l.t.Fatal(err)
	}
}

// send lets that much media come.
func (l *lasting) send(length time.Duration) {
	for end := time.Since(l.began) + length; time.Since(l.began) < end; l.n++ {
		at := time.Duration(l.n) * l.rate
		time.Sleep(at - time.Since(l.began))
		key := at%(2*time.Second) == 0
		for id := range l.clocks {
			if id.Video() {
				l.write(id, at, key, slices.Concat(captest.SEI(false, captest.Padding()), synth{}.picture(key)))
			}
		}
		for l.clocks[media.AudioTrack] != nil && time.Duration(l.sound)*time.Second/48000 <= at {
			l.write(media.AudioTrack, time.Duration(l.sound)*time.Second/48000, true, []byte("audio"))
			l.sound += 1024
		}
		if l.n%50 == 0 {
			c := textCue(at.Milliseconds(), fmt.Sprint("said ", l.n))
			if _, err := l.p.WriteCue(1, c); err != nil {
				l.t.Fatal(err)
			}
		}
	}
}

// A broadcast of days with a DVR window keeps to what it held in its first minutes,
// and its lists stay as they were.
func TestDays(t *testing.T) {
	length, early := time.Duration(*days*24*float64(time.Hour)), 6*time.Minute
	synctest.Test(t, func(t *testing.T) {
		shelf := newShelf(t, t.TempDir())
		defer shelf.close()
		s := &stage{t: t, registry: hls.NewRegistry(hls.Config{Archive: shelf.lib}), began: time.Now()}
		defer s.registry.Close()
		s.p = s.registry.Open(dvrRun(2 * time.Minute))
		s.begin(1)
		l := &lasting{stage: s, clocks: map[media.TrackID]*clock.Track{}, began: time.Now(), rate: 200 * time.Millisecond}
		v := videoTrack(t, avc720p30)
		l.add(v)
		if *daysVideo {
			l.rate = time.Second
		} else {
			v.ID = media.VideoID(1)
			l.add(v)
			l.add(audioTrack(t, 48000))
		}
		l.send(early)
		synctest.Wait()
		heap, goroutines, files := inUse(), runtime.NumGoroutine(), l.files(shelf)
		for rest := length - early; rest > 0; rest -= 3 * time.Minute {
			l.send(3 * time.Minute)
			synctest.Wait()
			l.check()
		}
		if grown := inUse() - heap; grown > 512<<10 {
			t.Errorf("memory grew by %d KB since the first %v", grown>>10, early)
		}
		if n := runtime.NumGoroutine(); n > goroutines {
			t.Errorf("%d goroutines, %d after the first %v", n, goroutines, early)
		}
		if n := l.files(shelf); n > files+len(l.clocks)*8 {
			t.Errorf("%d files, %d after the first %v", n, files, early)
		}
	})
}

func (l *lasting) files(s *shelf) int {
	l.t.Helper()
	all, err := s.disk.List("session")
	if err != nil {
		l.t.Fatal(err)
	}
	return len(all)
}

// check compares each rendition's list with the time.
func (l *lasting) check() {
	l.t.Helper()
	after := time.Since(l.began)
	for _, r := range l.stream().Renditions() {
		text := string(r.Window().Current().Playlist(false, false).Data)
		m, err := playlist.ParseMedia(text)
		if err != nil {
			l.t.Fatal(err)
		}
		listed := time.Duration(0)
		for i := range m.Segments {
			listed += m.Segments[i].Length()
		}
		end := m.Segments[len(m.Segments)-1]
		off := time.Since(end.ProgramDateTime.Add(end.Length()))
		if listed < 2*time.Minute || listed > 2*time.Minute+20*time.Second || off < -2*time.Second || off > 2*time.Second {
			l.t.Errorf("after %v %s lists %v and ends %v ago", after, r.Name(), listed, off)
		}
		if n := strings.Count(text, "#EXT-X-DISCONTINUITY\n"); n > 0 {
			l.t.Errorf("after %v %s has %d discontinuities", after, r.Name(), n)
		}
		if n := len(m.DateRanges); n == 0 || n > 128 {
			l.t.Errorf("after %v %s has %d date ranges", after, r.Name(), n)
		}
	}
}
