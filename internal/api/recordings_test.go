package api_test

import (
	"net/http"
	"testing"
	"time"

	"tally/internal/api"
	"tally/internal/blob"
	"tally/internal/hls/archive"
	"tally/internal/livestream"
)

// TestRecording keeps a session, looks at what was kept, and deletes it.
func TestRecording(t *testing.T) {
	w := newWorld(t)
	disk, err := blob.OpenDisk(t.TempDir(), blob.DiskConfig{Floor: -1})
	must(t, err)
	defer disk.Close()
	lib := archive.New(archive.Config{Blobs: disk})
	defer lib.Close()
	w.cfg.Recordings = lib
	w.h = api.New(w.cfg)
	l := w.create("kept")
	session := w.live(l.ID, 5*time.Second, 0).Session.ID
	path := base + "/livestreams/sessions/" + session + "/recording"
	is := func(code int, method, path string) {
		t.Helper()
		if rec := w.call(method, path, ""); rec.Code != code {
			t.Errorf("%s %s: %d %s", method, path, rec.Code, rec.Body)
		}
	}
	is(http.StatusNotFound, "GET", path)
	is(http.StatusNotFound, "DELETE", path)
	is(http.StatusNotFound, "GET", base+"/livestreams/sessions/"+livestream.NewUUID()+"/recording")

	r := lib.Record("run")
	r.Begin(archive.About{SessionID: session, PlaybackID: l.PlaybackID, LivestreamID: l.ID, Keep: true, Target: 2, Began: w.now})
	e := r.Lane(archive.Muxed).Begin(archive.Head{MSN: 1, Epoch: 1, At: w.now, Init: archive.Init{Epoch: 1, Codecs: "avc1.64001f"}, InitData: []byte("init")})
	r.Lane(archive.Muxed).Part(e, archive.Part{Counter: 1, Epoch: 1, Duration: 1500 * time.Millisecond, Data: make([]byte, 1000)})
	is(http.StatusBadRequest, "GET", path)
	is(http.StatusBadRequest, "DELETE", path)
	r.Close(true)
	lib.Close()

	type recording struct {
		SessionID   string `json:"session_id"`
		PlaybackURL string `json:"playback_url"`
		DurationMs  int64  `json:"duration_ms"`
		Bytes       int64  `json:"bytes"`
	}
	want := recording{session, "https://live.example.org/vod/" + session + "/index.m3u8", 1500, 1000}
	if got := data[recording](t, w.call("GET", path, "")); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	admin := w.token
	w.watcher()
	is(http.StatusForbidden, "DELETE", path)
	is(http.StatusOK, "GET", path)
	w.token = admin
	if got := data[recording](t, w.call("DELETE", path, "")); got != want {
		t.Errorf("deleted: got %+v, want %+v", got, want)
	}
	is(http.StatusNotFound, "GET", path)
	is(http.StatusNotFound, "DELETE", path)
	if left, err := disk.List(""); err != nil || len(left) > 0 {
		t.Errorf("left on disk: %v, %v", left, err)
	}
}
