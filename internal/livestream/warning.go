package livestream

import "strings"

// A WarningCode is the stable first word of a warning to the person at the
// encoder. This file is the one list of them; docs/encoder-warnings.md says the
// same for people, and a test compares the two.
type WarningCode string

const (
	KeyframeInterval WarningCode = "KEYFRAME_INTERVAL" // keyframes are too far apart
	BitrateSwings    WarningCode = "BITRATE"           // the bitrate is far above its mean again and again
	FramesDropped    WarningCode = "FRAMES_DROPPED"    // pictures are missing between others
	BadTimestamps    WarningCode = "TIMESTAMPS"        // timestamps stand still, jump, go back or contradict each other
	ClockDrift       WarningCode = "CLOCK_DRIFT"       // media comes slower or faster than real time
	NoAudio          WarningCode = "NO_AUDIO"          // audio was announced or there before, and does not come
	BFrames          WarningCode = "B_FRAMES"          // the order of pictures costs more than a part of latency
	NotStored        WarningCode = "NOT_STORED"        // the server's fault: segments cannot be put on its disk
)

// A Warning is what the encoder should change: what was measured, the limit,
// and the setting. The stream goes on meanwhile.
type Warning struct {
	Code   WarningCode
	Detail string // one sentence, without the code
}

// String is the warning as Session.Warnings and the timeline have it.
func (w Warning) String() string { return string(w.Code) + ": " + w.Detail }

// Kinds of Fact that are no transition of the session. A checkpoint brings them.
const (
	FactMedia       = "media"        // what the encoder sends, at first and when it changed
	FactWarning     = "warning"      // a warning begins; Detail is the warning
	FactWarningOver = "warning-over" // it is over
	FactCue         = "cue"          // the API's user put a cue into the playlist; Detail says which and where
)

// JoinWarnings is the text of Session.Warnings.
func JoinWarnings(ws []Warning) string {
	var b strings.Builder
	for i, w := range ws {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(w.String())
	}
	return b.String()
}

// SplitWarnings reads the text of Session.Warnings. What is no warning is left out.
func SplitWarnings(text string) []Warning {
	var ws []Warning
	for line := range strings.Lines(text) {
		if code, detail, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); ok {
			ws = append(ws, Warning{WarningCode(code), detail})
		}
	}
	return ws
}
