package livestream

import (
	"fmt"
	"time"
)

// A Code is the stable first word of an err_message. This file is the one list
// of them; docs/err-messages.md says the same for people, and a test compares
// the two.
type Code string

const (
	NoMedia          Code = "NO_MEDIA"          // INVOKED: nothing came for 10 s after the publish was accepted
	NoKeyframe       Code = "NO_KEYFRAME"       // INVOKED: no keyframe within 10 s of the first packet
	UnsupportedCodec Code = "UNSUPPORTED_CODEC" // the encoder sends what Tally cannot package
	BadMedia         Code = "BAD_MEDIA"         // INVOKED: the media cannot be parsed
	Disconnected     Code = "DISCONNECTED"      // INVOKED: the connection ended before anything was playable
	NoEncoder        Code = "NO_ENCODER"        // a started meeting's encoder never came
	ServerRestart    Code = "SERVER_RESTART"    // the server crashed and the encoder did not come back
	ServerStopped    Code = "SERVER_STOPPED"    // the server was stopped and the encoder did not come back
	EncoderLost      Code = "ENCODER_LOST"      // LIVE: the reconnect window ran out
	Reconnects       Code = "RECONNECTING"      // LIVE: within the reconnect window; never stored
	BitrateTooHigh   Code = "BITRATE_TOO_HIGH"  // three target durations do not fit into the memory cap
	ServerFault      Code = "SERVER_FAULT"      // we cannot go on: a fault of ours, disk full
)

// A Reason says in one sentence what happened: what was measured, the limit,
// and what to change. The zero Reason is none.
type Reason struct {
	Code   Code
	Detail string // one sentence, without the code
}

// String is the wire's err_message, or "" for the zero Reason.
func (r Reason) String() string {
	if r.Code == "" {
		return ""
	}
	return string(r.Code) + ": " + r.Detail
}

// because builds a Reason from a format, so that every sentence can carry what was measured.
func because(c Code, format string, args ...any) Reason {
	return Reason{Code: c, Detail: fmt.Sprintf(format, args...)}
}

// at writes a moment into a sentence.
func at(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// seconds writes a duration into a sentence.
func seconds(d time.Duration) string {
	if d >= 2*time.Minute {
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%.3g s", d.Seconds())
}

// Reconnect is the passing err_message of a session in its reconnect window.
func Reconnect(lastMedia, deadline time.Time) Reason {
	return because(Reconnects, "no media since %s, the session ends at %s", at(lastMedia), at(deadline))
}

// Silent: a publish was accepted, and no media came for that long.
func Silent(waited time.Duration) Reason {
	return because(NoMedia, "no audio or video arrived within %s of the publish; start the encoder's output and check that it sends H.264 video or AAC audio", seconds(waited))
}

// HeadersOnly: the encoder said what it would send, and sent none of it.
func HeadersOnly(waited time.Duration) Reason {
	return because(NoMedia, "sequence headers arrived, but no picture or sound that belongs to them within %s; start the encoder's output and check that it sends without pauses", seconds(waited))
}

// TooLittle: a keyframe came, and after it not enough to fill a part.
func TooLittle(waited time.Duration) Reason {
	return because(NoMedia, "a keyframe arrived, but less than one part of media followed within %s; check that the encoder sends without pauses", seconds(waited))
}

// Keyless: media came for that long without a keyframe.
func Keyless(waited time.Duration) Reason {
	return because(NoKeyframe, "no keyframe arrived within %s of the first packet; set the encoder's Keyframe Interval to 2 s", seconds(waited))
}

// Unsupported: the encoder sends a format that cannot be packaged; instead says what to set.
func Unsupported(format, instead string) Reason {
	return because(UnsupportedCodec, "the encoder sends %s, which is not supported; %s", format, instead)
}

// Unparsable: the media breaks its format's rules.
func Unparsable(what string) Reason {
	return because(BadMedia, "%s; restart the encoder's output, and update the encoder if this comes back", what)
}

// Gone: the connection ended before anything was playable.
func Gone(after time.Duration) Reason {
	return because(Disconnected, "the encoder's connection ended %s after the publish, before anything was playable; check the encoder's log and network", seconds(after))
}

// NeverCame: a meeting's livestream was started and its encoder did not publish in time.
func NeverCame(waited time.Duration) Reason {
	return because(NoEncoder, "no encoder published within %s of the start; start the livestream again and publish to its ingest server with its stream key", seconds(waited))
}

// NotResumed: the server crashed and the publisher did not come back.
func NotResumed(lastMedia time.Time) Reason {
	if lastMedia.IsZero() {
		return because(ServerRestart, "the server restarted before any media arrived and the encoder did not come back; let the encoder reconnect by itself")
	}
	return because(ServerRestart, "the server restarted and the encoder did not come back after its last media at %s; let the encoder reconnect by itself", at(lastMedia))
}

// StoppedServer: the server was stopped on purpose and the publisher did not come back.
func StoppedServer() Reason {
	return because(ServerStopped, "the server was stopped and the encoder did not come back after its restart; publish again to go on air")
}

// Lost: the reconnect window ran out.
func Lost(lastMedia time.Time, window time.Duration) Reason {
	return because(EncoderLost, "no media since %s, and the reconnect window of %s passed; check the encoder's network, or publish again to go on air", at(lastMedia), seconds(window))
}

// TooMuch: the playlist's least length does not fit into the memory cap. held
// says what fills it: a bitrate, or that it is the frames of a single part.
func TooMuch(held string, capBytes int64, least time.Duration) Reason {
	return because(BitrateTooHigh, "%s fill the %d MB that a livestream may hold with less than %s, three target durations; "+
		"lower the encoder's bitrate or its keyframe interval", held, capBytes>>20, seconds(least))
}

// Fault: we cannot go on, and it is not the encoder's doing.
func Fault(what string) Reason {
	return because(ServerFault, "%s; see the server's log, then publish again", what)
}
