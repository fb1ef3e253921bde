package cdn

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tally/internal/hls/player"
	"tally/internal/rtmp/publisher"
	"tally/internal/servertest"
)

const (
	fewPlayers = 24              // behind Varnish; the reference is beside them
	playFor    = 5 * time.Second // of all of them
)

// An audience is players of one livestream, each with its own book: when it was
// first and last answered a playlist, which is what presence is counted by.
type audience struct {
	mu    sync.Mutex
	took  map[string][]time.Time // by the name of a part or segment: when players had it
	seen  []*book
	flaws []error
}

// A book is what one player was answered.
type book struct {
	mu          sync.Mutex
	first, last time.Time // answers with a media playlist
	transport   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b *book) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.transport.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusOK && strings.HasSuffix(r.URL.Path, "/index.m3u8") && strings.Count(r.URL.Path, "/") > 3 {
		b.mu.Lock()
		if b.last = time.Now(); b.first.IsZero() {
			b.first = b.last
		}
		b.mu.Unlock()
	}
	return resp, err
}

// present is how long the player was there.
func (b *book) present() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last.Sub(b.first)
}

// behind names a cache in its requests, so that the server answers as it does
// through Varnish.
type behind struct{ http.RoundTripper }

func (t behind) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Via", "1.1 nothing")
	return t.RoundTripper.RoundTrip(r)
}

// watch has one player watch for a while. It leaves behind a part or segment: a
// cache does not take back what was asked of it, so who leaves amid a reload is
// there for the server until that is answered.
func (a *audience) watch(ctx context.Context, o player.Options, direct bool) {
	ctx, leave := context.WithTimeout(ctx, playFor+patience)
	defer leave()
	until := time.Now().Add(playFor)
	t := &http.Transport{}
	defer t.CloseIdleConnections()
	b := &book{transport: t}
	if direct {
		b.transport = behind{t}
	}
	a.mu.Lock()
	a.seen = append(a.seen, b)
	a.mu.Unlock()
	o.Client = &http.Client{Transport: b}
	o.Discard = true
	o.OnPart = func(p player.PartInfo) {
		if p.Arrived.After(until) {
			leave()
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		name := path.Base(p.URI)
		a.took[name] = append(a.took[name], p.Arrived)
	}
	stats, err := player.New(o).Run(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err != nil:
		a.flaws = append(a.flaws, err)
	case stats.Errors > 0 || stats.Jumps > 0 || stats.Parts+stats.Segments == 0:
		a.flaws = append(a.flaws, fmt.Errorf("%d errors (%s), %d jumps, %d parts", stats.Errors, stats.LastError, stats.Jumps, stats.Parts))
	}
}

func newAudience() *audience { return &audience{took: map[string][]time.Time{}} }

// TestVarnish: players behind Varnish make one request to the origin for each part
// and segment together, get parts when they come, and are counted.
func TestVarnish(t *testing.T) {
	server := servertest.Start(t)
	origin := newTap(t, server.HTTP)
	cache := startVarnish(t, origin.addr)
	live := server.Create(t, nil)
	live.Publish(publisher.Clean, nil).Accepted(patience)
	live.Await("LIVE", patience)

	crowd, reference := newAudience(), newAudience()
	list := "/hls/" + live.PlaybackID + "/index.m3u8"
	var players sync.WaitGroup
	for i := range fewPlayers {
		o := player.Options{URL: "http://" + cache.addr + list, LowLatency: i%6 != 0, NoHint: i%2 == 0}
		players.Go(func() { crowd.watch(t.Context(), o, false) })
	}
	for range 2 {
		o := player.Options{URL: "http://" + server.HTTP + list, LowLatency: true, NoHint: true}
		players.Go(func() { reference.watch(t.Context(), o, true) })
	}
	players.Wait()
	for _, err := range append(crowd.flaws, reference.flaws...) {
		t.Error(err)
	}
	askedOnce(t, origin, crowd)
	countedRight(t, live, append(crowd.seen, reference.seen...))
	neverKept(t, cache, origin, live)
	server.Kill()
	withoutOrigin(t, cache, live, origin, crowd)
	added := crowd.behind(reference)
	t.Logf("%d pieces of media at %d players: added by Varnish p50 %v, p99 %v (goal: 50 ms)", len(added), fewPlayers,
		at(added, 50).Round(10*time.Microsecond), at(added, 99).Round(10*time.Microsecond))
}

// askedOnce checks that all media that the crowd took was asked for once.
func askedOnce(t *testing.T, origin *tap, crowd *audience) {
	t.Helper()
	media := origin.media()
	parts, segments := 0, 0
	for path, n := range media {
		if strings.Contains(path, "/part-") {
			parts++
		} else if strings.Contains(path, "/seg-") {
			segments++
		}
		if n != 1 {
			t.Errorf("%s: %d requests to the origin", path, n)
		}
		if strings.Count(path, "/") != 4 {
			t.Errorf("%s is not shared", path)
		}
	}
	shared := 0
	for _, times := range crowd.took {
		if len(times) > 1 {
			shared++
		}
	}
	if parts < 8 || segments < 3 || shared < 10 || len(media) < len(crowd.took) {
		t.Errorf("%d parts and %d segments asked for; %d taken, %d by several", parts, segments, len(crowd.took), shared)
	}
}

// countedRight compares presence with the players' books (docs/playback.md: a
// playlist viewer's seconds are the time between its requests).
func countedRight(t *testing.T, live *servertest.Broadcast, books []*book) {
	t.Helper()
	var truth time.Duration
	for _, b := range books {
		truth += b.present()
	}
	var told, media time.Duration
	var peak int
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) { // what was counted last is still to be written
		if _, s, ok := live.Active(); ok && s.Tally != nil {
			told, peak = time.Duration(s.Tally.Evidence.PlaylistMs)*time.Millisecond, s.Tally.PeakViewers
			media = time.Duration(s.Tally.Evidence.MediaMs) * time.Millisecond
		}
		late := time.Since(began) > patience
		if late || time.Since(began) > time.Second && peak == len(books) && told >= truth*95/100 {
			break
		}
	}
	if peak != len(books) || told < truth*95/100 || told > truth*105/100 || media != 0 {
		t.Errorf("%d viewers and %v by playlists, %v by media; %d were there for %v", peak, told, media, len(books), truth)
	}
	t.Logf("%d viewers: %v counted, %+.2f %% off their books", peak, told, 100*(told.Seconds()/truth.Seconds()-1))
}

