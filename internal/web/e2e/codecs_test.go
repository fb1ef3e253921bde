//go:build browser

package e2e

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"tally/internal/hls/hlstest"
	"tally/internal/media"
	"tally/internal/rtmp/mp4"
	"tally/internal/rtmp/publisher"
	"tally/internal/servertest"
)

var everyPlayer = flag.Bool("every-player", false, "play more codecs, in Shaka and video.js as well, and through a held picture")

// publishMP4 publishes what ffmpeg encodes by those arguments, over and over.
func publishMP4(t *testing.T, b *servertest.Broadcast, args []string) *servertest.Encoder {
	f, err := os.Open(hlstest.File(t, args...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	file, err := mp4.Open(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	return b.Publish(publisher.Cut, func(o *publisher.Options) {
		if o.Source, err = (publisher.Files{Files: []*mp4.File{file}, Loop: true}).Source(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestCodecs: what Enhanced RTMP carries is played by stock hls.js in Chromium,
// in its default configuration: pictures move and sound is decoded, without a
// fatal error. HEVC is none of Chromium's codecs here.
func TestCodecs(t *testing.T) {
	s, browser, page := servertest.Start(t), servertest.StartBrowser(t), stockPage(t)
	players := stock[:1]
	if *everyPlayer {
		players = stock
	}
	const length = 4 * time.Second
	var cases []*played
	pairs := []pair{{media.VP9, media.Opus}, {media.AV1, media.FLAC}}
	if *everyPlayer {
		pairs = append(pairs, pair{media.H264, media.Opus}, pair{media.AV1, media.AAC}, pair{media.VP9, media.CodecNone},
			pair{media.CodecNone, media.Opus}, pair{media.CodecNone, media.FLAC})
	}
	for _, c := range pairs {
		name := strings.ReplaceAll(strings.ReplaceAll(fmt.Sprintf("%v and %v", c.video, c.audio), "none and ", "only "), " and none", " alone")
		one := &played{name: name, video: c.video != media.CodecNone, sound: c.audio != media.CodecNone, players: players}
		one.b = s.Create(t, nil)
		one.args = hlstest.Args(c.video, c.audio, length)
		one.encoder = publishMP4(t, one.b, one.args)
		one.p = browser.Page(t, name)
		cases = append(cases, one)
	}
	for _, c := range cases {
		c.b.AwaitState("live", 15*time.Second)
		c.p.Open(page, nil)
		for i, player := range c.players {
			_, port, _ := strings.Cut(c.b.HTTP, ":")
			c.p.Eval(fmt.Sprintf("load(%q, %q)", player, fmt.Sprintf("http://%c.localhost:%s/hls/%s/index.m3u8", 'a'+i, port, c.b.PlaybackID)), nil)
		}
	}
	for _, c := range cases {
		c.plays("the start")
	}
	if !*everyPlayer {
		return
	}
	for _, c := range cases {
		c.encoder.Leave()
	}
	time.Sleep(8 * time.Second) // the picture is held behind 4 s of nothing
	for _, c := range cases {
		c.holds()
		c.encoder = publishMP4(t, c.b, c.args)
	}
	for _, c := range cases {
		c.plays("the encoder's return")
	}
}

// A pair of codecs makes a broadcast.
type pair struct{ video, audio media.Codec }

// played is one broadcast in one page.
type played struct {
	name         string
	video, sound bool
	players      []string
	args         []string
	b            *servertest.Broadcast
	p            *servertest.Page
	encoder      *servertest.Encoder
}

// look is what the page tells of a player, and how much sound it decoded.
func (c *played) look(player string) (s seen, sound float64) {
	c.p.T.Helper()
	var all map[string]seen
	c.p.Eval(`look()`, &all)
	s = all[player]
	if len(s.Fatal) > 0 {
		c.p.T.Fatalf("%s in %s: %v", c.name, player, s.Fatal)
	}
	c.p.Eval(fmt.Sprintf(`(document.getElementById(%q).querySelector?.('video') ?? document.getElementById(%[1]q)).webkitAudioDecodedByteCount`, player), &sound)
	return s, sound
}

// plays waits until each player plays a second and a half on end.
func (c *played) plays(what string) {
	t := c.p.T
	t.Helper()
	for _, player := range c.players {
		var from float64
		var began time.Time
		start, steady := time.Now(), false
		_, sound := c.look(player)
		for !steady {
			s, now := c.look(player)
			switch {
			case time.Since(start) > 40*time.Second:
				t.Fatalf("%s in %s does not play after %s: %+v, %v bytes of sound", c.name, player, what, s, now-sound)
			case !s.Playing || c.video && !s.Moving:
				began = time.Time{}
			case began.IsZero():
				began, from = time.Now(), s.Time
			default:
				steady = s.Time-from > 1.5 && (now > sound || !c.sound)
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Logf("%s in %s: plays %.1f s after %s", c.name, player, time.Since(start).Seconds()-1.5, what)
	}
}

// holds wants that each player goes on while no media comes.
func (c *played) holds() {
	t := c.p.T
	t.Helper()
	for _, player := range c.players {
		from, _ := c.look(player)
		ok := false
		for start := time.Now(); !ok && time.Since(start) < 20*time.Second; time.Sleep(100 * time.Millisecond) {
			s, _ := c.look(player)
			ok = s.Playing && s.Time > from.Time+1
		}
		if !ok {
			t.Errorf("%s in %s: stands still while the picture is held", c.name, player)
		}
	}
}
