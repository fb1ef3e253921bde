package playback_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/hls"
	"tally/internal/livestream"
	"tally/internal/playback"
	"tally/internal/viewer"
)

const (
	privateNoCache = "private, no-cache"
	session        = "session of " + runID
)

var throughCache = []string{"Via", "1.1 edge"}

// mediaURIs are all that a media playlist names.
var mediaURIs = regexp.MustCompile(`(?m)^([^#\n].*)$|URI="([^"]+)"`)

func named(text string) (all []string) {
	for _, m := range mediaURIs.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1]+m[2])
	}
	return all
}

// below is a name as that of a file of the run, whatever stands before it.
func below(name string) string {
	return "/hls/" + id + "/" + runID + "/" + name[strings.LastIndexByte(name, '/')+1:]
}

func TestWhoGetsWhichDelivery(t *testing.T) {
	cdnLoop := []string{"CDN-Loop", "cdn.example; v=1"}
	for _, c := range []struct {
		name    string
		told    options
		headers []string
		prefix  string // "": direct
		vary    string
	}{
		{"auto, direct", options{}, nil, "", "Accept-Encoding, Via, CDN-Loop"},
		{"auto, through a proxy", options{}, throughCache, "../", "Accept-Encoding, Via, CDN-Loop"},
		{"auto, through a CDN", options{delivery: playback.Auto}, cdnLoop, "../", "Accept-Encoding, Via, CDN-Loop"},
		{"direct, through a proxy", options{delivery: playback.Direct}, throughCache, "", "Accept-Encoding"},
		{"shared, direct", options{delivery: playback.Shared}, nil, "../", "Accept-Encoding"},
		{"a base", options{delivery: playback.Shared, base: "https://cdn.example.com/x"}, nil, "https://cdn.example.com/x/hls/" + id + "/" + runID + "/", "Accept-Encoding"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.air(20 * time.Second)
				list := w.join() + "index.m3u8"
				cache := privateNoCache
				if c.prefix == "" {
					cache = "no-cache"
				}
				r := w.get(list, c.headers...)
				text := want(t, r, 200, cache)
				if r.Header.Get("Vary") != c.vary {
					t.Errorf("Vary %q, want %q", r.Header.Get("Vary"), c.vary)
				}
				found := named(text)
				for _, uri := range found {
					rest, ok := strings.CutPrefix(uri, c.prefix)
					if !ok || strings.Contains(rest, "/") {
						t.Errorf("%s is named, want a name behind %q", uri, c.prefix)
					}
				}
				if len(found) < 20 {
					t.Errorf("%d names in %s", len(found), text)
				}
				etag := r.Header.Get("ETag")
				want(t, w.get(list, append([]string{"If-None-Match", etag}, c.headers...)...), 304, cache)
				if c.told.delivery == "" { // the other's entity is another
					other := throughCache
					if c.prefix != "" {
						other = nil
					}
					if got := w.get(list, append([]string{"If-None-Match", etag}, other...)...); got.StatusCode != 200 || got.Header.Get("ETag") == etag {
						t.Errorf("the other delivery is answered %d with ETag %s to a reader of %s", got.StatusCode, got.Header.Get("ETag"), etag)
					}
				}
			}, c.told)
		})
	}
}

func TestSharedMediaIsThere(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(8 * time.Second)
		dir := w.join()
		list, err := url.Parse(dir + "index.m3u8")
		if err != nil {
			t.Fatal(err)
		}
		text := want(t, w.get(list.Path), 200, privateNoCache)
		hint := uris(text, `#EXT-X-PRELOAD-HINT:.*URI="([^"]+)"`)[0]
		for _, uri := range named(text) {
			if uri == hint {
				continue
			}
			at := list.ResolveReference(&url.URL{Path: uri}).Path
			if at != below(uri) {
				t.Fatalf("%s leads to %s", uri, at)
			}
			shared, own := w.get(at), w.get(dir+uri[len("../"):])
			if b := want(t, shared, 200, immutable); b != body(t, own) || shared.Header.Get("Vary") != "" {
				t.Errorf("%s differs from what direct delivery gives: %v", uri, shared.Header)
			}
			if b := want(t, w.ask("HEAD", at), 200, immutable); b != "" {
				t.Errorf("HEAD of %s with a body", at)
			}
			if r := w.get(at, "Range", "bytes=3-7"); r.StatusCode != 206 || r.Header.Get("Cache-Control") != immutable {
				t.Errorf("a range of %s: %d %v", at, r.StatusCode, r.Header)
			}
		}
		held := w.later(below(hint))
		if len(held) != 0 {
			t.Fatal("answered before it exists")
		}
		w.feed(400 * time.Millisecond)
		synctest.Wait()
		want(t, <-held, 200, immutable)
		for _, name := range []string{"part-1-99999.m4s", "part-9-1.m4s", "seg-1-99999.m4s", "init-1-99.mp4", "index.m3u8", "beacon"} {
			want(t, w.get(below(name)), 404, noStore)
		}
		want(t, w.get("/hls/"+id+"/otherRun/seg-1-1.m4s"), 404, noStore)
	}, options{delivery: playback.Shared})
}

