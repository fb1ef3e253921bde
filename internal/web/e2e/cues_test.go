//go:build browser

package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"tally/internal/media/captest"
	"tally/internal/rtmp/amf0"
	"tally/internal/rtmp/flv"
	"tally/internal/rtmp/publisher"
	"tally/internal/servertest"
)

const (
	spoken = "HELLO FROM THE STUDIO"
	splice = "/DAvAAAAAAAA///wFAVIAACPf+/+c2nALv4AUsz1AAAAAAAKAAhDVUVJAAABNWLbowo="
)

// withCues plays a clip several times, with a text and a splice each two seconds.
func withCues(c *flv.Clip, times int) *flv.Clip {
	out := &flv.Clip{Duration: c.Duration * int64(times)}
	next := int64(0)
	for n := range times {
		for _, t := range c.Tags {
			if n > 0 && !flv.IsFrame(t) {
				continue
			}
			t.Time += c.Duration * int64(n)
			out.Tags = append(out.Tags, t)
			if flv.IsFrame(t) && t.Time >= next {
				next = t.Time + 2000
				for name, v := range map[string]amf0.Object{"onTextData": {{Name: "text", Value: "say \"hi\""}}, "onAdCue": {{Name: "cue", Value: splice}}} {
					out.Tags = append(out.Tags, flv.Tag{Type: flv.TypeScript, Time: t.Time, Body: amf0.Append(nil, name, v)})
				}
			}
		}
	}
	return out
}

// TestCaptionsAndCues: what an encoder says in the picture and beside it is to be
// had in hls.js, and the words on the page are those that were sent. The server
// has no ffmpeg, so there is no poster, and all else is as ever.
func TestCaptionsAndCues(t *testing.T) {
	s, p := servertest.StartWith(t, servertest.Options{Env: []string{"PATH=" + t.TempDir()}}).Create(t, nil), servertest.Browse(t)
	clip := withCues(captest.Clip(servertest.Clip(t), captest.RollUp(1, spoken)), 20)
	s.Publish(publisher.Clean, func(o *publisher.Options) { o.Source = publisher.FromClip(clip, false) })
	s.Await("LIVE", 10*time.Second)
	servertest.Eventually(t, "captions that are announced", 10*time.Second, func() bool {
		_, text := s.Get("/hls/" + s.PlaybackID + "/index.m3u8")
		return strings.Contains(string(text), `INSTREAM-ID="CC1"`) && strings.Contains(string(text), `CLOSED-CAPTIONS="cc"`)
	})
	if status, text := s.Get("/hls/" + s.PlaybackID + "/thumbnail.jpg"); status != http.StatusNotImplemented || !bytes.Contains(text, []byte("install")) {
		t.Errorf("without ffmpeg: %d %s", status, text)
	}
	p.Open("http://"+s.HTTP+"/embed/"+s.PlaybackID, servertest.Command{"width": 640, "height": 360})
	p.Await("a button without a poster", says+`'The broadcast is live' && !start.hidden && !stage.classList.contains('has-poster')`, 10*time.Second)
	p.Shot("embed-no-ffmpeg")
	p.Accessible("embedded, no poster")
	p.Open(s.WatchURL(), servertest.Command{"width": 1280, "height": 800})
	p.Await("the picture", unveiled, 20*time.Second)
	p.Await("a button for captions", `!captions.hidden`, 10*time.Second)
	p.Tell(servertest.Command{"do": "key", "key": "c"}, nil)
	p.Await("the words that were sent", `captions.getAttribute('aria-pressed') === 'true' && [...video.textTracks].some((t) =>
		t.kind === 'captions' && t.mode === 'showing' && t.label === 'CC1' && [...t.cues].some((c) => c.text.replace(/\s+/g, ' ').includes('`+spoken+`')))`, 15*time.Second)
	p.Shot("captions")
	p.Accessible("captions")

	var made struct{ ID string }
	s.Ask("POST", "/livestreams/"+s.ID+"/cues", map[string]any{"class": "score", "data": map[string]any{"home": 2}}, http.StatusCreated).Into(t, &made)
	p.Await("the API's cue among the player's date ranges", `(() => { const r = tally.player.hls.latestLevelDetails.dateRanges['`+made.ID+`'];
		return r && r.class === 'score' && JSON.parse(decodeURIComponent(r.attr['X-TALLY-DATA'])).home === 2 })()`, 10*time.Second)
	p.Await("the API's cue on the text track for metadata", `[...video.textTracks].some((t) => t.kind === 'metadata' &&
		[...t.cues].some((c) => c.id === '`+made.ID+`' && c.value.key === 'X-TALLY-DATA' && c.startTime > 0))`, 10*time.Second)
	p.Await("the API's cue when the picture is there, as the document tells pages to look for it", `(() => { const r = tally.player.hls.latestLevelDetails.dateRanges['`+made.ID+`'];
		return r && r.startTime > 0 && r.startTime <= video.currentTime && decodeURIComponent(r.attr['X-TALLY-DATA']) === '{"home":2}' })()`, 10*time.Second)
	p.Await("the encoder's cues", `(() => {
		const all = Object.values(tally.player.hls.latestLevelDetails.dateRanges), of = (c) => all.find((r) => r.class === c)?.attr ?? {};
		return of('urn:scte:scte35:2013:bin')['SCTE35-OUT']?.startsWith('0xFC302F') &&
			JSON.parse(decodeURIComponent(of('onTextData')['X-TALLY-DATA'])).text === 'say "hi"' })()`, 20*time.Second)
	_, session, _ := s.Active()
	servertest.Eventually(t, "a line of the timeline", 5*time.Second, func() bool {
		return slices.ContainsFunc(s.Events(session.ID), func(e servertest.Event) bool { return e.Event == "cue" })
	})
	p.Quiet()
	probeCaptions(t, s)
}

