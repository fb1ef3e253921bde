package api_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tally/internal/livestream"
)

// A night is a session with rows: what the ingest manager and the counter write.
type night struct {
	*world
	rec livestream.Record
	id  string // of the session
}

func newNight(t *testing.T) *night {
	w := newWorld(t)
	w.now = time.Now().UTC().Truncate(time.Second) // rows of long ago are dropped
	l := w.create("night")
	w.advance(l.ID, time.Second, livestream.Event{Kind: livestream.Publish, Remote: "192.0.2.7:5000"})
	n := &night{world: w, rec: w.advance(l.ID, time.Second, livestream.Event{Kind: livestream.Playable})}
	n.id = n.rec.Session.ID
	return n
}

// receive checkpoints an interval of that length, and that much more ingest.
func (n *night) receive(number int64, length, counted time.Duration) {
	n.t.Helper()
	from := n.now
	n.now = n.now.Add(length)
	v := livestream.Interval{SessionID: n.id, Epoch: 1, Number: number, From: from, To: n.now, Length: length}
	if length == 0 {
		v.To = time.Time{}
		n.now = n.now.Add(counted)
	}
	ingest := n.record(n.rec.Livestream.ID).Session.Ingest + counted
	must(n.t, n.store.Checkpoint(n.t.Context(), []livestream.Checkpoint{{
		LivestreamID: n.rec.Livestream.ID, SessionID: n.id, Epoch: 1, At: n.now, LastMediaAt: n.now, Ingest: ingest,
		RunID: n.rec.Livestream.Run.ID, Intervals: []livestream.Interval{v},
	}}, nil, nil))
}

// watch writes a window and, when row is not 0, the row of a viewer.
func (n *night) watch(incarnation string, window int64, kind livestream.UsageKind, counted, row time.Duration) {
	n.t.Helper()
	v := livestream.Viewing{
		SessionID: n.id, Viewer: fmt.Sprintf("%016x", window), Node: "n", Incarnation: incarnation,
		First: n.now, Last: n.now.Add(counted), Bytes: 1000, Renditions: 0b101, Left: true,
	}
	switch kind {
	case livestream.ByBeacon:
		v.Beacon = row
	case livestream.ByMedia:
		v.Media = row
	case livestream.ByPlaylist:
		v.Playlist = row
	}
	var vs []livestream.Viewing
	if row != 0 {
		vs = append(vs, v)
	}
	must(n.t, n.store.Checkpoint(n.t.Context(), nil, []livestream.UsageWindow{{
		SessionID: n.id, Kind: kind, Node: "n", Incarnation: incarnation, Window: window, Amount: counted,
	}}, vs))
}

func (n *night) end() {
	n.advance(n.rec.Livestream.ID, time.Second, livestream.Event{Kind: livestream.Unpublish})
	n.now = n.now.Add(time.Hour) // what was under way has arrived
}

func (n *night) path(what string) string { return base + "/livestreams/sessions/" + n.id + what }

// audited is what the tests read of an audit.
type audited struct {
	AddsUp bool `json:"adds_up"`
	Open   bool
	Ingest struct {
		AddsUp      bool `json:"adds_up"`
		Seconds, Us int64
		IntervalsUs int64 `json:"intervals_us"`
		Remainders  []remainder
	}
	Viewer struct {
		AddsUp      bool `json:"adds_up"`
		Seconds, Us int64
		Windows     struct {
			AddsUp    bool `json:"adds_up"`
			Count, Us int64
		}
		Viewers struct {
			Count, Us int64
			Tiers     map[string]struct{ Viewers, Us int64 }
		}
		Remainders []remainder
	}
	Intervals []struct{ Us int64 }
}

type remainder struct {
	Reason string
	Us     int64
	Detail string
}

// audit reads the audit in both forms and holds one against the other.
func (n *night) audit() audited {
	n.t.Helper()
	rec := n.call(http.MethodGet, n.path("/audit"), "")
	var answer struct{ Data audited }
	must(n.t, json.Unmarshal(rec.Body.Bytes(), &answer))
	a := answer.Data
	text := n.call(http.MethodGet, n.path("/audit?format=csv"), "")
	lines, err := csv.NewReader(text.Body).ReadAll()
	must(n.t, err)
	sums := map[string]*big.Rat{}
	columns, last := lines[0], lines[len(lines)-1]
	for i, line := range lines[1:] {
		for k, name := range columns {
			if !strings.HasSuffix(name, "_seconds") || line[k] == "" {
				continue
			}
			x, ok := new(big.Rat).SetString(line[k])
			if !ok {
				n.t.Fatalf("line %d: %s is %q", i+2, name, line[k])
			}
			if i == len(lines)-2 {
				if sum := sums[name]; (sum == nil && x.Sign() != 0) || sum != nil && sum.Cmp(x) != 0 {
					n.t.Errorf("%s: the lines add up to %s, the total is %s", name, sum.FloatString(6), line[k])
				}
				continue
			}
			if sums[name] == nil {
				sums[name] = new(big.Rat)
			}
			sums[name].Add(sums[name], x)
		}
	}
	if verdict := strings.HasPrefix(last[len(last)-1], "adds up"); verdict != a.AddsUp {
		n.t.Errorf("CSV says %q, JSON %v", last[len(last)-1], a.AddsUp)
	}
	if shown := fmt.Sprintf("ingest %d, viewer %d", a.Ingest.Seconds, a.Viewer.Seconds); !strings.HasSuffix(last[len(last)-1], shown) {
		n.t.Errorf("CSV says %q, want %q", last[len(last)-1], shown)
	}
	return a
}

