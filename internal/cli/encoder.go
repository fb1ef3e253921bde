package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// keyframeWarning is the code whose measurement `livestream create` waits for.
const keyframeWarning = "KEYFRAME_INTERVAL"

// An Encoder is what the server says of one that has just come.
type Encoder struct {
	KeyframeSeconds float64   `json:"keyframe_seconds"` // between keyframes; 0: not known
	Media           string    `json:"media"`
	Warnings        []Warning `json:"warnings"`
}

func encoderOf(t SessionTally) Encoder {
	return Encoder{float64(t.KeyframeMs) / 1000, t.Media, append([]Warning{}, t.Warnings...)}
}

// measured reports whether there is enough to tell.
func (e Encoder) measured() bool {
	known := e.KeyframeSeconds > 0 || strings.HasSuffix(e.Media, "no video")
	for _, w := range e.Warnings {
		known = known || w.Code == keyframeWarning
	}
	return known && e.Media != ""
}

// lines are the report for people: the keyframes, the media, what else to change.
func (e Encoder) lines() []string {
	keyframes := ""
	if e.KeyframeSeconds > 0 {
		keyframes = fmt.Sprintf("keyframes every %.1f s ✓", e.KeyframeSeconds)
	}
	var rest []string
	for _, w := range e.Warnings {
		if w.Code == keyframeWarning {
			keyframes = advice(w.Message)
			continue
		}
		rest = append(rest, "  "+advice(w.Message))
	}
	first := "connected ✓"
	if keyframes != "" {
		first += "  " + keyframes
	}
	return append([]string{first, "  " + cmp.Or(printable(e.Media), "nothing is known of its media yet")}, rest...)
}

// advice marks what to set in a warning's sentence, and leaves out the limit
// when that stands by itself: "keyframes every 8.3 s ✗ set Keyframe Interval to 2 s".
func advice(message string) string {
	measured, set, found := strings.Cut(message, "; ")
	if !found {
		return printable("✗ " + message)
	}
	if head, limit, ok := strings.Cut(measured, ", the limit is "); ok && !strings.ContainsAny(limit, ",:)") {
		measured = head
	}
	return printable(measured + " ✗ " + set)
}

// measureFor is long enough for two keyframes at OBS's automatic 250 frames at
// 30 fps (8.3 s), and for the server to say that there is none.
const measureFor = 20 * time.Second

// awaitEncoder asks the server what it measures of the encoder, until it knows
// or measureFor has passed.
func awaitEncoder(ctx context.Context, api *Client, id string) (Encoder, error) {
	ctx, cancel := context.WithTimeout(ctx, measureFor)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var e Encoder
	for {
		var data struct {
			Session *Session `json:"session"`
		}
		_, err := api.do(ctx, http.MethodGet, livestreamPath(id)+withTally+"&per_page=1", nil, &data)
		if err == nil && data.Session != nil && data.Session.Tally != nil {
			if e = encoderOf(*data.Session.Tally); e.measured() {
				return e, nil
			}
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) && e.Media != "" {
				return e, nil
			}
			return e, cmp.Or(err, ctx.Err())
		case <-tick.C:
		}
	}
}
