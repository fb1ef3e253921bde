package playback_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tally/internal/hls"
	"tally/internal/livestream"
	"tally/internal/viewer"
)

// counted drains and acknowledges what was counted.
func (w *world) counted() (d time.Duration) {
	ws, vs := w.counter.Drain()
	for _, x := range ws {
		if x.SessionID != "session of "+runID || x.Kind != livestream.ByMedia {
			w.t.Errorf("counted for %+v", x)
		}
		d += x.Amount
	}
	w.counter.Ack(ws, vs)
	return d
}

func TestViewerSecondsAreThoseOfTheMediaFetched(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(6 * time.Second)
		dir := w.join()
		text := body(t, w.get(dir+"index.m3u8"))
		segs, parts := uris(text, segments), uris(text, listedParts)
		expect := func(what string, exact time.Duration) {
			t.Helper()
			if got := w.counted(); !near(got, exact) {
				t.Errorf("%s counted %v, want %v", what, got, exact)
			}
		}
		body(t, w.get(dir+uris(text, initSection)[0]))
		w.ask("HEAD", dir+segs[0])
		w.ask("OPTIONS", dir+segs[0])
		body(t, w.get(dir+"part-1-9999.m4s"))
		body(t, w.get(dir+segs[1], "Range", "bytes=0-99"))
		body(t, w.get(dir+segs[1], "Range", "bytes=999999-"))
		expect("no media delivered", 0)

		target := w.registry.Stream(id).Window().Current()
		seg := target.Segment(1, 2)
		body(t, w.get(dir+fmt.Sprintf("seg-1-%d.m4s", seg.MSN)))
		expect("a segment", seg.Duration)
		for _, p := range seg.Parts {
			body(t, w.get(dir+fmt.Sprintf("part-1-%d.m4s", p.Counter)))
		}
		body(t, w.get(dir+fmt.Sprintf("seg-1-%d.m4s", seg.MSN), "Range", "bytes=0-"))
		expect("the same again", 0)

		last := parts[len(parts)-1]
		body(t, w.get(dir+last, "Range", "bytes=0-")) // the whole of it, as some players ask
		var epoch, counter int64
		fmt.Sscanf(last, "part-%d-%d.m4s", &epoch, &counter)
		expect("a whole range", target.Part(epoch, counter).Duration)
	})
}

// TestMediaBelongsToItsSession: an encoder stopped and started continues the
// playlist in a new session, and what is fetched late of the old one is the
// old one's.
func TestMediaBelongsToItsSession(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(4 * time.Second)
		w.packager.End(true)
		w.packager = w.registry.Open(hls.OpenOptions{PlaybackID: id, SessionID: "the next", Run: w.record.Livestream.Run})
		w.packager.Mark(1<<40, 1<<40)
		w.connect()
		w.feed(4 * time.Second)
		dir := w.join()
		exact := map[string]time.Duration{}
		for _, uri := range uris(body(t, w.get(dir+"index.m3u8")), segments) {
			want(t, w.get(dir+uri), 200, immutable)
			var epoch, msn int64
			fmt.Sscanf(uri, "seg-%d-%d.m4s", &epoch, &msn)
			session := map[int64]string{1: "session of " + runID, 2: "the next"}[epoch]
			exact[session] += w.registry.Stream(id).Window().Current().Segment(epoch, msn).Duration
		}
		got := map[string]time.Duration{}
		ws, _ := w.counter.Drain()
		for _, x := range ws {
			got[x.SessionID] += x.Amount
		}
		if len(exact) != 2 || !maps.EqualFunc(got, exact, near) {
			t.Errorf("counted %v, want %v", got, exact)
		}
	})
}

func TestForgedViewersPlayAndCountNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(3 * time.Second)
		forged := "/hls/" + id + "/" + runID + "/" + strings.Repeat("A", viewer.Length) + "/"
		text := want(t, w.get(forged+"index.m3u8"), 200, "no-cache")
		want(t, w.get(forged+uris(text, segments)[0]), 200, immutable)
		if got := w.counted(); got != 0 {
			t.Errorf("a forged viewer id counted %v", got)
		}
		for range 50 { // a probe reads the multivariant playlist only
			w.join()
		}
		if st := w.counter.Stats(); st.Records != 0 {
			t.Errorf("%+v without any media fetched", st)
		}
	})
}

// A torn viewer goes away in the middle of each answer.
type torn struct{ *httptest.ResponseRecorder }

