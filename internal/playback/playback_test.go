package playback_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/livestream"
)

const index = "/hls/" + id + "/index.m3u8"

func TestNeverLive(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		if b := want(t, w.get("/hls/unknown/index.m3u8"), 404, noStore); !strings.Contains(b, "no livestream has this playback id") {
			t.Errorf("an unknown id is answered %q", b)
		}
		want(t, w.get(index), 404, noStore)
		w.phase(livestream.Failed, nil)
		want(t, w.get(index), 404, noStore)
	})
}

func TestInvokedIsHeldUntilPlayable(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.phase(livestream.Awaiting, nil) // a meeting's livestream: not in memory yet
		first := w.later(index)
		time.Sleep(3 * time.Second)
		w.open(runID)
		second := w.later(index)
		w.feed(100 * time.Millisecond)
		synctest.Wait()
		if len(first)+len(second) != 0 {
			t.Fatal("answered before anything is playable")
		}
		w.feed(1500 * time.Millisecond)
		synctest.Wait()
		want(t, <-first, 200, "private, no-store")
		want(t, <-second, 200, "private, no-store")
	})
}

func TestInvokedFor10SecondsIs503(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.open(runID)
		start := time.Now()
		want(t, w.get(index), 503, noStore)
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("held for %v, want 10 s", d)
		}
		held := w.later(index)
		w.phase(livestream.Failed, nil)
		w.packager.End(false)
		synctest.Wait()
		want(t, <-held, 404, noStore)
	})
}

func TestEverythingThatIsListedCanBeFetched(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(8 * time.Second)
		dir := w.join()
		r := w.get(dir + "index.m3u8")
		if ct := r.Header.Get("Content-Type"); ct != "application/vnd.apple.mpegurl" {
			t.Errorf("Content-Type %q", ct)
		}
		text := want(t, r, 200, "no-cache")
		parts, segs, inits := uris(text, listedParts), uris(text, segments), uris(text, initSection)
		if len(parts) < 6 || len(segs) < 6 || len(inits) != 1 {
			t.Fatalf("%d parts, %d segments, %d init sections in %s", len(parts), len(segs), len(inits), text)
		}
		for _, uri := range append(append(parts, segs...), inits...) {
			r := w.get(dir + uri)
			b := want(t, r, 200, immutable)
			if r.Header.Get("Content-Type") != "video/mp4" || r.Header.Get("Content-Length") != fmt.Sprint(len(b)) || len(b) < 100 {
				t.Errorf("%s: %d bytes, %v", uri, len(b), r.Header)
			}
			head := w.ask("HEAD", dir+uri)
			if b := want(t, head, 200, immutable); b != "" || head.Header.Get("Content-Length") != r.Header.Get("Content-Length") {
				t.Errorf("HEAD %s: %d bytes, %v", uri, len(b), head.Header)
			}
		}
		if two := w.join(); two == dir {
			t.Error("two viewers were given one id")
		}
	})
}

func TestSegmentIsItsParts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(6 * time.Second)
		dir := w.join()
		text := body(t, w.get(dir+"index.m3u8"))
		var segment, parts strings.Builder
		for _, line := range strings.Split(text, "\n") {
			if uri := uris(line, listedParts); uri != nil {
				parts.WriteString(body(t, w.get(dir+uri[0])))
			} else if strings.HasPrefix(line, "seg-") {
				segment.WriteString(body(t, w.get(dir+line)))
				if parts.Len() > 0 && parts.String() != segment.String() {
					t.Fatalf("%s: %d bytes, its parts have %d", line, segment.Len(), parts.Len())
				}
				segment.Reset()
				parts.Reset()
			}
		}
	})
}

