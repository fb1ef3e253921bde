package walks

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"tally/internal/hls/player"
	"tally/internal/rtmp/flv"
	"tally/internal/rtmp/publisher"
	"tally/internal/servertest"
)

// keyframesAfter is an encoder whose first keyframe comes late.
type keyframesAfter struct {
	publisher.Source
	ms int64
}

// Next implements publisher.Source.
func (s keyframesAfter) Next() (flv.Tag, error) {
	for {
		t, err := s.Source.Next()
		if err != nil || t.Type != flv.TypeVideo || flv.IsSequenceHeader(t) || t.Body[0]>>4 != 1 || t.Time >= s.ms {
			return t, err
		}
	}
}

// viewerBeforeLive: the audience is there before the broadcast. A player that
// asks too early is told that there is nothing, one that asks while the encoder is
// connecting waits for the first part, and the page begins by itself.
func viewerBeforeLive(t *testing.T, p *place) {
	w := p.walk(t, nil)
	w.shows("waiting", 5*time.Second)
	address := "/hls/" + w.PlaybackID + "/index.m3u8"
	if status, _ := p.Get(address); status != http.StatusNotFound {
		t.Errorf("before any encoder a player is answered %d, want 404", status)
	}
	if got := w.Status(); got != "404" {
		t.Errorf("before any encoder: %q", got)
	}
	e := w.Publish(publisher.Clean, func(o *publisher.Options) { o.Source = keyframesAfter{o.Source, 2000} })
	e.Accepted(5 * time.Second)
	w.Await("INVOKED", time.Second)
	v := watch(t, w.PlaybackURL) // asks now, and is held
	w.Await("LIVE", 10*time.Second)
	live := time.Now()
	v.plays(2*time.Second, 15*time.Second)
	s := v.p.Stats()
	answered := s.Started.Add(s.Startup).Sub(live)
	if answered > 2*time.Second || s.Errors > 0 || s.Unavailable > 0 {
		t.Errorf("the player that was held had its first media %v after LIVE: %+v", answered, s)
	}
	w.shows("live", 5*time.Second)
	e.Leave()
	all := w.closed()
	if s := all[0]; s.StartedTime == nil || s.StartedTime.Sub(*s.InvokedTime) < 1500*time.Millisecond {
		t.Errorf("the session: %+v, want 2 s from invoked to started", s)
	}
	w.told(all, "LIVE", "OFFLINE")
	v.ended(15 * time.Second)
	v.leave(0)
	w.was("waiting", "live", "ended")
	t.Logf("the waiting player had its first media %v after the API said LIVE", answered.Round(time.Millisecond))
}

// A ledger plays like a viewer, whatever the evidence, and keeps what it was
// given.
type ledger struct {
	mu    sync.Mutex
	given time.Duration // distinct media
	parts int
}

// take plays an address for d.
func (l *ledger) take(t *testing.T, url string, d time.Duration) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), d)
	defer stop()
	_, err := player.New(player.Options{URL: url, LowLatency: true, Discard: true, OnPart: func(p player.PartInfo) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.given += p.Duration
		l.parts++
	}}).Run(ctx)
	if err != nil {
		t.Errorf("player: %v", err)
	}
}

// mediaURL reads a multivariant playlist, as a new viewer, and returns the
// address of its media playlist.
func mediaURL(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text := make([]byte, 64<<10)
	n, _ := resp.Body.Read(text)
	lines := strings.Split(strings.TrimSpace(string(text[:n])), "\n")
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("multivariant playlist: %s %s", resp.Status, text[:n])
	}
	u.Path = path.Join(path.Dir(u.Path), lines[len(lines)-1])
	return u.String()
}

// viewerPaused: somebody pauses for much longer than what is kept of the past, and
// goes on. The same viewer plays from the live edge, it is one viewer, and the pause
// was not counted. Here the pause is 25 s, twice the playlist; internal/usage has
// ten minutes of it for every tier of evidence, in virtual time (scenario_test.go).
func viewerPaused(t *testing.T, p *place) {
	w := p.walk(t, nil)
	e := w.Publish(publisher.Clean, nil)
	e.Accepted(5 * time.Second)
	w.Await("LIVE", 10*time.Second)
	w.shows("live", 5*time.Second)
	if w.page != nil {
		w.page.Eval(`void (video.pause())`, nil)
	}
	viewer := mediaURL(t, w.PlaybackURL)
	var given ledger
	given.take(t, viewer, 5*time.Second)
	time.Sleep(25 * time.Second)
	_, s, _ := w.Active()
	if w.page == nil && s.Tally.Viewers != 0 {
		t.Errorf("%d viewers 25 s into the pause, want 0", s.Tally.Viewers)
	}
	given.take(t, viewer, 5*time.Second)
	if w.page != nil {
		w.page.Eval(`void (video.play())`, nil)
		w.page.Await("the picture moves after the pause", "tally.player.moving", 10*time.Second)
	}
	if w.page == nil {
		servertest.Eventually(t, "all that was given is counted", 2*time.Second, func() bool {
			_, s, _ = w.Active()
			return (time.Duration(s.Tally.ViewerMs)*time.Millisecond - given.given).Abs() <= time.Second
		})
	}
	_, s, _ = w.Active()
	if w.page == nil {
		if off := time.Duration(s.Tally.ViewerMs)*time.Millisecond - given.given; off.Abs() > time.Second || s.Tally.PeakViewers != 1 || s.Tally.Viewers != 1 {
			t.Errorf("counted %d ms of %d viewers at most, the viewer was given %v", s.Tally.ViewerMs, s.Tally.PeakViewers, given.given)
		}
	}
	t.Logf("a viewer with a pause was given %v in %d parts; counted %d ms", given.given, given.parts, s.Tally.ViewerMs)
	v := watch(t, w.PlaybackURL)
	v.plays(2*time.Second, 15*time.Second)
	e.Leave()
	w.told(w.closed(), "LIVE", "OFFLINE")
	v.leave(0)
	w.was("waiting", "live", "ended")
}

