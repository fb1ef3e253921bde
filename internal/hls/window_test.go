package hls_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/hls"
	"tally/internal/livestream"
	"tally/internal/media"
)

func TestCleanEndLingers(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		s.begin(1)
		s.send(1, av.items(t))
		s.p.End(true)
		s.wantStage(livestream.StageEnded)
		if got := s.playlist(); count(got, "EXT-X-ENDLIST") != 0 {
			t.Error("ENDLIST at once")
		}
		time.Sleep(10*time.Second - time.Nanosecond)
		if s.v.window.Current().Ended {
			t.Error("ENDLIST too early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := s.playlist(); !s.v.window.Current().Ended || !strings.HasSuffix(got, "#EXT-X-ENDLIST\n") || strings.Contains(got, "HINT") {
			t.Errorf("10 s after the end:\n%s", got)
		}
		if snap, err := s.v.window.Wait(s.t.Context(), hls.Position{MSN: 500, Part: -1}); !errors.Is(err, hls.ErrEnded) || snap == nil {
			t.Errorf("a reload of the ended playlist: %v, %v", snap, err)
		}
		if s.registry.Run("play", "run") == nil {
			t.Error("forgotten at once")
		}
		time.Sleep(12 * time.Second)
		synctest.Wait()
		if s.stream() != nil || s.registry.Run("play", "run") != nil {
			t.Error("not forgotten after one window")
		}
	})
}

func TestStopEndsAtOnce(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		s.begin(1)
		src := av
		src.rate = 0
		s.p.Expect(1, media.First(true, false))
		s.send(1, src.items(t))
		waiting := make(chan error)
		go func() {
			_, err := s.v.window.Wait(s.t.Context(), hls.Position{MSN: s.v.window.Current().LastMSN + 2, Part: -1})
			waiting <- err
		}()
		synctest.Wait()
		s.p.End(false)
		if err := <-waiting; !errors.Is(err, hls.ErrEnded) {
			t.Errorf("the waiting reload got %v", err)
		}
		if got := s.playlist(); !strings.HasSuffix(got, "#EXT-X-ENDLIST\n") {
			t.Errorf("no ENDLIST:\n%s", got)
		}
		if err := s.p.WriteFrame(1, media.Frame{}); !errors.Is(err, livestream.ErrStale) {
			t.Errorf("a frame after the end: %v", err)
		}
		s.p.End(false)
	})
}

func TestNeverPlayableIsForgotten(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		s.begin(1)
		w := s.stream().Window()
		waiting := make(chan error)
		go func() {
			_, err := w.WaitListed(s.t.Context())
			waiting <- err
		}()
		synctest.Wait()
		s.p.End(true)
		if err := <-waiting; !errors.Is(err, hls.ErrEnded) {
			t.Errorf("who waited for a first segment got %v", err)
		}
		if s.stream() != nil {
			t.Error("an empty run stays")
		}
	})
}

// A new session before the ENDLIST continues the run.
func TestNextSessionContinuesTheRun(t *testing.T) {
	onStage(t, hls.Config{Window: time.Minute}, run(2), func(s *stage) {
		s.begin(1)
		s.send(1, av.items(t))
		s.p.End(true)
		old := s.p
		time.Sleep(9 * time.Second)
		o := run(2)
		o.SessionID = "second"
		s.p = s.registry.Open(o)
		s.wantStage(livestream.StageWaiting)
		if s.stream().SessionID() != "second" || s.p.Progress().Playable || s.p.Progress().KeyframeSeen {
			t.Errorf("session %s, progress %+v", s.stream().SessionID(), s.p.Progress())
		}
		old.End(false) // too late to matter
		s.begin(2)
		time.Sleep(5 * time.Second)
		s.send(2, av.items(t))
		s.wantStage(livestream.StageLive)
		got := s.playlist()
		if count(got, "EXT-X-DISCONTINUITY\n") != 1 || count(got, "EXT-X-ENDLIST") != 0 || !s.p.Progress().Playable {
			t.Errorf("want one discontinuity, no end:\n%s", got)
		}
	})
}

func TestCloseWaitsForTimers(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		s.begin(1)
		s.send(1, av.items(t))
		s.p.End(true)
		s.registry.Close()
		time.Sleep(time.Minute)
		if s.v.window.Current().Ended {
			t.Error("a closed registry ended a playlist")
		}
		if s.registry.Open(run(2)).Begin(2); s.stream() == nil {
			t.Error("no stream after Close")
		}
	})
}

