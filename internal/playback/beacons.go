package playback

import (
	"io"
	"maps"
	"net/http"
	"sync"
	"time"

	"tally/internal/playback/beacon"
	"tally/internal/usage"
	"tally/internal/viewer"
)

// bodyTimeout is how long a beacon's body may take: it fits one packet or three.
const bodyTimeout = 5 * time.Second

// beacon takes what a player tells of itself. Whatever can be read is answered
// alike, whether it counts or not: whose id is forged, or whose broadcast was
// over long ago, has nothing to change. Only what comes too early after a restart
// is to come again.
func (h *Handler) beacon(w http.ResponseWriter, r *http.Request, p *path) error {
	reports, err := readBeacon(w, r)
	if err != nil {
		return err
	}
	if err := h.told(p, reports); err != nil {
		return err
	}
	w.Header()["Cache-Control"] = noStore
	extendDeadline(w)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// bodies holds what beacons are read into: the longest, and a byte that shows
// that there is more.
var bodies = sync.Pool{New: func() any { return new([beacon.MaxBody + 1]byte) }}

func readBeacon(w http.ResponseWriter, r *http.Request) (beacon.Reports, error) {
	if r.ContentLength > beacon.MaxBody {
		return beacon.Reports{}, errTooLong
	}
	// An error means that there are no deadlines, as in tests.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	buf := bodies.Get().(*[beacon.MaxBody + 1]byte)
	defer bodies.Put(buf)
	n := 0
	for {
		got, err := r.Body.Read(buf[n:])
		switch n += got; {
		case n > beacon.MaxBody:
			return beacon.Reports{}, errTooLong
		case err == io.EOF:
			return beacon.Parse(buf[:n])
		case err != nil:
			return beacon.Reports{}, errBrokenBody
		}
	}
}

// told hands reports to usage. They belong to the session whose media is newest:
// a page that is left reports once more, also when the broadcast ended seconds
// ago. errEarly: the viewer is of before this server started, and has fetched
// nothing since.
func (h *Handler) told(p *path, reports beacon.Reports) error {
	st := p.of(h.registry)
	if st == nil {
		return nil
	}
	id, ok := h.verified(p)
	if !ok {
		return nil
	}
	if h.counter.Awaits(id) {
		return errEarly
	}
	session := st.Window().Current().SessionID()
	if session == "" {
		return nil
	}
	for _, x := range reports.Played {
		h.counter.Told(usage.Beacon{SessionID: session, Viewer: id, Seq: x.Seq, Played: x.For})
	}
	if len(reports.Moments) > 0 {
		h.tracks.told(h.counter, usage.Beacon{SessionID: session, Viewer: id}, reports.Moments)
	}
	return nil
}

// maxTracks is how many viewers that send CMCD are remembered before it is looked
// who of them is counted no more: some 200 bytes each. Where so many are counted,
// it is looked when they are twice as many.
const maxTracks = 1 << 15

// tracks remembers how players stood that report in CMCD, of viewers that are
// counted: nobody takes their place with ids, which cost nothing. The zero value
// is empty.
type tracks struct {
	mu   sync.Mutex // guards everything below
	of   map[viewer.ID]*beacon.Track
	kept int // of them, when it was last looked
}

// track returns the viewer's, begun at first; nil for one that is not counted.
// The caller holds mu.
func (t *tracks) track(counter *usage.Counter, id viewer.ID) *beacon.Track {
	if track := t.of[id]; track != nil || !counter.Knows(id) {
		return track
	}
	if t.of == nil {
		t.of = map[viewer.ID]*beacon.Track{}
	}
	if len(t.of) >= max(maxTracks, 2*t.kept) {
		maps.DeleteFunc(t.of, func(id viewer.ID, _ *beacon.Track) bool { return !counter.Knows(id) })
		t.kept = len(t.of)
	}
	track := new(beacon.Track)
	t.of[id] = track
	return track
}

// told hands to usage what the moments of b's viewer say together, if they are
// news: one report after another, also when two came at the same time.
func (t *tracks) told(counter *usage.Counter, b usage.Beacon, moments []beacon.Moment) {
	t.mu.Lock()
	defer t.mu.Unlock()
	track := t.track(counter, b.Viewer)
	if track == nil {
		return
	}
	news := false
	for _, m := range moments {
		played, fresh := track.Take(m)
		b.Played += played
		news = news || fresh
	}
	if b.Seq = track.Seq(); news {
		counter.Told(b)
	}
}
