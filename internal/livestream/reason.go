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

const clock = "15:04:05Z07:00"

// Reconnect is the passing err_message of a session in its reconnect window.
func Reconnect(lastMedia, deadline time.Time) Reason {
	return because(Reconnects, "no media since %s, the session ends at %s",
		lastMedia.UTC().Format(time.RFC3339), deadline.UTC().Format(time.RFC3339))
}
