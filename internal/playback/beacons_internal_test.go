package playback

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/playback/beacon"
	"tally/internal/usage"
	"tally/internal/viewer"
)

// Who is counted is remembered however many report; who is not, never: ids cost
// nothing, and must not take what players told from the memory of them.
func TestTracksAreThoseOfCountedViewers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all tracks
		counter := usage.New(usage.Config{MaxViewers: 1 << 14})
		idOf := func(n int) (id viewer.ID) {
			binary.BigEndian.PutUint64(id[:], uint64(n))
			return id
		}
		report := func(n int) {
			at := time.Now().UnixMilli()
			all.told(counter, usage.Beacon{SessionID: "s", Viewer: idOf(n)}, []beacon.Moment{{At: at, Seq: -1, Playhead: -1, Rate: 1, State: beacon.StatePlaying}})
		}
		ask := func(n int) {
			counter.Asked(usage.Presence{SessionID: "s", Viewer: idOf(n), Target: 10 * time.Second})
		}
		strangers := func() {
			for n := range 3 * maxTracks {
				report(1<<32 + n)
			}
		}
		strangers()
		if len(all.of) != 0 {
			t.Errorf("%d are remembered of whom nothing else is known", len(all.of))
		}
		ask(0)
		report(0)
		first := all.of[idOf(0)]
		for batch := range 24 { // 96,000 come and leave, a minute after each other
			for n := range 4000 {
				ask(batch*4000 + n + 1)
				report(batch*4000 + n + 1)
			}
			for range 6 {
				time.Sleep(10 * time.Second)
				ask(0)
				counter.Ack(counter.Drain())
			}
			strangers()
			report(0)
			if len(all.of) > maxTracks {
				t.Fatalf("%d are remembered after %d", len(all.of), (batch+1)*4000)
			}
		}
		if all.of[idOf(0)] != first {
			t.Error("one that goes on reporting was forgotten")
		}
	})
}
