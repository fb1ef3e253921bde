//go:build browser

package e2e

import (
	"os/exec"
	"testing"
	"time"

	"tally/internal/servertest"
)

// TestPlayheadByItself runs playhead.test.mjs: what counts as played, and that
// each millisecond is told once, whatever becomes of a beacon.
func TestPlayheadByItself(t *testing.T) {
	if out, err := exec.Command("node", "--test", "playhead.test.mjs").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// truth measures in the page, apart from what the page itself does, how long
// the video plays: each 20 ms, or as often as timers run.
const truth = `void (() => {
	const x = window.truth = { ms: 0 }, p = video.played;
	for (let i = 0; i < p.length; i++) x.ms += (p.end(i) - p.start(i)) * 1000; // before we were here
	let at = video.currentTime, t = performance.now();
	video.addEventListener('seeking', () => { at = NaN; });
	setInterval(() => {
		const was = at, then = t;
		at = video.currentTime; t = performance.now();
		if (at > was && at - was < (t - then) / 1000 * 1.2 + 0.25) x.ms += (at - was) * 1000;
	}, 20);
})()`

// moved is how long the picture moved in a page that shows a moving picture all
// the time: a held one plays, and does not move. It stands in for truth's figure.
// A machine that looks late has seen nothing stand still meanwhile.
const moved = `void (() => {
	const draw = new OffscreenCanvas(64, 36).getContext('2d', { willReadFrequently: true });
	const tick = 100, stands = 400; // ms
	let before = null, at = 0, ms = 0, still = stands;
	Object.defineProperty(window.truth, 'ms', { get: () => ms });
	setInterval(() => {
		draw.drawImage(video, 0, 0, 64, 36);
		const now = draw.getImageData(0, 0, 64, 36).data;
		const changed = before && now.some((x, i) => Math.abs(x - before[i]) > 24);
		before = now;
		if (changed && still < stands) ms += Math.max(0, video.currentTime - at) * 1000;
		still = changed ? 0 : still + tick;
		if (changed || still >= stands) at = video.currentTime;
	}, tick);
})()`

// A witness compares what a page plays with what the API says of the session.
type witness struct {
	*servertest.Page
	b       *servertest.Broadcast
	session string
	before  time.Duration // played by pages before this one
	away    bool          // no page is open
}

// watch opens the watch page and begins to measure.
func (w *witness) watch() {
	w.T.Helper()
	w.Open(w.b.WatchURL(), nil)
	w.away = false
	w.Eval(truth, nil)
	w.Await("the picture", playing, 15*time.Second)
}

// leave goes to another page, which is all the notice the watch page gets.
func (w *witness) leave() {
	w.T.Helper()
	w.before, w.away = w.played(), true
	w.Open("about:blank", nil)
}

func (w *witness) played() time.Duration {
	w.T.Helper()
	if w.away {
		return w.before
	}
	var ms float64
	w.Eval(`truth.ms`, &ms)
	return w.before + time.Duration(ms*1e6)
}

func (w *witness) counted() time.Duration {
	w.T.Helper()
	tally := w.b.Session(w.session).Tally
	if other := tally.Evidence.MediaMs + tally.Evidence.PlaylistMs; other != 0 || tally.Evidence.BeaconMs != tally.ViewerMs {
		w.T.Errorf("evidence %+v of %d ms, want beacons alone", tally.Evidence, tally.ViewerMs)
	}
	return time.Duration(tally.ViewerMs) * time.Millisecond
}

// exact is what a figure may be off: one part, and one second.
const exact = 335*time.Millisecond + time.Second

// expect compares. Where nothing plays any more the figure gets the time that a
// beacon and a checkpoint take on a busy machine. It may never be more than was
// played, but for what the test's own measurement misses before it begins.
func (w *witness) expect(what string, behind time.Duration) {
	w.T.Helper()
	if behind != lag {
		for began := time.Now(); w.counted() < w.played()-200*time.Millisecond && time.Since(began) < 4*time.Second; {
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(600 * time.Millisecond) // or is there more to come?
	}
	counted, played := w.counted(), w.played()
	w.T.Logf("%s: %.2f s played, %.2f s counted", what, played.Seconds(), counted.Seconds())
	if counted < played-behind || counted > played+500*time.Millisecond {
		w.T.Errorf("%s: %.2f s played, %.2f s counted, want at most %v less and none more", what, played.Seconds(), counted.Seconds(), behind)
	}
}

// stands checks that for d nothing plays and nothing is counted, but what was
// played before and is told only now.
func (w *witness) stands(what string, d time.Duration) {
	w.T.Helper()
	played, counted := w.played(), w.counted()
	late := max(0, played-counted)
	time.Sleep(d)
	if p, c := w.played()-played, w.counted()-counted; p > 50*time.Millisecond || c > late+50*time.Millisecond {
		w.T.Errorf("%s for %v: %v played, %v counted, want nothing", what, d, p, c)
	}
}

func (w *witness) press(key string) {
	w.T.Helper()
	w.Tell(servertest.Command{"do": "key", "key": key}, nil)
}

func (w *witness) tell(do string, is bool) {
	w.T.Helper()
	w.Tell(servertest.Command{"do": do, "is": is}, nil)
}

// were ends the broadcast, whose books must show that many viewers, all counted by
// beacons, who add up to what the session has.
func (w *witness) were(want int) {
	w.T.Helper()
	w.b.Do("stop")
	var viewers []struct {
		Tier     *string `json:"tier"`
		BeaconUs int64   `json:"beacon_us"`
	}
	servertest.Eventually(w.T, "rows of viewers that add up", 5*time.Second, func() bool { // written one after another
		w.b.Ask("GET", "/livestreams/sessions/"+w.session+"/viewers", nil, 200).Into(w.T, &viewers)
		sum := int64(0)
		for _, v := range viewers {
			sum += v.BeaconUs
		}
		return sum/1000 == w.counted().Milliseconds()
	})
	if len(viewers) != want {
		w.T.Errorf("%d viewers, want %d", len(viewers), want)
	}
	for _, v := range viewers {
		if v.Tier == nil || *v.Tier != "beacon" {
			w.T.Errorf("a viewer of evidence %v, want beacon", v.Tier)
		}
	}
}

// lag is what a figure may be behind while the picture moves: the time between
// two beacons, a checkpoint, and a little for a busy machine.
const lag = 5500 * time.Millisecond

// TestSecondsAreWhatAPersonSaw: whatever a person does, the API says how long
// the picture moved, and nobody is counted twice.
func TestSecondsAreWhatAPersonSaw(t *testing.T) {
	s := serve(t)
	s.FFmpeg(forAWhile)
	s.Await("LIVE", 15*time.Second)
	_, session, _ := s.Active()
	w := &witness{Page: servertest.Browse(t), b: s, session: session.ID}
	w.watch()
	began := time.Now()
	servertest.Eventually(t, "the figure moves", 15*time.Second, func() bool { return w.counted() > 0 })
	t.Logf("the figure moves %v after the picture", time.Since(began).Round(10*time.Millisecond))
	w.press("m") // with sound, or browsers pause what is hidden
	time.Sleep(4 * time.Second)
	w.expect("playing", lag)

	w.press(" ")
	w.expect("paused", exact)
	w.stands("paused", 5*time.Second)
	w.press(" ")
	w.Await("the picture after a pause", playing, 5*time.Second)
	w.press("l")
	time.Sleep(2 * time.Second)

	w.tell("offline", true)
	w.Await("a stall", `!tally.player.moving`, 15*time.Second)
	w.stands("stalled", 2*time.Second)
	w.tell("offline", false)
	w.Await("the picture after a stall", playing, 10*time.Second)
	time.Sleep(time.Second)
	w.expect("after a stall", lag)

	w.Eval(`void (video.currentTime -= 3)`, nil)
	time.Sleep(3 * time.Second)
	w.expect("after a seek back", lag)

	before := w.played()
	w.tell("hide", true)
	var state string
	if w.Eval(`document.visibilityState`, &state); state != "hidden" {
		t.Fatalf("the tab is %s", state)
	}
	servertest.Eventually(t, "what was played is told when the tab is hidden", 2*time.Second, func() bool { return w.counted() > before-200*time.Millisecond })
	time.Sleep(4 * time.Second)
	if w.played() < before+4*time.Second {
		t.Errorf("a hidden tab with sound played %v of 4 s", w.played()-before)
	}
	w.expect("hidden", lag)
	w.tell("hide", false)

	w.leave()
	w.expect("left", exact)
	w.watch() // again: another viewer
	time.Sleep(2 * time.Second)
	w.leave()
	w.expect("left once more", exact)
	if peak := s.Session(session.ID).Tally.PeakViewers; peak > 2 {
		t.Errorf("%d viewers at the peak of one page", peak)
	}
	w.were(2)
	w.Quiet()
}

// untold is what a page may lose when its server goes away: what was played since
// the last beacon, and what was left in its buffer.
const untold = 4*time.Second + 1500*time.Millisecond

// TestSecondsOverARestart: one page watches through a server that is stopped and
// started again. It is the same viewer, and loses at most what it had not told.
// TestBroadcastOnTheWatchPage does the same with one that is killed.
func TestSecondsOverARestart(t *testing.T) {
	s := serve(t)
	w := &witness{Page: servertest.Browse(t), b: s}
	s.FFmpeg(forAWhile)
	s.Await("LIVE", 15*time.Second)
	_, session, _ := s.Active()
	w.session = session.ID
	w.watch()
	w.Eval(`void (window.viewer = tally.meter.viewer)`, nil)
	time.Sleep(4 * time.Second)
	s.Stop()
	w.Await("the loss", `!tally.player.moving || !tally.news.reachable`, 15*time.Second)
	s.Restart()
	s.FFmpeg(forAWhile)
	took := w.Await("the picture after the restart", settled, 30*time.Second)
	t.Logf("the picture moves again after %v", took.Round(10*time.Millisecond))
	time.Sleep(3 * time.Second)
	w.oneViewer()
	w.leave()
	w.expect("left", exact+untold)
	w.were(1)
	w.Quiet()
}

// settled is a picture that moves after the server was away.
const settled = playing + ` && tally.news.reachable && performance.now() - tally.player.movingSince > 1000`

// oneViewer checks that the page, which kept its viewer id in window.viewer, is
// still that viewer, of the same session, and that nobody else was counted.
func (w *witness) oneViewer() {
	w.T.Helper()
	var same bool
	if w.Eval(`viewer.length === 32 && tally.meter.viewer === viewer`, &same); !same {
		w.T.Error("the page was reloaded, or became another viewer")
	}
	_, now, _ := w.b.Active()
	if now.ID != w.session || now.Tally.PeakViewers != 1 {
		w.T.Errorf("session %s with %d viewers at the peak, want %s with 1", now.ID, now.Tally.PeakViewers, w.session)
	}
}

// TestSecondsWithoutMediaSource: where the browser plays HLS by itself, as Safari
// on a phone does, the page still is one viewer that tells what it played.
func TestSecondsWithoutMediaSource(t *testing.T) {
	s := serve(t)
	s.FFmpeg(forAWhile)
	s.Await("LIVE", 15*time.Second)
	_, session, _ := s.Active()
	w := &witness{Page: servertest.Browse(t), b: s, session: session.ID}
	w.Tell(servertest.Command{"do": "block", "pattern": "hls[.]min"}, nil)
	w.watch()
	time.Sleep(4 * time.Second)
	w.expect("playing", lag)
	w.press(" ")
	w.expect("paused", exact)
	w.stands("paused", 2*time.Second)
	w.leave()
	w.expect("left", exact)
	w.were(1)
}
