package player

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"tally/internal/hls/hlscheck"
	"tally/internal/hls/playlist"
)

// retryPause is between attempts when the server said nothing of its own.
const retryPause = 500 * time.Millisecond

// open fetches the URL and, behind a multivariant playlist, the variant that is
// to be played. A stream that is only starting is waited for.
func (p *Player) open(ctx context.Context) error {
	at := p.o.URL
	for range 2 {
		base, err := newLocation(at)
		if err != nil {
			return err
		}
		p.base = base
		text, err := p.openText(ctx, base.full)
		if err != nil {
			return err
		}
		if !playlist.IsMultivariant(text) {
			if p.set != nil {
				if p.check, err = p.set.Rendition(base.full); err != nil {
					return fmt.Errorf("%w: %w", ErrPlaylist, err)
				}
			}
			return p.openMedia(text)
		}
		m, err := playlist.ParseMultivariant(text)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrPlaylist, at, err)
		}
		if p.set != nil {
			if err := p.set.Multivariant(time.Now(), base.full, text); err != nil {
				return fmt.Errorf("%w: %w", ErrPlaylist, err)
			}
		}
		if at, err = p.choose(m); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: a multivariant playlist points at another", ErrPlaylist)
}

// openText fetches a first playlist until StartTimeout.
func (p *Player) openText(ctx context.Context, url string) (string, error) {
	deadline := p.stats.Started.Add(p.o.StartTimeout)
	for {
		p.asked = time.Now()
		a, err := p.fetch.get(ctx, url, p.o.StartTimeout, reading{limit: maxPlaylistBytes})
		pause := retryPause
		switch {
		case err != nil:
			p.noteError(err)
		case a.status == http.StatusOK:
			p.count(func(s *Stats) { s.PlaylistBytes += a.size })
			return string(a.body), nil
		case a.status == http.StatusNotFound || a.status == http.StatusGone:
			return "", fmt.Errorf("%w: %s answered %d", ErrNotFound, url, a.status)
		case a.status < 500:
			return "", fmt.Errorf("%w: %s answered %d", ErrUnavailable, url, a.status)
		default:
			err = fmt.Errorf("%s answered %d", url, a.status)
			p.noteUnavailable(a.status)
			pause = max(a.retryAfter, pause)
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if time.Now().Add(pause).After(deadline) {
			return "", fmt.Errorf("%w: %v: %w", ErrUnavailable, p.o.StartTimeout, err)
		}
		if err := sleep(ctx, pause); err != nil {
			return "", err
		}
	}
}

func (p *Player) openMedia(text string) error {
	now := time.Now()
	m, err := p.read(now, playlist.NoDirectives, text)
	if err != nil {
		return err
	}
	p.cur, p.fullAt, p.changed = m, now, now
	low := p.low()
	p.count(func(s *Stats) { s.LowLatency = low })
	return nil
}

// low reports whether parts are played: asked for, and offered.
func (p *Player) low() bool {
	return p.o.LowLatency && p.cur.PartTarget > 0 && p.cur.CanBlockReload
}

// read parses a playlist, completes a delta update, and shows it to the checker.
func (p *Player) read(now time.Time, d playlist.Directives, text string) (*playlist.Media, error) {
	m := &p.scratch
	if !p.o.Lean {
		m = new(playlist.Media)
	}
	if err := m.Parse(text); err != nil {
		if p.check != nil {
			p.check.Playlist(hlscheck.Observation{At: now, Asked: p.asked, Directives: d, Text: text})
		}
		return nil, fmt.Errorf("%w: %s: %w", ErrPlaylist, p.base.full, err)
	}
	if p.check != nil {
		p.check.Playlist(hlscheck.Observation{At: now, Asked: p.asked, Directives: d, Text: text})
	}
	if m.SkippedSegments == 0 || p.o.Lean {
		return m, nil // Lean plays at the edge, which a delta update lists
	}
	p.count(func(s *Stats) { s.Deltas++ })
	full, err := m.Merge(p.cur)
	if err != nil {
		return nil, err // ErrSkipGap: reload fetches the full playlist
	}
	return full, nil
}

// reload replaces cur by a playlist that goes further, or in plain mode by the
// next poll's. It rides over 503 and broken connections until MaxStale.
func (p *Player) reload(ctx context.Context) error {
	full := false
	for {
		if stale := time.Since(p.changed); stale > p.o.MaxStale {
			return fmt.Errorf("%w: %s, last at MSN %d, %v ago", ErrStale, p.base.full, p.cur.NextMSN()-1, stale.Round(time.Second))
		}
		if err := p.awaitPoll(ctx); err != nil {
			return err
		}
		d := p.directives(full)
		p.reloadAt = time.Now()
		p.asked = p.reloadAt
		a, err := p.fetch.get(ctx, p.base.withQuery(d.AppendQuery(nil)), 3*p.target(), reading{buf: p.text[:0], limit: maxPlaylistBytes})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil && a.status == http.StatusOK {
			again, err := p.accept(d, a)
			if !again {
				return err
			}
			full = true
			continue
		}
		if err := p.reloadFailed(ctx, a, err); err != nil {
			return err
		}
		full = a.status == http.StatusBadRequest // perhaps the server forgot us: ask from scratch
	}
}

// accept takes an answer as the current playlist. again asks for the full one.
func (p *Player) accept(d playlist.Directives, a answer) (again bool, err error) {
	now := time.Now()
	p.text = a.body
	edge, open := p.cur.NextMSN(), openParts(p.cur)
	p.count(func(s *Stats) { s.Reloads++; s.PlaylistBytes += a.size })
	m, err := p.read(now, d, string(a.body))
	if errors.Is(err, playlist.ErrSkipGap) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	p.cur, p.fullAt = m, now
	if m.NextMSN() != edge || openParts(m) != open || m.EndList {
		p.changed = now
	}
	return false, nil
}

func openParts(m *playlist.Media) int {
	if open := m.Open(); open != nil {
		return len(open.Parts)
	}
	return 0
}

// reloadFailed waits before the next attempt, or says that there is none.
func (p *Player) reloadFailed(ctx context.Context, a answer, err error) error {
	pause := retryPause
	switch {
	case err != nil:
		p.noteError(err)
	case a.status == http.StatusNotFound || a.status == http.StatusGone:
		return fmt.Errorf("%w: %s answered %d", ErrGone, p.base.full, a.status)
	case a.status == http.StatusServiceUnavailable:
		p.noteUnavailable(a.status)
		pause = max(a.retryAfter, retryPause)
	default:
		p.noteError(fmt.Errorf("%s answered %d", p.base.full, a.status))
	}
	return sleep(ctx, pause)
}

func (p *Player) target() time.Duration {
	return time.Duration(p.cur.TargetDuration) * time.Second
}

// directives asks for what follows the current playlist's end (section 6.3.8),
// as a delta update where that is allowed: the playlist held must not be older
// than half the skip boundary (section 6.3.7).
func (p *Player) directives(full bool) playlist.Directives {
	d := playlist.NoDirectives
	if full || !p.low() {
		return d
	}
	d.MSN, d.Part = p.cur.NextMSN(), openParts(p.cur)
	d.Skip = p.cur.CanSkipUntil > 0 && time.Since(p.fullAt) < p.cur.CanSkipUntil/2
	return d
}

// awaitPoll is section 6.3.4 for requests that the server does not hold: a
// target duration after the last load, or half of one if that brought nothing.
func (p *Player) awaitPoll(ctx context.Context) error {
	if p.low() {
		return nil
	}
	if p.reloadAt.IsZero() {
		p.reloadAt = p.fullAt
	}
	pause := p.target()
	if p.changed.Before(p.reloadAt) {
		pause /= 2
	}
	return sleep(ctx, pause-time.Since(p.reloadAt))
}

func (p *Player) noteError(err error) {
	p.count(func(s *Stats) { s.Errors++; s.LastError = err.Error() })
}

func (p *Player) noteUnavailable(status int) {
	p.count(func(s *Stats) {
		s.Unavailable++
		s.LastError = fmt.Sprintf("answered %d", status)
	})
}
