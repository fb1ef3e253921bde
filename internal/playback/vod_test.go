package playback_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/blob"
	"tally/internal/hls/archive"
	"tally/internal/hls/playlist"
	"tally/internal/livestream"
)

// sessionOnDisk is whose segments a world with an archive makes.
const sessionOnDisk = "0b4b3d7c-3b7e-4a75-9c3d-0d0a6f5d5a11"

// onDisk runs f in a world whose segments are put to rest.
func onDisk(t *testing.T, o options, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d, err := blob.OpenDisk(t.TempDir(), blob.DiskConfig{Floor: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		o.archive = archive.New(archive.Config{Blobs: d})
		defer o.archive.Close()
		w := newWorld(t, o)
		defer w.close()
		f(t, w)
	})
}

// Segments of the DVR window that left memory are served from disk under the same
// URLs, with the same headers, and count.
func TestDVR(t *testing.T) {
	onDisk(t, options{dvr: 10 * time.Minute}, func(t *testing.T, w *world) {
		w.air(4 * time.Second)
		dir := w.join()
		early := want(t, w.get(dir+"index.m3u8"), 200, "no-cache")
		name := uris(early, `(seg-\d+-\d+\.m4s)`)[0]
		live := w.get(dir + name)
		content := want(t, live, 200, immutable)
		w.feed(240 * time.Second)
		text := want(t, w.get(dir+"index.m3u8"), 200, "no-cache")
		if !strings.Contains(text, "\n"+name+"\n") {
			t.Fatalf("%s is not listed any more", name)
		}
		if w.registry.Run(id, runID).Window().Current().Segment(1, 1) != nil {
			t.Fatal("it is in memory still")
		}
		for _, at := range []string{dir, "/hls/" + id + "/" + runID + "/"} {
			r := w.get(at + name)
			if got := want(t, r, 200, immutable); got != content {
				t.Errorf("%s: %d bytes, were %d", at, len(got), len(content))
			}
			for _, h := range []string{"Content-Type", "Content-Length", "Accept-Ranges"} {
				if r.Header.Get(h) != live.Header.Get(h) {
					t.Errorf("%s is %q, was %q", h, r.Header.Get(h), live.Header.Get(h))
				}
			}
		}
		if r := w.get(dir+name, "Range", "bytes=10-19"); r.StatusCode != 206 || body(t, r) != content[10:20] {
			t.Errorf("a range: %d", r.StatusCode)
		}
		if r := w.ask("HEAD", dir+name); r.StatusCode != 200 || body(t, r) != "" || r.Header.Get("Content-Length") != fmt.Sprint(len(content)) {
			t.Errorf("HEAD: %d %v", r.StatusCode, r.Header)
		}
		want(t, w.get(dir+"seg-1-999.m4s"), 404, noStore)
		want(t, w.get(dir+"seg-7-1.m4s"), 404, noStore)

		// Another viewer seeks back and watches half a minute from there.
		before := w.viewed()
		dir = w.join()
		all := uris(text, `(seg-\d+-\d+\.m4s)`)
		for _, name := range all[5:15] {
			want(t, w.get(dir+name), 200, immutable)
			time.Sleep(time.Second)
		}
		if d := w.viewed() - before; d < 9*time.Second || d > 11*time.Second {
			t.Errorf("who watches ten seconds of the past is counted %v", d)
		}
	})
}

// TestCutOnDisk: a file that somebody cut or deleted beneath the server is not
// there; half of it with the length of all would break the player's connection.
func TestCutOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := t.TempDir()
		d, err := blob.OpenDisk(files, blob.DiskConfig{Floor: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		o := options{dvr: 10 * time.Minute, keep: true, archive: archive.New(archive.Config{Blobs: d})}
		defer o.archive.Close()
		w := newWorld(t, o)
		defer w.close()
		w.phase(livestream.None, func(s *livestream.Session) { s.ID = sessionOnDisk })
		w.air(60 * time.Second)
		dir, vod := w.join(), "/vod/"+sessionOnDisk+"/main/"
		names := uris(want(t, w.get(dir+"index.m3u8"), 200, "no-cache"), `(seg-\d+-\d+\.m4s)`)
		if err := os.Truncate(filepath.Join(files, sessionOnDisk, "main", names[0]), 100); err != nil {
			t.Fatal(err)
		}
		want(t, w.get(dir+names[0]), 404, noStore)
		want(t, w.get(dir+names[1]), 200, immutable)
		w.packager.End(false)
		w.phase(livestream.Ended, func(s *livestream.Session) { s.StoppedAt = time.Now() })
		synctest.Wait()
		want(t, w.get(vod+names[1]), 200, immutable)
		if err := os.Truncate(filepath.Join(files, sessionOnDisk, "main", names[1]), 100); err != nil {
			t.Fatal(err)
		}
		want(t, w.get(vod+names[1]), 404, noStore)
	})
}

// viewed is what was counted so far.
func (w *world) viewed() (d time.Duration) {
	_, rows := w.counter.DrainAll()
	for _, v := range rows {
		d += v.Media
	}
	return d
}

