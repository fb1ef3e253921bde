package walks

import (
	"strings"
	"testing"
	"time"

	"tally/internal/rtmp/publisher"
	"tally/internal/servertest"
)

// obsRestarted: somebody clicks Stop Streaming in OBS and Start again within 3 s.
// That is a clean end: two sessions, of which the receiver is told. The playlist
// goes on behind one discontinuity, so viewers keep watching.
func obsRestarted(t *testing.T, p *place) {
	w := p.walk(t, nil)
	w.shows("waiting", 5*time.Second)
	first := w.Publish(publisher.Clean, nil)
	first.Accepted(5 * time.Second)
	w.Await("LIVE", 10*time.Second)
	began := time.Now()
	v := watch(t, w.PlaybackURL)
	w.shows("live", 5*time.Second)
	v.plays(2*time.Second, 15*time.Second)
	if err := first.Leave(); err != nil {
		t.Errorf("the encoder's clean end: %v", err)
	}
	long := time.Since(began)
	w.Await("404", time.Second)
	if l, s := w.Detail(); l.Status != "IDLE" || len(s) != 1 || s[0].StoppedTime == nil || s[0].ErrMessage != nil {
		t.Errorf("after the clean end: %s, %+v", l.Status, s)
	}
	w.shows("ended", 5*time.Second)
	time.Sleep(2 * time.Second) // the person looks at a setting
	second := w.Publish(publisher.Clean, nil)
	second.Accepted(5 * time.Second)
	w.Await("LIVE", 10*time.Second)
	w.shows("live", 5*time.Second)
	v.plays(3*time.Second, 15*time.Second)
	second.Leave()
	sessions := w.closed()
	if len(sessions) != 2 || sessions[0].ErrMessage != nil {
		t.Fatalf("sessions %+v, want two that ended cleanly", sessions)
	}
	w.sound(sessions[0], 2, 20)
	w.sound(sessions[1], long.Seconds()-0.5, long.Seconds()+6)
	w.events(sessions[0].ID, "publish", "playable", "unpublish")
	w.told(sessions, "LIVE", "OFFLINE", "LIVE", "OFFLINE")
	v.ended(15 * time.Second)
	v.leave(1)
	w.was("waiting", "live", "ended", "waiting", "live", "ended")
}

// encoderMoved: a phone changes from Wi-Fi to the mobile network. Its old
// connection is silent and stays open, the new one comes from another address: it
// is held until the old one has been silent for 2 s, and takes over inside the
// session. Nobody is told of an end, and the address decides nothing.
func encoderMoved(t *testing.T, p *place) {
	w := p.walk(t, nil)
	wifi, mobile := servertest.NewRelay(t, p.RTMP, ""), servertest.NewRelay(t, p.RTMP, "127.0.0.2")
	through := func(r *servertest.Relay) func(*publisher.Options) {
		return func(o *publisher.Options) { o.URL = strings.Replace(o.URL, p.RTMP, r.Addr, 1) }
	}
	old := w.Publish(publisher.Cut, through(wifi))
	old.Accepted(5 * time.Second)
	w.Await("LIVE", 10*time.Second)
	began := time.Now()
	v := watch(t, w.PlaybackURL)
	w.shows("live", 5*time.Second)
	v.plays(2*time.Second, 15*time.Second)
	_, before, _ := w.Active()
	wifi.Pull()
	silent := time.Now()
	took := w.Publish(publisher.Cut, through(mobile)).Accepted(5 * time.Second).Sub(silent)
	if took < 1500*time.Millisecond || took > 3500*time.Millisecond {
		t.Errorf("the new connection was accepted after %v, want 2 s of silence", took)
	}
	v.plays(3*time.Second, 15*time.Second)
	w.Await("LIVE", time.Second)
	_, s, _ := w.Active()
	if s.ID != before.ID || s.Tally.Epoch != before.Tally.Epoch+1 || s.Health() != "ok" ||
		s.Tally.Remote == nil || !strings.HasPrefix(*s.Tally.Remote, "127.0.0.2:") {
		t.Errorf("after the move: %+v %+v; before: %+v", s, s.Tally, before)
	}
	long := time.Since(began)
	w.Do("stop")
	all := w.closed()
	w.sound(all[0], long.Seconds()-took.Seconds()-1, long.Seconds())
	w.events(all[0].ID, "publish", "playable", "publish", "stop")
	w.told(all, "LIVE", "OFFLINE")
	v.ended(2 * time.Second)
	v.leave(1)
	w.was("waiting", "live", "ended")
	t.Logf("the new connection was let on %v after the old one fell silent", took.Round(time.Millisecond))
}

