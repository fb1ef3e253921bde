package playback_test

import (
	"bytes"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tally/internal/livestream"
)

const thumb = "/hls/" + id + "/thumbnail.jpg"

// decoder is a program that answers a picture of 640x360, whatever it is given.
func decoder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 640, 360)), nil); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\nPATH=/usr/bin:/bin; cat >/dev/null; cat " + dir + "/pic.jpg\n"
	for name, text := range map[string]string{"pic.jpg": b.String(), "ffmpeg": script} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "ffmpeg")
}

func TestThumbnail(t *testing.T) {
	path := decoder(t)
	inWorld(t, func(t *testing.T, w *world) {
		want(t, w.get("/hls/unknown/thumbnail.jpg"), 404, noStore)
		want(t, w.get(thumb), 404, noStore)
		w.phase(livestream.Awaiting, nil)
		start := time.Now()
		want(t, w.get(thumb), 503, noStore)
		w.open(runID)
		want(t, w.get(thumb), 503, noStore)
		if d := time.Since(start); d > 0 {
			t.Errorf("held for %v: a page asks again", d)
		}
		w.feed(1500 * time.Millisecond)
		w.phase(livestream.OnAir, func(s *livestream.Session) { s.StartedAt = time.Now() })
		const cached = "public, max-age=5"
		r := w.get(thumb)
		text := want(t, r, 200, cached)
		if c, err := jpeg.DecodeConfig(strings.NewReader(text)); err != nil || c.Width != 640 || r.Header.Get("Content-Type") != "image/jpeg" {
			t.Errorf("%v, %v, %s", c, err, r.Header.Get("Content-Type"))
		}
		tag := r.Header.Get("ETag")
		if again := w.get(thumb, "If-None-Match", tag); again.StatusCode != 304 || body(t, again) != "" || tag == "" {
			t.Errorf("the same again: %d, tag %q", again.StatusCode, tag)
		}
		if head := w.ask("HEAD", thumb); head.StatusCode != 200 || body(t, head) != "" || head.ContentLength != int64(len(text)) {
			t.Errorf("HEAD: %d, %d bytes", head.StatusCode, head.ContentLength)
		}
		small := want(t, w.get(thumb+"?x=1&width=100"), 200, cached)
		if c, err := jpeg.DecodeConfig(strings.NewReader(small)); err != nil || c.Width != 128 || c.Height != 72 {
			t.Errorf("width=100: %v, %v", c, err)
		}
		for _, bad := range []string{"63", "1281", "-1", "1e3", "", "064", "99999999999999999999"} {
			want(t, w.get(thumb+"?width="+bad), 400, noStore)
		}
		if n := w.counter.Stats(); n.Present != 0 || n.Records != 0 {
			t.Errorf("who fetches a picture is a viewer: %+v", n)
		}
		w.packager.End(false)
		want(t, w.get(thumb), 200, cached)
		time.Sleep(9 * time.Minute) // the run has left memory
		want(t, w.get(thumb), 200, cached)
		time.Sleep(2 * time.Minute)
		w.phase(livestream.Ended, nil)
		want(t, w.get(thumb), 404, noStore)
	}, options{ffmpeg: path})
}

func TestNoThumbnail(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	inWorld(t, func(t *testing.T, w *world) {
		want(t, w.get(thumb), 404, noStore)
		w.air(time.Second)
		if text := want(t, w.get(thumb), 501, noStore); !strings.Contains(text, "install") {
			t.Errorf("says %q", text)
		}
		want(t, w.ask("POST", thumb), 405, noStore)
		w.packager.End(false)
	})
}

// The picture of a private livestream is for who may watch, and for no cache.
func TestPrivateThumbnail(t *testing.T) {
	inPrivate(t, func(t *testing.T, w *private) {
		refusedWith(t, "without a token", w.get(thumb), "private")
		refusedWith(t, "a token that is none", w.get(thumb+"?token=x"), "")
		token := "?token=" + w.token("alice")
		want(t, w.get(thumb+token+"&width=64"), 200, "private, max-age=5")
		w.revoke(livestream.RevokeAll, "")
		refusedWith(t, "after a revocation", w.get(thumb+token), "taken back")
	}, options{ffmpeg: decoder(t)})
}
