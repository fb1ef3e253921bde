//go:build browser

package e2e

import (
	"os"
	"strings"
	"testing"
	"time"

	"tally/internal/rtmp/publisher"
	"tally/internal/servertest"
)

const (
	playing  = `tally.news.state === 'live' && tally.player.moving && stage.classList.contains('clear')`
	unveiled = playing + ` && getComputedStyle(curtain).visibility === 'hidden'`
	says     = `headline.textContent === `
)

// TestBroadcastOnTheWatchPage is one page, opened once and never reloaded, from
// before a broadcast until after the next.
func TestBroadcastOnTheWatchPage(t *testing.T) {
	s, p := serve(t), servertest.Browse(t)
	if status := p.Open(s.WatchURL(), nil); status != 200 {
		t.Fatalf("status %d", status)
	}
	p.Eval(`void (window.unreloaded = true)`, nil)
	p.Await("waiting", says+`'Waiting for the broadcast'`, 3*time.Second)
	p.Await("announced", `announce.textContent === 'Waiting for the broadcast'`, 3*time.Second)
	p.Accessible("waiting")
	p.Shot("waiting")

	encoder := s.FFmpeg(forAWhile)
	took := p.Await("the picture", playing, 15*time.Second)
	_, session, _ := s.Active()
	w := &witness{Page: p, b: s, session: session.ID}
	p.Eval(truth, nil)
	p.Eval(moved, nil)
	p.Eval(`void (window.viewer = tally.meter.viewer)`, nil)
	t.Logf("picture %v after ffmpeg's start", took.Round(time.Millisecond))
	p.Await("announced", `announce.textContent === 'The broadcast is live'`, 3*time.Second)
	follow(t, p, 22*time.Second)
	controls(t, p)
	p.Accessible("live")

	encoder.Process.Kill() // no clean end
	encoder.Wait()
	took = p.Await("interrupted", says+`'The broadcast is interrupted' && !stage.classList.contains('clear')`, 15*time.Second)
	t.Logf("interruption shown after %v", took.Round(time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("the interruption was told after %v", took)
	}
	p.Await("countdown", `/ends in [0-9]:[0-5][0-9]\./.test(detail.textContent)`, 5*time.Second)
	p.Eval(`void (window.at = video.currentTime, window.stalls = tally.player.stalls)`, nil)
	p.Await("the held picture plays behind it", `video.currentTime > at + 1.5 && tally.player.stalls === stalls &&
		`+says+`'The broadcast is interrupted' && !stage.classList.contains('clear')`, 10*time.Second)
	p.Accessible("reconnecting")
	p.Shot("reconnecting")
	encoder = s.FFmpeg(forAWhile)
	p.Await("live again", `tally.news.state === 'live'`, 15*time.Second)
	took = p.Await("the picture after the encoder's return", playing, 10*time.Second)
	t.Logf("picture %v after live", took.Round(time.Millisecond))
	if took > 3*time.Second {
		t.Errorf("the picture came %v after the media's return, want within 3 s", took)
	}

	s.Kill()
	encoder.Wait() // its connection is gone
	p.Await("the loss is told", `document.body.dataset.state === 'lost' && !stage.classList.contains('clear')`, 15*time.Second)
	p.Shot("connection-lost")
	s.Restart()
	encoder = s.FFmpeg(forAWhile)
	took = p.Await("the picture after the server's restart", settled, 30*time.Second)
	t.Logf("picture %v after the server's restart", took.Round(time.Millisecond))
	w.oneViewer()
	w.press(" ")
	w.expect("after a lost encoder and a killed server", exact+untold)
	w.press(" ")

	encoder.Process.Signal(os.Interrupt) // ffmpeg ends cleanly
	encoder.Wait()
	p.Await("ended", says+`'The broadcast has ended' && !stage.classList.contains('clear')`, 20*time.Second)
	p.Accessible("ended")
	p.Shot("ended")

	s.FFmpeg(forAWhile)
	p.Await("the next broadcast", playing, 20*time.Second)
	var kept bool
	if p.Eval(`window.unreloaded === true`, &kept); !kept {
		t.Error("the page was reloaded")
	}
	p.Quiet()
}

// follow watches for d: the picture moves all the time, less than 2 s behind.
func follow(t *testing.T, p *servertest.Page, d time.Duration) {
	t.Helper()
	time.Sleep(2 * time.Second) // a player that was there before the broadcast has nothing buffered yet
	var from, to struct {
		At, Current, Behind float64
		Stalls              int
	}
	look := `({At: performance.now() / 1000, Current: video.currentTime, Behind: tally.player.behind(), Stalls: tally.player.stalls})`
	p.Eval(look, &from)
	worst := 0.0
	for start := time.Now(); time.Since(start) < d; time.Sleep(250 * time.Millisecond) {
		p.Eval(look, &to)
		worst = max(worst, to.Behind)
	}
	moved, passed := to.Current-from.Current, to.At-from.At
	t.Logf("%.1f s of picture in %.1f s, %.2f s behind the encoder at worst, %d stalls", moved, passed, worst, to.Stalls-from.Stalls)
	if to.Stalls != from.Stalls || moved < passed-0.7 {
		t.Errorf("the picture stalled")
	}
	if worst >= 2 || worst <= 0 {
		t.Errorf("%.2f s behind the encoder, want less than 2", worst)
	}
}

// controls uses the page as a person with a keyboard and a mouse would.
func controls(t *testing.T, p *servertest.Page) {
	t.Helper()
	p.Shot("live")
	press := func(key string) { t.Helper(); p.Tell(servertest.Command{"do": "key", "key": key}, nil) }
	p.Await("an unmute button", `!unmute.hidden`, time.Second)
	p.Tell(servertest.Command{"do": "click", "selector": "#unmute"}, nil)
	p.Await("sound", `!video.muted && unmute.hidden && mute.getAttribute('aria-label') === 'Turn sound off'`, time.Second)
	press("m")
	p.Await("silence", `video.muted`, time.Second)
	press("s")
	p.Await("figures", `!figures.hidden && stats.getAttribute('aria-pressed') === 'true' &&
		/^[0-9.]+ s$/.test(document.getElementById('f-latency').textContent) &&
		/^[0-9.]+ Mbit/.test(document.getElementById('f-bitrate').textContent)`, 3*time.Second)
	p.Shot("figures")
	press("s")
	press(" ")
	p.Await("a pause", `video.paused && stage.classList.contains('paused')`, time.Second)
	press(" ")
	p.Await("the picture after a pause", playing, 5*time.Second)

	// A headset's key, picture in picture and the system's controls speak to the video.
	p.Eval(`video.pause()`, nil)
	p.Await("a pause from elsewhere, which nobody ends", `video.paused && tally.player.paused && stage.classList.contains('clear')`, time.Second)
	p.Eval(`void video.play()`, nil)
	p.Await("the picture after a pause from elsewhere", playing+` && !tally.player.paused`, 5*time.Second)

	// hls.js placed a new playlist before what was played, as it does after a kill of the server.
	p.Eval(`{
		const list = Object.getOwnPropertyDescriptor(Hls.prototype, 'latestLevelDetails').get, lost = window.lost = tally.player.hls
		Object.defineProperty(lost, 'latestLevelDetails', { get: () => Object.create(list.call(lost), { edge: { value: 0 } }) })
		lost.stopLoad()
	}`, nil)
	took := p.Await("another player, before the page gives up on the picture", `tally.player.hls && tally.player.hls !== lost && `+playing, 7*time.Second)
	t.Logf("picture %v after the playlist was misplaced", took.Round(time.Millisecond))
}

func TestPhoneAndEmbed(t *testing.T) {
	s, p := serve(t), servertest.Browse(t)
	encoder := s.FFmpeg(forAWhile)
	phone := servertest.Command{"width": 390, "height": 780}
	p.Open(s.WatchURL(), phone)
	p.Await("the picture on a phone", unveiled, 20*time.Second)
	var wide bool
	if p.Eval(`document.documentElement.scrollWidth > innerWidth`, &wide); wide {
		t.Error("the page is wider than the phone")
	}
	p.Shot("phone")
	p.Accessible("phone")
	p.Await("a button for sound", `!unmute.hidden`, 3*time.Second)
	encoder.Process.Kill()
	p.Await("nothing over the message", says+`'The broadcast is interrupted' && !stage.classList.contains('clear') && unmute.hidden`, 15*time.Second)
	p.Shot("phone-reconnecting")
	encoder.Wait()
	s.FFmpeg(forAWhile)
	p.Await("the picture is back on the phone", unveiled, 20*time.Second)
	p.Open(s.WatchURL()+"?embed=1", servertest.Command{"width": 640, "height": 360})
	p.Await("the picture embedded", unveiled, 20*time.Second)
	p.Shot("embed")
	p.Accessible("embedded")
	p.Open(s.WatchURL(), servertest.Command{"dark": false})
	p.Await("the picture by day", unveiled, 20*time.Second)
	p.Shot("light")
	p.Accessible("light")
	p.Quiet()
}

func TestWrongAddress(t *testing.T) {
	s, p := serve(t), servertest.Browse(t)
	if status := p.Open(strings.TrimSuffix(s.WatchURL(), s.PlaybackID)+"nobody", nil); status != 404 {
		t.Errorf("status %d", status)
	}
	p.Await("advice", `document.querySelector('h1').textContent === 'There is no broadcast at this address'`, time.Second)
	p.Accessible("404")
	p.Shot("404")
	p.Open("http://"+s.HTTP+"/", nil)
	p.Accessible("start page")
	p.Shot("index")
}

// TestBeforeTheBroadcast: who is there too early reads whether anybody began, and
// whether anybody can.
func TestBeforeTheBroadcast(t *testing.T) {
	s, p := serve(t), servertest.Browse(t)
	s.Do("disable")
	p.Open(s.WatchURL(), nil)
	p.Await("switched off", says+`'This livestream is switched off'`, 10*time.Second)
	p.Accessible("disabled")
	p.Shot("disabled")
	s.Do("enable")
	p.Await("switched on", says+`'Waiting for the broadcast'`, 15*time.Second)
	e := s.Publish(publisher.Clean, nil)
	e.Freeze() // no media yet, or hardly any
	e.Accepted(10 * time.Second)
	p.Await("invoked", says+`'The broadcast is about to begin'`, 10*time.Second)
	p.Accessible("invoked")
	p.Shot("invoked")
	e.Thaw()
	p.Await("the picture", playing, 15*time.Second)
}
