// Package walks follows broadcasts through what happens to them in earnest: an
// encoder that is restarted, moves to another network or freezes, a second one,
// a server that dies, a clock that is set, people who stop, disable and reset.
// Each walk is told from four sides at once: what the API answers, what a webhook
// receives, what the playlist says to a strict player, and what the page shows.
//
// The built binary serves, over real RTMP and HTTP. The page's side is the public
// state that it lives on; with -browser it is the watch page in Chromium as well.
package walks

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tally/internal/hls/player"
	"tally/internal/servertest"
)

var inBrowser = flag.Bool("browser", false, "open the watch page of each walk in Chromium")

func TestMain(m *testing.M) {
	flag.Set("test.parallel", "20") // walks wait more than they work
	if slices.ContainsFunc(os.Args, func(arg string) bool { return strings.TrimLeft(arg, "-") == "browser" }) {
		flag.Set("test.parallel", "3") // pages work
	}
	servertest.Main(m)
}

// A walk is one livestream with everybody around it.
type walk struct {
	*servertest.Broadcast
	t    *testing.T
	in   *servertest.Receiver
	news *news
	page *servertest.Page // nil without -browser
}

// A place is a server with its receiver, and the browser if there is one.
type place struct {
	*servertest.Server
	in      *servertest.Receiver
	browser *servertest.Browser
}

// settle starts a server for one or more walks.
func settle(t *testing.T) *place {
	t.Helper()
	p := &place{Server: servertest.Start(t, servertest.AllowReceiver), in: servertest.NewReceiver(t)}
	p.in.Subscribe(p.Server, "livestreaming.statusUpdate", "livestreaming.healthUpdate")
	if *inBrowser {
		p.browser = servertest.StartBrowser(t)
	}
	return p
}

// walk makes a livestream with these settings, and opens its page.
func (p *place) walk(t *testing.T, settings map[string]any) *walk {
	t.Helper()
	return p.with(p.Create(t, settings), t)
}

func (p *place) with(b *servertest.Broadcast, t *testing.T) *walk {
	t.Helper()
	w := &walk{Broadcast: b, t: t, in: p.in}
	w.news = follow(t, "http://"+p.HTTP+"/hls/"+b.PlaybackID+"/state")
	servertest.Eventually(t, "a first state", 5*time.Second, func() bool { return w.news.now() != "" })
	if p.browser != nil {
		w.page = p.browser.Page(t, b.ID)
		// Over HTTP/1.1 a browser has six connections for all pages of one host.
		_, port, _ := strings.Cut(p.HTTP, ":")
		address := fmt.Sprintf("http://%s.localhost:%s/watch/%s", b.ID, port, b.PlaybackID)
		if status := w.page.Open(address, nil); status != http.StatusOK {
			t.Fatalf("the page: status %d", status)
		}
	}
	return w
}

// signs are what the page says in each state.
var signs = map[string]string{"waiting": "Not live yet", "live": "Live", "reconnecting": "Interrupted", "ended": "Ended"}

// shows waits until the page shows a state.
func (w *walk) shows(state string, limit time.Duration) {
	w.t.Helper()
	took := servertest.Eventually(w.t, "the page to be told "+state, limit, func() bool { return w.news.now() == state })
	if took > time.Second {
		w.t.Logf("the page was told %s %v later", state, took.Round(time.Millisecond))
	}
	if w.page == nil {
		return
	}
	w.page.Await("the page says "+signs[state], fmt.Sprintf("document.getElementById('sign').textContent === %q", signs[state]), limit-took+2*time.Second)
	if state == "live" {
		w.page.Await("the picture moves", "tally.player.moving && stage.classList.contains('clear')", 10*time.Second)
	}
	w.page.Shot(w.t.Name() + "-" + state)
}

// told waits until the webhook was told these things of the livestream in this
// order, and fails if it was told anything else or of another session than each
// thing's. A thing is a status or a health, with the code of errMessage behind it.
func (w *walk) told(sessions []servertest.Session, things ...string) {
	w.t.Helper()
	var got []string
	var all []servertest.Told
	defer func() {
		if !slices.Equal(got, things) {
			w.t.Errorf("the webhook was told %q, want %q", got, things)
		}
	}()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		all = w.in.All(w.ID)
		if got = nil; len(all) >= len(things) || time.Now().After(deadline) {
			break
		}
	}
	seen := map[string]bool{}
	var last servertest.Told
	for _, one := range all {
		e := one.Event
		if id := one.Header.Get("rtk-uuid"); seen[id] {
			continue // at least once
		} else {
			seen[id] = true
		}
		thing := e.Status
		if e.Event == "livestreaming.healthUpdate" {
			thing = e.Health
		}
		if code, _, ok := strings.Cut(e.ErrMessage, ":"); ok {
			thing += " " + code
		}
		got = append(got, thing)
		if e.Seq <= last.Event.Seq || e.At.Before(last.Event.At) || !e.ManualIngest || e.PlaybackURL != w.PlaybackURL ||
			!slices.ContainsFunc(sessions, func(s servertest.Session) bool { return s.ID == e.SessionID }) {
			w.t.Errorf("delivery %s; before it %s", one.Body, last.Body)
		}
		last = one
	}
}

// closed waits until the newest session is closed, and returns all of them,
// newest first, as they stay.
func (w *walk) closed() []servertest.Session {
	w.t.Helper()
	w.Await("404", 5*time.Second)
	l, all := w.Detail()
	if len(all) == 0 || all[0].StoppedTime == nil {
		w.t.Fatalf("status %s, sessions %+v: want the newest closed", l.Status, all)
	}
	return all
}

