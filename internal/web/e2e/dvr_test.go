//go:build browser

package e2e

import (
	"encoding/json"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"tally/internal/rtmp/publisher"
	"tally/internal/servertest"
)

// TestDVRAndRecording is one page that goes back in a broadcast, lives through a
// kill of the server, and plays the recording afterwards; and what another player
// makes of that.
func TestDVRAndRecording(t *testing.T) {
	s := servertest.Start(t).Create(t, map[string]any{"dvr_window_seconds": 3600, "keep": true, "endlist_delay_seconds": 0})
	// Some of the past at once: what is sought in need not have lasted.
	burst := s.Publish(publisher.Cut, func(o *publisher.Options) { o.Speed = 12 })
	burst.Accepted(20 * time.Second)
	s.Await("LIVE", 20*time.Second)
	listed := func() (length float64) { // seconds
		_, multivariant := s.Get("/hls/" + s.PlaybackID + "/index.m3u8")
		lines := strings.Fields(string(multivariant))
		_, media := s.Get("/hls/" + s.PlaybackID + "/" + lines[len(lines)-1])
		for line := range strings.Lines(string(media)) {
			if d, ok := strings.CutPrefix(line, "#EXTINF:"); ok {
				d, _, _ = strings.Cut(d, ",")
				n, _ := strconv.ParseFloat(d, 64)
				length += n
			}
		}
		return length
	}
	for deadline := time.Now().Add(30 * time.Second); listed() < 50; {
		if time.Now().After(deadline) {
			t.Fatalf("%.0f s are listed", listed())
		}
	}
	burst.Leave()
	encoder := s.Publish(publisher.Cut, nil)
	encoder.Accepted(20 * time.Second)

	p := servertest.Browse(t)
	p.Open(s.WatchURL(), nil)
	p.Await("the picture", playing, 20*time.Second)
	p.Await("the seek bar", `!document.getElementById('seek-row').hidden && tally.player.range()[1] - tally.player.range()[0] > 45`, 10*time.Second)
	p.Accessible("with a seek bar")
	p.Eval(`void ((b) => seek.dispatchEvent(new PointerEvent('pointermove', { clientX: b.left + b.width / 2, clientY: b.top + 5 })))(seek.getBoundingClientRect())`, nil)
	p.Await("the time at the pointer", `((t) => !t.hidden && /^-0:(2|3)\d$/.test(t.textContent))(document.getElementById('seek-tip'))`, 5*time.Second)
	p.Shot("seek-pointer")
	p.Eval(`void seek.dispatchEvent(new PointerEvent('pointerleave'))`, nil)
	p.Await("no time without a pointer", `document.getElementById('seek-tip').hidden`, 5*time.Second)
	p.Tell(servertest.Command{"do": "key", "key": "ArrowLeft"}, nil)
	p.Tell(servertest.Command{"do": "key", "key": "ArrowLeft"}, nil)
	p.Await("20 s behind", playing+` && tally.player.late() > 15 && document.getElementById('live-text').textContent === 'Go live'`, 10*time.Second)
	p.Shot("behind-live")
	p.Eval(`void (seek.value = 1, seek.dispatchEvent(new Event('input')), seek.dispatchEvent(new Event('change')))`, nil)
	p.Await("the beginning", playing+` && video.currentTime - tally.player.range()[0] < 8`, 10*time.Second)
	p.Tell(servertest.Command{"do": "click", "selector": "#live"}, nil)
	p.Await("live again", playing+` && tally.player.late() < 8`, 10*time.Second)
	p.Eval(`void (video.currentTime -= 20)`, nil) // as a picture that stood still
	p.Await("late", `tally.player.late() > 15`, 5*time.Second)
	p.Await("live again by itself", playing+` && tally.player.late() < 8`, 30*time.Second)

	p.Eval(`void (tally.player.seek(tally.player.range()[0] + 10))`, nil)
	p.Await("what somebody goes back to", playing+` && tally.player.late() > 20`, 10*time.Second)
	p.Eval(`void (window.left = tally.player.hls.playingDate, tally.player.failed())`, nil)
	p.Await("the same place in another player", playing+` && Math.abs(tally.player.hls.playingDate - left) < 15000`, 20*time.Second)
	before := listed()
	s.Kill()
	s.Restart()
	encoder = s.Publish(publisher.Clean, nil)
	encoder.Accepted(20 * time.Second)
	s.AwaitState("live", 20*time.Second)
	if after := listed(); after < before {
		t.Errorf("%.1f s are listed after the kill, %.1f s before", after, before)
	}
	p.Await("the picture after the kill", playing, 30*time.Second)
	p.Eval(`void (tally.player.seek(tally.player.range()[0]))`, nil)
	p.Await("the beginning after the kill", playing+` && video.currentTime - tally.player.range()[0] < 8`, 15*time.Second)
	_, session, _ := s.Active()
	encoder.Leave()
	s.AwaitState("ended", 10*time.Second)
	p.Eval(`void (video.currentTime = tally.player.range()[1] - 1.5)`, nil)
	p.Await("the end", says+`'The broadcast has ended' && !again.hidden && again.textContent === 'Watch the recording'`, 30*time.Second)
	p.Accessible("ended, with a recording")
	p.Shot("ended-kept")
	p.Tell(servertest.Command{"do": "click", "selector": "#again"}, nil)
	recorded := `document.body.dataset.state === 'recording' && tally.player.moving && stage.classList.contains('clear')`
	p.Await("the recording", recorded+` && video.currentTime > 1 && video.duration > 50`, 15*time.Second)
	p.Open("http://"+s.HTTP+"/vod/"+session.ID, nil)
	p.Await("the page of the recording", recorded, 15*time.Second)
	p.Accessible("recording")
	p.Shot("recording")
	p.Quiet()

	probe(t, s, session.ID)
	path := "/livestreams/sessions/" + session.ID + "/recording"
	s.Ask("DELETE", path, nil, 200)
	s.Ask("GET", path, nil, 404)
	if status, _ := s.Get("/vod/" + session.ID + "/index.m3u8"); status != 404 {
		t.Errorf("deleted, its playlist is answered %d", status)
	}
}

