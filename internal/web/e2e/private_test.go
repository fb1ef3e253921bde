//go:build browser

package e2e

import (
	"strings"
	"testing"
	"time"

	"tally/internal/rtmp/publisher"
	"tally/internal/servertest"
)

// sign asks the API for a token and returns it.
func sign(s *servertest.Broadcast, body map[string]any) string {
	var signed struct{ Token string }
	s.Ask("POST", "/livestreams/"+s.ID+"/playback-tokens", body, 201).Into(s.T, &signed)
	return signed.Token
}

// TestPrivate is what a person sees of a private broadcast: without a link,
// with one, and when it is taken back or over. The player stops within two
// seconds, and says why, without a picture of before and without the code of an
// embed that would be refused; the log holds no token.
func TestPrivate(t *testing.T) {
	s := servertest.Start(t).Create(t, map[string]any{"playback_policy": "signed"})
	s.Publish(publisher.Clean, nil).Accepted(20 * time.Second)
	s.Await("LIVE", 20*time.Second)
	p := servertest.Browse(t)
	denied := func(headline string, limit time.Duration) time.Duration {
		t.Helper()
		return p.Await(headline, says+`'`+headline+`' && document.body.dataset.state === 'denied' && !tally.player.on && video.paused &&
			!stage.classList.contains('clear') && !video.poster && document.getElementById('copy').closest('p').hidden`, limit)
	}
	watched := func(token string) {
		t.Helper()
		p.Open(s.WatchURL()+"?token="+token, nil)
		p.Await("the picture", playing, 20*time.Second)
	}

	bob := sign(s, map[string]any{"viewer": "bob", "expires_in": 1})
	p.Open(s.WatchURL(), nil)
	denied("This broadcast is private", 10*time.Second)
	p.Accessible("private")
	p.Shot("private")
	p.Open(s.WatchURL()+"?token="+bob, nil)
	denied("Your link has expired", 20*time.Second)
	p.Shot("private-expired")

	alice := sign(s, map[string]any{"viewer": "alice"})
	watched(alice)
	s.Ask("POST", "/livestreams/"+s.ID+"/playback-revocations", map[string]any{"viewer": "alice"}, 201)
	took := denied("Your access has ended", 15*time.Second)
	t.Logf("revoked: stopped and told after %v", took.Round(time.Millisecond))
	if took > 2*time.Second {
		t.Errorf("the page went on for %v", took)
	}
	p.Accessible("revoked")
	p.Shot("private-revoked")

	s.Ask("PATCH", "/livestreams/"+s.ID, map[string]any{"tally": map[string]any{"playback_policy": "public"}}, 200)
	p.Open(s.WatchURL(), nil)
	p.Await("the picture of a public broadcast", playing, 20*time.Second)
	s.Ask("PATCH", "/livestreams/"+s.ID, map[string]any{"tally": map[string]any{"playback_policy": "signed"}}, 200)
	if took := denied("This broadcast is private", 15*time.Second); took > 2*time.Second {
		t.Errorf("a viewer of before the policy went on for %v", took)
	}
	p.Quiet()
	for _, token := range []string{alice, bob} {
		for _, part := range strings.Split(token, ".")[1:] {
			if strings.Contains(s.Log(), part) {
				t.Error("a token is in the log")
			}
		}
	}
}

// TestPrivateElsewhere is a private broadcast off its watch page: embedded with a
// poster, and as a recording. With a token both are as of a public one; without,
// nothing of it is to be seen or had, also by who makes previews of links.
func TestPrivateElsewhere(t *testing.T) {
	s := servertest.Start(t).Create(t, map[string]any{"playback_policy": "signed", "keep": true, "endlist_delay_seconds": 0})
	encoder := s.Publish(publisher.Clean, nil)
	encoder.Accepted(20 * time.Second)
	s.Await("LIVE", 20*time.Second)
	_, session, _ := s.Active()
	alice := sign(s, map[string]any{"viewer": "alice"})
	hls, size := "/hls/"+s.PlaybackID, servertest.Command{"width": 640, "height": 360}
	refused := func(path string, want int) {
		t.Helper()
		if status, body := s.Get(path); status != want || len(body) > 200 {
			t.Errorf("%s: %d, want %d: %.200s", path, status, want, body)
		}
	}
	refused(hls+"/index.m3u8", 403)
	refused(hls+"/state", 403)
	refused(hls+"/thumbnail.jpg", 403)
	refused("/oembed?url="+s.WatchURL(), 401)
	for _, page := range []string{"/watch/", "/embed/"} {
		status, body := s.Get(page + s.PlaybackID)
		if text := string(body); status != 200 || strings.Contains(text, "thumbnail.jpg") || !strings.Contains(text, `data-state="waiting"`) || strings.Contains(text, session.ID) {
			t.Errorf("%s: %d, and it tells of the broadcast: %s", page, status, text)
		}
	}

	p := servertest.Browse(t)
	denied := says + `'This broadcast is private' && document.body.dataset.state === 'denied' && !tally.player.on && !video.poster`
	embed := "http://" + s.HTTP + "/embed/" + s.PlaybackID
	p.Open(embed, size)
	p.Await("an embedded player that shows nothing", denied, 10*time.Second)
	p.Accessible("embedded, private")
	p.Shot("private-embed")
	p.Open(embed+"?token="+alice, size)
	p.Await("its poster", says+`'The broadcast is live' && !start.hidden && stage.classList.contains('has-poster') && !tally.player.on`, 30*time.Second)
	p.Shot("private-embed-poster")
	p.Tell(servertest.Command{"do": "click", "selector": "#start"}, nil)
	p.Await("the broadcast", unveiled, 20*time.Second)
	p.Await("some media for a recording", `video.currentTime > 4`, 20*time.Second)
	encoder.Leave()
	p.Await("the way to the recording", `!again.hidden && again.textContent === 'Watch the recording'`, 30*time.Second)
	recorded := `document.body.dataset.state === 'recording' && tally.player.moving && stage.classList.contains('clear')`
	p.Tell(servertest.Command{"do": "click", "selector": "#again"}, nil)
	p.Await("the recording", recorded, 15*time.Second)

	refused("/vod/"+session.ID+"/index.m3u8", 403)
	page := "http://" + s.HTTP + "/vod/" + session.ID
	p.Open(page, nil)
	p.Await("a recording that is private", denied, 15*time.Second)
	p.Accessible("private recording")
	p.Shot("private-recording-denied")
	p.Open(page+"?token="+alice, nil)
	p.Await("the page of the recording", recorded, 15*time.Second)
	p.Shot("private-recording")
	s.Ask("POST", "/livestreams/"+s.ID+"/playback-revocations", map[string]any{"viewer": "alice"}, 201)
	p.Open(page+"?token="+alice, nil)
	p.Await("a recording that was taken back", says+`'Your access has ended' && document.body.dataset.state === 'denied' && !tally.player.on`, 15*time.Second)
	p.Quiet()
	for _, part := range strings.Split(alice, ".")[1:] {
		if strings.Contains(s.Log(), part) {
			t.Error("a token is in the log")
		}
	}
}
