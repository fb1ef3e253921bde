package loopback

import (
	"slices"
	"testing"
	"time"

	"tally/internal/hls"
	"tally/internal/livestream"
)

// TestSecondsByArrival: what an encoder writes into its timestamps plays no part
// in ingest seconds, over a socket and through the parsers. Meanwhile the session
// says what is wrong with them.
func TestSecondsByArrival(t *testing.T) {
	w := newWorld(t, hls.Config{})
	for _, c := range []struct {
		name  string
		speed int // pictures for each that is due
		time  func(number int) int64
		warns livestream.WarningCode
	}{
		{"in time", 1, func(n int) int64 { return int64(n) * 1000 / 30 }, ""},
		{"in bursts of 4x", 4, func(n int) int64 { return int64(n) * 1000 / 30 }, ""},
		{"wrap at 2^32", 1, func(n int) int64 { return 1<<32 - 1200 + int64(n)*1000/30 }, ""},
		{"jump by a day", 1, func(n int) int64 { return int64(n)*1000/30 + int64(n/20)*86_400_000 }, livestream.BadTimestamps},
		{"jump back", 1, func(n int) int64 { return 50_000_000 + int64(n)*1000/30 - int64(n/20)*5_000_000 }, livestream.BadTimestamps},
		{"all zero", 1, func(int) int64 { return 0 }, livestream.BadTimestamps},
		{"out of order", 1, func(n int) int64 { return int64(n)*1000/30 - int64(n%5/4)*90 }, livestream.BadTimestamps},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := w.livestream(nil)
			conn := w.mustDial(l)
			if err := header(conn); err != nil {
				t.Fatal(err)
			}
			const length = 3 * time.Second
			began := time.Now() // the configuration is media too
			worst := time.Duration(0)
			for n := 0; time.Since(began) < length; n++ {
				p := picture("one", n)
				p.Time = c.time(n)
				if err := conn.WriteTag(p); err != nil {
					t.Fatal(err)
				}
				if n%c.speed == 0 {
					time.Sleep(time.Second / 30)
				}
				if n%10 == 0 {
					worst = max(worst, time.Since(began)-w.session(l).Ingest)
				}
			}
			truth := time.Since(began)
			if err := conn.Unpublish(); err != nil {
				t.Error(err)
			}
			w.until(l, "IDLE", 2*time.Second)
			s := w.session(l)
			// What the machine had to do meanwhile is allowed for: the figure is of
			// the server's clock, the truth of the encoder's.
			if d := truth - s.Ingest; d < -50*time.Millisecond || d > 400*time.Millisecond {
				t.Errorf("ingest = %v of %v", s.Ingest, truth)
			}
			if span := s.StoppedAt.Sub(s.InvokedAt); s.Ingest > span {
				t.Errorf("ingest = %v in a session of %v", s.Ingest, span)
			}
			t.Logf("ingest = %v of %v; live at most %v behind", s.Ingest, truth.Round(time.Millisecond), worst.Round(time.Millisecond))
			var codes []livestream.WarningCode
			for _, one := range livestream.SplitWarnings(s.Warnings) {
				codes = append(codes, one.Code)
			}
			if got := slices.Contains(codes, livestream.BadTimestamps); got != (c.warns != "") {
				t.Errorf("warnings %q", s.Warnings)
			}
		})
	}
}