func TestAudit(t *testing.T) {
	for _, c := range []struct {
		name           string
		fill           func(n *night)
		adds           bool
		ingest, viewer []remainder // Detail is not compared
	}{
		{"nothing was received or watched", func(n *night) { n.end() }, true, nil, nil},
		{"everything in rows", func(n *night) {
			n.receive(1, 20*time.Second, 20*time.Second)
			n.receive(2, 10*time.Second+123*time.Microsecond, 10*time.Second)
			n.watch("a", 1, livestream.ByMedia, 12*time.Second, 12*time.Second)
			n.watch("a", 2, livestream.ByBeacon, 500*time.Millisecond, 500*time.Millisecond)
			n.watch("a", 3, livestream.ByPlaylist, time.Hour, time.Hour)
			n.end()
		}, true, []remainder{{Reason: "rounding", Us: -123}}, nil},
		{"on air", func(n *night) {
			n.receive(1, 20*time.Second, 20*time.Second)
			n.receive(2, 0, 5*time.Second)
			n.watch("a", 1, livestream.ByMedia, 12*time.Second, 12*time.Second)
			n.watch("a", 2, livestream.ByMedia, 3*time.Second, 0)
		}, true, []remainder{{Reason: "open", Us: 5e6}}, []remainder{{Reason: "watching", Us: 3e6}}},
		{"the server was killed", func(n *night) {
			n.receive(1, 20*time.Second, 20*time.Second)
			n.watch("a", 1, livestream.ByMedia, 12*time.Second, 0)
			n.advance(n.rec.Livestream.ID, 5*time.Second, livestream.Event{Kind: livestream.Boot})
			n.watch("b", 1, livestream.ByMedia, 2*time.Second, 2*time.Second)
			n.advance(n.rec.Livestream.ID, time.Minute, livestream.Event{Kind: livestream.Stop})
		}, true, nil, []remainder{{Reason: "crash", Us: 12e6}}},
		{"a row is missing", func(n *night) {
			n.watch("a", 1, livestream.ByMedia, 12*time.Second, 11*time.Second)
			n.end()
		}, false, nil, []remainder{{Reason: "unknown", Us: 1e6}}},
		{"a row says more", func(n *night) {
			n.watch("a", 1, livestream.ByMedia, 12*time.Second, 13*time.Second)
			n.end()
		}, false, nil, []remainder{{Reason: "unknown", Us: -1e6}}},
		{"an interval is missing", func(n *night) {
			n.receive(1, 20*time.Second, 22*time.Second)
			n.end()
		}, false, []remainder{{Reason: "unknown", Us: 2e6}}, nil},
		{"an interval says more", func(n *night) {
			n.receive(1, 20*time.Second, 19*time.Second)
			n.end()
		}, false, []remainder{{Reason: "unknown", Us: -1e6}}, nil},
		{"more than an open interval can hold", func(n *night) {
			n.receive(1, 0, time.Second)
			n.receive(2, time.Second, time.Minute)
			n.end()
		}, false, []remainder{{Reason: "unknown", Us: 60e6}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNight(t)
			c.fill(n)
			a := n.audit()
			if a.AddsUp != c.adds || a.AddsUp != (a.Ingest.AddsUp && a.Viewer.AddsUp) {
				t.Errorf("adds up: %v (ingest %v, viewer %v), want %v", a.AddsUp, a.Ingest.AddsUp, a.Viewer.AddsUp, c.adds)
			}
			compareRemainders(t, "ingest", a.Ingest.Remainders, c.ingest, a.Ingest.Us-a.Ingest.IntervalsUs)
			compareRemainders(t, "viewer", a.Viewer.Remainders, c.viewer, a.Viewer.Us-a.Viewer.Viewers.Us)
			if !a.Viewer.Windows.AddsUp || a.Viewer.Windows.Us != a.Viewer.Us {
				t.Errorf("windows say %d of %d µs", a.Viewer.Windows.Us, a.Viewer.Us)
			}
			s := n.record(n.rec.Livestream.ID).Session
			if a.Ingest.Us != s.Ingest.Microseconds() || a.Viewer.Us != s.Viewed.Microseconds() {
				t.Errorf("audit of %d and %d µs, the session has %s and %s", a.Ingest.Us, a.Viewer.Us, s.Ingest, s.Viewed)
			}
		})
	}
}