func TestSharedPlaylistIsCompressedAndShortened(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(24 * time.Second)
		list := w.join() + "index.m3u8"
		tags := map[string]bool{}
		for _, query := range []string{"", "?_HLS_skip=YES"} {
			plain, zipped := w.get(list+query), w.get(list+query, "Accept-Encoding", "gzip")
			z, err := gzip.NewReader(zipped.Body)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(z)
			if err != nil || string(text) != body(t, plain) || !strings.Contains(string(text), "\n../seg-") {
				t.Errorf("%q: compressed and plain differ: %v\n%s", query, err, text)
			}
			tags[plain.Header.Get("ETag")], tags[zipped.Header.Get("ETag")] = true, true
		}
		tags[w.get(list).Header.Get("ETag")] = true
		if len(tags) < 2 || len(tags) > 4 {
			t.Errorf("entity tags %v", tags)
		}
	}, options{delivery: playback.Shared})
}

// seconds drains what was counted, by kind of evidence.
func (w *world) seconds() (media, playlists, beacons time.Duration) {
	w.t.Helper()
	ws, vs := w.counter.Drain()
	for _, x := range ws {
		if x.SessionID != session {
			w.t.Errorf("counted for %+v", x)
		}
		switch x.Kind {
		case livestream.ByMedia:
			media += x.Amount
		case livestream.ByPlaylist:
			playlists += x.Amount
		case livestream.ByBeacon:
			beacons += x.Amount
		}
	}
	w.counter.Ack(ws, vs)
	return media, playlists, beacons
}

// expect checks what was counted since it was looked at last.
func (w *world) expect(what string, media, playlists, beacons time.Duration) {
	w.t.Helper()
	m, p, b := w.seconds()
	if !near(m, media) || !near(p, playlists) || !near(b, beacons) {
		w.t.Errorf("%s: counted %v by media, %v by playlists, %v by beacons; want %v, %v, %v", what, m, p, b, media, playlists, beacons)
	}
}

// near reports whether two durations are the same, but for the microsecond that
// each segment is listed longer than it is: seconds are those of the media.
func near(a, b time.Duration) bool { return (a - b).Abs() <= 50*time.Microsecond }

// next is a blocking reload of the part that comes next.
func (w *world) next() string {
	s := w.registry.Stream(id).Window().Current()
	return fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", s.LastMSN+1, s.OpenParts)
}

// follow plays as a low-latency player does, from playlist to playlist, for as
// long as they last, and returns the time from the first answer to the last.
func (w *world) follow(ctx context.Context, list string, headers ...string) (present time.Duration) {
	var first time.Time
	for query := ""; ; query = w.next() {
		r := w.askFor(ctx, "GET", list+query, headers...)
		if ctx.Err() != nil || r.StatusCode != 200 || strings.Contains(body(w.t, r), "EXT-X-ENDLIST") {
			return present
		}
		if first.IsZero() {
			first = time.Now()
		}
		present = time.Since(first)
	}
}

// during runs f while the encoder sends for d.
func (w *world) during(d time.Duration, f func(ctx context.Context)) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	w.feed(d)
	stop()
	<-done
}

func TestPresenceIsTheTimeBetweenAnswers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(3 * time.Second)
		list := w.join() + "index.m3u8"
		var present time.Duration
		w.during(20*time.Second, func(ctx context.Context) { present = w.follow(ctx, list) })
		w.expect("a player", 0, present.Truncate(time.Microsecond), 0)
		if present < 19*time.Second || present > 20*time.Second {
			t.Errorf("present for %v of 20 s", present)
		}
		if now, peak := w.counter.Viewers(session); now != 1 || peak != 1 {
			t.Errorf("%d viewers, peak %d", now, peak)
		}
	}, options{delivery: playback.Shared})
}

// A player without blocking reload asks each target duration, and is answered
// 304 when it is faster than the encoder.
func TestConditionalAnswersArePresenceToo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(3 * time.Second)
		list := w.join() + "index.m3u8"
		etag := w.get(list).Header.Get("ETag")
		for range 3 {
			time.Sleep(500 * time.Millisecond)
			want(t, w.get(list, "If-None-Match", etag), 304, privateNoCache)
		}
		w.expect("304", 0, 1500*time.Millisecond, 0)
		time.Sleep(time.Minute) // nobody sends, and nobody asks
		w.get(list)
		w.expect("a minute later, the picture is held", 0, 0, 0)
	}, options{delivery: playback.Shared})
}