// A kept session is played when it is over, from multivariant to the last segment.
func TestVOD(t *testing.T) {
	onDisk(t, options{keep: true}, func(t *testing.T, w *world) {
		at := "/vod/" + sessionOnDisk + "/"
		want(t, w.get(at+"index.m3u8"), 404, noStore)
		w.phase(livestream.None, func(s *livestream.Session) { s.ID = sessionOnDisk })
		w.air(20 * time.Second)
		if text := want(t, w.get(at+"index.m3u8"), 404, noStore); !strings.Contains(text, "still on air") {
			t.Error(text)
		}
		w.packager.End(false)
		w.phase(livestream.Ended, func(s *livestream.Session) { s.StoppedAt = time.Now() })
		synctest.Wait()
		time.Sleep(time.Minute) // the run is gone
		if text := want(t, w.get("/hls/"+id+"/state"), 200, noStore); !strings.Contains(text, `"state":"ended"`) || !strings.Contains(text, `"recording":"`+sessionOnDisk+`"`) {
			t.Error(text)
		}
		text := want(t, w.get(at+"index.m3u8"), 200, "private, no-store")
		if !regexp.MustCompile(`(?m)^#EXT-X-STREAM-INF:BANDWIDTH=\d+,AVERAGE-BANDWIDTH=\d+,CODECS="avc1.64001f",RESOLUTION=1280x720,FRAME-RATE=30.000,CLOSED-CAPTIONS=NONE\nmain/index.m3u8$`).MatchString(text) {
			t.Errorf("multivariant:\n%s", text)
		}
		answer := w.get(at + "main/index.m3u8")
		text = want(t, answer, 200, "no-cache")
		m, err := playlist.ParseMedia(text)
		if err != nil {
			t.Fatal(err)
		}
		if d := m.Length(); d < 19900*time.Millisecond || d > 20*time.Second && !near(d, 20*time.Second) || !m.EndList || !strings.Contains(text, "#EXT-X-PLAYLIST-TYPE:VOD\n") {
			t.Errorf("%v long:\n%s", d, text)
		}
		for i := range m.Segments {
			want(t, w.get(at+"main/"+m.Segments[i].URI), 200, immutable)
		}
		want(t, w.get(at+"main/"+m.Segments[0].Map), 200, immutable)
		if r := w.get(at+"main/index.m3u8", "If-None-Match", answer.Header.Get("Etag")); r.StatusCode != http.StatusNotModified {
			t.Errorf("If-None-Match: %d", r.StatusCode)
		}
		for _, bad := range []string{"/vod/x/index.m3u8", at + "x", at + "main/", at + "main/part-1-1.m4s", at + "main/seg-1-999.m4s", at + "other/index.m3u8",
			at + "main/../index.m3u8", "/vod/" + sessionOnDisk, "/vod/..%2f/index.m3u8", at + "main/about", at + "main/journal-000000"} {
			if r := w.get(bad); r.StatusCode != 404 {
				t.Errorf("%s: %d", bad, r.StatusCode)
			}
		}
		if d := w.viewed(); d != 0 {
			t.Errorf("who watches a recording is counted %v", d)
		}
	})
}

// A recording is as private as its livestream.
func TestVODOfDeletedLivestream(t *testing.T) {
	onDisk(t, options{keep: true}, func(t *testing.T, w *world) {
		r := w.made.archive.Record("run")
		r.Begin(archive.About{SessionID: sessionOnDisk, PlaybackID: "gone", Keep: true, Target: 2, Began: time.Now()})
		e := r.Lane("main").Begin(archive.Head{MSN: 1, At: time.Now(), InitData: []byte("x")})
		r.Lane("main").Part(e, archive.Part{Duration: time.Second, Data: []byte("data")})
		r.Close(true)
		w.made.archive.Close()
		want(t, w.get("/vod/"+sessionOnDisk+"/index.m3u8"), 404, noStore)
	})
}

// BenchmarkPast is a segment of 500 KB by plain HTTP/1.1: from disk, handed over by
// the kernel, and from memory.
func BenchmarkPast(b *testing.B) {
	d, err := blob.OpenDisk(b.TempDir(), blob.DiskConfig{Floor: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	lib := archive.New(archive.Config{Blobs: d})
	w := newWorld(b, options{archive: lib, keep: true})
	defer lib.Close()
	defer w.close()
	w.record.Session.ID = sessionOnDisk
	r := lib.Record("run")
	r.Begin(archive.About{SessionID: sessionOnDisk, PlaybackID: id, Keep: true, Target: 2, Began: time.Now()})
	e := r.Lane("main").Begin(archive.Head{MSN: 1, At: time.Now(), InitData: []byte("x")})
	content := make([]byte, 500_000)
	r.Lane("main").Part(e, archive.Part{Duration: 2 * time.Second, Data: content})
	r.Close(true)
	lib.Close()
	mux := http.NewServeMux()
	mux.Handle("/vod/", w.handler)
	mux.HandleFunc("/memory", func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Length"] = []string{"500000"}
		w.Write(content)
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	for name, at := range map[string]string{"disk": "/vod/" + sessionOnDisk + "/main/seg-0-1.m4s", "memory": "/memory"} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(500_000)
			for b.Loop() {
				r, err := http.Get(srv.URL + at)
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, r.Body); n != 500_000 || err != nil {
					b.Fatal(n, err)
				}
				r.Body.Close()
			}
		})
	}
}
