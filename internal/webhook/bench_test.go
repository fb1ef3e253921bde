package webhook

import (
	"testing"
	"time"

	"tally/internal/livestream"
)

// BenchmarkTold measures from the moment a transition is asked for until the
// receiver has the event, over loopback: commit with its fsync, wake, body kept,
// two signatures, request.
func BenchmarkTold(b *testing.B) {
	r := newReceiver()
	w := newWorld(b, "", local())
	w.start()
	w.hook(served(b, r))
	l := w.livestream()
	var sum, worst time.Duration
	n := 0
	for b.Loop() {
		w.advance(l, livestream.Publish)
		begun := time.Now()
		w.advance(l, livestream.Playable)
		n++
		d := r.wait(b, n)[n-1].Time.Sub(begun)
		sum, worst = sum+d, max(worst, d)
		w.advance(l, livestream.Unpublish)
		n++
		r.wait(b, n)
	}
	b.ReportMetric(float64(sum.Microseconds())/float64(n/2)/1000, "ms/told")
	b.ReportMetric(float64(worst.Microseconds())/1000, "ms/worst")
}
