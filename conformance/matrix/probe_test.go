package matrix

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/hls/hlscheck"
)

// What one well-behaved player never asks: of a stream on air, of one that its
// encoder has left and whose EXT-X-ENDLIST is still to come, of one that has it.
func TestProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, rand.New(rand.NewPCG(1, 1)))
		defer w.close()
		o := hlscheck.ProbeOptions{URL: w.url(), Client: w.client(), Patient: true}
		found := func(what string, v []hlscheck.Violation, err error) {
			for i := range v {
				t.Errorf("%s: %v", what, v[i])
			}
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		on := make(chan struct{})
		go func() {
			defer close(on)
			time.Sleep(20 * time.Second) // a window is full
			v, err := hlscheck.Probe(t.Context(), o)
			found("on air", v, err)
		}()
		c := w.publish(&av)
		s := stretch{source: av, length: 2 * time.Minute}
		w.send(&s, c)
		<-on
		w.packager.End(true) // the playlist waits 30 s for an encoder that comes back
		synctest.Wait()
		o.URL = w.mediaURL()
		still := make(chan struct{})
		go func() {
			defer close(still)
			time.Sleep(time.Millisecond)
			v, err := hlscheck.ProbeStill(t.Context(), o)
			found("left", v, err)
		}()
		<-still
		time.Sleep(20 * time.Second)
		v, err := hlscheck.ProbeEnded(t.Context(), o)
		found("ended", v, err)
	})
}
