// Package crash kills a running Tally at random moments and holds what it says
// afterwards against a ledger of what it had answered before: what was answered
// with 2xx is so, seconds never fall, a broadcast goes on in its session and at
// its address, and no address ever gives other bytes.
//
// The moments and everything that is done come from a seed, which is printed;
// what the machine makes of them differs from run to run.
//
//	go test ./crash -rounds 200 -seed 7
package crash

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tally/internal/hls/player"
	"tally/internal/rtmp/publisher"
	"tally/internal/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

var (
	rounds = flag.Int("rounds", 10, "how often the server is killed")
	seed   = flag.Uint64("seed", 0, "of all that is random; 0: another one each time")
)

const livestreams = 4

// A harness drives livestreams of one server through its lives.
type harness struct {
	*servertest.Server
	t       *testing.T
	drivers []*driver

	keeping sync.Mutex
	entries []*entry // one for each livestream that there was

	killing   atomic.Bool // from here on what ends was ended by the kill
	continued int         // sessions that went on after a kill
	audits    int
	drained   time.Duration // longest stop
}

func TestKill(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("seed %d", *seed)
	h := &harness{Server: servertest.Start(t), t: t}
	for i := range livestreams {
		d := &driver{harness: h, steady: i%2 == 0, alone: i == 0, random: rand.New(rand.NewPCG(*seed, uint64(i))), ending: rand.New(rand.NewPCG(*seed, uint64(100+i)))}
		h.drivers = append(h.drivers, d)
		d.create()
	}
	moments := rand.New(rand.NewPCG(*seed, livestreams))
	for round := range *rounds {
		h.round(time.Duration(300+moments.IntN(2200))*time.Millisecond, moments.IntN(4) == 0)
		if t.Failed() {
			t.Fatalf("in round %d of seed %d", round+1, *seed)
		}
	}
	sessions, addresses := 0, 0
	for _, e := range h.entries {
		sessions += len(e.sessions)
		addresses += len(e.media.bytes)
	}
	t.Logf("%d kills and stops (the longest took %v), %d livestreams, %d sessions, %d resumed, %d media addresses, %d audits",
		*rounds, h.drained.Round(time.Millisecond), len(h.entries), sessions, h.continued, addresses, h.audits)
	for _, d := range h.drivers {
		if d.alone {
			d.viewer.mu.Lock()
			var all time.Duration
			for _, s := range d.sessions {
				all += time.Duration(s.Tally.ViewerMs) * time.Millisecond
			}
			t.Logf("the viewer who was alone was given %v and %v was counted", d.viewer.given.Round(time.Millisecond), all)
			d.viewer.mu.Unlock()
		}
	}
	if h.continued == 0 || addresses == 0 {
		t.Error("nothing was on air when the server died: this run has shown little")
	}
}

// pathOf is the path of an absolute address of the server.
func pathOf(address string) string {
	_, rest, _ := strings.Cut(address, "://")
	return rest[strings.IndexByte(rest, '/'):]
}

// round lets the drivers work, kills the server amid that, or asks it to stop,
// starts it again and compares.
func (h *harness) round(long time.Duration, polite bool) {
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, d := range h.drivers {
		wg.Go(func() { d.publish(ctx) })
		wg.Go(func() { d.drive(ctx) })
		if d.alone {
			wg.Go(func() { d.watch(ctx) })
		}
	}
	time.Sleep(long)
	killed := time.Now()
	h.killing.Store(true)
	if polite {
		h.drained = max(h.drained, h.Stop()) // fails after 10 s
	} else {
		h.Kill()
	}
	stop()
	wg.Wait()
	h.killing.Store(false)
	h.Restart()
	for _, e := range h.entries {
		a := h.Call("GET", "/livestreams/"+e.id+"?per_page=100&include=tally", nil)
		for _, fault := range e.check(a.Status, decode[view](a.Data)) {
			h.t.Error(fault)
		}
		e.media.restarted()
		for _, fault := range e.media.faults {
			h.t.Error("livestream " + e.id + ": " + fault)
		}
		e.media.faults = nil
	}
	for _, d := range h.drivers {
		if d.alone {
			d.counted(!polite)
		}
		d.resumed(killed)
	}
}

// A driver asks things of one livestream at a time, one after the other.
type driver struct {
	*harness
	*entry
	random *rand.Rand // of drive
	ending *rand.Rand // of publish
	steady bool       // nothing ends its broadcast but the kill
	alone  bool       // it has one viewer, whose time is compared, and no other
	viewer watched    // of an alone one

	mu        sync.Mutex
	since     time.Time          // when the publish that runs was accepted; zero: none does
	cut       context.CancelFunc // ends it
	uncertain bool               // a stop, disable, reset or delete was under way at the kill, or the publish had only begun to end
}