// sound fails for a session whose figures contradict each other. least and most
// bound its ingest seconds.
func (w *walk) sound(s servertest.Session, least, most float64) {
	w.t.Helper()
	if s.InvokedTime == nil || s.InvokedTime.Before(s.CreatedAt) || s.StartedTime != nil && s.StartedTime.Before(*s.InvokedTime) {
		w.t.Errorf("session times out of order: %+v", s)
	}
	end := s.UpdatedAt
	if s.StoppedTime != nil {
		end = *s.StoppedTime
	}
	ingest := float64(s.Tally.IngestMs) / 1000
	if within := end.Sub(*s.InvokedTime).Seconds(); ingest > within+0.1 {
		w.t.Errorf("%.3f ingest seconds within %.3f s", ingest, within)
	}
	if ingest < least || ingest > most {
		w.t.Errorf("ingest is %.3f s, want %.1f to %.1f", ingest, least, most)
	}
}

// events fails unless the session's timeline has these transitions in this
// order; facts about quality may stand among them.
func (w *walk) events(session string, want ...string) {
	w.t.Helper()
	var got []string
	for _, e := range w.Events(session) {
		if e.From != e.To || e.Event == "publish" || e.Event == "boot" || e.Event == "shutdown" {
			got = append(got, e.Event)
		}
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("the timeline has %q, want %q", got, want)
	}
}

// A viewer is a strict headless player.
type viewer struct {
	t    *testing.T
	p    *player.Player
	stop context.CancelFunc
	done chan struct{}
	err  error

	mu    sync.Mutex
	parts []player.PartInfo // without bodies
}

// watch starts a strict player on an address.
func watch(t *testing.T, url string) *viewer {
	ctx, stop := context.WithCancel(context.Background())
	v := &viewer{t: t, stop: stop, done: make(chan struct{})}
	v.p = player.New(player.Options{URL: url, LowLatency: true, Check: true, OnPart: func(p player.PartInfo) {
		p.Body = nil
		v.mu.Lock()
		v.parts = append(v.parts, p)
		v.mu.Unlock()
	}})
	go func() {
		defer close(v.done)
		_, v.err = v.p.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-v.done
	})
	return v
}

// plays waits until the player has played for d from now on, of media that the
// encoder sent.
func (v *viewer) plays(d, limit time.Duration) {
	v.t.Helper()
	from := v.p.Stats().Played
	v.until(fmt.Sprintf("%v of playback", d), limit, func(s player.Stats) bool { return s.Status == player.Playing && s.Played >= from+d })
}

// until waits until the player's figures satisfy ok.
func (v *viewer) until(what string, limit time.Duration, ok func(player.Stats) bool) {
	v.t.Helper()
	for began := time.Now(); !ok(v.p.Stats()); time.Sleep(20 * time.Millisecond) {
		select {
		case <-v.done:
			v.t.Fatalf("waiting for %s: the player ended: %v", what, v.err)
		default:
		}
		if time.Since(began) > limit {
			v.t.Fatalf("waited %v for %s: %+v", limit, what, v.p.Stats())
		}
	}
}

// ended waits for EXT-X-ENDLIST. The player still has its buffer to play then.
func (v *viewer) ended(limit time.Duration) {
	v.t.Helper()
	for began := time.Now(); !v.p.Stats().Ended; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > limit {
			v.t.Fatalf("no EXT-X-ENDLIST within %v: %+v", limit, v.p.Stats())
		}
	}
}

// leave stops the player and fails for what the checker found but for violations
// of the allowed rules, and unless there were that many discontinuities.
func (v *viewer) leave(discontinuities int64, allowed ...string) player.Stats {
	v.t.Helper()
	v.stop()
	<-v.done
	s := v.p.Stats()
	for _, x := range s.Violations {
		if i := slices.Index(allowed, x.Rule); i >= 0 {
			allowed = slices.Delete(allowed, i, i+1) // once
			continue
		}
		v.t.Errorf("playlist: %+v", x)
	}
	if v.err != nil && !errors.Is(v.err, player.ErrViolations) {
		v.t.Errorf("player: %v", v.err)
	}
	if s.Discontinuities != discontinuities {
		v.t.Errorf("the player met %d discontinuities, want %d", s.Discontinuities, discontinuities)
	}
	if s.Parts == 0 {
		v.t.Error("the player was given nothing")
	}
	return s
}

// news is what the public state says, as a page follows it.
type news struct {
	mu     sync.Mutex
	states []string // each once when it changed
}

// follow follows a public state until the test's end, over restarts too.
func follow(t *testing.T, url string) *news {
	n := &news{}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			n.listen(ctx, url)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return n
}

func (n *news) listen(ctx context.Context, url string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		text, ok := strings.CutPrefix(lines.Text(), "data: ")
		var s struct{ State string }
		if !ok || json.Unmarshal([]byte(text), &s) != nil {
			continue
		}
		n.mu.Lock()
		if len(n.states) == 0 || n.states[len(n.states)-1] != s.State {
			n.states = append(n.states, s.State)
		}
		n.mu.Unlock()
	}
}

func (n *news) now() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.states) == 0 {
		return ""
	}
	return n.states[len(n.states)-1]
}

// was fails unless the states were these, one after the other.
func (w *walk) was(want ...string) {
	w.t.Helper()
	w.news.mu.Lock()
	defer w.news.mu.Unlock()
	if !slices.Equal(w.news.states, want) {
		w.t.Errorf("the page was told %q, want %q", w.news.states, want)
	}
}