func TestBlockingReload(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(3400 * time.Millisecond)
		list := w.join() + "index.m3u8"
		s := w.registry.Stream(id).Window().Current()
		next := s.LastMSN + 1
		part := w.later(fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=%d", list, next, s.OpenParts))
		whole := w.later(fmt.Sprintf("%s?_HLS_msn=%d", list, next))
		past := w.later(fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=%d", list, next, s.OpenParts+2))
		if len(part)+len(whole)+len(past) != 0 {
			t.Fatal("answered before it is there")
		}
		w.feed(400 * time.Millisecond)
		synctest.Wait()
		if len(part) != 1 || len(whole) != 0 {
			t.Fatalf("after one part: part %d, segment %d answered", len(part), len(whole))
		}
		want(t, <-part, 200, "no-cache")
		w.feed(1200 * time.Millisecond)
		synctest.Wait()
		if text := want(t, <-whole, 200, "no-cache"); !strings.Contains(text, fmt.Sprintf("-%d.m4s\n", next)) {
			t.Errorf("segment %d is not in the answer that waited for it", next)
		}
		want(t, <-past, 200, "no-cache")
		for query, code := range map[string]int{
			"":                                200,
			fmt.Sprintf("?_HLS_msn=%d", next): 200,
			fmt.Sprintf("?token=x&_HLS_msn=%d", next-3): 200,
			"?_HLS_part=1":                                    400,
			fmt.Sprintf("?_HLS_msn=%d", next+30):              400,
			fmt.Sprintf("?_HLS_msn=%d&_HLS_part=999", next+1): 400,
			"?_HLS_msn=-1":                                    400,
			"?_HLS_msn=x":                                     400,
			"?_HLS_msn=99999999999999999999":                  400,
			"?_HLS_msn=1&_HLS_msn=1":                          400,
			"?_HLS_skip=maybe":                                400,
		} {
			cache := noStore
			if code == 200 {
				cache = "no-cache"
			}
			want(t, w.get(list+query), code, cache)
		}
	})
}

func TestReloadThatIsNotServedInThreeTargets(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(3 * time.Second)
		list := w.join() + "index.m3u8"
		w.packager.End(true) // the playlist stands still until its ENDLIST, 10 s later
		next := w.registry.Stream(id).Window().Current().LastMSN + 1
		start := time.Now()
		want(t, w.get(fmt.Sprintf("%s?_HLS_msn=%d", list, next)), 503, noStore)
		if d := time.Since(start); d != 6*time.Second {
			t.Errorf("held for %v, want three target durations, 6 s", d)
		}
		want(t, w.get(list), 200, "no-cache") // without directives the playlist is there
	})
}

func TestWaitEndsWithTheRequest(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(3 * time.Second)
		list := w.join() + "index.m3u8"
		next := w.registry.Stream(id).Window().Current().LastMSN + 1
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		start := time.Now()
		r := w.askFor(ctx, "GET", fmt.Sprintf("%s?_HLS_msn=%d", list, next))
		if d := time.Since(start); d != time.Second || len(body(t, r)) != 0 {
			t.Errorf("ended after %v with %d", d, r.StatusCode)
		}
	})
}

func TestCloseEndsWaits(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(3 * time.Second)
		dir := w.join()
		text := body(t, w.get(dir+"index.m3u8"))
		next := w.registry.Stream(id).Window().Current().LastMSN + 1
		reload := w.later(fmt.Sprintf("%sindex.m3u8?_HLS_msn=%d", dir, next))
		hint := w.later(dir + uris(text, hintedPart)[0])
		w.handler.Close()
		synctest.Wait()
		want(t, <-reload, 503, noStore)
		want(t, <-hint, 503, noStore)
		want(t, w.get(dir+"index.m3u8"), 200, "no-cache") // what needs no wait is answered
	})
}

func TestDeltaUpdate(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(20 * time.Second)
		list := w.join() + "index.m3u8"
		full, delta := body(t, w.get(list)), body(t, w.get(list+"?_HLS_skip=YES"))
		if strings.Contains(full, "EXT-X-SKIP") {
			t.Errorf("a full playlist skips: %s", full)
		}
		if len(delta) >= len(full) && strings.Contains(delta, "EXT-X-SKIP") {
			t.Errorf("delta has %d bytes, the full playlist %d", len(delta), len(full))
		}
	})
}

