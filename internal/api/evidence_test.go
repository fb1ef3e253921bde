package api_test

import (
	"encoding/json"
	"maps"
	"testing"
	"time"

	"tally/internal/livestream"
)

// TestEvidenceAddsUp: the seconds by evidence add up to viewer_ms, although each
// sum has a part of a millisecond.
func TestEvidenceAddsUp(t *testing.T) {
	w := newWorld(t)
	rec := w.live(w.create("seen").ID, 20*time.Second, 1500700*time.Microsecond)
	must(t, w.store.Checkpoint(t.Context(), nil, []livestream.UsageWindow{
		{SessionID: rec.Session.ID, Kind: livestream.ByBeacon, Node: "n", Incarnation: "i", Window: 2, Amount: 4000600 * time.Microsecond},
		{SessionID: rec.Session.ID, Kind: livestream.ByPlaylist, Node: "n", Incarnation: "i", Window: 2, Amount: 2000800 * time.Microsecond},
	}, nil))
	var body struct {
		Data struct {
			Tally struct {
				ViewerMs int64            `json:"viewer_ms"`
				Evidence map[string]int64 `json:"evidence"`
			} `json:"tally"`
		} `json:"data"`
	}
	got := w.call("GET", base+"/livestreams/sessions/"+rec.Session.ID+"?include=tally", "")
	must(t, json.Unmarshal(got.Body.Bytes(), &body))
	want := map[string]int64{"beacon_ms": 4000, "playlist_ms": 2001, "media_ms": 1501}
	if tally := body.Data.Tally; tally.ViewerMs != 7502 || !maps.Equal(tally.Evidence, want) {
		t.Errorf("%+v, want 7502 ms as %v: %s", tally, want, got.Body)
	}
}