// probeCaptions has ffprobe read what any player reads: it sees captions, and is not
// disturbed by cues.
func probeCaptions(t *testing.T, s *servertest.Broadcast) {
	t.Helper()
	var said bytes.Buffer
	cmd := exec.Command("ffprobe", "-v", "warning", "-of", "json", "-read_intervals", "%+#40", "-show_streams", "-show_frames", "-select_streams", "v", "-show_entries",
		"stream=closed_captions,codec_name:side_data=side_data_type", "http://"+s.HTTP+"/hls/"+s.PlaybackID+"/index.m3u8")
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffprobe: %v\n%s", err, &said)
	}
	if !bytes.Contains(out, []byte("ATSC A53 Part 4 Closed Captions")) {
		t.Errorf("ffprobe sees no closed captions:\n%s", out)
	}
	if strings.Contains(said.String(), "DATERANGE") {
		t.Errorf("ffprobe: %s", &said)
	}
}

// TestEmbed is a page of another site with our player in it: a poster and a button
// until somebody asks for the broadcast, then the broadcast, and afterwards its
// last picture.
func TestEmbed(t *testing.T) {
	s, p := serve(t), servertest.Browse(t)
	embed := "http://" + s.HTTP + "/embed/" + s.PlaybackID
	p.Open(embed, servertest.Command{"width": 640, "height": 360})
	p.Await("waiting", says+`'Waiting for the broadcast'`, 5*time.Second)
	p.Shot("embed-waiting")
	encoder := s.Publish(publisher.Clean, nil)
	p.Await("a poster and a button", says+`'The broadcast is live' && !start.hidden && stage.classList.contains('has-poster') && !tally.player.on`, 30*time.Second)
	p.Shot("embed-poster")
	p.Accessible("embedded, not begun")
	if _, one, _ := s.Active(); one.Tally.PeakViewers != 0 {
		t.Errorf("who sees the poster is a viewer")
	}
	p.Tell(servertest.Command{"do": "click", "selector": "#start"}, nil)
	p.Await("the broadcast, with its sound", unveiled+` && !video.muted`, 20*time.Second)
	p.Shot("embed-playing")
	p.Accessible("embedded, playing")

	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `<!doctype html><html lang="en"><title>Another site</title><h1>News</h1>
			<iframe src="%s?autoplay=1" title="Live" width="640" height="360" style="border:0" allow="autoplay"></iframe>`, embed)
	}))
	defer site.Close()
	p.Open(site.URL, servertest.Command{"width": 900, "height": 520})
	_, session, _ := s.Active()
	servertest.Eventually(t, "a viewer on another site's page", 20*time.Second, func() bool {
		return s.Session(session.ID).Tally.Viewers > 0 // the page itself cannot be asked: it is of another origin
	})
	p.Shot("embed-in-a-page")

	p.Open(s.WatchURL(), nil)
	p.Await("the picture", unveiled, 20*time.Second)
	p.Tell(servertest.Command{"do": "click", "selector": "#copy"}, nil)
	p.Await("the embed code is copied", `copied.textContent === 'Copied'`, 5*time.Second)
	p.Shot("watch-share")
	encoder.Leave()
	p.Open(s.WatchURL(), servertest.Command{"width": 390, "height": 780})
	p.Await("the last picture after the end", says+`'The broadcast has ended' && stage.classList.contains('has-poster')`, 10*time.Second)
	p.Shot("phone-ended-poster")
	p.Accessible("ended, with the last picture")
	p.Quiet()
}