func TestHintedPartIsHeld(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(3 * time.Second)
		dir := w.join()
		text := body(t, w.get(dir+"index.m3u8"))
		hint := uris(text, hintedPart)[0]
		held := w.later(dir + hint)
		if len(held) != 0 {
			t.Fatal("answered before it exists")
		}
		w.feed(400 * time.Millisecond)
		synctest.Wait()
		want(t, <-held, 200, immutable)

		s := w.registry.Stream(id).Window().Current()
		beyond := fmt.Sprintf("%spart-%d-%d.m4s", dir, s.Epoch, s.NextPart+1)
		start := time.Now()
		want(t, w.get(beyond), 404, noStore)
		if time.Since(start) != 0 {
			t.Error("a part that nobody hinted at is waited for")
		}
		for _, uri := range []string{"part-1-999999.m4s", "part-9-1.m4s", "seg-1-999999.m4s", "init-1-99.mp4", "seg-9-1.m4s"} {
			want(t, w.get(dir+uri), 404, noStore)
		}
		want(t, w.get(strings.Replace(dir, runID, "otherRun", 1)+uris(text, segments)[0]), 404, noStore)
	})
}

func TestHintOutlivesALostEncoder(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(3 * time.Second)
		dir := w.join()
		w.packager.Lost(w.epoch)
		hint := uris(body(t, w.get(dir+"index.m3u8")), hintedPart)
		if len(hint) == 0 {
			return // a playlist that stands still need not hint
		}
		held := w.later(dir + hint[0])
		time.Sleep(1900 * time.Millisecond) // from a target duration on the picture is held
		if len(held) != 0 {
			t.Fatal("the held hint was answered while nobody publishes")
		}
		w.connect()
		synctest.Wait()
		if len(held) != 0 {
			t.Fatal("the held hint was answered before there was media")
		}
		w.feed(2 * time.Second)
		want(t, <-held, 200, immutable) // a player may give up for good at a 404
		if text := want(t, w.get(dir+"index.m3u8"), 200, "no-cache"); !strings.Contains(text, "#EXT-X-DISCONTINUITY\n") {
			t.Error("the encoder came back without a discontinuity")
		}
	})
}

func TestEndedPlaylistStaysForOneWindow(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(14 * time.Second)
		dir := w.join()
		text := body(t, w.get(dir+"index.m3u8"))
		next := w.registry.Stream(id).Window().Current().LastMSN + 2
		reload := w.later(fmt.Sprintf("%sindex.m3u8?_HLS_msn=%d", dir, next))
		hint := w.later(dir + uris(text, hintedPart)[0])
		w.packager.End(false)
		w.phase(livestream.Ended, func(s *livestream.Session) { s.StoppedAt = time.Now() })
		synctest.Wait()
		if text := want(t, <-reload, 200, "no-cache"); !strings.HasSuffix(text, "#EXT-X-ENDLIST\n") {
			t.Errorf("a held reload is answered without the end: %s", text)
		}
		want(t, <-hint, 404, noStore)
		time.Sleep(11 * time.Second)
		for _, query := range []string{"", "?_HLS_msn=999999", "?_HLS_part=3", "?_HLS_skip=YES", "?_HLS_msn=x"} {
			text := want(t, w.get(dir+"index.m3u8"+query), 200, "no-cache")
			if !strings.HasSuffix(text, "#EXT-X-ENDLIST\n") || strings.Contains(text, "EXT-X-SKIP") {
				t.Errorf("with %q: directives are not ignored", query)
			}
		}
		text = want(t, w.get(dir+"index.m3u8"), 200, "no-cache")
		time.Sleep(time.Second)
		synctest.Wait()
		// Who has the list plays on.
		all := slices.Concat(uris(text, initSection), uris(text, segments), uris(text, listedParts))
		want(t, w.get(index), 404, noStore)
		want(t, w.get(dir+"index.m3u8"), 404, noStore)
		if got := body(t, w.get("/hls/"+id+"/state")); !strings.Contains(got, `"ended"`) {
			t.Errorf("state %s", got)
		}
		time.Sleep(12 * time.Second)
		for _, uri := range all {
			want(t, w.get(dir+uri), 200, immutable)
		}
		listed := time.Duration(0)
		for _, length := range uris(text, `(?m)^#EXTINF:([0-9.]+),`) {
			d, _ := time.ParseDuration(length + "s")
			listed += d
		}
		w.expect("what was watched of the media that stayed", listed.Round(time.Microsecond), 0, 0)
		time.Sleep(listed - 12*time.Second)
		synctest.Wait()
		for _, uri := range all {
			want(t, w.get(dir+uri), 404, noStore)
		}
	})
}

