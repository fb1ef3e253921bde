package hls_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/hls"
	"tally/internal/hls/playlist"
	"tally/internal/livestream"
	"tally/internal/media"
)

// end ends a session, and waits until its playlist has ENDLIST.
func end(p *hls.Packager) {
	p.End(false)
	time.Sleep(hls.RoundTrip)
	synctest.Wait()
}

// TestLastPartBeforeENDLIST: players hear of the last part, and load it, before
// they hear of the end.
func TestLastPartBeforeENDLIST(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		s.begin(1)
		source := av
		source.length += 100 * time.Millisecond // a part has only begun
		s.send(1, source.items(t))
		before := s.v.window.Current()
		s.p.End(false)
		s.wantStage(livestream.StageEnded)
		synctest.Wait()
		snap := s.v.window.Current()
		if text := s.playlist(); snap.Ended || snap.NextPart == before.NextPart || count(text, "EXT-X-ENDLIST") != 0 || count(text, "PRELOAD-HINT") != 0 {
			t.Errorf("with the last part, %d after %d: ENDLIST %v\n%s", snap.NextPart-1, before.NextPart-1, snap.Ended, text)
		}
		time.Sleep(hls.RoundTrip)
		synctest.Wait()
		if !s.v.window.Current().Ended {
			t.Error("no ENDLIST soon after the last part")
		}
	})
}

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
		if snap, err := s.v.window.Wait(s.t.Context(), hls.Position{MSN: 500, Part: -1}, hls.Within{}); !errors.Is(err, hls.ErrEnded) || snap == nil {
			t.Errorf("a reload of the ended playlist: %v, %v", snap, err)
		}
		if r := s.registry.Run("play", "run"); r == nil || r.Over() {
			t.Error("forgotten at once")
		}
		time.Sleep(12 * time.Second)
		synctest.Wait()
		if r := s.registry.Run("play", "run"); s.stream() != nil || r == nil || !r.Over() {
			t.Error("the playlist is there after one window, or the media is gone with it")
		}
	})
}

// missing are the files of an ended playlist that can not be fetched.
func (s *stage) missing(w *hls.Window, m *playlist.Media) (uris []string) {
	snap := w.Current()
	for _, g := range m.Segments {
		var epoch, n int64
		if scan(g.Map, "init-%d-%d.mp4", &epoch, &n); snap.Init(epoch, n) == nil {
			uris = append(uris, g.Map)
		}
		if scan(g.URI, "seg-%d-%d.m4s", &epoch, &n); snap.Segment(epoch, n) == nil && (s.v.past == nil || s.past(epoch, n) == nil) {
			uris = append(uris, g.URI)
		}
		for _, p := range g.Parts {
			if scan(p.URI, "part-%d-%d.m4s", &epoch, &n); snap.Part(epoch, n) == nil {
				uris = append(uris, p.URI)
			}
		}
	}
	return uris
}

// Who loaded the ended playlist last plays it to its end, also when somebody else
// publishes meanwhile. Then nothing of it is left.
func TestMediaOutlivesThePlaylist(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		src := av
		src.length = 20 * time.Second
		s.begin(1)
		s.send(1, src.items(t))
		end(s.p)
		s.playlist()
		old, m := s.stream(), s.v.media
		changed := s.registry.Changed("play")
		time.Sleep(12 * time.Second)
		synctest.Wait()
		select {
		case <-changed:
		default:
			t.Error("who waits for a change was not told that the playlist is gone")
		}
		next := run(2)
		next.SessionID, next.Run.ID = "second", "next"
		p := s.registry.Open(next)
		if s.stream() == old || s.stream().RunID() != "next" || len(s.registry.Streams("play")) != 2 {
			t.Error("the next run is not the playback id's stream")
		}
		p.End(false) // it never was playable, and is forgotten
		if s.stream() != nil {
			t.Error("the run that is over is the playback id's stream again")
		}
		time.Sleep(m.Length() - hls.RoundTrip)
		synctest.Wait()
		if r := s.registry.Run("play", "run"); r != old {
			t.Fatal("the media is gone before the end of who loaded the playlist last")
		}
		if lost := s.missing(old.Window(), m); len(lost) > 0 {
			t.Errorf("these cannot be fetched: %v", lost)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if r := s.registry.Streams("play"); len(r) != 0 {
			t.Errorf("%d runs are left", len(r))
		}
	})
}

