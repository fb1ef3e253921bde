package loopback

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"tally/internal/hls"
	"tally/internal/livestream"
	"tally/internal/rtmp"
)

// TestWhatTheLoserHears: a newcomer that is refused gets BadName or Denied with
// a sentence, before Start; a publisher that is replaced or cut gets
// NetStream.Failed with one, which is what librtmp (OBS) logs and closes at,
// and what ffmpeg prints.
func TestWhatTheLoserHears(t *testing.T) {
	w := newWorld(t, hls.Config{})
	replace := livestream.Replace
	for _, c := range []struct {
		name   string
		policy livestream.Policy
		do     func(l livestream.Livestream) error // what the loser's error comes from; nil: the first is the loser
		code   string
		says   string
	}{
		{"second publisher of a healthy one", livestream.ReplaceIfStale, func(l livestream.Livestream) error { _, err := w.dial(l); return err },
			rtmp.PublishBadName, "another encoder is publishing"},
		{"second publisher where it is rejected", livestream.Reject, func(l livestream.Livestream) error { _, err := w.dial(l); return err },
			rtmp.PublishBadName, "another encoder is publishing"},
		{"publish after a stop", livestream.ReplaceIfStale, func(l livestream.Livestream) error {
			w.manager.Stop(context.Background(), l.ID)
			_, err := w.dial(l)
			return err
		}, rtmp.PublishDenied, "was stopped a moment ago"},
		{"replaced", replace, nil, rtmp.StreamFailed, "another encoder took over this stream key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := w.livestream(func(l *livestream.Livestream) { l.Settings.Publisher = c.policy })
			first := w.mustDial(l)
			header(first)
			sent := make(chan error, 1)
			go func() { sent <- send(first, "1", 0, 10_000, 10*time.Millisecond) }()
			w.until(l, "LIVE", 5*time.Second)
			var err error
			if c.do != nil {
				err = c.do(l)
			} else {
				second := w.mustDial(l)
				err = <-sent
				second.Close()
			}
			if s := said(err); s.Level != rtmp.LevelError || s.Code != c.code || !strings.Contains(s.Description, c.says) {
				t.Errorf("the loser got %v, want %s with %q", err, c.code, c.says)
			}
			first.Close()
		})
	}
}

// TestFFmpegIsReplaced: what its user reads is the sentence.
func TestFFmpegIsReplaced(t *testing.T) {
	w := newWorld(t, hls.Config{})
	l := w.livestream(func(l *livestream.Livestream) { l.Settings.Publisher = livestream.Replace })
	var out bytes.Buffer
	cmd := exec.Command("ffmpeg", "-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30",
		"-t", "60", "-c:v", "libx264", "-preset", "ultrafast", "-g", "30", "-pix_fmt", "yuv420p",
		"-f", "flv", "rtmp://"+w.addr+"/live/"+l.StreamKey.Reveal())
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.until(l, "LIVE", 20*time.Second)
	second := w.mustDial(l)
	if err := cmd.Wait(); err == nil || !strings.Contains(out.String(), "another encoder took over this stream key") {
		t.Errorf("ffmpeg ended with %v and said\n%s", err, out.String())
	}
	second.Close()
}
