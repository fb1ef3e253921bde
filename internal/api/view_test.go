package api

import (
	"testing"
	"time"

	"tally/internal/livestream"
)

func TestHealth(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(1000, 0).Add(time.Duration(s * float64(time.Second))) }
	onAir := func(started, media, updated float64) livestream.Session {
		return livestream.Session{Phase: livestream.OnAir, StartedAt: at(started), LastMediaAt: at(media), UpdatedAt: at(updated)}
	}
	for _, c := range []struct {
		name string
		s    livestream.Session
		want string
	}{
		{"never on air", livestream.Session{}, ""},
		{"awaiting", livestream.Session{Phase: livestream.Awaiting}, "awaiting"},
		{"starting", livestream.Session{Phase: livestream.Starting}, "starting"},
		{"starting when the server stopped", livestream.Session{Phase: livestream.Interrupted}, "reconnecting"},
		{"playable, not yet checkpointed", livestream.Session{Phase: livestream.OnAir, StartedAt: at(0), UpdatedAt: at(0)}, "ok"},
		{"media just now", onAir(0, 60, 60.4), "ok"},
		{"2 s without media", onAir(0, 60, 62), "ok"},
		{"longer", onAir(0, 60, 62.1), "starving"},
		{"resumed, and no media since", onAir(0, 60, 75), "starving"},
		{"reconnecting", livestream.Session{Phase: livestream.Reconnecting}, "reconnecting"},
		{"ended", livestream.Session{Phase: livestream.Ended}, ""},
		{"failed", livestream.Session{Phase: livestream.Failed}, ""},
	} {
		if got := healthOf(c.s); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
