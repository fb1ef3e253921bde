//go:build browser

package e2e

import (
	"context"
	"testing"
	"time"

	"tally/internal/hls/player"
	"tally/internal/rtmp/publisher"
	"tally/internal/servertest"
)

// TestNoRoom: who comes when as many are watching as may is told so in words.
func TestNoRoom(t *testing.T) {
	s := servertest.Start(t, "--max-viewers", "1").Create(t, nil)
	s.Publish(publisher.Clean, nil).Accepted(20 * time.Second)
	s.Await("LIVE", 20*time.Second)
	ctx, leave := context.WithCancel(t.Context())
	watching := player.New(player.Options{URL: s.PlaybackURL, LowLatency: true, Lean: true})
	ended := make(chan error, 1)
	go func() {
		_, err := watching.Run(ctx)
		ended <- err
	}()
	servertest.Eventually(t, "the first viewer to watch", 20*time.Second, func() bool { return watching.Stats().Parts > 0 })

	p := servertest.Browse(t)
	p.Open(s.WatchURL(), nil)
	p.Await("the reason", says+`'No room for one more viewer'`, 20*time.Second)
	p.Accessible("full")
	p.Shot("full")
	before := watching.Stats().Parts
	servertest.Eventually(t, "the first viewer to go on", 20*time.Second, func() bool { return watching.Stats().Parts > before+3 })
	leave()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
