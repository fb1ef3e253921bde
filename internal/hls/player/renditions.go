package player

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"tally/internal/hls/playlist"
)

// BesideStats is how a rendition was followed beside the variant that is played.
type BesideStats struct {
	URL   string
	Name  string // of an audio rendition, as the multivariant playlist has it
	Audio bool   // it is played with the variant; else it is only checked
	Stats
}

// beside are the players of further renditions.
type beside struct {
	stats   []BesideStats // without Stats
	players []*Player
	wg      sync.WaitGroup
}

// choose picks the variant that is played and what is followed beside it: the
// audio rendition that goes with it, and with Options.Check everything that the
// multivariant playlist at p.base lists.
func (p *Player) choose(m *playlist.Multivariant) (url string, err error) {
	if len(m.Variants) == 0 {
		return "", fmt.Errorf("%w: %s lists no variant", ErrPlaylist, p.base.full)
	}
	if p.o.Variant < 0 || p.o.Variant >= len(m.Variants) {
		return "", fmt.Errorf("%w: %s has variants 0 to %d, not %d", ErrPlaylist, p.base.full, len(m.Variants)-1, p.o.Variant)
	}
	v := &m.Variants[p.o.Variant]
	if url, err = p.base.resolve(v.URI); err != nil {
		return "", fmt.Errorf("%w: %w", ErrPlaylist, err)
	}
	if p.o.Lean {
		return url, nil
	}
	audio, err := p.audio(m, v.Audio)
	if err != nil {
		return "", err
	}
	seen := map[string]bool{url: true}
	add := func(uri, name string, plays bool) error {
		at, err := p.base.resolve(uri)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrPlaylist, err)
		}
		if uri != "" && !seen[at] && (plays || p.o.Check) {
			seen[at] = true
			p.others.stats = append(p.others.stats, BesideStats{URL: at, Name: name, Audio: plays})
		}
		return nil
	}
	if audio != nil {
		if err := add(audio.URI, audio.Name, true); err != nil {
			return "", err
		}
	}
	for _, r := range m.Renditions {
		if err := add(r.URI, r.Name, false); err != nil {
			return "", err
		}
	}
	for _, v := range m.Variants {
		if err := add(v.URI, "", false); err != nil {
			return "", err
		}
	}
	return url, nil
}

// audio picks the audio rendition of a group: the one that Options.Audio names,
// or the default; nil where there is none.
func (p *Player) audio(m *playlist.Multivariant, group string) (chosen *playlist.Rendition, err error) {
	for i := range m.Renditions {
		r := &m.Renditions[i]
		if r.Type != "AUDIO" || r.GroupID != group {
			continue
		}
		switch {
		case p.o.Audio != "" && (strings.EqualFold(r.Name, p.o.Audio) || strings.EqualFold(r.Language, p.o.Audio)):
			return r, nil
		case p.o.Audio == "" && (chosen == nil || r.Default && !chosen.Default):
			chosen = r
		}
	}
	if p.o.Audio != "" {
		return nil, fmt.Errorf("%w: %s has no audio %q", ErrPlaylist, p.base.full, p.o.Audio)
	}
	return chosen, nil
}

// follow starts the players of what is followed beside the variant. What breaks
// one of them is given to broken. They end with ctx; wait for them.
func (p *Player) follow(ctx context.Context, broken func(error)) error {
	for i := range p.others.stats {
		b := &p.others.stats[i]
		o := p.o
		o.URL, o.OnPart, o.Check, o.Discard = b.URL, nil, false, !p.o.Check
		if f, ok := p.fetch.(*httpFetcher); ok {
			o.Client = f.client
		}
		other := New(o)
		if p.set != nil {
			var err error
			if other.check, err = p.set.Rendition(b.URL); err != nil {
				return fmt.Errorf("%w: %w", ErrPlaylist, err)
			}
		}
		p.mu.Lock()
		p.others.players = append(p.others.players, other)
		p.mu.Unlock()
		p.others.wg.Go(func() {
			if _, err := other.Run(ctx); err != nil {
				broken(fmt.Errorf("beside it, %s: %w", b.URL, err))
			}
		})
	}
	return nil
}

// addBeside adds what was played beside the variant: the media of both is
// played, and a stall of either is one.
func (s *Stats) addBeside(b *beside, now time.Time) {
	for i, other := range b.players {
		st := b.stats[i]
		st.Stats = other.Stats()
		s.Beside = append(s.Beside, st)
		if !st.Audio {
			continue
		}
		s.MediaBytes += st.MediaBytes
		s.Stalls, s.StallTime = max(s.Stalls, st.Stalls), max(s.StallTime, st.StallTime)
		if s.Status == Playing && st.Status == Stalled {
			s.Status = Stalled
		}
	}
}