// A cache keeps what may be kept for ever, as a CDN does, and says in Via that it
// is there.
type cache struct {
	to *httputil.ReverseProxy

	mu      sync.Mutex
	kept    map[string]*kept
	fetched map[string]int // from the server, by path
	asked   int            // for media, by viewers
}

type kept struct {
	once   sync.Once
	status int
	header http.Header
	body   []byte
}

func newCache(t *testing.T, p *place) (*cache, string) {
	target := &url.URL{Scheme: "http", Host: p.HTTP}
	c := &cache{kept: map[string]*kept{}, fetched: map[string]int{}}
	c.to = &httputil.ReverseProxy{ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Header.Set("Via", "1.1 cache")
		c.mu.Lock()
		c.fetched[r.Out.URL.Path]++
		c.mu.Unlock()
	}}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	return c, s.URL
}

// ServeHTTP implements http.Handler. Requests for the same media wait for one.
func (c *cache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, ".m4s") && !strings.HasSuffix(r.URL.Path, ".mp4") {
		c.to.ServeHTTP(w, r)
		return
	}
	c.mu.Lock()
	c.asked++
	one := c.kept[r.URL.Path]
	if one == nil {
		one = &kept{}
		c.kept[r.URL.Path] = one
	}
	c.mu.Unlock()
	one.once.Do(func() {
		rec := httptest.NewRecorder()
		c.to.ServeHTTP(rec, r.Clone(context.Background()))
		one.status, one.header, one.body = rec.Code, rec.Header(), rec.Body.Bytes()
	})
	if !strings.Contains(one.header.Get("Cache-Control"), "immutable") { // a 404, a 503
		c.mu.Lock()
		delete(c.kept, r.URL.Path)
		c.mu.Unlock()
	}
	for name, values := range one.header {
		w.Header()[name] = values
	}
	w.WriteHeader(one.status)
	w.Write(one.body)
}

// viewerBehindCache: two viewers behind a cache and one that comes directly. The
// cache fetches each part once for both of its viewers, and all three are counted:
// the two by their presence, the third by the media that it was given.
func viewerBehindCache(t *testing.T, p *place) {
	w := p.walk(t, nil)
	c, address := newCache(t, p)
	e := w.Publish(publisher.Clean, nil)
	e.Accepted(5 * time.Second)
	w.Await("LIVE", 10*time.Second)
	w.shows("live", 5*time.Second)
	through := address + "/hls/" + w.PlaybackID + "/index.m3u8"
	var behind, direct ledger
	const long = 12 * time.Second
	var wg sync.WaitGroup
	wg.Go(func() { behind.take(t, through, long) })
	wg.Go(func() { behind.take(t, through, long) })
	if w.page == nil { // who is a viewer too
		wg.Go(func() { direct.take(t, w.PlaybackURL, long) })
	}
	time.Sleep(long - 2*time.Second)
	_, s, _ := w.Active()
	if w.page == nil && (s.Tally.Viewers != 3 || s.Tally.PeakViewers != 3) {
		t.Errorf("%d viewers, %d at most, want 3", s.Tally.Viewers, s.Tally.PeakViewers)
	}
	wg.Wait()
	v := watch(t, through)
	v.plays(3*time.Second, 15*time.Second)
	c.mu.Lock()
	for path, n := range c.fetched {
		if n > 1 && strings.HasSuffix(path, ".m4s") {
			t.Errorf("the cache fetched %s %d times", path, n)
		}
	}
	asked, fetched := c.asked, 0
	for path, n := range c.fetched {
		if strings.HasSuffix(path, ".m4s") {
			fetched += n
		}
	}
	c.mu.Unlock()
	_, s, _ = w.Active() // v has played on since, so the three are written
	evidence := s.Tally.Evidence
	if w.page == nil {
		if off := float64(evidence.MediaMs)/1000 - direct.given.Seconds(); off < -1 || off > 1 {
			t.Errorf("counted %d ms of the direct viewer, who was given %v", evidence.MediaMs, direct.given)
		}
	}
	// Presence begins with the first playlist: against the media that the two were
	// given it lacks what was in their buffers. The strict player adds its own.
	if least, most := 2*long.Seconds()-3, 2*long.Seconds()+10; float64(evidence.PlaylistMs)/1000 < least || float64(evidence.PlaylistMs)/1000 > most {
		t.Errorf("counted %d ms by playlists, want %.0f to %.0f s", evidence.PlaylistMs, least, most)
	}
	e.Leave()
	w.told(w.closed(), "LIVE", "OFFLINE")
	v.ended(15 * time.Second)
	v.leave(0)
	t.Logf("the cache was asked for media %d times and fetched %d; counted %+v, the two were given %v, the direct one %v", asked, fetched, evidence, behind.given, direct.given)
}
