package playback_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/livestream"
	"tally/internal/playback"
	"tally/internal/playback/beacon"
	"tally/internal/viewer"
)

// post sends a beacon.
func (w *world) post(url string, body io.Reader) *http.Response {
	r := httptest.NewRequest("POST", url, body)
	r.Header.Set("Content-Type", "text/plain;charset=UTF-8") // as navigator.sendBeacon has it
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return rec.Result()
}

// tell sends a beacon that is taken.
func (w *world) tell(dir, body string) {
	w.t.Helper()
	if b := want(w.t, w.post(dir+"beacon", strings.NewReader(body)), 204, noStore); b != "" {
		w.t.Errorf("204 with %q", b)
	}
}

// take fetches every segment that the playlist lists and was not taken before,
// and returns the media time of what was new.
func (w *world) take(dir string, had map[string]bool) (d time.Duration) {
	w.t.Helper()
	s := w.registry.Stream(id).Window().Current()
	for _, uri := range uris(body(w.t, w.get(dir+"index.m3u8")), segments) {
		if had[uri] {
			continue
		}
		had[uri] = true
		want(w.t, w.get(dir+uri), 200, immutable)
		var epoch, msn int64
		fmt.Sscanf(uri, "seg-%d-%d.m4s", &epoch, &msn)
		d += s.Segment(epoch, msn).Duration
	}
	return d
}

func TestBeaconsCountWhatWasPlayed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(4 * time.Second)
		dir, had := w.joinAs("?beacon=1"), map[string]bool{}
		w.take(dir, had)
		for seq := range 3 { // plays 5 s, pauses 10 s, plays 5 s
			w.feed(5 * time.Second)
			w.take(dir, had)
			w.tell(dir, fmt.Sprintf(`{"seq":%d,"played_ms":%d}`, seq, []int{4750, 0, 5000}[seq]))
			if seq == 1 {
				w.feed(5 * time.Second)
				w.take(dir, had)
			}
		}
		w.expect("three beacons", 0, 0, 9750*time.Millisecond)
		w.tell(dir, `{"seq":2,"played_ms":5000}`)
		w.tell(dir, `{"seq":1,"played_ms":5000}`)
		w.expect("two that were told before", 0, 0, 0)
		w.feed(time.Second)
		w.tell(dir, `{"seq":2,"played_ms":5500}`) // the page is left: the last again, with what was played since
		w.expect("the last, with more", 0, 0, 500*time.Millisecond)
	})
}

func TestBeaconsAreHeldAgainstTheMedia(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(6 * time.Second)
		dir, had := w.joinAs("?beacon=1"), map[string]bool{}
		w.tell(dir, `{"seq":0,"played_ms":3000}`) // before any media
		w.expect("no media", 0, 0, 0)
		given := w.take(dir, had)
		time.Sleep(time.Minute)
		w.tell(dir, `{"seq":1,"played_ms":60000}`)
		w.expect("more than the media taken", 0, 0, given)
	})
}

func TestBeaconsInSharedDelivery(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(3 * time.Second)
		dir := w.joinAs("?beacon=1")
		w.during(12*time.Second, func(ctx context.Context) {
			go w.follow(ctx, dir+"index.m3u8")
			for seq := 1; ctx.Err() == nil; seq++ {
				time.Sleep(3 * time.Second)
				played := 2900
				if seq == 2 {
					played = 400 // the player stalled
				}
				w.tell(dir, fmt.Sprintf(`{"seq":%d,"played_ms":%d}`, seq, played))
			}
		})
		w.expect("four beacons", 0, 0, (3*2900+400)*time.Millisecond)
	}, options{delivery: playback.Shared})
}