// create makes a livestream and drives that from now on.
func (d *driver) create() {
	a := d.Call("POST", "/livestreams", map[string]any{"name": "new",
		"tally": map[string]any{"damping_seconds": 0, "reconnect_window_seconds": 20}})
	if a.Status != 201 {
		d.t.Fatalf("create: status %d", a.Status)
	}
	l := decode[struct {
		ID          string `json:"id"`
		StreamKey   string `json:"stream_key"`
		PlaybackURL string `json:"playback_url"`
	}](a.Data)
	d.entry = &entry{id: l.ID, name: claim[string]{sure: "new"}, key: claim[string]{sure: l.StreamKey},
		playback: pathOf(l.PlaybackURL), sessions: map[string]session{}, media: &media{bytes: map[string][32]byte{}, floor: nowhere}}
	d.harness.keep(d.entry)
}

func (h *harness) keep(e *entry) {
	h.keeping.Lock()
	defer h.keeping.Unlock()
	h.entries = append(h.entries, e)
}

// drive does one thing after the other until ctx ends.
func (d *driver) drive(ctx context.Context) {
	for ctx.Err() == nil {
		most := 100
		if d.steady {
			most = 85
		}
		switch n := d.random.IntN(most); {
		case n < 40:
			d.read()
		case n < 75 && d.alone:
			d.audit()
		case n < 75:
			d.play()
		case n < 85:
			d.name.ask(fmt.Sprint("name ", d.random.IntN(1000)))
			d.settle(d.Call("PATCH", "/livestreams/"+d.id, map[string]any{"name": *d.name.perhaps}), d.name.answered)
		case n < 89:
			d.ends(d.Call("POST", "/livestreams/"+d.id+"/stop", nil), nil)
		case n < 93:
			to := map[bool]string{true: "disable", false: "enable"}[!d.disabled.sure]
			d.disabled.ask(!d.disabled.sure)
			d.ends(d.Call("PUT", "/livestreams/"+d.id+"/"+to, nil), d.disabled.answered)
		case n < 95:
			d.key.ask("?")
			a := d.Call("POST", "/livestreams/"+d.id+"/reset-stream-key", nil)
			d.ends(a, func() {
				d.key.settle(decode[struct {
					StreamKey string `json:"stream_key"`
				}](a.Data).StreamKey)
			})
		default:
			d.mu.Lock()
			if d.cut != nil {
				d.uncertain = true
				d.cut()
			}
			d.mu.Unlock()
		}
		select {
		case <-time.After(time.Duration(d.random.IntN(60)) * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// settle books an answer; no answer leaves the claim open.
func (d *driver) settle(a servertest.Answer, granted func()) {
	switch {
	case a.Status/100 == 2:
		granted()
	case !d.isEnding(a):
		d.t.Errorf("livestream %s: status %d, %s", d.id, a.Status, a.Data)
	}
}

// isEnding reports whether an answer is missing, or says that the server ends.
func (d *driver) isEnding(a servertest.Answer) bool {
	return a.Status == 0 || a.Status == 503 && d.killing.Load()
}

// ends books the answer to what may end the session.
func (d *driver) ends(a servertest.Answer, granted func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.uncertain = true
	if granted != nil {
		d.settle(a, granted)
	}
}

// read asks for the livestream and compares with all that was read before.
func (d *driver) read() {
	a := d.Call("GET", "/livestreams/"+d.id+"?per_page=100&include=tally", nil)
	if a.Status != 200 {
		if !d.isEnding(a) {
			d.t.Errorf("livestream %s: read: status %d", d.id, a.Status)
		}
		return
	}
	for _, fault := range d.compare(decode[view](a.Data)) {
		d.t.Error(fault)
	}
}

// play fetches the playlists and one segment, as a player does.
func (d *driver) play() {
	status, text := d.Get(d.playback)
	if status != 200 {
		return
	}
	_, _, variants := parsePlaylist(string(text))
	if len(variants) == 0 {
		d.t.Errorf("livestream %s: multivariant playlist without a variant:\n%s", d.id, text)
		return
	}
	at := path.Join(path.Dir(d.playback), variants[0])
	if status, text = d.Get(at); status != 200 {
		return
	}
	first, newest, segments := parsePlaylist(string(text))
	if len(segments) == 0 {
		d.t.Errorf("livestream %s: playlist without a segment:\n%s", d.id, text)
		return
	}
	run := path.Base(path.Dir(path.Dir(at))) // …/{run}/{viewer}/index.m3u8
	d.media.listed(run, first, newest)
	name := segments[d.random.IntN(len(segments))]
	if status, text = d.Get(path.Join(path.Dir(at), name)); status == 200 {
		d.media.served(run+"/"+name, text)
	}
}

// watch keeps the one viewer at an alone livestream until ctx ends.
func (d *driver) watch(ctx context.Context) {
	for ctx.Err() == nil {
		player.New(player.Options{
			URL: "http://" + d.HTTP + d.playback, LowLatency: true, Discard: true,
			OnPart: func(p player.PartInfo) {
				if p.Held {
					return
				}
				d.viewer.mu.Lock()
				defer d.viewer.mu.Unlock()
				d.viewer.given += p.Duration
			},
		}).Run(ctx) // it ends with 404 before the broadcast, and with the server
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// counted compares what the viewer of an alone livestream was given with what
// all its sessions say.
func (d *driver) counted(killed bool) {
	var all time.Duration
	for _, s := range d.sessions {
		all += time.Duration(s.Tally.ViewerMs) * time.Millisecond
	}
	if err := d.viewer.check(all, killed); err != nil {
		d.t.Errorf("livestream %s: %v", d.id, err)
	}
}

// audit fails when what is stored of the newest session does not add up.
func (d *driver) audit() {
	if len(d.seen.Sessions) == 0 {
		return
	}
	a := d.Call("GET", "/livestreams/sessions/"+d.seen.Sessions[0].ID+"/audit", nil)
	if d.isEnding(a) {
		return
	}
	if sums := decode[struct {
		AddsUp bool `json:"adds_up"`
	}](a.Data); a.Status != 200 || !sums.AddsUp {
		d.t.Errorf("livestream %s: audit: status %d, %s", d.id, a.Status, a.Data)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.audits++
}

// publish keeps an encoder at the livestream until ctx ends.
func (d *driver) publish(ctx context.Context) {
	for ctx.Err() == nil {
		run, cut := context.WithCancel(ctx)
		d.mu.Lock()
		key := d.key.sure
		d.mu.Unlock()
		err := publisher.Run(run, publisher.Options{
			URL: "rtmp://" + d.RTMP + "/live/" + key, Source: publisher.FromClip(servertest.Clip(d.t), true), Speed: 1,
			End: publisher.End(d.ending.IntN(3)), Timeout: 5 * time.Second,
			OnStart: func() {
				d.mu.Lock()
				defer d.mu.Unlock()
				d.since, d.cut, d.uncertain = time.Now(), cut, false
			},
		})
		cut()
		d.mu.Lock()
		if err == nil || !d.killing.Load() {
			d.uncertain = true // it ended before the kill, or was told to
		}
		d.cut = nil
		d.mu.Unlock()
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// resumed checks that a broadcast that was going on when the server died is
// open still, with its seconds, and goes on in the same session when its
// encoder comes back.
func (d *driver) resumed(killed time.Time) {
	d.mu.Lock()
	on := !d.uncertain && !d.since.IsZero()
	long := killed.Sub(d.since)
	d.since = time.Time{}
	d.mu.Unlock()
	if !on || len(d.seen.Sessions) == 0 {
		return
	}
	s := d.seen.Sessions[0]
	if s.StoppedTime != nil {
		d.t.Errorf("livestream %s: its encoder was publishing at the kill, but session %s is closed: %v", d.id, s.ID, s.ErrMessage)
		return
	}
	if got, want := float64(s.IngestSeconds), long.Seconds()-1.5; got < want { // 1 s of loss, half a second of rounding
		d.t.Errorf("livestream %s: %v ingest seconds after %v of publishing", d.id, got, long)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	back := make(chan struct{})
	go func() {
		defer close(back)
		d.publish(ctx)
	}()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		v := decode[view](d.Call("GET", "/livestreams/"+d.id+"?per_page=100&include=tally", nil).Data)
		if len(v.Sessions) > 0 && v.Livestream.Status == "LIVE" && v.Sessions[0].ErrMessage == nil {
			if v.Sessions[0].ID != s.ID {
				d.t.Errorf("livestream %s: session %s was not resumed; %s began", d.id, s.ID, v.Sessions[0].ID)
			}
			d.continued++
			break
		}
		if time.Now().After(deadline) {
			d.t.Errorf("livestream %s: not LIVE within 10 s of the restart: %+v", d.id, v)
			break
		}
	}
	stop()
	<-back
}
