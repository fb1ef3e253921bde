package cli

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// A mood is how things are, as a colour and a sign, because colour alone tells
// not everybody.
type mood uint8

const (
	resting mood = iota // ○ nothing is on air
	well                // ● on air, all is well
	warned              // ● on air, and something is to be changed
	waiting             // ◌ something is awaited
	failed              // ✗ something went wrong
)

var moodSigns = [...]string{resting: "○", well: "●", warned: "●", waiting: "◌", failed: "✗"}

func (m mood) sign() string { return moodSigns[m] }

// headline says how things are: a word, and what it means at this moment.
func (l *liveLook) headline(now time.Time) (m mood, word, detail string) {
	if !l.Away.IsZero() {
		return waiting, "NO ANSWER", "the server does not answer since " + clockOf(l.Away) + "; trying again: " + briefly(l.Why)
	}
	now = now.Add(l.Skew)
	m, word, detail = resting, l.Livestream.Status, ""
	v := l.Session
	switch word {
	case "LIVE":
		m, detail = l.onAir(now)
	case "INVOKED":
		m, detail = waiting, "the encoder is connected; waiting for its first picture"
		if v != nil && v.Tally != nil && v.Tally.Health == "awaiting" {
			detail = "a meeting was started; its encoder may come" + until(v.Tally.Deadline, now)
		}
		if v != nil && v.Tally != nil && v.Tally.Health == "reconnecting" {
			detail = "the server restarted; its encoder may come back" + until(v.Tally.Deadline, now)
		}
	case "ERRORED":
		m = failed
		if v != nil {
			detail = v.ErrMessage
		}
	default:
		detail = l.lastBroadcast()
	}
	if l.Livestream.Disabled {
		word += " disabled"
		detail = "no encoder is let in until `tally livestream enable`"
	}
	return m, word, detail
}

// briefly is an error without advice: the server was there a moment ago.
func briefly(err error) string {
	if away, ok := errors.AsType[*unreachableError](err); ok {
		err = away.err
	}
	return oneLine(err)
}

// onAir says how a broadcast is.
func (l *liveLook) onAir(now time.Time) (mood, string) {
	v := l.Session
	if v == nil || v.Tally == nil {
		return well, ""
	}
	since := ""
	if at := v.Tally.LastMediaAt; at != nil {
		since = " for " + span(Seconds(max(0, math.Round(now.Sub(*at).Seconds()))))
	}
	switch v.Tally.Health {
	case "starving":
		return waiting, "starving: connected, and no media" + since
	case "reconnecting":
		return waiting, "reconnecting: no media" + since + "; ends" + until(v.Tally.Deadline, now) + " unless the encoder is back"
	}
	if len(v.Tally.Warnings) > 0 {
		return warned, "on air; the encoder should change something"
	}
	return well, "on air, and well"
}

// lastBroadcast says what nothing on air means.
func (l *liveLook) lastBroadcast() string {
	v := l.Session
	if v == nil {
		return "waiting for the first broadcast"
	}
	text := "waiting for the next broadcast"
	if v.StoppedTime != nil {
		text += "; the last ended at " + when(v.StoppedTime)
	}
	if v.ErrMessage != "" {
		text += ": " + v.ErrMessage
	}
	return text
}

// until is " in 0:42" to a deadline.
func until(deadline *time.Time, now time.Time) string {
	if deadline == nil {
		return ""
	}
	return " in " + Clock(max(0, deadline.Sub(now)))
}

func clockOf(t time.Time) string { return t.Local().Format("15:04:05") }

// onAirFor is how long the broadcast is or was on air; 0: it never was.
func (l *liveLook) onAirFor(now time.Time) time.Duration {
	v := l.Session
	if v == nil || v.StartedTime == nil {
		return 0
	}
	end := now.Add(l.Skew)
	if v.StoppedTime != nil {
		end = *v.StoppedTime
	}
	return max(0, end.Sub(*v.StartedTime))
}

