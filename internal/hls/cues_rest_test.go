package hls_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/hls"
	"tally/internal/hls/playlist"
	"tally/internal/media"
)

// sent writes length of media that goes on at from.
func (s *stage) sent(epoch int64, from, length time.Duration) {
	s.sendFrom(epoch, from, length)
	synctest.Wait()
}

// A recording has the cues of its session, those of a held picture too, a splice
// with both its tags.
func TestCuesAreRecorded(t *testing.T) {
	onDisk(t, t.TempDir(), func() hls.OpenOptions { o := run(2); o.Keep = true; return o }(), func(s *stage, shelf *shelf) {
		s.begin(1)
		s.sent(1, 0, 3*time.Second)
		s.cue(1, textCue(3000, `a "quoted" text, 100 % of it`))
		s.cue(1, media.Cue{Class: "urn:scte:scte35:2013:bin", At: 3500 * tick, Section: []byte{0xfc, 0x30}, Splice: media.SpliceOut, Event: 7, Duration: 30 * time.Second, Planned: true})
		s.sent(1, 3*time.Second, 4*time.Second)
		s.p.Lost(1)
		time.Sleep(8 * time.Second)
		s.cue(1, media.Cue{Class: "score", Data: `{"home":2}`, Now: true})
		s.begin(2)
		s.sent(2, 0, 3*time.Second)
		s.cue(2, media.Cue{Class: "urn:scte:scte35:2013:bin", At: 3000 * tick, Section: []byte{0xfc, 0x31}, Splice: media.SpliceIn, Event: 7})
		s.sent(2, 3*time.Second, 4*time.Second)
		live := s.ranges()
		s.p.End(true)
		synctest.Wait()
		m := shelf.recorded()
		if len(m.DateRanges) != 4 || m.DateRanges[1].Out != "0xFC30" || m.DateRanges[2].In != "0xFC31" || m.DateRanges[1].ID != m.DateRanges[2].ID {
			t.Fatalf("recorded: %+v", m.DateRanges)
		}
		for _, r := range live {
			if !slices.Contains(m.DateRanges, r) {
				t.Errorf("not recorded as it was live: %+v, recorded: %+v", r, m.DateRanges)
			}
		}
		begins, ends := m.Segments[0].ProgramDateTime, m.Segments[len(m.Segments)-1].ProgramDateTime
		for _, r := range m.DateRanges {
			if r.Start.Before(begins) || r.Start.After(ends) {
				t.Errorf("%s is of %v, the recording is of %v to %v", r.ID, r.Start, begins, ends)
			}
		}
	})
}

// After a kill the window goes on with the cues that it had, and the recording has
// those of before and of after.
func TestCuesAfterAKill(t *testing.T) {
	dir := t.TempDir()
	o := dvrRun(time.Hour)
	o.Keep = true
	var before []playlist.DateRange
	var files map[string][]byte
	onDisk(t, dir, o, func(s *stage, _ *shelf) {
		s.begin(1)
		s.sent(1, 0, 3*time.Second)
		s.cue(1, textCue(3000, "one"))
		s.sent(1, 3*time.Second, 20*time.Second)
		s.cue(1, textCue(23000, "two"))
		s.sent(1, 23*time.Second, 3*time.Second)
		files = s.v.files
		if before = s.ranges(); len(before) != 2 {
			t.Fatalf("listed: %+v", before)
		}
		o.Run.MSNMark, o.Run.DiscontinuityMark, o.Run.PartTarget = s.v.media.NextMSN()+15, 16, 335*time.Millisecond
	}) // the registry's Close leaves the files, as a kill does
	onDisk(t, dir, o, func(s *stage, shelf *shelf) {
		s.v.check, s.v.files = noParts(), files
		time.Sleep(time.Minute)
		s.begin(2)
		s.sent(2, 0, 3*time.Second)
		s.cue(2, textCue(3000, "three"))
		s.sent(2, 3*time.Second, 3*time.Second)
		after := s.ranges()
		if len(after) != 3 || !slices.Equal(after[:2], before) || after[2].Data != "three" {
			t.Errorf("listed: %+v, before: %+v", after, before)
		}
		s.p.End(true)
		synctest.Wait()
		if m := shelf.recorded(); !slices.Equal(m.DateRanges, after) {
			t.Errorf("recorded: %s, want %s", fmt.Sprint(m.DateRanges), fmt.Sprint(after))
		}
	})
}
