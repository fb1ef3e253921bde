package fleet

import (
	"testing"
	"time"
)

// The books judge the server, so what they say is shown to be right here.

func TestCoverJoinsWhatOverlaps(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		name  string
		spans []span
		want  time.Duration
	}{
		{"apart", []span{{0, 100 * ms}, {200 * ms, 300 * ms}}, 200 * ms},
		{"adjacent, in any order", []span{{100 * ms, 200 * ms}, {0, 100 * ms}, {200 * ms, 300 * ms}}, 300 * ms},
		{"the same again", []span{{0, 100 * ms}, {0, 100 * ms}}, 100 * ms},
		{"parts, then the whole", []span{{0, 100 * ms}, {300 * ms, 400 * ms}, {0, 1000 * ms}}, 1000 * ms},
		{"the whole, then parts", []span{{0, 1000 * ms}, {300 * ms, 400 * ms}}, 1000 * ms},
		{"one that joins two", []span{{0, 100 * ms}, {200 * ms, 300 * ms}, {50 * ms, 250 * ms}}, 300 * ms},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c cover
			for _, s := range test.spans {
				c.add(s)
			}
			if got := c.length(); got != test.want {
				t.Errorf("%v covered, want %v", got, test.want)
			}
		})
	}
}

func TestBookOfMedia(t *testing.T) {
	began := time.Unix(1_800_000_000, 0)
	next := began.Add(time.Minute)
	first, second := airing{id: "a", to: next}, airing{id: "b", from: next}
	b := newBook("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	b.fetched(1, began, 0, time.Second)
	b.fetched(2, began.Add(time.Second), 0, time.Second)
	b.cover(2).held = true
	b.fetched(3, next, 0, 2*time.Second)
	if got := b.truth(first); got != time.Second {
		t.Errorf("%v of the first session, want 1 s: a held picture earns nothing", got)
	}
	if got := b.truth(second); got != 2*time.Second {
		t.Errorf("%v of the second session, want 2 s", got)
	}
}

func TestBookOfPlaylists(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	b := newBook("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	b.tier, b.stepLimit = byPlaylist, 4*time.Second
	for _, step := range []time.Duration{0, time.Second, time.Second, 30 * time.Second, 2 * time.Second} {
		at = at.Add(step)
		b.asks(at)
	}
	if got, want := b.truth(airing{}), 8*time.Second; got != want {
		t.Errorf("presence of %v, want %v: a step counts 4 s at most", got, want)
	}
}

func TestPresence(t *testing.T) {
	at := func(s float64) time.Time {
		return time.Unix(1_800_000_000, 0).Add(time.Duration(s * float64(time.Second)))
	}
	a, b := newBook("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), newBook("BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	a.presence, b.presence = 10*time.Second, 10*time.Second
	a.seen("s", at(0))
	a.seen("s", at(9))
	b.seen("s", at(15))
	b.seen("s", at(30))
	b.seen("other", at(31))
	books := []*book{a, b}
	for _, test := range []struct {
		from, to  float64
		low, high int
	}{
		{1, 2, 1, 1}, {14, 16, 1, 2}, {16, 18, 2, 2}, {18, 20, 1, 2}, {20, 24, 1, 1}, {26, 29, 0, 0},
	} {
		if low, high := most(books, "s", at(test.from), at(test.to)); low != test.low || high != test.high {
			t.Errorf("from %v to %v s there were %d to %d, want %d to %d", test.from, test.to, low, high, test.low, test.high)
		}
	}
	if low, high := peak(books, "s"); low != 2 || high != 2 {
		t.Errorf("%d to %d at once at most, want 2", low, high)
	}
}
