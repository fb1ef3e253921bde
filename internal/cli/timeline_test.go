package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// TestTimeline: on a terminal each event has a line, and what it says fits below.
func TestTimeline(t *testing.T) {
	at := time.Date(2026, 7, 31, 13, 52, 55, 0, time.Local)
	e := transition{At: &at, Event: "publish", From: "none", To: "starting", Epoch: 1, Remote: "192.0.2.7:5123", Encoder: "OBS 30.1"}
	warning := e
	warning.Event, warning.From, warning.To = "warning", "on air", "on air"
	warning.Detail = "KEYFRAME_INTERVAL: keyframes every 8.3 s, the limit is 4 s; set Keyframe Interval to 2 s"
	warning.Bytes, warning.IngestMs, warning.KeyframeMs = 2_511_000, 61_400, 8300
	taken := warning
	taken.Event, taken.Detail, taken.Epoch, taken.Encoder = "publish", "", 2, "OBS\x1b[2J"
	all := []transition{e, warning, taken}
	golden(t, "timeline.txt", timeline(all, 80)+"\n"+timeline(all, 44))
	for _, columns := range []int{44, 80} {
		for line := range strings.Lines(timeline(all, columns)) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > columns {
				t.Errorf("a line of %d columns where there are %d: %s", n, columns, line)
			}
		}
	}
}

// TestLiveLineFits: a line that is longer than the terminal is wide would leave
// what it wrapped behind at each update.
func TestLiveLineFits(t *testing.T) {
	t.Setenv("COLUMNS", "44")
	var out bytes.Buffer
	line := &LiveLine{s: &Streams{Out: &out}, inPlace: true}
	line.Update("LIVE", "● LIVE 00:12 · ingest 12 s · 1 viewer · viewed 11 s")
	if want := "\r● LIVE 00:12 · ingest 12 s · 1 viewer · vi…\x1b[K"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
