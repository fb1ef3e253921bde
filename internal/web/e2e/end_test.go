//go:build browser

package e2e

import (
	"testing"
	"time"

	"tally/internal/rtmp/publisher"
	"tally/internal/servertest"
)

// What is told of the end stays: until the playlist has its own end hls.js nudges
// the picture, which is no broadcast. The
// next one begins by itself. Stock hls.js plays to the end and stands still there.
func TestTheEndIsToldOnce(t *testing.T) {
	s := serve(t) // ENDLIST comes ten seconds after a clean end
	p, stockPlayer := servertest.Browse(t), servertest.Browse(t)
	encoder := s.Publish(publisher.Clean, nil)
	encoder.Accepted(20 * time.Second)
	s.AwaitState("live", 20*time.Second)
	stockPlayer.Open(stockPage(t), nil)
	stockPlayer.Eval(`load('hlsjs', '`+s.PlaybackURL+`')`, nil)
	p.Open(s.WatchURL(), nil)
	p.Await("the picture", unveiled, 20*time.Second)
	stockPlayer.Await("the picture with stock hls.js", `look().hlsjs.moving`, 20*time.Second)

	encoder.Leave()
	p.Await("the end", says+`'The broadcast has ended' && !stage.classList.contains('clear')`, 20*time.Second)
	p.Eval(`void (window.lifted = 0, new MutationObserver(() => { lifted += stage.classList.contains('clear') }).observe(stage, { attributes: true, attributeFilter: ['class'] }))`, nil)
	p.Shot("just-ended")
	stockPlayer.Await("the end with stock hls.js", `look().hlsjs.ended`, 30*time.Second)
	time.Sleep(15 * time.Second) // the ended playlist is 404 meanwhile
	var lifted int
	if p.Eval(`lifted`, &lifted); lifted != 0 {
		t.Errorf("the picture was shown again %d times as if it moved", lifted)
	}
	var all map[string]seen
	if stockPlayer.Eval(`look()`, &all); len(all["hlsjs"].Fatal) > 0 || !all["hlsjs"].Ended {
		t.Errorf("stock hls.js long after the end: %+v", all)
	}
	p.Shot("long-ended")

	s.Publish(publisher.Clean, nil).Accepted(20 * time.Second)
	took := p.Await("the next broadcast", playing, 20*time.Second)
	t.Logf("the next broadcast's picture after %v", took.Round(time.Millisecond))
	p.Quiet()
}
