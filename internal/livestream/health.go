package livestream

import "time"

// starvingAfter is how long a session may be on air without media before its
// health says so (design section 3).
const starvingAfter = 2 * time.Second

// Health is how a session is doing, in the word that the API shows; "" once it
// is closed. A session with a publisher is checkpointed every half second whether
// media came or not, so what is stored alone tells how long none has.
func (s Session) Health() string {
	switch s.Phase {
	case Awaiting:
		return "awaiting"
	case Starting:
		return "starting"
	case Interrupted, Reconnecting:
		return "reconnecting"
	case OnAir:
		if s.UpdatedAt.Sub(s.LastMediaAt) > starvingAfter && s.UpdatedAt.Sub(s.StartedAt) > starvingAfter {
			return "starving"
		}
		return "ok"
	}
	return ""
}