func TestWhatIsNoPresence(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(3 * time.Second)
		list := w.join() + "index.m3u8"
		want(t, w.get(list), 200, privateNoCache)
		time.Sleep(200 * time.Millisecond)
		s := w.registry.Stream(id).Window().Current()

		w.ask("HEAD", list)
		w.ask("OPTIONS", list)
		want(t, w.get(list+"?_HLS_part=1"), 400, noStore)
		forged := strings.Replace(list, list[len(list)-len("/index.m3u8")-8:len(list)-len("/index.m3u8")], "AAAAAAAA", 1)
		want(t, w.get(forged), 200, privateNoCache)
		w.handler.ServeHTTP(torn{httptest.NewRecorder()}, httptest.NewRequest("GET", list, nil))
		gone, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		w.askFor(gone, "GET", fmt.Sprintf("%s?_HLS_msn=%d", list, s.LastMSN+2)) // leaves while it is held
		w.askFor(gone, "GET", list)                                             // has left
		w.expect("none of these", 0, 0, 0)

		w.handler.Close()
		want(t, w.get(list+w.next()), 503, noStore)
		w.expect("a server that stops", 0, 0, 0)
		if st := w.counter.Stats(); st.Records != 1 {
			t.Errorf("%+v, want the one viewer", st)
		}
		want(t, w.get(list), 200, privateNoCache)
		w.expect("the next answer", 0, 300*time.Millisecond, 0)
	}, options{delivery: playback.Shared})
}

// The encoder is away for longer than requests are held: what is answered is
// the held picture, which shows that viewers are there and earns nothing.
func TestPresenceThroughAReconnect(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(4 * time.Second)
		list := w.join() + "index.m3u8"
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); w.follow(ctx, list) }()
		synctest.Wait()
		w.feed(4 * time.Second)
		w.packager.Lost(w.epoch)
		_, before, _ := w.seconds()
		if before < 3500*time.Millisecond || before > 4*time.Second {
			t.Errorf("counted %v in 4 s", before)
		}
		time.Sleep(30 * time.Second)
		if now, _ := w.counter.Viewers(session); now != 1 {
			t.Errorf("%d viewers while the picture is held", now)
		}
		_, held, _ := w.seconds()
		if held != 0 {
			t.Errorf("a held picture earned %v", held)
		}
		w.connect()
		w.feed(4 * time.Second)
		_, after, _ := w.seconds()
		if after < 3*time.Second || after > 4500*time.Millisecond {
			t.Errorf("counted %v in 4 s", after)
		}
		stop()
		<-done
	}, options{delivery: playback.Shared})
}

// Requests that are held past three target durations are answered 503: evidence
// of nothing. The session is over, whatever players still ask for.
func TestNoPresenceAfterTheEnd(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(4 * time.Second)
		list := w.join() + "index.m3u8"
		want(t, w.get(list), 200, privateNoCache)
		w.packager.End(true) // ENDLIST comes in 10 s
		w.counter.End(session)
		for range 3 {
			want(t, w.get(list), 200, privateNoCache)
			time.Sleep(time.Second)
		}
		want(t, w.get(list+w.next()), 503, noStore)
		time.Sleep(2 * time.Second)
		if text := body(t, w.get(list)); !strings.Contains(text, "EXT-X-ENDLIST") {
			t.Error("no end")
		}
		w.expect("after the end", 0, 0, 0)
	}, options{delivery: playback.Shared})
}

// A next session that continues the run is another's: presence goes over to it
// with its first media.
func TestPresenceBelongsToTheSessionOnAir(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(4 * time.Second)
		list := w.join() + "index.m3u8"
		want(t, w.get(list), 200, privateNoCache)
		w.packager.End(true)
		w.packager = w.registry.Open(hls.OpenOptions{PlaybackID: id, SessionID: "the next", Run: w.record.Livestream.Run})
		w.packager.Mark(1<<40, 1<<40)
		want(t, w.get(list), 200, privateNoCache)
		w.connect()
		w.during(5*time.Second, func(ctx context.Context) { w.follow(ctx, list) })
		got := map[string]time.Duration{}
		ws, _ := w.counter.Drain()
		for _, x := range ws {
			got[x.SessionID] += x.Amount
		}
		if got[session] != 0 || got["the next"] < 4*time.Second || got["the next"] > 5*time.Second {
			t.Errorf("counted %v", got)
		}
	}, options{delivery: playback.Shared})
}