func (w torn) Write(b []byte) (int, error) { return len(b) / 2, io.ErrClosedPipe }

func TestAbortedDeliveriesCountNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(6 * time.Second)
		dir := w.join()
		text := body(t, w.get(dir+"index.m3u8"))
		for _, uri := range []string{uris(text, segments)[1], uris(text, listedParts)[2]} {
			for _, ranged := range []string{"", "bytes=0-"} {
				r := httptest.NewRequest("GET", dir+uri, nil)
				if ranged != "" {
					r.Header.Set("Range", ranged)
				}
				w.handler.ServeHTTP(torn{httptest.NewRecorder()}, r)
			}
		}
		if got := w.counted(); got != 0 {
			t.Errorf("counted %v", got)
		}
	})
}

func TestRealTimeViewerOverReloads(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(3 * time.Second)
		dir := w.join()
		seen := map[string]bool{}
		var exact time.Duration
		for range 40 {
			text := body(t, w.get(dir+"index.m3u8"))
			for _, uri := range uris(text, listedParts) {
				if !seen[uri] {
					seen[uri] = true
					want(t, w.get(dir+uri), 200, immutable)
					var epoch, counter int64
					fmt.Sscanf(uri, "part-%d-%d.m4s", &epoch, &counter)
					exact += w.registry.Stream(id).Window().Current().Part(epoch, counter).Duration
				}
			}
			w.feed(500 * time.Millisecond)
		}
		if got := w.counted(); !near(got, exact) {
			t.Errorf("counted %v of %v fetched", got, exact)
		}
		if now, peak := w.counter.Viewers("session of " + runID); now != 1 || peak != 1 {
			t.Errorf("%d viewers, peak %d", now, peak)
		}
	})
}

func TestRanges(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(6 * time.Second)
		dir := w.join()
		text := body(t, w.get(dir+"index.m3u8"))
		uri := dir + uris(text, segments)[1]
		whole := body(t, w.get(uri))
		n := len(whole)
		for _, c := range []struct {
			ask   string
			code  int
			body  string
			where string
		}{
			{"bytes=0-9", 206, whole[:10], fmt.Sprintf("bytes 0-9/%d", n)},
			{"bytes=700-1200", 206, whole[700:1201], fmt.Sprintf("bytes 700-1200/%d", n)}, // across parts
			{"bytes=-5", 206, whole[n-5:], fmt.Sprintf("bytes %d-%d/%d", n-5, n-1, n)},
			{"bytes=5-", 206, whole[5:], fmt.Sprintf("bytes 5-%d/%d", n-1, n)},
			{"bytes=0-1,5-6", 200, whole, ""}, // several: everything (RFC 9110 section 14.2)
			{"lines=1-2", 200, whole, ""},
		} {
			r := w.get(uri, "Range", c.ask)
			if got := want(t, r, c.code, immutable); got != c.body || r.Header.Get("Content-Range") != c.where {
				t.Errorf("%s: %d bytes, Content-Range %q", c.ask, len(got), r.Header.Get("Content-Range"))
			}
		}
		r := w.get(uri, "Range", fmt.Sprintf("bytes=%d-", n))
		if r.StatusCode != 416 || r.Header.Get("Content-Range") != fmt.Sprintf("bytes */%d", n) || r.Header.Get("Cache-Control") == immutable {
			t.Errorf("past the end: %d %v", r.StatusCode, r.Header)
		}
		if r := w.ask("HEAD", uri, "Range", "bytes=0-9"); r.StatusCode != 206 || r.Header.Get("Content-Length") != "10" || body(t, r) != "" {
			t.Errorf("HEAD of a range: %d %v", r.StatusCode, r.Header)
		}
	})
}

// A lean writer costs nothing, so that what is left is ours.
type lean struct {
	header   http.Header
	deadline time.Time
	written  int
}

func (w *lean) Header() http.Header         { return w.header }
func (w *lean) WriteHeader(int)             {}
func (w *lean) Write(b []byte) (int, error) { w.written += len(b); return len(b), nil }
func (w *lean) SetWriteDeadline(at time.Time) error {
	w.deadline = at
	return nil
}

func TestHitsAllocateNothing(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	w.rush(4 * time.Second)
	allocateNothing(t, w)
}

