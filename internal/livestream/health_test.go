package livestream

import (
	"testing"
	"time"
)

func TestHealth(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(1000, 0).Add(time.Duration(s * float64(time.Second))) }
	onAir := func(started, media, updated float64) Session {
		return Session{Phase: OnAir, StartedAt: at(started), LastMediaAt: at(media), UpdatedAt: at(updated)}
	}
	for _, c := range []struct {
		name string
		s    Session
		want string
	}{
		{"never on air", Session{}, ""},
		{"awaiting", Session{Phase: Awaiting}, "awaiting"},
		{"starting", Session{Phase: Starting}, "starting"},
		{"starting when the server stopped", Session{Phase: Interrupted}, "reconnecting"},
		{"playable, not yet checkpointed", Session{Phase: OnAir, StartedAt: at(0), UpdatedAt: at(0)}, "ok"},
		{"media just now", onAir(0, 60, 60.4), "ok"},
		{"2 s without media", onAir(0, 60, 62), "ok"},
		{"longer", onAir(0, 60, 62.1), "starving"},
		{"resumed, and no media since", onAir(0, 60, 75), "starving"},
		{"reconnecting", Session{Phase: Reconnecting}, "reconnecting"},
		{"ended", Session{Phase: Ended}, ""},
		{"failed", Session{Phase: Failed}, ""},
	} {
		if got := c.s.Health(); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