// bps is the bitrate of the last seconds; ok is false when it is not known.
func (l *liveLook) bps() (bps float64, ok bool) {
	if l.Session == nil || l.Session.StoppedTime != nil {
		return 0, false
	}
	n := 0
	for _, r := range slices.Backward(lastOf(l.Rates, 5)) {
		if !r.Known || n > 0 && r.Bps == 0 {
			break // a gap, or a pause: what was before is another matter
		}
		bps += r.Bps
		n++
		if r.Bps == 0 {
			break
		}
	}
	return bps / float64(max(n, 1)), n > 0
}

func bitrateOf(bps float64) string { return bitrate(int64(bps/8), time.Second) }

// viewersText is "3 now, 5 at the peak".
func viewersText(t *SessionTally) string {
	return fmt.Sprintf("%d now, %d at the peak", t.Viewers, t.PeakViewers)
}

// keyframeText says how far keyframes are apart, and whether that is too far.
func keyframeText(t *SessionTally) (text string, bad bool) {
	if t.KeyframeMs == 0 {
		return "", false
	}
	text = fmt.Sprintf("every %.1f s", float64(t.KeyframeMs)/1000)
	switch {
	case slices.ContainsFunc(t.Warnings, func(w Warning) bool { return w.Code == "KEYFRAME_INTERVAL" }):
		return text + " ✗", true
	case t.KeyframeMs <= suitsMs:
		text += " ✓"
	}
	return text, false
}

// suitsMs is what services ask encoders for, two seconds, with room for 29.97
// frames a second.
const suitsMs = 2100

// encoderText is "OBS 30 at 192.0.2.7:5123".
func encoderText(t *SessionTally) string {
	if t.Encoder == "" && t.Remote == "" {
		return ""
	}
	return printable(cmp.Or(t.Encoder, "unnamed")) + " at " + printable(cmp.Or(t.Remote, "an unknown address"))
}

// What the timeline's words mean to somebody who watches.
var eventWords = map[string]string{
	"publish": "encoder connected", "playable": "on air", "lose": "encoder lost", "unpublish": "encoder left",
	"stop": "stopped", "expire": "not waited for longer", "fail": "failed", "boot": "server is back",
	"shutdown": "server stops", "start": "meeting started", "disable": "disabled", "reset-key": "stream key reset",
	"media": "it sends", "warning": "warning", "warning-over": "well again",
}

// eventText is a line of the timeline without its time.
func eventText(e transition) (what, detail string, m mood) {
	what = cmp.Or(eventWords[e.Event], printable(e.Event))
	detail = printable(e.Detail)
	if _, ends, ok := strings.Cut(e.Detail, ", the session ends at "); ok {
		if at, err := time.Parse(time.RFC3339, ends); err == nil { // RECONNECTING, as err_message has it
			detail = "ends at " + clockOf(at) + " unless the encoder is back"
		}
	}
	switch e.Event {
	case "publish":
		switch e.From {
		case "starting", "on air":
			what = "encoder took over"
		case "interrupted", "reconnecting":
			what = "encoder is back"
		}
		detail = strings.TrimSpace(printable(e.Encoder) + " at " + printable(e.Remote))
		m = well
	case "playable", "warning-over":
		m = well
	case "lose", "warning", "boot", "shutdown":
		m = waiting
	case "fail":
		m = failed
	}
	return what, detail, m
}

// sparks are the heights of a chart of one line.
var sparks = []rune("▁▂▃▄▅▆▇█")

// sparkline draws values from 0 to the largest, the newest at the right, in at
// most that many columns. What is not known is a gap, nothing is a dot.
func sparkline(rates []liveRate, value func(liveRate) float64, columns int) string {
	rates = lastOf(rates, columns)
	most := 0.0
	for _, r := range rates {
		most = max(most, value(r))
	}
	var b strings.Builder
	for _, r := range rates {
		switch v := value(r); {
		case !r.Known:
			b.WriteRune(' ')
		case v <= 0:
			b.WriteRune('·')
		default:
			b.WriteRune(sparks[min(len(sparks)-1, int(v/most*float64(len(sparks))))])
		}
	}
	return b.String()
}