func compareRemainders(t *testing.T, what string, have, want []remainder, rest int64) {
	t.Helper()
	sum := int64(0)
	for i, r := range have {
		if i >= len(want) || r.Reason != want[i].Reason || r.Us != want[i].Us || r.Detail == "" {
			t.Errorf("%s: remainders %+v, want %+v", what, have, want)
			break
		}
		sum += r.Us
	}
	if len(have) != len(want) || sum != rest {
		t.Errorf("%s: remainders %+v, together %d, want %+v, together %d", what, have, sum, want, rest)
	}
}

// TestAuditForms: the query says the form, without it the header Accept.
func TestAuditForms(t *testing.T) {
	n := newNight(t)
	n.watch("a", 1, livestream.ByMedia, time.Second, time.Second)
	n.end()
	for _, c := range []struct{ query, accept, want string }{
		{"", "", "application/json"},
		{"", "*/*", "application/json"},
		{"", "text/csv", "text/csv; charset=utf-8"},
		{"", "text/csv, application/json", "application/json"},
		{"", "text/csv, application/json;q=0.5", "text/csv; charset=utf-8"},
		{"", "Text/CSV;q=0.5, application/json;q=0.9", "application/json"},
		{"", "text/csv;q=0", "application/json"},
		{"", "text/csv; q=0.0, */*", "application/json"},
		{"", "text/csv;header=present, */*;q=0.1", "text/csv; charset=utf-8"},
		{"", "application/json;q=0, text/csv", "text/csv; charset=utf-8"},
		{"", "text/csv;q=nonsense", "application/json"},
		{"", "text/csvx", "application/json"},
		{"?format=json", "text/csv", "application/json"},
		{"?format=csv", "application/json", "text/csv; charset=utf-8"},
	} {
		rec := n.call(http.MethodGet, n.path("/audit"+c.query), "", "Accept", c.accept)
		if have := rec.Header().Get("Content-Type"); rec.Code != http.StatusOK || have != c.want {
			t.Errorf("%q with Accept %q: %d %s, want %s", c.query, c.accept, rec.Code, have, c.want)
		}
	}
	if rec := n.call(http.MethodGet, n.path("/audit?format=xml"), ""); rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), "format") {
		t.Errorf("format=xml: %d %s", rec.Code, rec.Body)
	}
}

// TestLongAudit has more viewers than stay in memory.
func TestLongAudit(t *testing.T) {
	n := newNight(t)
	const viewers = 10_000
	var vs []livestream.Viewing
	for i := range viewers {
		vs = append(vs, livestream.Viewing{SessionID: n.id, Viewer: fmt.Sprintf("%016x", i), Node: "n", Incarnation: "a",
			First: n.now, Last: n.now, Media: 1500 * time.Microsecond, Bytes: 1 << 20, Renditions: 1})
	}
	must(t, n.store.Checkpoint(t.Context(), nil, []livestream.UsageWindow{{
		SessionID: n.id, Kind: livestream.ByMedia, Node: "n", Incarnation: "a", Window: 1, Amount: viewers * 1500 * time.Microsecond,
	}}, vs))
	n.end()
	a := n.audit()
	if !a.AddsUp || a.Viewer.Viewers.Count != viewers || a.Viewer.Viewers.Tiers["media"].Viewers != viewers || a.Viewer.Seconds != 15 {
		t.Errorf("audit of %d viewers: %+v", viewers, a.Viewer)
	}
}

func TestListViewers(t *testing.T) {
	n := newNight(t)
	n.watch("a", 7, livestream.ByBeacon, 2500*time.Millisecond, 2500*time.Millisecond)
	n.watch("b", 7, livestream.ByMedia, time.Second, time.Second)
	n.now = n.now.Add(time.Minute)
	n.watch("b", 8, livestream.ByPlaylist, time.Second, time.Second)
	n.end()
	type viewer struct {
		ID, Tier   string
		BeaconUs   int64 `json:"beacon_us"`
		MediaUs    int64 `json:"media_us"`
		PlaylistUs int64 `json:"playlist_us"`
		Bytes      int64
		Renditions []int
		Left       bool
	}
	read := func(query string) []viewer {
		t.Helper()
		var answer struct{ Data []viewer }
		rec := n.call(http.MethodGet, n.path("/viewers"+query), "")
		must(t, json.Unmarshal(rec.Body.Bytes(), &answer))
		if !strings.Contains(rec.Body.String(), `"total_count":2`) {
			t.Errorf("paging of %s", rec.Body)
		}
		return answer.Data
	}
	want := []viewer{
		{"0000000000000007", "beacon", 2_500_000, 1_000_000, 0, 2000, []int{0, 2}, true},
		{"0000000000000008", "playlist", 0, 0, 1_000_000, 1000, []int{0, 2}, true},
	}
	if d := cmp.Diff(want, read("")); d != "" {
		t.Errorf("viewers: -want +got\n%s", d)
	}
	if d := cmp.Diff(want[1:], read("?page_no=2&per_page=1")); d != "" {
		t.Errorf("second page: -want +got\n%s", d)
	}
	if rec := n.call(http.MethodGet, base+"/livestreams/sessions/"+livestream.NewUUID()+"/viewers", ""); rec.Code != http.StatusNotFound {
		t.Errorf("viewers of an unknown session: %d", rec.Code)
	}
}