// probe has ffprobe read a recording: as long as the API says, to the last
// picture.
func probe(t *testing.T, s *servertest.Broadcast, session string) {
	t.Helper()
	var kept struct {
		DurationMs float64 `json:"duration_ms"`
		Bytes      float64 `json:"bytes"`
	}
	s.Ask("GET", "/livestreams/sessions/"+session+"/recording", nil, 200).Into(t, &kept)
	out, err := exec.Command("ffprobe", "-v", "error", "-of", "json", "-count_packets", "-show_entries", "format=duration", "-show_entries",
		"stream=codec_type,nb_read_packets,avg_frame_rate", "http://"+s.HTTP+"/vod/"+session+"/index.m3u8").Output()
	if err != nil {
		t.Fatal(err)
	}
	var found struct {
		Format  struct{ Duration string }
		Streams []struct {
			Type    string `json:"codec_type"`
			Packets string `json:"nb_read_packets"`
		}
	}
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatal(err)
	}
	duration, _ := strconv.ParseFloat(found.Format.Duration, 64)
	if math.Abs(duration-kept.DurationMs/1000) > 0.01 || duration < 50 {
		t.Errorf("ffprobe: %s s long, the API says %.3f s", found.Format.Duration, kept.DurationMs/1000)
	}
	for _, st := range found.Streams {
		if st.Type != "video" {
			continue
		}
		// The clip has 30 pictures a second; at each of three ends up to a part may
		// be missing or more.
		pictures, _ := strconv.ParseFloat(st.Packets, 64)
		if want := duration * 30; math.Abs(pictures-want) > 45 {
			t.Errorf("ffprobe reads %s pictures of %.1f s", st.Packets, duration)
		}
		t.Logf("%s pictures, %.1f s, %.1f MB", st.Packets, duration, kept.Bytes/1e6)
	}
}
