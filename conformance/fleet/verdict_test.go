package fleet

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// A session is what the API says of one.
type session struct {
	ID string `json:"id"`
	// UpdatedAt is of the last checkpoint, while the session is open.
	UpdatedAt time.Time `json:"updated_at"`
	Tally     struct {
		ViewerMs    int64 `json:"viewer_ms"`
		Viewers     int   `json:"viewers"`
		PeakViewers int   `json:"peak_viewers"`
		Evidence    struct {
			BeaconMs   int64 `json:"beacon_ms"`
			MediaMs    int64 `json:"media_ms"`
			PlaylistMs int64 `json:"playlist_ms"`
		} `json:"evidence"`
	} `json:"tally"`
}

func (s *session) viewed() time.Duration { return time.Duration(s.Tally.ViewerMs) * time.Millisecond }

// active asks for the session that is open.
func (st *station) active() (session, error) {
	var a struct{ Session session }
	err := st.call("GET", "/livestreams/"+st.id+"/active-livestream-session?include=tally", nil, &a)
	return a.Session, err
}

// session asks for one session, ended or not.
func (s *server) session(id string) (out session, err error) {
	err = s.call("GET", "/livestreams/sessions/"+id+"?include=tally", nil, &out)
	return out, err
}

// A line is one scenario in the table.
type line struct {
	name           string
	viewers        int
	truth, counted time.Duration
	worst          time.Duration // error of the viewer with the largest, signed
	faults         []string
}

// sign is the error of all viewers together, in per cent.
func (l *line) sign() float64 {
	if l.truth == 0 {
		return 0
	}
	return 100 * float64(l.counted-l.truth) / float64(l.truth)
}

func (l *line) fault(format string, args ...any) {
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

// judge ends all broadcasts, compares, and prints the table.
func (f *fleet) judge(ctx context.Context) {
	must(f.t, f.neighbour.off())
	must(f.t, f.each(func(r *run) error { return r.off() }))
	lines := make([]line, len(f.runs))
	must(f.t, f.each(func(r *run) error { return r.final(ctx) }))
	for i, r := range f.runs {
		lines[i] = r.line(f.killed)
	}
	f.t.Logf("\n%s", table(lines))
	for _, l := range lines {
		for _, fault := range l.faults {
			f.t.Errorf("%s: %s", l.name, fault)
		}
	}
}

// final waits until the sessions' seconds are final: at most 2 s (design section 4).
func (r *run) final(ctx context.Context) error {
	if err := until(ctx, "the end", r.idle); err != nil {
		return err
	}
	return sleep(ctx, 2*time.Second)
}

// line holds the run's books against the API. killed is when the server was; zero:
// it was not.
func (r *run) line(killed time.Time) line {
	l := line{name: r.scenario.name, viewers: r.n}
	for _, err := range r.flaws {
		l.fault("%v", err)
	}
	for _, a := range r.sessions {
		s, err := r.session(a.id)
		if err != nil {
			l.fault("%v", err)
			continue
		}
		r.seconds(&l, a, s)
		r.evidence(&l, s)
		r.viewers(&l, a, !killed.IsZero())
		r.audience(&l, a, s, killed)
	}
	if r.tier != "" && l.truth == 0 {
		l.fault("no viewer saw anything")
	}
	if !killed.IsZero() { // rows of then are lost: what is known is all of them together
		l.worst = (l.counted - l.truth) / time.Duration(r.n)
	}
	wrong, limit := l.counted-l.truth, time.Duration(r.limit*float64(l.truth))
	low, high := -limit-time.Duration(r.n)*r.loss, limit+time.Duration(r.n)*r.twice
	if wrong < low || wrong > high {
		l.fault("counted %v, the truth is %v: %v, the limits are %v and %v", l.counted, l.truth, wrong, low, high)
	}
	return l
}

// seconds compares one session's seconds with the books.
func (r *run) seconds(l *line, a airing, s session) {
	l.counted += s.viewed()
	if s.viewed() < r.told[a.id] {
		l.fault("the seconds of session %s fell from %v to %v", a.id, r.told[a.id], s.viewed())
	}
	if r.tier == "" {
		return
	}
	for _, b := range r.books {
		l.truth += b.truth(a)
	}
}

// audience compares how many watched at once.
func (r *run) audience(l *line, a airing, s session, killed time.Time) {
	if s.Tally.Viewers != 0 {
		l.fault("%d viewers of session %s, which is over", s.Tally.Viewers, a.id)
	}
	books := r.books
	if r.tier == "" {
		books = nil
	}
	if low, high := peak(books, a.id); s.Tally.PeakViewers < low || s.Tally.PeakViewers > high {
		l.fault("%d viewers at once at most, there were %d to %d", s.Tally.PeakViewers, low, high)
	}
	for _, g := range r.glances {
		if g.session != a.id {
			continue
		}
		if !killed.IsZero() && g.at.After(killed) && g.at.Before(killed.Add(r.presence())) {
			continue // nobody is known to be there until it asks again
		}
		low, high := most(books, a.id, g.at.Add(-lookTime), g.at.Add(lookTime))
		if g.viewers < low || g.viewers > high {
			l.fault("%d viewers at %v, there were %d to %d", g.viewers, g.at.Format("05.000"), low, high)
			break
		}
	}
}

// lookTime is how far a player and the server may differ about when something
// was fetched, and a checkpoint about when it looked.
const lookTime = 700 * time.Millisecond

// table is the lines as they stand in docs/performance.md.
func table(lines []line) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| scenario | viewers | truth, s | counted, s | error | worst viewer | verdict |\n| --- | --: | --: | --: | --: | --: | --- |\n")
	for _, l := range lines {
		verdict := "good"
		if len(l.faults) > 0 {
			verdict = "MISSED"
		}
		fmt.Fprintf(&b, "| %s | %d | %.3f | %.3f | %+.3f %% | %+.3f s | %s |\n", l.name, l.viewers,
			l.truth.Seconds(), l.counted.Seconds(), l.sign(), l.worst.Seconds(), verdict)
	}
	return b.String()
}