func TestCMCDBeacons(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(4 * time.Second)
		dir, had := w.joinAs("?beacon=1"), map[string]bool{}
		at := func(state string) string {
			return fmt.Sprintf("e=t,sid=\"s\",sta=%s,ts=%d,v=2\n", state, time.Now().UnixMilli())
		}
		w.take(dir, had)
		starts := at("s")
		time.Sleep(100 * time.Millisecond)
		w.tell(dir, starts+at("p"))
		w.feed(5 * time.Second)
		w.take(dir, had)
		w.tell(dir, at("a"))
		w.expect("played 5 s", 0, 0, 5*time.Second)
		w.feed(3 * time.Second)
		paused := at("p")
		w.feed(2 * time.Second)
		stalled := at("r")
		w.feed(2 * time.Second)
		w.take(dir, had)
		last := at("w")
		w.tell(dir, paused+stalled+last)
		w.tell(dir, paused+stalled+last) // as a reporter does that got no answer
		w.expect("a pause, 2 s, a stall", 0, 0, 2*time.Second)
	})
}

func TestBeaconsThatCountNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(6 * time.Second)
		dir := w.join()
		given := w.take(dir, map[string]bool{})
		w.expect("media", given, 0, 0)
		at := len(dir) - 1 - viewer.Length
		for _, other := range []string{
			dir[:at] + strings.Repeat("A", viewer.Length) + "/",
			dir[:at] + w.signer.Mint("otherPlaybackID") + "/",
			dir[:at] + w.signer.Mint(id) + "/", // has taken nothing
			strings.Replace(dir, runID, "otherRun", 1),
			"/hls/otherPlaybackID/" + dir[len("/hls/"+id+"/"):],
		} {
			w.tell(other, `{"seq":1,"played_ms":1000}`)
			w.tell(other, "sta=p,ts=1000\nsta=p,ts=2000")
		}
		w.expect("none of these", 0, 0, 0)
		if st := w.counter.Stats(); st.Records != 1 {
			t.Errorf("%+v, want the one viewer", st)
		}
	})
}

// A page tells once more when it is left, which may be after the end.
func TestBeaconAfterTheEnd(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(8 * time.Second)
		dir := w.joinAs("?beacon=1")
		w.take(dir, map[string]bool{})
		time.Sleep(time.Second)
		w.packager.End(false)
		w.counter.End(session)
		w.phase(livestream.Ended, func(s *livestream.Session) { s.StoppedAt = time.Now() })
		time.Sleep(5 * time.Second)
		w.tell(dir, `{"seq":1,"played_ms":4000}`)
		w.expect("told 5 s after the end", 0, 0, 4*time.Second)
		time.Sleep(time.Minute)
		w.tell(dir, `{"seq":2,"played_ms":1000}`)
		w.expect("long after the end", 0, 0, 0)
	})
}

func TestBeaconRequests(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		url := "/hls/" + id + "/" + runID + "/" + w.signer.Mint(id) + "/beacon"
		for _, c := range []struct {
			name string
			body io.Reader
			code int
			says string
		}{
			{"none", http.NoBody, 400, "the body is empty"},
			{"no JSON", strings.NewReader(`{"seq":`), 400, "report 1 is not JSON"},
			{"no CMCD", strings.NewReader("Hello\n"), 400, "line 1 is neither JSON nor CMCD"},
			{"too long", bytes.NewReader(make([]byte, beacon.MaxBody+1)), 413, "at most 4096 bytes"},
			{"too long, length unknown", io.LimitReader(endless{}, 1<<20), 413, "at most 4096 bytes"},
			{"breaks off", io.MultiReader(strings.NewReader("sta=p,ts=1000"), broken{}), 400, "broke off"},
			{"the longest", strings.NewReader(`{"seq":1,"played_ms":1,"x":"` + strings.Repeat("x", beacon.MaxBody-30) + `"}`), 204, ""},
		} {
			if b := want(t, w.post(url, c.body), c.code, noStore); !strings.Contains(b, c.says) {
				t.Errorf("%s: %q, want %q", c.name, b, c.says)
			}
		}
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
			r := w.ask(method, url)
			if r.StatusCode != 405 || r.Header.Get("Allow") != "POST, OPTIONS" {
				t.Errorf("%s: %d, Allow %q", method, r.StatusCode, r.Header.Get("Allow"))
			}
		}
		r := w.ask("OPTIONS", url, "Origin", "https://elsewhere.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type")
		if hdr := r.Header; r.StatusCode != 204 || hdr.Get("Access-Control-Allow-Methods") != "POST, OPTIONS" ||
			hdr.Get("Access-Control-Allow-Headers") != "*" || hdr.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("OPTIONS: %d %v", r.StatusCode, hdr)
		}
	})
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// A body that does not come is waited for five seconds, and the connection ends.
func TestBeaconThatDoesNotCome(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		ours, theirs := net.Pipe()
		ln := &oneConn{conn: theirs, done: make(chan struct{})}
		srv := &http.Server{Handler: w.handler}
		go srv.Serve(ln)
		defer srv.Close()
		start := time.Now()
		fmt.Fprintf(ours, "POST /hls/%s/%s/%s/beacon HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n{\"seq\":1", id, runID, w.signer.Mint(id))
		r, err := http.ReadResponse(bufio.NewReader(ours), nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != 5*time.Second || r.StatusCode != 400 {
			t.Errorf("%d after %v", r.StatusCode, d)
		}
		if _, err := io.Copy(io.Discard, ours); err != nil {
			t.Errorf("the connection: %v", err)
		}
		synctest.Wait()
	})
}

