package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tally/internal/hls/playlist"
)

// A Keyframes report tells how far an encoder's keyframes are apart, as the
// playlist shows them.
type Keyframes struct {
	Interval time.Duration `json:"-"`
	Seconds  float64       `json:"keyframe_seconds"` // the longest distance seen; 0: none was seen
	Advice   string        `json:"advice,omitempty"` // "" when it suits
}

// Limits of the keyframe interval. Segments are cut at keyframes, viewers start
// at them: two seconds is what services ask encoders for. The slack is for
// encoders that count frames at 29.97 fps.
const (
	keyframeAdvice = 2 * time.Second
	keyframeSlack  = 100 * time.Millisecond
	// measureFor is long enough to see two keyframes at OBS's automatic 250
	// frames at 30 fps (8.3 s).
	measureFor = 20 * time.Second
)

func keyframesOf(interval time.Duration) Keyframes {
	k := Keyframes{Interval: interval, Seconds: float64(interval.Round(10*time.Millisecond)) / 1e9}
	if interval == 0 || interval > keyframeAdvice+keyframeSlack {
		k.Advice = "set Keyframe Interval to 2 s"
	}
	return k
}

// String is the report for people.
func (k Keyframes) String() string {
	switch {
	case k.Interval == 0:
		return fmt.Sprintf("no second keyframe within %d s ✗ %s", int(measureFor.Seconds()), k.Advice)
	case k.Advice != "":
		return fmt.Sprintf("keyframes every %.1f s ✗ %s", k.Interval.Seconds(), k.Advice)
	}
	return fmt.Sprintf("keyframes every %.1f s ✓", k.Interval.Seconds())
}

// measureKeyframes reads a livestream's playlist, as a player does but without
// fetching media, until three keyframes were seen or measureFor has passed.
func measureKeyframes(ctx context.Context, playbackURL string) (Keyframes, error) {
	ctx, cancel := context.WithTimeout(ctx, measureFor)
	defer cancel()
	var meter keyframeMeter
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		media, err := fetchMedia(ctx, playbackURL, &meter.mediaURL)
		if err == nil {
			meter.add(media)
		}
		if meter.seen >= 3 {
			return keyframesOf(meter.longest), nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) && meter.seen > 0 {
				return keyframesOf(meter.longest), nil
			}
			if err != nil {
				return Keyframes{}, err
			}
			return Keyframes{}, ctx.Err()
		case <-tick.C:
		}
	}
}

// A keyframeMeter measures distances between keyframes over a sequence of
// states of one media playlist. A keyframe is visible where a part is
// INDEPENDENT, or where a segment of a playlist with independent segments begins.
type keyframeMeter struct {
	mediaURL string

	begun bool
	msn   int64         // the next segment to look at
	at    time.Duration // where it begins, on a time line of the meter's own
	key   time.Duration // newest keyframe
	seen  int           // keyframes since the beginning or the last discontinuity

	longest time.Duration
}

// add takes the playlist as it stands now and looks at the segments that are
// complete and new.
func (m *keyframeMeter) add(p *playlist.Media) {
	if !m.begun || p.FirstMSN() > m.msn {
		m.begun, m.msn, m.seen = true, p.FirstMSN(), 0 // first look, or segments were missed
	}
	for i := range p.Segments {
		s := &p.Segments[i]
		if s.URI == "" || p.FirstMSN()+int64(i) != m.msn {
			continue
		}
		if s.Discontinuity {
			m.seen = 0
		}
		m.keyframes(s, p.IndependentSegments)
		m.msn, m.at = m.msn+1, m.at+s.Length()
	}
}

// keyframes notes the keyframes of the segment that begins at m.at.
func (m *keyframeMeter) keyframes(s *playlist.Segment, independent bool) {
	if len(s.Parts) == 0 && independent {
		m.note(m.at)
	}
	at := m.at
	for _, part := range s.Parts {
		if part.Independent {
			m.note(at)
		}
		at += part.Duration
	}
}

// note takes a keyframe at a point of the time line.
func (m *keyframeMeter) note(at time.Duration) {
	if m.seen > 0 {
		m.longest = max(m.longest, at-m.key)
	}
	m.key = at
	m.seen++
}

// maxPlaylistBytes bounds a playlist's text; ours have some 10 KB.
const maxPlaylistBytes = 1 << 20

// fetchMedia returns the media playlist behind a multivariant playlist, whose
// address it keeps in mediaURL.
func fetchMedia(ctx context.Context, playbackURL string, mediaURL *string) (*playlist.Media, error) {
	if *mediaURL == "" {
		text, err := fetchText(ctx, playbackURL)
		if err != nil {
			return nil, err
		}
		m, err := playlist.ParseMultivariant(text)
		if err != nil || len(m.Variants) == 0 {
			return nil, fmt.Errorf("%s is no multivariant playlist: %v", playbackURL, err)
		}
		base, err := url.Parse(playbackURL)
		if err != nil {
			return nil, err
		}
		ref, err := url.Parse(m.Variants[0].URI)
		if err != nil {
			return nil, err
		}
		*mediaURL = base.ResolveReference(ref).String()
	}
	text, err := fetchText(ctx, *mediaURL)
	if err != nil {
		*mediaURL = "" // a new run has a new address
		return nil, err
	}
	return playlist.ParseMedia(text)
}

func fetchText(ctx context.Context, address string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxPlaylistBytes))
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answered %s", address, strings.ToLower(resp.Status))
	}
	return string(text), nil
}

// oneLine folds an error's text into one line.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
