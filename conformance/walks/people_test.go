package walks

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"tally/internal/rtmp/publisher"
	"tally/internal/servertest"
)

// disabledWhileReconnecting: the encoder is lost, and before it is back somebody
// disables the livestream. The window does not outlive that.
func disabledWhileReconnecting(t *testing.T, p *place) {
	w := p.walk(t, nil)
	e := w.Publish(publisher.Reset, nil)
	e.Accepted(5 * time.Second)
	w.Await("LIVE", 10*time.Second)
	v := watch(t, w.PlaybackURL)
	v.plays(2*time.Second, 15*time.Second)
	e.Leave()
	w.Await("LIVE RECONNECTING", time.Second)
	w.shows("reconnecting", 5*time.Second)
	_, s, _ := w.Active()
	if s.Health() != "reconnecting" || s.Tally.Deadline == nil || !strings.Contains(*s.ErrMessage, "the session ends at") {
		t.Errorf("in the window: %+v, %s", s.Tally, *s.ErrMessage)
	}
	began := time.Now()
	w.Do("disable")
	if got := w.Status(); got != "404" {
		t.Errorf("right after disable: %q, want 404", got)
	}
	v.ended(2 * time.Second)
	t.Logf("ENDLIST %v after disable", time.Since(began).Round(time.Millisecond))
	w.shows("ended", 2*time.Second)
	l, all := w.Detail()
	if l.Status != "IDLE" || !bool(l.Disabled) || all[0].ErrMessage != nil {
		t.Errorf("afterwards: %+v, %+v", l, all[0])
	}
	if d := all[0].StoppedTime.Sub(*s.Tally.LastMediaAt); d < 0 || d > 15*time.Second {
		t.Errorf("stopped %v after the last media", d)
	}
	if err := w.Publish(publisher.Clean, nil).Refused(5 * time.Second); err == nil || !strings.Contains(err.Error(), "NetStream.Publish.Denied") {
		t.Errorf("the returning encoder was told %v, want Denied", err)
	}
	w.sound(all[0], 1.5, 20)
	w.events(all[0].ID, "publish", "playable", "lose", "disable")
	w.told(all, "LIVE", "reconnecting RECONNECTING", "OFFLINE")
	v.leave(held(v))
	w.was("waiting", "live", "reconnecting", "ended")
}

// held is how many discontinuities a held picture made: 1 where the gap was
// longer than a target duration, else 0.
func held(v *viewer) int64 {
	if v.p.Stats().Held > 0 {
		return 1
	}
	return 0
}

// stoppedWhileInvoked: an encoder is connected, nothing can be played yet, and
// somebody stops it. The encoder is cut and kept off for a while.
func stoppedWhileInvoked(t *testing.T, p *place) {
	w := p.walk(t, nil)
	e := w.Publish(publisher.Clean, func(o *publisher.Options) { o.Source = withoutKeyframes{o.Source} })
	e.Accepted(5 * time.Second)
	w.Await("INVOKED", time.Second)
	w.shows("waiting", 5*time.Second)
	asked := make(chan int, 1)
	go func() { // a player that waits for the first segment
		status, _ := p.Get("/hls/" + w.PlaybackID + "/index.m3u8")
		asked <- status
	}()
	time.Sleep(time.Second) // it waits
	_, s, _ := w.Active()
	began := time.Now()
	w.Do("stop")
	if err := e.Lost(time.Second); err == nil || !strings.Contains(err.Error(), "stop") {
		t.Errorf("the encoder was told %v, want that it was stopped", err)
	}
	t.Logf("the encoder was cut %v after the stop", time.Since(began).Round(time.Millisecond))
	if status := <-asked; status != http.StatusNotFound {
		t.Errorf("the player that waited was answered %d, want 404", status)
	}
	all := w.closed()
	if l, _ := w.Detail(); l.Status != "IDLE" || len(all) != 1 || all[0].ErrMessage != nil || all[0].StartedTime != nil {
		t.Errorf("after the stop: %s, %+v", l.Status, all)
	}
	if err := w.Publish(publisher.Clean, nil).Refused(5 * time.Second); err == nil || !strings.Contains(err.Error(), "NetStream.Publish.Denied") {
		t.Errorf("the encoder that bounced back was told %v, want Denied", err)
	}
	w.events(s.ID, "publish", "stop")
	w.told(all, "OFFLINE")
	w.was("waiting")
}

