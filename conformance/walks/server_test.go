package walks

import (
	"path"
	"strings"
	"testing"
	"time"

	"tally/internal/hls/playlist"
	"tally/internal/rtmp/publisher"
	"tally/internal/servertest"
)

// TestServerKilledInsideTheWindow: the encoder is lost, and while its session
// waits for it the server is killed and started again. The session waits on with
// the same id, address and seconds, and the encoder continues it.
func TestServerKilledInsideTheWindow(t *testing.T) {
	t.Parallel()
	w := settle(t).walk(t, nil)
	e := w.Publish(publisher.Reset, nil)
	e.Accepted(5 * time.Second)
	w.Await("LIVE", 10*time.Second)
	w.shows("live", 5*time.Second)
	v := watch(t, w.PlaybackURL)
	v.plays(3*time.Second, 15*time.Second)
	e.Leave()
	w.Await("LIVE RECONNECTING", time.Second)
	w.shows("reconnecting", 5*time.Second)
	_, before, _ := w.Active()
	time.Sleep(time.Second) // of the window, while the picture is held
	listed := w.listed()

	w.Kill()
	w.Restart()
	if got := w.Status(); got != "LIVE RECONNECTING" {
		t.Errorf("right after the restart: %q", got)
	}
	_, s, _ := w.Active()
	if s.ID != before.ID || s.Tally.IngestMs < before.Tally.IngestMs || s.Tally.Deadline.Before(*before.Tally.Deadline) ||
		!s.StartedTime.Equal(*before.StartedTime) {
		t.Errorf("right after the restart: %+v %+v\nbefore: %+v %+v", s, s.Tally, before, before.Tally)
	}
	if status, body := w.Get("/hls/" + w.PlaybackID + "/index.m3u8"); status != 503 {
		t.Errorf("until the first new part a player is answered %d %s, want 503", status, body)
	}
	if got := w.State(); got != "reconnecting" {
		t.Errorf("the page is told %q right after the restart", got)
	}
	time.Sleep(2 * time.Second) // until the encoder is back
	w.resumes(v, before, listed)
	w.told([]servertest.Session{s}, "LIVE", "reconnecting RECONNECTING", "ok", "OFFLINE")
	w.events(s.ID, "publish", "playable", "lose", "boot", "publish", "stop")
}

// TestServerStoppedAndStarted: an update. SIGTERM, and five seconds later the new
// one starts: the session is continued, and nobody was told of an end.
func TestServerStoppedAndStarted(t *testing.T) {
	t.Parallel()
	w := settle(t).walk(t, nil)
	e := w.Publish(publisher.Clean, nil)
	e.Accepted(5 * time.Second)
	w.Await("LIVE", 10*time.Second)
	w.shows("live", 5*time.Second)
	v := watch(t, w.PlaybackURL)
	v.plays(3*time.Second, 15*time.Second)
	_, before, _ := w.Active()
	listed := w.listed()

	took := w.Stop()
	if err := e.Lost(time.Second); err == nil {
		t.Error("the encoder was not told that the server stops")
	}
	time.Sleep(5 * time.Second) // the update takes its time
	w.Restart()
	_, s, _ := w.Active()
	if s.ID != before.ID || s.Tally.IngestMs < before.Tally.IngestMs || w.Status() != "LIVE RECONNECTING" {
		t.Errorf("right after the start: %q, %+v %+v, before %+v", w.Status(), s, s.Tally, before)
	}
	w.resumes(v, before, listed)
	t.Logf("SIGTERM drained within %v", took.Round(time.Millisecond))
	w.told([]servertest.Session{s}, "LIVE", "reconnecting RECONNECTING", "ok", "OFFLINE")
	w.events(s.ID, "publish", "playable", "shutdown", "boot", "publish", "stop")
}

// listed is the playlist as a new viewer reads it.
func (w *walk) listed() *playlist.Media {
	w.t.Helper()
	status, text := w.Get("/hls/" + w.PlaybackID + "/index.m3u8")
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if status != 200 {
		w.t.Fatalf("multivariant playlist: %d %s", status, text)
	}
	status, text = w.Get(path.Join("/hls", w.PlaybackID, lines[len(lines)-1]))
	m, err := playlist.ParseMedia(string(text))
	if err != nil || status != 200 {
		w.t.Fatalf("media playlist: %d %v", status, err)
	}
	return m
}

// resumes brings an encoder back after a restart of the server, and follows the
// session before to its end by a stop. v has watched all the time.
func (w *walk) resumes(v *viewer, before servertest.Session, listed *playlist.Media) {
	t := w.t
	t.Helper()
	e := w.Publish(publisher.Clean, nil)
	e.Accepted(5 * time.Second)
	began := time.Now()
	w.Await("LIVE", 10*time.Second)
	live := time.Now()
	v.plays(3*time.Second, 20*time.Second)
	t.Logf("the viewer has played 3 s more %v after LIVE", time.Since(live).Round(time.Millisecond))
	w.shows("live", 10*time.Second)
	_, s, _ := w.Active()
	if s.ID != before.ID || s.ErrMessage != nil {
		t.Errorf("resumed: %+v, before %+v", s, before)
	}
	now := w.listed()
	if now.FirstMSN() < listed.NextMSN() {
		t.Errorf("after the restart the list begins with %d, before it went to %d", now.FirstMSN(), listed.NextMSN()-1)
	}
	if now.DiscontinuitySequence <= listed.DiscontinuitySequence {
		t.Errorf("discontinuity sequence %d after the restart, %d before", now.DiscontinuitySequence, listed.DiscontinuitySequence)
	}
	w.Do("stop")
	long := time.Since(began).Seconds()
	all := w.closed()
	if len(all) != 1 || all[0].ErrMessage != nil {
		t.Errorf("sessions %+v, want one", all)
	}
	was := float64(before.Tally.IngestMs) / 1000
	w.sound(all[0], was+long-1, was+long+1)
	v.ended(2 * time.Second)
	// What was in memory is gone, so three target durations cannot stay listed.
	if s := v.leave(v.p.Stats().Discontinuities, "window"); s.Discontinuities < 1 {
		t.Error("no discontinuity stands between before and after the restart")
	}
	w.was("waiting", "live", "reconnecting", "live", "ended")
}
