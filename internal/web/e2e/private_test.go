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
