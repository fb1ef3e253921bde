//go:build browser

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tally/internal/servertest"
)

// ladder is a broadcast of two pictures and sound in two languages.
var ladder = []string{
	"-f", "lavfi", "-i", "testsrc=size=320x180:rate=25:duration=4", "-f", "lavfi", "-i", "testsrc=size=160x90:rate=25:duration=4",
	"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=4", "-f", "lavfi", "-i", "sine=frequency=880:sample_rate=48000:duration=4",
	"-map", "0", "-map", "1", "-map", "2", "-map", "3", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-sc_threshold", "0",
	"-g", "25", "-keyint_min", "25", "-b:v:0", "800k", "-b:v:1", "150k", "-c:a", "aac", "-ac", "2",
	"-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=deu",
}

// hands are how a page changes the picture and the sound of each player, and what
// it then says of itself: the height, and the language.
var hands = map[string]struct{ heights, height, lower, languages, language, other string }{
	"hlsjs": {
		`player.levels.map((l) => l.height).sort((a, b) => a - b).join()`,
		`video.videoHeight`,
		`player.nextLevel = player.levels.findIndex((l) => l.height === 90)`,
		`player.audioTracks.map((a) => a.lang).join()`,
		`player.audioTracks[player.audioTrack].lang`,
		`player.audioTrack = 1`,
	},
	"shaka": {
		`player.getVideoTracks().map((v) => v.height).sort((a, b) => a - b).join()`,
		`video.videoHeight`,
		`(player.configure('abr.enabled', false), player.selectVideoTrack(player.getVideoTracks().find((v) => v.height === 90)))`,
		`player.getAudioTracks().map((a) => a.language).join()`,
		`player.getAudioTracks().find((a) => a.active).language`,
		`player.selectAudioTrack(player.getAudioTracks().find((a) => a.language === 'de'))`,
	},
	"videojs": {
		`player.tech(true).vhs.representations().map((r) => r.height).sort((a, b) => a - b).join()`,
		`video.videoHeight`,
		`player.tech(true).vhs.representations().forEach((r) => r.enabled(r.height === 90))`,
		`[...player.audioTracks().tracks_].map((a) => a.language).join()`,
		`[...player.audioTracks().tracks_].find((a) => a.enabled).language`,
		`[...player.audioTracks().tracks_].forEach((a) => { a.enabled = a.language === 'de' })`,
	},
}

// TestLadder: stock players in Chromium begin with the picture that is listed
// first, know of both and of both languages, and change each; hls.js without
// standing still.
func TestLadder(t *testing.T) {
	s, browser, page := servertest.Start(t), servertest.StartBrowser(t), stockPage(t)
	players := stock[:1]
	if *everyPlayer {
		players = stock
	}
	c := &played{name: "ladder", video: true, sound: true, players: players, b: s.Create(t, nil), args: ladder}
	c.encoder = publishMP4(t, c.b, c.args)
	c.p = browser.Page(t, "ladder")
	c.b.AwaitState("live", 15*time.Second)
	if *everyPlayer {
		time.Sleep(6 * time.Second) // video.js 8.24 may give up who joins in the first seconds, muxed or not
	}
	c.p.Open(page, nil)
	c.p.Eval(`performance.setResourceTimingBufferSize(10000)`, nil)
	_, port, _ := strings.Cut(c.b.HTTP, ":")
	for i, name := range players {
		c.p.Eval(fmt.Sprintf("load(%q, %q)", name, fmt.Sprintf("http://%c.localhost:%s/hls/%s/index.m3u8", 'a'+i, port, c.b.PlaybackID)), nil)
	}
	c.plays("the start")
	time.Sleep(6 * time.Second)
	for _, name := range players {
		s, _ := c.look(name)
		s.wantWhole(t, name)
	}
	for i, name := range players {
		eval := func(script string, v any) {
			t.Helper()
			c.p.Eval(fmt.Sprintf(`(() => { const player = instances()[%d]; const video = document.querySelectorAll('video')[%[1]d]; return %s })()`, i, script), v)
		}
		await := func(what, script, want string) {
			t.Helper()
			var got any
			for start := time.Now(); time.Since(start) < 20*time.Second; time.Sleep(100 * time.Millisecond) {
				if eval(script, &got); fmt.Sprint(got) == want {
					t.Logf("%s: %s after %.1f s", name, what, time.Since(start).Seconds())
					return
				}
			}
			t.Errorf("%s: %s is %v, want %s", name, what, got, want)
		}
		do := hands[name]
		await("the heights", do.heights, "90,180")
		await("the languages", do.languages, "en,de")
		await("the height", do.height, "180")
		before, _ := c.look(name)
		eval(do.lower+", null", nil)
		await("the lower height", do.height, "90")
		eval(do.other+", null", nil)
		await("the other language", do.language, "de")
		await("its media", fmt.Sprintf(`performance.getEntriesByType('resource').some((e) => e.name.startsWith('http://%c.') && /\/a1\/(part|seg)-/.test(e.name))`, 'a'+i), "true")
		from, _ := c.look(name)
		for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
			if s, _ := c.look(name); s.Time > from.Time+2 {
				switch stood := s.Stalls > before.Stalls || s.Back > before.Back; {
				case stood && name == "hlsjs":
					t.Errorf("%s stood still: %+v, before %+v", name, s, before)
				case stood: // Shaka empties its buffer for another language
					t.Logf("%s stood still: %+v, before %+v", name, s, before)
				}
				break
			} else if time.Since(start) > 20*time.Second {
				t.Fatalf("%s does not go on: %+v, before %+v", name, s, from)
			}
		}
	}
}
