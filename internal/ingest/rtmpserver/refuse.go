package rtmpserver

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"tally/internal/livestream"
	"tally/internal/rtmp"
)

// refusals is the one table from errors to RTMP: the status code, and for the
// person at the encoder what to change; %s is how long a refusal lasts.
var refusals = []struct {
	err      error
	code     string
	sentence string
}{
	{errNoKey, rtmp.PublishDenied, "the stream key is empty; put the livestream's stream key into the encoder"},
	{errLongKey, rtmp.PublishDenied, "the stream key is longer than any key is; copy the key alone into the encoder, without the server's address"},
	{livestream.ErrNotFound, rtmp.PublishDenied, "no livestream has this stream key; copy the key again, without spaces"},
	{livestream.ErrDisabled, rtmp.PublishDenied, "the livestream is disabled; enable it through the API, then start the encoder again"},
	{livestream.ErrDamped, rtmp.PublishDenied, "the livestream was stopped a moment ago and refuses its key for a while (%s); enable it through the API to end that, or start the encoder again then"},
	{livestream.ErrFailing, rtmp.PublishDenied, "three publishes in a minute failed before anything could be played, so the key is refused for a while (%s); correct what err_message says, then start the encoder again"},
	{livestream.ErrDefended, rtmp.PublishDenied, "encoders take this stream key from each other, so the one on air keeps it for a while (%s); stop the other one, or give it a livestream of its own"},
	{livestream.ErrNotStarted, rtmp.PublishDenied, "the meeting's livestream is not started; start it through the API, then start the encoder"},
	{livestream.ErrBusy, rtmp.PublishBadName, "another encoder is publishing with this stream key; stop that one first"},
	{errPublishing, rtmp.PublishBadName, "this connection is publishing already; open another one"},
	{livestream.ErrStopping, rtmp.PublishDenied, "the server is stopping; start the encoder again in a moment"},
} // anything else: errUnknown's answer, and the error is logged in full

var (
	errNoKey      = errors.New("no stream key")
	errLongKey    = errors.New("stream key is too long")
	errPublishing = errors.New("this connection publishes already")
)

// refusal returns the status for a publish that err refused, and whether the
// table knows err.
func refusal(err error) (rtmp.Status, bool) {
	lasts := "30 s unless set otherwise"
	if r, ok := errors.AsType[livestream.Refusal](err); ok {
		lasts = fmt.Sprintf("another %d s", int64((r.For+time.Second-1)/time.Second))
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			sentence := strings.Replace(r.sentence, "%s", lasts, 1)
			return rtmp.Status{Level: rtmp.LevelError, Code: r.code, Description: sentence}, true
		}
	}
	return rtmp.Status{Level: rtmp.LevelError, Code: rtmp.PublishDenied,
		Description: "the server cannot take the stream because of a fault of its own; start the encoder again in a moment"}, false
}

// A hangup ends a connection after the peer could read a status.
type hangup struct {
	status rtmp.Status // zero: everything was said already
	cause  error       // for the log
}

func (h *hangup) Error() string { return h.status.Code + ": " + h.cause.Error() }
func (h *hangup) Unwrap() error { return h.cause }

// failed is a hangup while publishing, with a sentence for the encoder.
func failed(sentence string, cause error) *hangup {
	return &hangup{rtmp.Status{Level: rtmp.LevelError, Code: rtmp.StreamFailed, Description: sentence}, cause}
}

// reconnect is a hangup that asks the encoder to come back, where it was or at
// whichever server it finds under the same address then (Enhanced RTMP v2, section
// "Reconnect Request").
func reconnect(sentence string, cause error) *hangup {
	return &hangup{rtmp.Status{Level: rtmp.LevelStatus, Code: rtmp.ReconnectRequest, Description: sentence}, cause}
}

// A badMedia is an error that becomes the session's err_message.
type badMedia struct{ reason livestream.Reason }

func (e *badMedia) Error() string { return e.reason.String() }