func TestRestartedServerWaitsForTheEncoder(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		dir := "/hls/" + id + "/" + runID + "/" + w.signer.Mint(id) + "/"
		w.record.Livestream.Run = livestream.Run{ID: runID, TargetDuration: 2, MSNMark: 40}
		w.phase(livestream.Reconnecting, func(s *livestream.Session) { s.StartedAt = time.Now() })
		start := time.Now()
		want(t, w.get(index), 503, noStore)
		want(t, w.get(dir+"index.m3u8?_HLS_msn=41&_HLS_part=0"), 503, noStore)
		want(t, w.get(strings.Replace(dir, runID, "older", 1)+"index.m3u8"), 404, noStore)
		want(t, w.get(dir+"seg-1-40.m4s"), 404, noStore)
		if time.Since(start) != 0 {
			t.Error("answers were held")
		}
		w.open(runID)
		want(t, w.get(dir+"index.m3u8"), 503, noStore) // never an empty playlist
		w.feed(2 * time.Second)
		want(t, w.get(dir+"index.m3u8"), 200, "no-cache")
	})
}

func TestConditionalAndCompressedPlaylists(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(3 * time.Second)
		list := w.join() + "index.m3u8"
		plain := w.get(list)
		text, etag := body(t, plain), plain.Header.Get("ETag")
		if etag == "" || plain.Header.Get("Vary") != "Accept-Encoding, Via, CDN-Loop" {
			t.Errorf("headers %v", plain.Header)
		}
		if b := want(t, w.get(list, "If-None-Match", etag), 304, "no-cache"); b != "" {
			t.Errorf("304 with a body of %d bytes", len(b))
		}
		want(t, w.get(list, "If-None-Match", `"other"`), 200, "no-cache")

		zipped := w.get(list, "Accept-Encoding", "br, gzip")
		if zipped.Header.Get("Content-Encoding") != "gzip" || zipped.Header.Get("ETag") == etag {
			t.Errorf("headers %v", zipped.Header)
		}
		zr, err := gzip.NewReader(zipped.Body)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(zr); err != nil || string(b) != text {
			t.Errorf("unzipped playlist differs: %v", err)
		}
		if b := want(t, w.ask("HEAD", list), 200, "no-cache"); b != "" {
			t.Error("HEAD with a body")
		}
		w.feed(400 * time.Millisecond)
		want(t, w.get(list, "If-None-Match", etag), 200, "no-cache")
	})
}

func TestMethodsAndPreflight(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.ask("OPTIONS", "/hls/"+id+"/any/thing", "Origin", "https://elsewhere.example", "Access-Control-Request-Headers", "range")
		if r.StatusCode != 204 || r.Header.Get("Access-Control-Allow-Headers") != "*" || r.Header.Get("Access-Control-Allow-Methods") != "GET, HEAD, OPTIONS" {
			t.Errorf("OPTIONS: %d %v", r.StatusCode, r.Header)
		}
		for _, m := range []string{"POST", "PUT", "DELETE", "PATCH", "BREW"} {
			r := w.ask(m, index)
			want(t, r, 405, noStore)
			if r.Header.Get("Allow") == "" {
				t.Errorf("%s: no Allow header", m)
			}
		}
		for _, path := range []string{"/hls/", "/hls/" + id, "/hls/" + id + "/nothing", "/hls/%70PbVBHSlwWUqmyGrCjoT/state", "/hls/a/b/c/d.mp4"} {
			want(t, w.get(path), 404, noStore)
		}
		if r := w.ask("HEAD", "/hls/nowhere"); r.StatusCode != 404 || body(t, r) != "" {
			t.Errorf("HEAD of nothing: %d", r.StatusCode)
		}
	})
}
