package playback_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// full checks that a newcomer is told that there is no room.
func (w *world) full(query string) {
	w.t.Helper()
	for _, method := range []string{"GET", "HEAD"} {
		r := w.ask(method, index+query)
		text := body(w.t, r)
		if r.StatusCode != 503 || r.Header.Get("Retry-After") != "10" || r.Header.Get("Cache-Control") != noStore || method == "GET" && !strings.HasPrefix(text, "full: ") {
			w.t.Errorf("%s: %d, Retry-After %q: %s", method, r.StatusCode, r.Header.Get("Retry-After"), text)
		}
	}
}

// look fetches what a viewer fetches next, so that it stays one.
func (w *world) look(dir string) {
	w.t.Helper()
	list := w.get(dir + "index.m3u8")
	parts := uris(body(w.t, list), listedParts)
	if list.StatusCode != 200 || len(parts) == 0 {
		w.t.Fatalf("the playlist: %d with %d parts", list.StatusCode, len(parts))
	}
	if r := w.get(dir + parts[len(parts)-1]); r.StatusCode != 200 {
		w.t.Errorf("a part: %d", r.StatusCode)
	}
}

func TestMostViewers(t *testing.T) {
	var log bytes.Buffer
	inWorld(t, func(t *testing.T, w *world) {
		w.air(3 * time.Second)
		one, two := w.join(), w.join()
		w.full("") // who was let in a moment ago counts, before there is evidence
		w.look(one)
		w.look(two)
		w.feed(4 * time.Second)
		w.full("")
		w.look(one) // whoever is in goes on
		w.look(two)
		again := w.joinAs("?viewer=" + strings.Split(one, "/")[4])
		if again != one {
			t.Errorf("a viewer that asks again is %s, was %s", again, one)
		}
		w.full("?viewer=" + w.signer.Mint(id)) // an id alone is no place
		if n := w.handler.Stats().Refused; n != 6 {
			t.Errorf("%d refusals counted, want 6", n)
		}
		if n := strings.Count(log.String(), "newcomers are refused"); n != 1 {
			t.Errorf("%d lines in the log within a minute: %s", n, log.String())
		}
		for range 10 { // one leaves
			w.feed(2 * time.Second)
			w.look(one)
		}
		w.counter.Drain() // as checkpoints do: who left is noticed there
		w.look(w.join())
		w.feed(time.Second)
		w.full("")
		for range 25 { // both watch for a minute
			w.feed(2 * time.Second)
			w.look(one)
			w.look(again)
		}
		w.counter.Drain()
		w.look(w.join())
		w.full("")
		if n := strings.Count(log.String(), "newcomers are refused"); n != 2 || !strings.Contains(log.String(), "viewers=2 max_viewers=2") {
			t.Errorf("%d lines in the log after more than a minute: %s", n, log.String())
		}
	}, options{maxViewers: 2, log: &log})
}

// TestProbesTakeNoPlace: who asks for the multivariant playlist alone holds a place
// for seconds, not for as long as a viewer.
func TestProbesTakeNoPlace(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(3 * time.Second)
		for range 20 {
			w.ask("HEAD", index)
		}
		w.join()
		w.full("")
		time.Sleep(3100 * time.Millisecond)
		w.look(w.join())
	}, options{maxViewers: 1})
}

func TestMostEgress(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(6 * time.Second)
		dir := w.join()
		segment := uris(body(t, w.get(dir+"index.m3u8")), segments)[1]
		size := w.get(dir + segment).ContentLength
		const perSecond = 40
		watch := func(d time.Duration) {
			for range int(d / (time.Second / perSecond)) {
				if r := w.get(dir + segment); r.StatusCode != 200 {
					t.Fatalf("a viewer that is in is answered %d", r.StatusCode)
				}
				time.Sleep(time.Second / perSecond)
			}
		}
		time.Sleep(3 * time.Second)
		watch(time.Second) // 8 * size * 40 in a second is half of that over two
		synctest.Wait()
		w.join()
		before := w.handler.Stats().EgressBytes
		watch(3 * time.Second)
		synctest.Wait()
		if got := w.handler.Stats().EgressBytes - before; got != 3*perSecond*size {
			t.Errorf("%d bytes counted, %d went out", got, 3*perSecond*size)
		}
		w.full("")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		w.join()
	}, options{maxBps: 6000 * 8 * 40})
}

