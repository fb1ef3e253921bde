package api

import (
	"math/bits"
	"net/http"
	"time"

	"tally/internal/api/input"
	"tally/internal/livestream"
)

// viewerObject is one viewer of a session. Time is in microseconds: so figures
// of many viewers add up exactly.
type viewerObject struct {
	ID         string  `json:"id"`   // the random bits of its id; it opens no playlist
	Tier       *string `json:"tier"` // the evidence with most of its time; null: none was counted
	FirstAt    stamp   `json:"first_at"`
	LastAt     stamp   `json:"last_at"`
	BeaconUs   int64   `json:"beacon_us"`
	MediaUs    int64   `json:"media_us"`
	PlaylistUs int64   `json:"playlist_us"`
	Bytes      int64   `json:"bytes"`
	Renditions []int   `json:"renditions"` // it was given media of
	Left       bool    `json:"left"`
}

// listViewers is ours: who watched a session, who came first first.
func listViewers(s *server, w http.ResponseWriter, rq *request) error {
	one, err := s.session(rq)
	if err != nil {
		return err
	}
	p := input.ParseQuery(rq.URL.RawQuery)
	page := p.Page()
	if err := p.Err(); err != nil {
		return err
	}
	viewers, total, err := s.Store.Viewings(rq.Context(), one.ID, page)
	if err != nil {
		return err
	}
	list := make([]viewerObject, len(viewers))
	for i, v := range viewers {
		list[i] = viewerOf(v, one.Phase.Open())
	}
	paging := pagingOf(page, len(list), total)
	return s.reply(w, http.StatusOK, list, &paging)
}

// viewerOf shows a viewer; open: its session is.
func viewerOf(v livestream.Viewing, open bool) viewerObject {
	tier := string(v.Tier())
	return viewerObject{
		ID: v.Viewer, Tier: orNull(tier, tier != ""), FirstAt: stamp(v.First), LastAt: stamp(v.Last),
		BeaconUs: v.Beacon.Microseconds(), MediaUs: v.Media.Microseconds(), PlaylistUs: v.Playlist.Microseconds(),
		Bytes: v.Bytes, Renditions: renditions(v.Renditions), Left: v.Left || !open,
	}
}

// renditions lists the bits that are set.
func renditions(set uint64) []int {
	list := make([]int, 0, bits.OnesCount64(set))
	for ; set != 0; set &= set - 1 {
		list = append(list, bits.TrailingZeros64(set))
	}
	return list
}

// microseconds are amounts of viewer time as the answers have them.
type microseconds struct {
	Us         int64 `json:"us"` // the three together
	BeaconUs   int64 `json:"beacon_us"`
	MediaUs    int64 `json:"media_us"`
	PlaylistUs int64 `json:"playlist_us"`
}

func microsecondsOf(a livestream.Amounts) microseconds {
	us := func(d time.Duration) int64 { return d.Microseconds() }
	return microseconds{us(a.Total()), us(a.Beacon), us(a.Media), us(a.Playlist)}
}
