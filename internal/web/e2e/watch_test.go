//go:build browser

package e2e

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	playing  = `tally.news.state === 'live' && tally.player.moving && stage.classList.contains('clear')`
	unveiled = playing + ` && getComputedStyle(curtain).visibility === 'hidden'`
	says     = `headline.textContent === `
)

// TestBroadcastOnTheWatchPage is one page, opened once and never reloaded, from
// before a broadcast until after the next.
func TestBroadcastOnTheWatchPage(t *testing.T) {
	s, p := serve(t), browse(t)
	if status := p.open(s.watchURL(), nil); status != 200 {
		t.Fatalf("status %d", status)
	}
	p.eval(`void (window.unreloaded = true)`, nil)
	p.await("waiting", says+`'Waiting for the broadcast'`, 3*time.Second)
	p.await("announced", `announce.textContent === 'Waiting for the broadcast'`, 3*time.Second)
	p.accessible("waiting")
	p.shot("waiting")

	encoder := s.publish()
	took := p.await("the picture", playing, 15*time.Second)
	t.Logf("picture %v after ffmpeg's start", took.Round(time.Millisecond))
	p.await("announced", `announce.textContent === 'The broadcast is live'`, 3*time.Second)
	follow(t, p, 22*time.Second)
	controls(t, p)
	p.accessible("live")

	encoder.Process.Kill() // no clean end
	encoder.Wait()
	took = p.await("interrupted", says+`'The broadcast is interrupted' && !stage.classList.contains('clear')`, 15*time.Second)
	t.Logf("interruption shown after %v", took.Round(time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("the interruption was told after %v", took)
	}
	p.await("countdown", `/ends in [0-9]:[0-5][0-9]\./.test(detail.textContent)`, 5*time.Second)
	p.eval(`void (window.at = video.currentTime, window.stalls = tally.player.stalls)`, nil)
	p.await("the held picture plays behind it", `video.currentTime > at + 1.5 && tally.player.stalls === stalls &&
		`+says+`'The broadcast is interrupted' && !stage.classList.contains('clear')`, 10*time.Second)
	p.accessible("reconnecting")
	p.shot("reconnecting")
	encoder = s.publish()
	p.await("live again", `tally.news.state === 'live'`, 15*time.Second)
	took = p.await("the picture after the encoder's return", playing, 10*time.Second)
	t.Logf("picture %v after live", took.Round(time.Millisecond))
	if took > 3*time.Second {
		t.Errorf("the picture came %v after the media's return, want within 3 s", took)
	}

	s.stop(syscall.SIGKILL)
	encoder.Wait() // its connection is gone
	p.await("the loss is told", `document.body.dataset.state === 'lost' && !stage.classList.contains('clear')`, 15*time.Second)
	p.shot("connection-lost")
	s.start()
	encoder = s.publish()
	took = p.await("the picture after the server's restart", playing+` && tally.news.reachable && performance.now() - tally.player.movingSince > 1000`, 30*time.Second)
	t.Logf("picture %v after the server's restart", took.Round(time.Millisecond))

	encoder.Process.Signal(os.Interrupt) // ffmpeg ends cleanly
	encoder.Wait()
	p.await("ended", says+`'The broadcast has ended' && !stage.classList.contains('clear')`, 20*time.Second)
	p.accessible("ended")
	p.shot("ended")

	s.publish()
	p.await("the next broadcast", playing, 20*time.Second)
	var kept bool
	if p.eval(`window.unreloaded === true`, &kept); !kept {
		t.Error("the page was reloaded")
	}
	p.quiet()
}

// follow watches for d: the picture moves all the time, less than 2 s behind.
func follow(t *testing.T, p *page, d time.Duration) {
	t.Helper()
	time.Sleep(2 * time.Second) // a player that was there before the broadcast has nothing buffered yet
	var from, to struct {
		At, Current, Behind float64
		Stalls              int
	}
	look := `({At: performance.now() / 1000, Current: video.currentTime, Behind: tally.player.behind(), Stalls: tally.player.stalls})`
	p.eval(look, &from)
	worst := 0.0
	for start := time.Now(); time.Since(start) < d; time.Sleep(250 * time.Millisecond) {
		p.eval(look, &to)
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
func controls(t *testing.T, p *page) {
	t.Helper()
	p.shot("live")
	press := func(key string) { t.Helper(); p.tell(command{"do": "key", "key": key}, nil) }
	p.await("an unmute button", `!unmute.hidden`, time.Second)
	p.tell(command{"do": "click", "selector": "#unmute"}, nil)
	p.await("sound", `!video.muted && unmute.hidden && mute.getAttribute('aria-label') === 'Turn sound off'`, time.Second)
	press("m")
	p.await("silence", `video.muted`, time.Second)
	press("s")
	p.await("figures", `!figures.hidden && stats.getAttribute('aria-pressed') === 'true' &&
		/^[0-9.]+ s$/.test(document.getElementById('f-latency').textContent) &&
		/^[0-9.]+ Mbit/.test(document.getElementById('f-bitrate').textContent)`, 3*time.Second)
	p.shot("figures")
	press("s")
	press(" ")
	p.await("a pause", `video.paused && stage.classList.contains('paused')`, time.Second)
	press(" ")
	p.await("the picture after a pause", playing, 5*time.Second)
}

func TestPhoneAndEmbed(t *testing.T) {
	s, p := serve(t), browse(t)
	s.publish()
	phone := command{"width": 390, "height": 780}
	p.open(s.watchURL(), phone)
	p.await("the picture on a phone", unveiled, 20*time.Second)
	var wide bool
	if p.eval(`document.documentElement.scrollWidth > innerWidth`, &wide); wide {
		t.Error("the page is wider than the phone")
	}
	p.shot("phone")
	p.accessible("phone")
	p.open(s.watchURL()+"?embed=1", command{"width": 640, "height": 360})
	p.await("the picture embedded", unveiled, 20*time.Second)
	p.shot("embed")
	p.accessible("embedded")
	p.open(s.watchURL(), command{"dark": false})
	p.await("the picture by day", unveiled, 20*time.Second)
	p.shot("light")
	p.accessible("light")
	p.quiet()
}

func TestWrongAddress(t *testing.T) {
	s, p := serve(t), browse(t)
	if status := p.open(strings.TrimSuffix(s.watchURL(), s.playbackID)+"nobody", nil); status != 404 {
		t.Errorf("status %d", status)
	}
	p.await("advice", `document.querySelector('h1').textContent === 'There is no broadcast at this address'`, time.Second)
	p.accessible("404")
	p.shot("404")
	p.open("http://"+s.http+"/", nil)
	p.accessible("start page")
	p.shot("index")
}
