package fleet

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// A book is the truth about one viewer id, by the definition of its tier (design
// section 4, docs/playback.md), written by the player that holds the id from
// what it asked for and got. Nothing that the server says of viewers or seconds
// goes into it. It belongs to its player's goroutine until that has ended.
type book struct {
	id   string // as it stands in URLs
	key  string // 16 hex digits: as rows name it
	tier string

	// media tier: what of each segment was fetched, whether as parts or whole.
	covers map[int64]*cover // by media sequence number of the run
	hinted map[string]bool  // parts that were taken and that no playlist has listed so far
	early  map[string]bool  // parts that were taken on a hint and are listed now

	// playlist tier: when playlists were asked for.
	asked time.Time     // last
	steps time.Duration // between them, each at most stepLimit

	// beacon tier: how far the playhead came.
	played time.Duration

	bytes     int64         // of media that it was given
	shared    bool          // delivery: playlists are evidence, media is not
	evidence  []stretch     // when the server had reason to hold the viewer present
	presence  time.Duration // how long evidence lasts
	stepLimit time.Duration
}

// A stretch is time from one evidence on, while the next ones came in time.
type stretch struct {
	session  string
	from, to time.Time
}

// A cover is what was fetched of one segment.
type cover struct {
	spans []span
	date  time.Time // of its first sample, by the playlist
	held  bool      // a held picture earns nothing
}

// A span is media time from the segment's begin: [from, to).
type span struct{ from, to time.Duration }

func newBook(id string) *book {
	raw, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil || len(raw) < 8 {
		raw = make([]byte, 8) // no id of the server's: nothing may be counted under it
	}
	return &book{id: id, key: hex.EncodeToString(raw[:8]), tier: byMedia, covers: map[int64]*cover{}, hinted: map[string]bool{}, early: map[string]bool{}}
}

// The tiers, as the API spells them.
const (
	byBeacon   = "beacon"
	byMedia    = "media"
	byPlaylist = "playlist"
)

// fetched notes media of a segment, by its place in it, and returns how much of
// it is new.
func (b *book) fetched(msn int64, date time.Time, from, to time.Duration) time.Duration {
	c := b.cover(msn)
	if !date.IsZero() {
		c.date = date
	}
	had := c.length()
	c.add(span{from, to})
	return c.length() - had
}

func (b *book) cover(msn int64) *cover {
	c := b.covers[msn]
	if c == nil {
		c = &cover{}
		b.covers[msn] = c
	}
	return c
}

// add joins s to what is covered.
func (c *cover) add(s span) {
	for i := 0; i < len(c.spans); {
		o := c.spans[i]
		if s.from > o.to || s.to < o.from {
			i++
			continue
		}
		s = span{min(s.from, o.from), max(s.to, o.to)}
		c.spans = slices.Delete(c.spans, i, i+1)
	}
	c.spans = append(c.spans, s)
}

func (c *cover) length() (d time.Duration) {
	for _, s := range c.spans {
		d += s.to - s.from
	}
	return d
}

// media is the distinct media time that was fetched of a session.
func (b *book) media(of airing) (d time.Duration) {
	for _, c := range b.covers {
		if !c.held && of.holds(c.date) {
			d += c.length()
		}
	}
	return d
}

// asks notes that a playlist was asked for.
func (b *book) asks(at time.Time) {
	if !b.asked.IsZero() {
		b.steps += min(at.Sub(b.asked), b.stepLimit)
	}
	b.asked = at
}

// seen notes evidence that the viewer is there.
func (b *book) seen(session string, at time.Time) {
	if n := len(b.evidence); n > 0 {
		if last := &b.evidence[n-1]; last.session == session && !at.After(last.to) {
			last.to = at.Add(b.presence)
			return
		}
	}
	b.evidence = append(b.evidence, stretch{session, at, at.Add(b.presence)})
}

// present reports whether evidence of the viewer held at that time.
func (b *book) present(session string, at time.Time) bool {
	for _, s := range b.evidence {
		if s.session == session && !at.Before(s.from) && at.Before(s.to) {
			return true
		}
	}
	return false
}

// truth is the viewer's time in a session by its tier's definition. Beacons and
// presence are of livestreams that have one session only.
func (b *book) truth(of airing) time.Duration {
	switch b.tier {
	case byBeacon:
		return b.played
	case byPlaylist:
		return b.steps
	}
	return b.media(of)
}

func (b *book) String() string {
	return fmt.Sprintf("viewer %s (%s, media %v, presence %v, played %v)", b.key, b.tier, b.media(airing{}), b.steps, b.played)
}

// glanceStep is how finely the past is looked at.
const glanceStep = 50 * time.Millisecond

// most is the smallest and the largest number of books present at once in a
// session between two times: what a glance in between may see.
func most(books []*book, session string, from, to time.Time) (low, high int) {
	low = len(books)
	for t := from; !t.After(to); t = t.Add(glanceStep) {
		n := count(books, session, t)
		low, high = min(low, n), max(high, n)
	}
	return low, high
}

func count(books []*book, session string, at time.Time) (n int) {
	for _, b := range books {
		if b.present(session, at) {
			n++
		}
	}
	return n
}

// peak is the largest number of books present at once in a session: high at any
// moment, low for so long that who looks twice a second cannot miss it.
func peak(books []*book, session string) (low, high int) {
	const seen = int(700 * time.Millisecond / glanceStep)
	var from, to time.Time
	for _, b := range books {
		for _, s := range b.evidence {
			if s.session != session {
				continue
			}
			if from.IsZero() || s.from.Before(from) {
				from = s.from
			}
			if s.to.After(to) {
				to = s.to
			}
		}
	}
	var last []int // in the time that nobody can miss
	for t := from; !t.After(to); t = t.Add(glanceStep) {
		n := count(books, session, t)
		high = max(high, n)
		if last = append(last, n); len(last) > seen {
			last = last[1:]
			low = max(low, slices.Min(last))
		}
	}
	return low, high
}