// twoEncoders: two programs have the same key. The second is refused, and neither
// the session nor the viewers notice; the first stays on air. With the policy
// replace the second takes over inside the session, behind one discontinuity.
func twoEncoders(t *testing.T, p *place) {
	w := p.walk(t, nil)
	first := w.Publish(publisher.Clean, nil)
	first.Accepted(5 * time.Second)
	w.Await("LIVE", 10*time.Second)
	v := watch(t, w.PlaybackURL)
	w.shows("live", 5*time.Second)
	v.plays(2*time.Second, 15*time.Second)
	_, before, _ := w.Active()
	err := w.Publish(publisher.Clean, nil).Refused(5 * time.Second)
	if err == nil || !strings.Contains(err.Error(), "NetStream.Publish.BadName") {
		t.Errorf("the second encoder was told %v, want BadName", err)
	}
	v.plays(2*time.Second, 10*time.Second)
	if _, s, _ := w.Active(); s.ID != before.ID || s.Tally.Epoch != before.Tally.Epoch || w.Status() != "LIVE" {
		t.Errorf("after the second encoder: %+v, before %+v", s, before)
	}
	if s := v.p.Stats(); s.Discontinuities != 0 || s.Held != 0 || s.Gaps != 0 || s.Jumps != 0 {
		t.Errorf("the viewers of the first noticed the second: %+v", s)
	}
	w.events(before.ID, "publish", "playable")

	w.Ask("PATCH", "/livestreams/"+w.ID, map[string]any{"tally": map[string]any{"publisher_policy": "replace"}}, 200)
	second := w.Publish(publisher.Clean, nil)
	second.Accepted(5 * time.Second)
	if err := first.Lost(5 * time.Second); err == nil || !strings.Contains(err.Error(), "NetStream.Failed") {
		t.Errorf("the encoder that was replaced was told %v, want NetStream.Failed", err)
	}
	v.plays(3*time.Second, 15*time.Second)
	w.Await("LIVE", time.Second)
	second.Leave()
	all := w.closed()
	if len(all) != 1 {
		t.Errorf("%d sessions, want one", len(all))
	}
	w.events(before.ID, "publish", "playable", "publish", "unpublish")
	w.told(all, "LIVE", "OFFLINE")
	v.ended(15 * time.Second)
	v.leave(1)
	w.was("waiting", "live", "ended")
}

// neverPlayable: an encoder sends sound for ten seconds and never the picture
// that it announced. The session fails and says why for as long as somebody may
// look; no player was ever given an empty playlist.
func neverPlayable(t *testing.T, p *place) {
	w := p.walk(t, nil)
	e := w.Publish(publisher.Clean, func(o *publisher.Options) { o.Source = withoutKeyframes{o.Source} })
	e.Accepted(5 * time.Second)
	w.Await("INVOKED", time.Second)
	w.shows("waiting", 5*time.Second)
	began := time.Now()
	status, _ := p.Get("/hls/" + w.PlaybackID + "/index.m3u8")
	held := time.Since(began)
	if status != 503 && status != 404 || held < 8*time.Second { // its 10 s are over with the session's
		t.Errorf("the player that waited is answered %d after %v", status, held)
	}
	w.Await("ERRORED NO_KEYFRAME", 2*time.Second)
	if err := e.Lost(2 * time.Second); err == nil {
		t.Error("the encoder was told nothing")
	}
	_, s, _ := w.Active()
	if s.StartedTime != nil || s.StoppedTime == nil || !strings.Contains(*s.ErrMessage, "Keyframe") {
		t.Errorf("the failed session: %+v, %v", s, *s.ErrMessage)
	}
	if status, _ := p.Get("/hls/" + w.PlaybackID + "/index.m3u8"); status != 404 {
		t.Errorf("a player is answered %d afterwards, want 404", status)
	}
	w.events(s.ID, "publish", "fail")
	w.told([]servertest.Session{s}, "OFFLINE NO_KEYFRAME")
	w.Do("stop") // acknowledges
	if l, _ := w.Detail(); l.Status != "IDLE" || w.Status() != "404" {
		t.Errorf("acknowledged: %s, active session %s", l.Status, w.Status())
	}
	w.was("waiting")
	t.Logf("a player was held for %v, then answered %d", held.Round(time.Millisecond), status)
}

// publishAfterErrored: the encoder is mended and publishes again, without
// anybody acknowledging the failure.
func publishAfterErrored(t *testing.T, p *place) {
	w := p.walk(t, nil)
	broken := w.Publish(publisher.Cut, func(o *publisher.Options) { o.Source = withoutKeyframes{o.Source} })
	broken.Accepted(5 * time.Second)
	w.Await("INVOKED", time.Second)
	broken.Leave()
	w.Await("ERRORED DISCONNECTED", 2*time.Second)
	_, failed, _ := w.Active()
	mended := w.Publish(publisher.Clean, nil)
	mended.Accepted(5 * time.Second)
	if got := w.Status(); got != "INVOKED" && got != "LIVE" {
		t.Errorf("after the second publish was accepted: %q", got)
	}
	w.Await("LIVE", 10*time.Second)
	w.shows("live", 5*time.Second)
	v := watch(t, w.PlaybackURL)
	v.plays(2*time.Second, 15*time.Second)
	_, s, _ := w.Active()
	if s.ID == failed.ID || s.ErrMessage != nil {
		t.Errorf("the second session: %+v", s)
	}
	mended.Leave()
	all := w.closed()
	if len(all) != 2 || all[1].ID != failed.ID || all[1].Code() != "DISCONNECTED" || all[1].StartedTime != nil {
		t.Errorf("sessions %+v, want the failed one kept as it was", all)
	}
	w.told(all, "OFFLINE DISCONNECTED", "LIVE", "OFFLINE")
	v.ended(15 * time.Second)
	v.leave(0)
}
