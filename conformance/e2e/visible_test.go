package e2e

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"tally/internal/rtmp/flv"
	"tally/internal/rtmp/publisher"
)

// TestVisible prints how long after an encoder's act the official client sees
// it: accepted publish, clean end, FIN, RST. It asserts what is seen, not when.
func TestVisible(t *testing.T) {
	file, err := os.Open("../../internal/rtmp/testdata/bframes.flv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	clip, err := flv.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t)
	took := map[string][]time.Duration{}
	for _, end := range []struct {
		name string
		how  publisher.End
		want string
	}{{"clean end", publisher.Clean, "404"}, {"FIN", publisher.Cut, "LIVE RECONNECTING"}, {"RST", publisher.Reset, "LIVE RECONNECTING"}} {
		for range 5 {
			b := s.create()
			ctx, leave := context.WithCancel(t.Context())
			started, done := make(chan time.Time, 1), make(chan error, 1)
			go func() {
				done <- publisher.Run(ctx, publisher.Options{
					URL: b.IngestURL(), Source: publisher.FromClip(clip, true), Speed: 1, End: end.how,
					OnStart: func() { started <- time.Now() },
				})
			}()
			b.await("INVOKED", 5*time.Second)
			seen := time.Now()
			took["connect"] = append(took["connect"], max(0, seen.Sub(<-started)))
			b.await("LIVE", 10*time.Second)
			left := time.Now()
			leave()
			b.await(end.want, 5*time.Second)
			took[end.name] = append(took[end.name], time.Since(left))
			if err := <-done; err != nil {
				t.Errorf("publisher: %v", err)
			}
		}
	}
	for name, all := range took {
		slices.Sort(all)
		t.Logf("%-9s visible after p50 %v, worst %v of %d", name, all[len(all)/2].Round(time.Millisecond), all[len(all)-1].Round(time.Millisecond), len(all))
	}
}