// neverKept checks that what is not there is asked for each time, that cookies
// reach nobody, and that the server hears of the cache.
func neverKept(t *testing.T, cache *varnish, origin *tap, live *servertest.Broadcast) {
	t.Helper()
	missing := "/hls/" + live.PlaybackID + "/none/part-1-1.m4s"
	const times = 3
	for i := range times {
		refused(t, cache, missing+fmt.Sprintf("?bust=%d", i), 404)
	}
	if n := origin.media()[missing]; n != times {
		t.Errorf("media that is not there was asked for %d times, %d were sent", n, times)
	}
}

// get asks the cache, with a cookie that is to go no further.
func get(t *testing.T, cache *varnish, path string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequest("GET", "http://"+cache.addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cookie", "a=b")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

// refused checks a refusal: any page may read it, and nobody may keep it.
func refused(t *testing.T, cache *varnish, path string, status int) {
	t.Helper()
	resp, body := get(t, cache, path)
	h := resp.Header
	if resp.StatusCode != status || h.Get("Cache-Control") != "no-store" || h.Get("Access-Control-Allow-Origin") != "*" || (h.Get("Retry-After") == "1") != (status == 503) {
		t.Errorf("%s: %d %v %s", path, resp.StatusCode, h, body)
	}
}

// withoutOrigin checks what the cache says when the server is gone.
func withoutOrigin(t *testing.T, cache *varnish, live *servertest.Broadcast, origin *tap, crowd *audience) {
	t.Helper()
	refused(t, cache, "/hls/"+live.PlaybackID+"/index.m3u8", 503)
	refused(t, cache, "/hls/"+live.PlaybackID+"/none/part-1-1.m4s", 503)
	for _, kept := range slices.Sorted(maps.Keys(origin.media())) {
		if crowd.took[path.Base(kept)] == nil || strings.Contains(kept, "/none/") {
			continue
		}
		resp, body := get(t, cache, kept)
		if h := resp.Header; resp.StatusCode != 200 || len(body) == 0 || h.Get("X-Cache") != "hit" || h.Get("Server-Timing") != "" {
			t.Errorf("%s, which the cache has: %d, %d bytes, %v", kept, resp.StatusCode, len(body), h)
		}
	}
}

// behind is how much later the audience had what the reference had, sorted.
func (a *audience) behind(reference *audience) (added []time.Duration) {
	for name, times := range a.took {
		if first := reference.took[name]; len(first) > 0 {
			for _, at := range times {
				added = append(added, max(0, at.Sub(slices.MinFunc(first, time.Time.Compare))))
			}
		}
	}
	slices.Sort(added)
	return added
}

func at(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, len(sorted)*percent/100)]
}