// What leaves the list can be fetched a while longer, then no more.
func TestFetchableAfterLeaving(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		src := av
		src.length = 40 * time.Second
		s.begin(1)
		left := map[int64]time.Time{} // MSN: when it was listed last
		kept := map[int64]time.Duration{}
		start := time.Now()
		for _, it := range src.items(t) {
			time.Sleep(it.at - time.Since(start))
			if err := write(s.p, 1, it); err != nil {
				t.Fatal(err)
			}
			s.v.look()
			snap := s.v.window.Current()
			for msn := snap.FirstMSN; snap.Listed() && msn <= snap.LastMSN; msn++ {
				left[msn] = time.Now()
			}
			for msn, last := range left {
				if snap.Segment(1, msn) != nil {
					kept[msn] = time.Since(last)
				}
			}
		}
		if n := len(left); n < 30 {
			t.Fatalf("%d segments", n)
		}
		for msn := int64(1); msn < 15; msn++ {
			if kept[msn] < 1900*time.Millisecond || kept[msn] > 5*time.Second {
				t.Errorf("segment %d was kept %v after it left the list, want 2 s or little more", msn, kept[msn])
			}
		}
		if got := s.v.media.Length(); got < 12*time.Second || got > 15*time.Second {
			t.Errorf("%v listed, want the window of 12 s", got)
		}
		s.p.End(false)
	})
}

func TestWait(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		s.begin(1)
		src := av
		src.length = 3400 * time.Millisecond // segments 1 (one part), 2 and 3 are whole; 4 has one part
		s.send(1, src.items(t))
		snap := s.v.window.Current()
		if snap.LastMSN != 3 || snap.OpenParts != 1 || len(snap.Segment(1, 3).Parts) != 3 {
			t.Fatalf("the test is about another playlist: last %d, %d parts open\n%s", snap.LastMSN, snap.OpenParts, s.playlist())
		}
		for _, c := range []struct {
			name string
			want hls.Position
			err  error
		}{
			{"a segment that is there", hls.Position{MSN: 3, Part: -1}, nil},
			{"one long gone", hls.Position{MSN: 0, Part: -1}, nil},
			{"a part that is there", hls.Position{MSN: 4, Part: 0}, nil},
			{"a part past the end of its segment: the next one's first", hls.Position{MSN: 3, Part: 99}, nil},
			{"the next part", hls.Position{MSN: 4, Part: 1}, context.DeadlineExceeded},
			{"the open segment", hls.Position{MSN: 4, Part: -1}, context.DeadlineExceeded},
			{"two ahead", hls.Position{MSN: 5, Part: -1}, context.DeadlineExceeded},
			{"three ahead", hls.Position{MSN: 6, Part: -1}, hls.ErrTooFar},
			{"up to the advance part limit", hls.Position{MSN: 4, Part: 9}, context.DeadlineExceeded},
			{"past the advance part limit", hls.Position{MSN: 4, Part: 10}, hls.ErrTooFar},
		} {
			ctx, cancel := context.WithTimeout(s.t.Context(), 100*time.Millisecond)
			got, err := s.v.window.Wait(ctx, c.want)
			cancel()
			if !errors.Is(err, c.err) || (err == nil) != (got != nil) {
				t.Errorf("%s: %v, want %v", c.name, err, c.err)
			}
		}
		if _, err := s.v.window.WaitPart(s.t.Context(), 1, snap.NextPart+1); !errors.Is(err, livestream.ErrNotFound) {
			t.Errorf("a part beyond the hint: %v", err)
		}
		if p, err := s.v.window.WaitPart(s.t.Context(), 1, 0); err != nil || p.Counter != 0 {
			t.Errorf("the first part: %v, %v", p, err)
		}
	})
}

// A held request is answered by the part it waits for, the moment that is there.
func TestWaitEndsWithThePart(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		s.begin(1)
		src := av
		src.length = 1500 * time.Millisecond
		s.send(1, src.items(t))
		snap := s.v.window.Current()
		type answer struct {
			at time.Time
			s  *hls.Snapshot
			p  *hls.Part
		}
		answers := make(chan answer, 2)
		want := hls.Position{MSN: snap.LastMSN + 1, Part: snap.OpenParts}
		go func() {
			got, err := s.v.window.Wait(s.t.Context(), want)
			if err != nil {
				t.Error(err)
			}
			answers <- answer{at: time.Now(), s: got}
		}()
		go func() {
			p, err := s.v.window.WaitPart(s.t.Context(), 1, snap.NextPart)
			if err != nil {
				t.Error(err)
			}
			answers <- answer{at: time.Now(), p: p}
		}()
		more := src
		more.start = src.length
		s.send(1, more.items(t))
		for range 2 {
			a := <-answers
			if a.s != nil && !a.s.Has(want) || a.p != nil && a.p.Counter != snap.NextPart {
				t.Errorf("answered with something else: %+v", a)
			}
		}
	})
}
