package hls

import (
	"testing"
	"time"
)

// A grid keeps what a rendition may still ask for, and does not grow for ever.
func TestGridForgets(t *testing.T) {
	s := &Stream{several: true, grid: newGrid(5)}
	ahead, behind := &Rendition{seat: seat{msn: 5}}, &Rendition{seat: seat{msn: 5}}
	s.all = []*Rendition{ahead, behind}
	for msn := int64(5); msn < 10_000; msn++ {
		s.grid.decide(msn, time.Duration(msn)*time.Second)
		ahead.seat.msn = msn + 1
		behind.seat.msn = max(5, msn-10)
		s.forgetGrid()
		for _, n := range []int64{max(5, behind.seat.msn-1), behind.seat.msn, msn} {
			if at, ok := s.grid.end(n); !ok || at != time.Duration(n)*time.Second {
				t.Fatalf("after segment %d: segment %d ends at %v, %v", msn, n, at, ok)
			}
		}
		if len(s.grid.ends) > 100 {
			t.Fatalf("after segment %d there are %d boundaries", msn, len(s.grid.ends))
		}
	}
}
