package usage

import (
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"tally/internal/livestream"
	"tally/internal/viewer"
)

const benchPart = 333_333 * time.Microsecond

// ids makes viewers whose ids nobody verifies here.
func ids(n int) []viewer.ID {
	all := make([]viewer.ID, n)
	for i := range all {
		rand.Read(all[i][:])
		all[i][0] &^= 0x80 // no promise
	}
	return all
}

// crowded returns a counter with so many viewers of one session.
func crowded(n int) (*Counter, []viewer.ID) {
	c, all := New(Config{}), ids(n)
	for _, id := range all {
		c.Delivered(Delivery{SessionID: "s", Viewer: id, Window: 12 * time.Second, Target: 2 * time.Second}, []Span{{To: benchPart}})
	}
	return c, all
}

func benchmarkDelivered(b *testing.B, viewers int) {
	c, all := crowded(viewers)
	spans := make([]Span, 1)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		at := time.Duration(n/viewers) * benchPart
		spans[0] = Span{at, at + benchPart}
		c.Delivered(Delivery{SessionID: "s", Viewer: all[n%viewers], Window: 12 * time.Second, Target: 2 * time.Second}, spans)
		n++
	}
}

func BenchmarkDelivered(b *testing.B)         { benchmarkDelivered(b, 1) }
func BenchmarkDeliveredTo100000(b *testing.B) { benchmarkDelivered(b, 100_000) }

func BenchmarkAsked(b *testing.B) {
	c, all := crowded(1)
	b.ReportAllocs()
	for b.Loop() {
		c.Asked(Presence{SessionID: "s", Viewer: all[0], Target: 2 * time.Second})
	}
}

func BenchmarkTold(b *testing.B) {
	c, all := crowded(1)
	b.ReportAllocs()
	for n := int64(1); b.Loop(); n++ {
		c.Told(Beacon{SessionID: "s", Viewer: all[0], Seq: n, Played: benchPart})
	}
}

// BenchmarkDrain is the checkpoint's part with 100,000 viewers: how long it
// takes and how long a shard's lock is held at most, with each of them given
// media in between; when all leave at once; and when their session ends.
func BenchmarkDrain(b *testing.B) {
	const viewers = 100_000
	give := func(c *Counter, all []viewer.ID, n int64) {
		for _, id := range all {
			at := time.Duration(n) * benchPart
			c.Delivered(Delivery{SessionID: "s", Viewer: id, Window: 12 * time.Second, Target: 2 * time.Second}, []Span{{at, at + benchPart}})
		}
	}
	b.Run("all watch", func(b *testing.B) {
		c, all := crowded(viewers)
		for i, w := range all { // as if they had come over a minute
			c.shard(w).find(w.Random(), "s").rowAt = time.Duration(i) * time.Minute / viewers
		}
		var d drains
		for n := int64(0); b.Loop(); n++ {
			give(c, all, n+1)
			d.drain(c, c.now()+time.Duration(n)*time.Second/2)
		}
		d.report(b)
	})
	b.Run("all leave", func(b *testing.B) {
		var d drains
		for b.Loop() {
			c, _ := crowded(viewers)
			d.drain(c, c.now()+time.Minute)
		}
		d.report(b)
	})
	b.Run("the end", func(b *testing.B) {
		var d drains
		for b.Loop() {
			c, _ := crowded(viewers)
			c.End("s")
			d.drain(c, c.now())
		}
		d.report(b)
	})
}

// drains are the figures of several calls of Drain and Ack.
type drains struct {
	locks []time.Duration // by shard and call
	rows  int
	calls int
	spent time.Duration
}

// drain is Drain and Ack at another time than now.
func (d *drains) drain(c *Counter, at time.Duration) {
	var rows []livestream.Viewing
	began := time.Now()
	for i := range c.shards {
		for again := true; again; {
			locked := time.Now()
			again = c.shards[i].sweep(c, at)
			d.locks = append(d.locks, time.Since(locked))
		}
		locked := time.Now()
		rows = c.shards[i].drain(c, at, rowsAtOnce, rows)
		d.locks = append(d.locks, time.Since(locked))
	}
	c.Ack(c.windows(at, false), rows)
	d.spent += time.Since(began)
	d.rows += len(rows)
	d.calls++
}

func (d *drains) report(b *testing.B) {
	slices.Sort(d.locks)
	us := func(d time.Duration) float64 { return float64(d) / 1e3 }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(us(d.spent)/float64(d.calls), "µs/drain")
	b.ReportMetric(us(d.locks[len(d.locks)/2]), "µs/lock-p50")
	b.ReportMetric(us(d.locks[len(d.locks)*99/100]), "µs/lock-p99")
	b.ReportMetric(us(d.locks[len(d.locks)-1]), "µs/lock-max")
	b.ReportMetric(float64(d.rows)/float64(d.calls), "rows/drain")
}
