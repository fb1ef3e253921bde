//go:build browser

package e2e

import (
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tally/internal/servertest"
)

var longGap = flag.Bool("long-gap", false, "pull the encoder for 59 s as well")

// stock are the players as their projects ship them.
var stock = []string{"hlsjs", "shaka", "videojs"}

// stockPage serves the players and a page with one of each, from an origin of
// its own, as a site would that embeds a broadcast.
func stockPage(t *testing.T) string {
	files := map[string]string{
		"/": "players/index.html", "/players.js": "players/players.js",
		"/hls.js":   "../vendor/hls.js/hls.min.js.gz",
		"/shaka.js": "node_modules/shaka-player/dist/shaka-player.compiled.js",
		"/video.js": "node_modules/video.js/dist/video.min.js",
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		f, err := os.Open(name)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		body := io.Reader(f)
		if strings.HasSuffix(name, ".gz") {
			if body, err = gzip.NewReader(f); err != nil {
				t.Error(err)
				return
			}
		}
		if name == "players/index.html" {
			w.Header().Set("Content-Type", "text/html")
		} else {
			w.Header().Set("Content-Type", "text/javascript")
		}
		io.Copy(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/"
}

// seen is what the page tells of one player.
type seen struct {
	Time, Buffer          float64
	Ranges                string
	Fatal                 []string
	Stalls, Back          int
	Moving, Playing, Same bool
	Ended                 bool
}

// wantWhole fails where the buffer has holes.
func (s seen) wantWhole(t *testing.T, name string) {
	t.Helper()
	ranges, _, _ := strings.Cut(s.Ranges, " of ")
	if t.Logf("%s: %s", name, s.Ranges); len(strings.Fields(ranges)) != 1 {
		t.Errorf("%s has %s in its buffer", name, ranges)
	}
}

// A crowd is one page with the stock players, all watching one broadcast.
type crowd struct {
	t *testing.T
	p *servertest.Page
}

func (c crowd) look() (all map[string]seen) {
	c.t.Helper()
	c.p.Eval(`look()`, &all)
	for name, s := range all {
		if len(s.Fatal) > 0 {
			c.t.Fatalf("%s: fatal errors: %v", name, s.Fatal)
		}
	}
	return all
}

// moving waits until every player's picture has moved for two seconds on end,
// which on a busy machine is later than when it first moved: that is returned.
func (c crowd) moving(what string, limit time.Duration) map[string]time.Duration {
	c.t.Helper()
	start := time.Now()
	since, first := map[string]time.Duration{}, map[string]time.Duration{}
	for {
		all, at := c.look(), time.Since(start)
		steady := 0
		for _, name := range stock {
			began, ok := since[name]
			switch {
			case !all[name].Moving:
				delete(since, name)
			case !ok:
				since[name] = at
				if _, ok := first[name]; !ok {
					first[name] = at
				}
			case at-began >= 2*time.Second:
				steady++
			}
		}
		if steady == len(stock) {
			return first
		}
		if at > limit {
			c.t.Fatalf("%s: not all pictures move after %v: %+v", what, limit, all)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// away watches the players for d while no media comes.
func (c crowd) away(d time.Duration) {
	c.t.Helper()
	for start := time.Now(); time.Since(start) < d; time.Sleep(250 * time.Millisecond) {
		c.look()
	}
}

// join loads the stock players on the broadcast, each from a host of its own: over
// HTTP/1.1 a browser has six connections for each.
func (c crowd) join(s *servertest.Broadcast) {
	c.t.Helper()
	c.p.Open(stockPage(c.t), nil)
	_, port, _ := strings.Cut(s.HTTP, ":")
	for i, name := range stock {
		src := fmt.Sprintf("http://%c.localhost:%s/hls/%s/index.m3u8", 'a'+i, port, s.PlaybackID)
		c.p.Eval(fmt.Sprintf("load(%q, %q)", name, src), nil)
	}
	c.p.Eval(`void (window.before = instances())`, nil)
}

// TestStockPlayersBufferWithoutHoles: who joins amid a broadcast has all of it in
// the buffer from there on. Shaka kept only the first part of each segment.
func TestStockPlayersBufferWithoutHoles(t *testing.T) {
	s := servertest.Start(t).Create(t, map[string]any{})
	p := servertest.Browse(t)
	encoder := s.FFmpeg(forAWhile)
	s.AwaitState("live", 15*time.Second)
	time.Sleep(40 * time.Second) // the broadcast's begin is not listed any more, and dates may move
	c := crowd{t, p}
	c.join(s)
	c.moving("the start", 30*time.Second)
	c.away(12 * time.Second)
	for name, one := range c.look() {
		one.wantWhole(t, name)
	}
	encoder.Process.Kill()
	encoder.Wait()
}

// TestStockPlayersLiveThroughGaps: hls.js, Shaka and video.js in default
// configuration, loaded once, watch an encoder that is killed and comes back,
// one that freezes and is taken over, and one that is taken over as it sends.
// Their pictures move again within seconds, in the same video elements, without
// a fatal error.
func TestStockPlayersLiveThroughGaps(t *testing.T) {
	s := servertest.Start(t).Create(t, map[string]any{"publisher_policy": "replace", "endlist_delay_seconds": 0})
	p := servertest.Browse(t)
	// From a first broadcast Tally learns that segments can be short.
	first := s.FFmpeg(forAWhile)
	s.AwaitState("live", 15*time.Second)
	time.Sleep(3 * time.Second)
	first.Process.Signal(os.Interrupt)
	first.Wait()
	s.AwaitState("ended", 15*time.Second)

	encoder := s.FFmpeg(forAWhile)
	s.AwaitState("live", 15*time.Second)
	time.Sleep(4 * time.Second) // joining in the first second is another matter
	c := crowd{t, p}
	c.join(s)
	c.moving("the start", 30*time.Second)
	c.away(3 * time.Second) // they settle

	kill := func() { encoder.Process.Kill(); encoder.Wait() }
	freeze := func() { encoder.Process.Signal(syscall.SIGSTOP) }
	type gap struct {
		name  string
		away  time.Duration // ffmpeg takes most of a second to come back
		leave func()
	}
	gaps := []gap{
		{"killed for 3 s", 2200 * time.Millisecond, kill},
		{"killed for 20 s", 19200 * time.Millisecond, kill},
		{"frozen and taken over", 4 * time.Second, freeze},
		{"taken over while it sends", 0, func() {}},
	}
	if *longGap {
		gaps = append(gaps, gap{"killed for 59 s", 57500 * time.Millisecond, kill})
	}
	for _, g := range gaps {
		before := c.look()
		g.leave()
		c.away(g.away)
		one := encoder
		encoder = s.FFmpeg(forAWhile)
		if g.away > 0 {
			s.AwaitState("live", 15*time.Second)
		} else {
			one.Wait() // it is cut
		}
		back := c.moving(g.name, 30*time.Second)
		after := c.look()
		for _, name := range stock {
			t.Logf("%s: %s: its picture moves %.1f s after the media's return; %d stalls, %.1f s in its buffer", g.name, name,
				back[name].Seconds(), after[name].Stalls-before[name].Stalls, after[name].Buffer)
			if back[name] > 8*time.Second {
				t.Errorf("%s: %s: the picture moved %v after the media's return", g.name, name, back[name])
			}
		}
		c.away(2 * time.Second)
	}
	var kept bool
	p.Eval(`instances().length === before.length && instances().every((x, i) => x === before[i])`, &kept)
	if all := c.look(); !kept || slices.ContainsFunc(stock, func(n string) bool { return !all[n].Same }) {
		t.Error("a player or its video was replaced")
	}
	// The broadcast ends, and with it each player, once it has played all of it.
	encoder.Process.Signal(os.Interrupt)
	encoder.Wait()
	var all map[string]seen
	for began := time.Now(); ; time.Sleep(250 * time.Millisecond) {
		p.Eval(`look()`, &all)
		for name, s := range all {
			// Where it has just asked for the part that was hinted at, it hears that it will
			// not come (404), and tells everybody before it looks whether that matters.
			hinted := func(err string) bool {
				return name == "shaka" && strings.HasPrefix(err, "1001 ") && strings.Contains(err, "/part-")
			}
			if rest := slices.DeleteFunc(s.Fatal, hinted); len(rest) > 0 {
				t.Fatalf("%s: fatal errors at the end: %v", name, rest)
			}
		}
		// video.js does not end behind a part that it heard of before ENDLIST, and by its
		// timing it may have: it stands at the end of what there is.
		v := all["videojs"]
		done := v.Ended || !v.Playing && v.Buffer < 0.1
		if all["hlsjs"].Ended && all["shaka"].Ended && done {
			t.Logf("the end in every player after %v; video.js says so: %v", time.Since(began).Round(time.Millisecond), v.Ended)
			return
		}
		if time.Since(began) > 40*time.Second {
			t.Fatalf("no end in every player: %+v", all)
		}
	}
}