// A oneConn is a listener that accepts one connection.
type oneConn struct {
	conn net.Conn
	done chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	<-l.done
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

func FuzzBeacon(f *testing.F) {
	w := newWorld(f)
	w.rush(2 * time.Second)
	f.Cleanup(w.close)
	dir := w.join()
	for _, s := range []string{`{"seq":3,"played_ms":4012}`, "sta=p,ts=1764000004000,sn=1\nsta=p,ts=1764000009000,sn=2", "[]", "\xff", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		switch r := w.post(dir+"beacon", bytes.NewReader(b)); {
		case r.StatusCode == 204 && len(b) <= beacon.MaxBody:
		case r.StatusCode == 400:
			if text := body(t, r); strings.Count(text, "\n") != 1 {
				t.Errorf("%q", text)
			}
		case r.StatusCode == 413 && len(b) > beacon.MaxBody:
		default:
			t.Errorf("%d bytes: %d", len(b), r.StatusCode)
		}
	})
}

// TestBeaconsOverARestart: what was played since the last beacon is told to a
// server that has seen nothing of the viewer yet. It is to come again, and counts
// then; of viewers that the server never knew there is nothing to wait for.
func TestBeaconsOverARestart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.air(4 * time.Second)
		dir, had := w.joinAs("?beacon=1"), map[string]bool{}
		w.take(dir, had)
		w.feed(6 * time.Second)
		w.take(dir, had)
		w.tell(dir, `{"seq":1,"played_ms":5000}`)
		w.expect("before", 0, 0, 5*time.Second)
		w.feed(3 * time.Second)

		w.restart()
		const rest = `{"seq":2,"played_ms":3500}`
		early := func(when string) {
			t.Helper()
			if b := want(t, w.post(dir+"beacon", strings.NewReader(rest)), 503, noStore); !strings.Contains(b, "again") {
				t.Errorf("%s: 503 with %q", when, b)
			}
		}
		want(t, w.post(dir+"beacon", strings.NewReader(`{`)), 400, noStore)
		w.open(runID)
		early("no media yet")
		w.feed(4 * time.Second)
		early("no media taken yet")
		late := w.joinAs("?beacon=1")
		w.tell(late, rest)
		w.expect("of a viewer that came later", 0, 0, 0)
		w.take(dir, map[string]bool{})
		w.tell(dir, rest)
		w.expect("afterwards", 0, 0, 3500*time.Millisecond)
		w.tell(dir, rest)
		w.expect("again", 0, 0, 0)
		w.tell(strings.Replace(dir, runID, "gone", 1), rest) // of a run that is over
	})
}
