package playback

import (
	"encoding/binary"
	"testing"

	"tally/internal/playback/beacon"
	"tally/internal/usage"
	"tally/internal/viewer"
)

// However many viewers report in CMCD, few are remembered; who goes on reporting
// is among them.
func TestTracksAreBounded(t *testing.T) {
	var all tracks
	counter := usage.New(usage.Config{})
	report := func(n uint64, at int64) viewer.ID {
		var id viewer.ID
		binary.BigEndian.PutUint64(id[:], n)
		all.told(counter, usage.Beacon{SessionID: "s", Viewer: id}, []beacon.Moment{{At: at, Seq: -1, Playhead: -1}})
		return id
	}
	steady := report(0, 1)
	first := all.now[steady]
	for n := range uint64(3 * maxTracks) {
		report(n+1, 1)
		if n%1000 == 0 {
			report(0, int64(n)+2)
		}
		if len(all.now) > maxTracks || len(all.old) > maxTracks {
			t.Fatalf("%d and %d are remembered after %d", len(all.now), len(all.old), n)
		}
	}
	if got := all.now[steady]; got != first && all.old[steady] != first {
		t.Error("one that goes on reporting was forgotten")
	}
}
