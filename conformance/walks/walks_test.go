package walks

import (
	"testing"

	"tally/internal/rtmp/flv"
	"tally/internal/rtmp/publisher"
)

// TestWalks are the walks that can share a server: each has a livestream of its
// own. The others start theirs.
func TestWalks(t *testing.T) {
	t.Parallel()
	p := settle(t)
	for _, w := range []struct {
		name string
		walk func(*testing.T, *place)
	}{
		{"OBS stop and start within 3 s", obsRestarted},
		{"mobile encoder on a new address, the old socket silent", encoderMoved},
		{"two encoders", twoEncoders},
		{"disable while reconnecting", disabledWhileReconnecting},
		{"stop while INVOKED", stoppedWhileInvoked},
		{"meeting stop with an encoder that reconnects", meetingStopped},
		{"never playable", neverPlayable},
		{"publish after ERRORED", publishAfterErrored},
		{"key reset while live", keyReset},
		{"viewer before LIVE", viewerBeforeLive},
		{"viewer behind a cache", viewerBehindCache},
		{"viewer paused", viewerPaused},
	} {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			w.walk(t, p)
		})
	}
}

// withoutKeyframes is an encoder that never sends a picture that can be shown.
type withoutKeyframes struct{ publisher.Source }

// Next implements publisher.Source.
func (s withoutKeyframes) Next() (flv.Tag, error) {
	for {
		t, err := s.Source.Next()
		if err != nil || t.Type != flv.TypeVideo || flv.IsSequenceHeader(t) || t.Body[0]>>4 != 1 {
			return t, err
		}
	}
}