func TestServerTimingOfWhatWasHeld(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(3400 * time.Millisecond)
		dir := w.join()
		text := body(t, w.get(dir+"index.m3u8"))
		for _, url := range []string{index, dir + "index.m3u8", dir + uris(text, listedParts)[0], dir + uris(text, segments)[0]} {
			if r := w.get(url); r.Header["Server-Timing"] != nil || r.Header.Get("Timing-Allow-Origin") != "*" {
				t.Errorf("%s was not held: %v", url, r.Header)
			}
		}
		s := w.registry.Stream(id).Window().Current()
		began := time.Now()
		reload := w.later(fmt.Sprintf("%sindex.m3u8?_HLS_msn=%d&_HLS_part=%d", dir, s.LastMSN+1, s.OpenParts))
		hint := w.later(dir + uris(text, hintedPart)[0])
		for len(reload) == 0 || len(hint) == 0 {
			w.feed(frameTime)
			synctest.Wait()
		}
		held := time.Since(began).Milliseconds()
		for _, r := range []*http.Response{<-reload, <-hint} {
			var ms int64
			if _, err := fmt.Sscanf(r.Header.Get("Server-Timing"), "wait;dur=%d", &ms); err != nil || ms < held-40 || ms > held || r.StatusCode != 200 {
				t.Errorf("held for %d ms: %d %v", held, r.StatusCode, r.Header)
			}
		}
	})
}

func TestIfRange(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(4 * time.Second)
		dir := w.join()
		text := body(t, w.get(dir+"index.m3u8"))
		for _, uri := range []string{uris(text, listedParts)[0], uris(text, segments)[0], uris(text, initSection)[0]} {
			whole := body(t, w.get(dir+uri))
			first := w.get(dir+uri, "Range", "bytes=0-9")
			tag := first.Header.Get("ETag")
			if want(t, first, 206, immutable) != whole[:10] || tag == "" {
				t.Errorf("%s: the first range, with the tag %q", uri, tag)
			}
			for condition, code := range map[string]int{tag: 206, `"another"`: 200, "Mon, 23 Nov 2026 00:00:00 GMT": 200} {
				got := want(t, w.get(dir+uri, "Range", "bytes=10-", "If-Range", condition), code, immutable)
				if code == 206 && got != whole[10:] || code == 200 && got != whole {
					t.Errorf("%s if it is %s: %d bytes of %d", uri, condition, len(got), len(whole))
				}
			}
			want(t, w.get(dir+uri, "If-None-Match", tag), 304, immutable)
			if got := want(t, w.get(dir+uri, "If-None-Match", `"another"`, "Range", "bytes=0-1,3-4"), 200, immutable); got != whole {
				t.Errorf("%s, two ranges: %d bytes", uri, len(got))
			}
			if head := w.ask("HEAD", dir+uri, "Range", "bytes=0-9"); head.StatusCode != 206 || head.Header.Get("Content-Length") != "10" {
				t.Errorf("HEAD of a range: %d %v", head.StatusCode, head.Header)
			}
		}
	})
}

func TestPrivateNetworkPreflight(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		asked := w.ask("OPTIONS", index, "Origin", "https://page.example", "Access-Control-Request-Private-Network", "true")
		if asked.StatusCode != 204 || asked.Header.Get("Access-Control-Allow-Private-Network") != "true" || asked.Header.Get("Access-Control-Max-Age") == "" {
			t.Errorf("%d %v", asked.StatusCode, asked.Header)
		}
		if got := w.ask("OPTIONS", index).Header.Get("Access-Control-Allow-Private-Network"); got != "" {
			t.Errorf("nobody asked for it: %q", got)
		}
	})
}