func FuzzRequest(f *testing.F) {
	w := newWorld(f)
	w.rush(2500 * time.Millisecond)
	f.Cleanup(w.close)
	dir := w.join()
	for _, query := range []string{"", "_HLS_msn=2", "_HLS_msn=2&_HLS_part=0", "_HLS_part=1", "_HLS_skip=YES", "_HLS_msn=9223372036854775807",
		"_HLS_msn=3&_HLS_part=999999999", "_HLS_msn=%31", "a=b;c&&=&_HLS_msn", "_HLS_msn=-0", "_HLS_skip=v2&_HLS_msn=1"} {
		f.Add("index.m3u8", query, "")
	}
	f.Add("part-1-1.m4s", "", "bytes=0-")
	f.Add("part-1-999999999999999999.m4s", "", "bytes=-")
	f.Add("seg-1-2.m4s", "x", "bytes=5-2,")
	f.Add("init-1-0.mp4", "", "bytes=99999999999999999999-")
	f.Fuzz(func(t *testing.T, file, query, ranged string) {
		r := httptest.NewRequest("GET", dir, nil)
		r.URL.Path, r.URL.RawQuery = dir+file, query
		if ranged != "" {
			r.Header.Set("Range", ranged)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // nothing is waited for
		rec := httptest.NewRecorder()
		w.handler.ServeHTTP(rec, r.WithContext(ctx))
		switch rec.Code {
		case 200, 206, 304, 400, 404, 416, 503:
		default:
			t.Errorf("%d: %s", rec.Code, bytes.TrimSpace(rec.Body.Bytes()))
		}
	})
}

// A picture that is held while the encoder is away earns nobody seconds, and
// whoever waits there is still a viewer.
func TestHeldPictureEarnsNoSeconds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(4 * time.Second)
		dir := w.join()
		seen := map[string]bool{}
		var exact time.Duration
		look := func() {
			text := body(t, w.get(dir+"index.m3u8"))
			for _, uri := range append(uris(text, listedParts), uris(text, segments)...) {
				if seen[uri] {
					continue
				}
				seen[uri] = true
				got := body(t, w.get(dir+uri))
				var epoch, n int64
				snap := w.registry.Stream(id).Window().Current()
				if c, err := fmt.Sscanf(uri, "part-%d-%d.m4s", &epoch, &n); err == nil && c == 2 {
					part := snap.Part(epoch, n)
					if len(got) != part.Size() {
						t.Errorf("%s has %d bytes, want %d", uri, len(got), part.Size())
					}
					if !part.Held {
						exact += part.Duration
					}
					if ranged := body(t, w.get(dir+uri, "Range", "bytes=0-")); ranged != got {
						t.Errorf("%s as a range differs", uri)
					}
				}
			}
		}
		w.packager.Lost(w.epoch)
		for range 59 * 2 {
			look()
			time.Sleep(500 * time.Millisecond)
		}
		held := w.registry.Stream(id).Window().Current().Part(w.epoch, w.registry.Stream(id).Window().Current().NextPart-1)
		if held == nil || !held.Held || len(held.Tail) == 0 {
			t.Fatalf("no picture is held: %+v", held)
		}
		if now, peak := w.counter.Viewers("session of " + runID); now != 1 || peak != 1 {
			t.Errorf("%d viewers, peak %d, while the picture is held", now, peak)
		}
		w.connect()
		for range 8 {
			w.feed(500 * time.Millisecond)
			look()
		}
		// The first segment's parts were not all listed any more.
		if got := w.counted(); got < exact && !near(got, exact) || got > exact+500*time.Millisecond {
			t.Errorf("counted %v of %v fetched, of %d parts and segments", got, exact, len(seen))
		}
	})
}

// The public state says that the encoder is away as soon as the picture is
// held, also while its connection stands, and that it is back with its media.
func TestHeldPictureIsShownAsReconnecting(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(4 * time.Second)
		w.phase(livestream.OnAir, func(s *livestream.Session) { s.StartedAt, s.LastMediaAt = time.Now(), time.Now() })
		if s := w.told(); s.State != "live" {
			t.Fatalf("%s", s.State)
		}
		time.Sleep(1900 * time.Millisecond)
		if s := w.told(); s.State != "live" {
			t.Errorf("%s after 1.9 s", s.State)
		}
		time.Sleep(5 * time.Second)
		if s := w.told(); s.State != "reconnecting" || s.Deadline != nil {
			t.Errorf("%+v while the picture is held", s)
		}
		w.frames += 30 * 7
		w.frames -= w.frames % 30 // it goes on with a keyframe
		w.feed(time.Second)
		if s := w.told(); s.State != "live" {
			t.Errorf("%s with media", s.State)
		}
	})
}