// A session that goes on with a run whose playlist was told to be gone gets one
// that begins anew, behind its numbers.
func TestRunThatIsOverIsNotContinued(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		s.begin(1)
		s.send(1, av.items(t))
		end(s.p)
		old := s.stream()
		time.Sleep(13 * time.Second)
		synctest.Wait()
		o := run(2)
		o.Run.MSNMark = 7
		s.p = s.registry.Open(o)
		if all := s.registry.Streams("play"); len(all) != 1 || all[0] == old || all[0].Over() {
			t.Errorf("%d runs, the first is the old one: %t", len(all), all[0] == old)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if s.stream() == nil {
			t.Error("the old run's timer took the new one along")
		}
	})
}

// What lingers makes room for what is on air: together they stay below the cap.
func TestLingeringMediaMakesRoom(t *testing.T) {
	onStage(t, hls.Config{RingBytes: 5 << 20}, run(2), func(s *stage) {
		src := av
		src.bytes, src.length = 8000, 15*time.Second // 2.1 Mbit/s: 12 s are 3.2 MB
		s.begin(1)
		s.send(1, src.items(t))
		end(s.p)
		time.Sleep(12 * time.Second)
		synctest.Wait()
		o := run(2)
		o.SessionID, o.Run.ID = "second", "next"
		p := s.registry.Open(o)
		p.Begin(2)
		p.Mark(farAhead, farAhead)
		seen, start := time.Duration(0), time.Now()
		for _, it := range src.items(t) {
			time.Sleep(it.at - time.Since(start))
			if err := write(p, 2, it); err != nil {
				t.Fatal(err)
			}
			if s.registry.Run("play", "run") != nil {
				seen = time.Since(start)
			}
		}
		if seen < 3*time.Second || seen > 10*time.Second {
			t.Errorf("the old run was there for %v of the new one, want until the two are 5 MiB", seen)
		}
		var next playlist.Media
		m, err := playlist.ParseMedia(string(s.stream().Window().Current().Playlist(false, false).Data))
		if err != nil {
			t.Fatal(err)
		}
		if next = *m; next.Length() < 12*time.Second {
			t.Errorf("%v of the new run are listed, want a window", next.Length())
		}
		end(p)
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
			_, err := s.v.window.Wait(s.t.Context(), hls.Position{MSN: s.v.window.Current().LastMSN + 2, Part: -1}, hls.Within{})
			waiting <- err
		}()
		synctest.Wait()
		end(s.p)
		if err := <-waiting; !errors.Is(err, hls.ErrEnded) {
			t.Errorf("the waiting reload got %v", err)
		}
		if got := s.playlist(); !strings.HasSuffix(got, "#EXT-X-ENDLIST\n") {
			t.Errorf("no ENDLIST:\n%s", got)
		}
		if err := s.p.WriteFrame(1, media.Frame{}); !errors.Is(err, livestream.ErrStale) {
			t.Errorf("a frame after the end: %v", err)
		}
		end(s.p)
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
		end(s.p)
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
			got, err := s.v.window.Wait(ctx, c.want, hls.Within{})
			cancel()
			if !errors.Is(err, c.err) || (err == nil) != (got != nil) || err != nil && strings.Contains(err.Error(), "part -1") {
				t.Errorf("%s: %v, want %v", c.name, err, c.err)
			}
		}
		if _, err := s.v.window.WaitPart(s.t.Context(), 1, snap.NextPart+1, hls.Within{}); !errors.Is(err, livestream.ErrNotFound) {
			t.Errorf("a part beyond the hint: %v", err)
		}
		if p, err := s.v.window.WaitPart(s.t.Context(), 1, 0, hls.Within{}); err != nil || p.Counter != 0 {
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
			got, err := s.v.window.Wait(s.t.Context(), want, hls.Within{})
			if err != nil {
				t.Error(err)
			}
			answers <- answer{at: time.Now(), s: got}
		}()
		go func() {
			p, err := s.v.window.WaitPart(s.t.Context(), 1, snap.NextPart, hls.Within{})
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