func TestViewerKeepsItsID(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(3 * time.Second)
		idIn := func(dir string) string { return dir[len(dir)-1-viewer.Length : len(dir)-1] }
		promised := func(id_ string) bool {
			v, ok := w.signer.Verify(id, id_)
			if !ok {
				t.Errorf("%s is not good", id_)
			}
			return v.Beacons()
		}
		first := idIn(w.joinAs("?beacon=1"))
		plain := idIn(w.join())
		if !promised(first) || promised(plain) || promised(idIn(w.joinAs("?beacon=0"))) || promised(idIn(w.joinAs("?xbeacon=1"))) {
			t.Error("promises differ from what was asked")
		}
		for _, query := range []string{"?viewer=" + first, "?a=b&viewer=" + first + "&beacon=1", "?beacon=0&viewer=" + first} {
			if got := idIn(w.joinAs(query)); got != first {
				t.Errorf("%s: %s", query, got)
			}
		}
		foreign := w.signer.Mint("otherPlaybackID")
		for _, query := range []string{"?viewer=", "?viewer=x", "?viewer=" + foreign, "?viewer=" + first[1:] + "A", "?viewer=" + first + "A", "?viewer=%2e%2e%2f", "?viewer"} {
			if got := idIn(w.joinAs(query)); got == first || got == foreign {
				t.Errorf("%s is given %s", query, got)
			}
		}
	})
}

// What fetches without watching: none of it counts, in either delivery.
func TestWhoFetchesAndIsNoViewer(t *testing.T) {
	for _, mode := range []playback.Mode{playback.Direct, playback.Shared} {
		t.Run(string(mode), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.air(6 * time.Second)
				dir := w.join()
				text := body(t, w.get(dir+"index.m3u8"))
				w.counter.Drain()
				records := w.counter.Stats().Records // shared: it asked for a playlist

				for range 20 { // a link preview, an uptime probe, players that ask for the first playlist twice
					w.join()
					w.get("/hls/" + id + "/state")
				}
				for _, uri := range named(text) {
					at := below(uri)
					if strings.Contains(text, `HINT:TYPE=PART,URI="`+uri) {
						prefetch := w.later(at) // an edge that fetches ahead
						w.feed(400 * time.Millisecond)
						want(t, <-prefetch, 200, immutable)
						continue
					}
					for range 2 { // an edge, and its shield
						want(t, w.get(at, throughCache...), 200, immutable)
						want(t, w.get(at), 200, immutable)
					}
					own := dir + at[strings.LastIndexByte(at, '/')+1:]
					w.ask("HEAD", own)
					w.get(own, "Range", "bytes=0-1")
					w.handler.ServeHTTP(torn{httptest.NewRecorder()}, httptest.NewRequest("GET", own, nil))
				}
				w.expect("none of these", 0, 0, 0)
				if st := w.counter.Stats(); st.Records != records {
					t.Errorf("%+v, want %d records", st, records)
				}
			}, options{delivery: mode})
		})
	}
}

// A player that takes the hinted part ahead, and again in its segment, has it
// once.
func TestPrefetchedPartCountsOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(4 * time.Second)
		dir := w.join()
		hint := uris(body(t, w.get(dir+"index.m3u8")), hintedPart)[0]
		held := w.later(dir + hint)
		w.expect("what is held", 0, 0, 0)
		w.feed(400 * time.Millisecond)
		want(t, <-held, 200, immutable)
		var epoch, n int64
		fmt.Sscanf(hint, "part-%d-%d.m4s", &epoch, &n)
		part := w.registry.Stream(id).Window().Current().Part(epoch, n)
		w.expect("the hinted part", part.Duration, 0, 0)
		want(t, w.get(dir+hint), 200, immutable)
		w.expect("the same again", 0, 0, 0)
	})
}

func TestSharedHitsAllocateNothing(t *testing.T) {
	w := newWorld(t, options{delivery: playback.Shared})
	defer w.close()
	w.rush(4 * time.Second)
	allocateNothing(t, w)
}

// allocateNothing checks what is asked for over and over.
func allocateNothing(t *testing.T, w *world) {
	for _, h := range w.hits() {
		out := &lean{header: http.Header{}}
		w.handler.ServeHTTP(out, h.request) // a viewer's first delivery makes its record, and a header map grows once
		if out.written == 0 || time.Until(out.deadline) < 10*time.Second {
			t.Errorf("%s: %d bytes, deadline in %v", h.name, out.written, time.Until(out.deadline))
		}
		if n := testing.AllocsPerRun(200, func() { w.handler.ServeHTTP(out, h.request) }); n != 0 && !raceEnabled {
			t.Errorf("%s: %v allocations", h.name, n)
		}
	}
}