// meetingStopped: a meeting's livestream is stopped while its encoder sends, and
// the encoder reconnects by itself, as OBS does. It stays off until the meeting
// is started again, with the same key and address.
func meetingStopped(t *testing.T, p *place) {
	helper := &servertest.Broadcast{Server: p.Server, T: t}
	var meeting struct{ ID string }
	helper.Ask("POST", "/meetings", map[string]any{"title": "weekly"}, 201).Into(t, &meeting)
	start := func() (l servertest.Livestream) {
		t.Helper()
		helper.Ask("POST", "/meetings/"+meeting.ID+"/livestreams", map[string]any{"tally": map[string]any{"damping_seconds": 2}}, 201).Into(t, &l)
		return l
	}
	l := start()
	w := p.with(p.Server.Broadcast(t, l), t)
	if l.Status != "INVOKED" || w.Status() != "INVOKED" {
		t.Errorf("started: %s, active session %s, want INVOKED", l.Status, w.Status())
	}
	e := w.Publish(publisher.Clean, nil)
	e.Accepted(5 * time.Second)
	w.Await("LIVE", 10*time.Second)
	w.shows("live", 5*time.Second)
	v := watch(t, w.PlaybackURL)
	v.plays(2*time.Second, 15*time.Second)
	helper.Ask("POST", "/meetings/"+meeting.ID+"/active-livestream/stop", nil, 200)
	if got := w.Status(); got != "404" {
		t.Errorf("right after the stop: %q", got)
	}
	if err := e.Lost(time.Second); err == nil {
		t.Error("the encoder was told nothing")
	}
	v.ended(2 * time.Second)
	w.shows("ended", 2*time.Second)
	for range 3 { // it tries again and again, also when the 2 s of damping are over
		if err := w.Publish(publisher.Clean, nil).Refused(5 * time.Second); err == nil || !strings.Contains(err.Error(), "NetStream.Publish.Denied") {
			t.Errorf("the encoder that reconnects was told %v, want Denied", err)
		}
		time.Sleep(time.Second)
	}
	if got := w.Status(); got != "404" {
		t.Errorf("after its tries: %q", got)
	}
	again := start()
	if again.ID != w.ID || again.StreamKey != w.Key || again.PlaybackURL != w.PlaybackURL {
		t.Errorf("started again: %+v, want the same livestream, key and address", again)
	}
	e = w.Publish(publisher.Clean, nil)
	e.Accepted(5 * time.Second)
	w.Await("LIVE", 10*time.Second)
	w.shows("live", 5*time.Second)
	e.Leave()
	all := w.closed()
	if len(all) != 2 || all[0].ErrMessage != nil || all[1].ErrMessage != nil {
		t.Errorf("sessions %+v, want two without an error", all)
	}
	w.told(all, "LIVE", "OFFLINE", "LIVE", "OFFLINE")
	v.leave(0)
	w.was("waiting", "live", "ended", "waiting", "live", "ended")
}

// keyReset: the stream key leaked, and somebody resets it amid a broadcast. Who
// had the old one is off within a second and stays off; the new one gets on.
func keyReset(t *testing.T, p *place) {
	w := p.walk(t, nil)
	e := w.Publish(publisher.Clean, nil)
	e.Accepted(5 * time.Second)
	w.Await("LIVE", 10*time.Second)
	w.shows("live", 5*time.Second)
	v := watch(t, w.PlaybackURL)
	v.plays(2*time.Second, 15*time.Second)
	old := w.Key
	began := time.Now()
	w.Do("reset-stream-key")
	if got := w.Status(); got != "404" || w.Key == old {
		t.Errorf("right after the reset: %q", got)
	}
	if err := e.Lost(time.Second); err == nil {
		t.Error("the encoder was told nothing")
	}
	t.Logf("the encoder was cut %v after the reset", time.Since(began).Round(time.Millisecond))
	v.ended(2 * time.Second)
	w.shows("ended", 2*time.Second)
	fresh := w.Key
	w.Key = old
	if err := w.Publish(publisher.Clean, nil).Refused(5 * time.Second); err == nil || !strings.Contains(err.Error(), "NetStream.Publish.Denied") {
		t.Errorf("the old key was told %v, want Denied", err)
	}
	w.Key = fresh
	e = w.Publish(publisher.Clean, nil)
	e.Accepted(5 * time.Second) // at once: what was reset is another key
	w.Await("LIVE", 10*time.Second)
	w.shows("live", 5*time.Second)
	e.Leave()
	all := w.closed()
	if len(all) != 2 || all[0].ErrMessage != nil || all[1].ErrMessage != nil {
		t.Errorf("sessions %+v, want two without an error", all)
	}
	w.events(all[1].ID, "publish", "playable", "reset-key")
	w.told(all, "LIVE", "OFFLINE", "LIVE", "OFFLINE")
	if key := w.in.All(w.ID)[1].Event.StreamKey; key != old {
		t.Error("the end of the first session was not told with the key that it was published with")
	}
	v.leave(0)
	w.was("waiting", "live", "ended", "waiting", "live", "ended")
}
