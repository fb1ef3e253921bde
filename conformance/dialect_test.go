package conformance_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"tally/conformance"
	"tally/internal/livestream"
)

// onAir is a place with a livestream that is live, and an older one.
func onAir(t *testing.T) *place {
	t.Helper()
	p := ordinary(t)
	p.create("older", "")
	id := p.create("newest", "")
	p.advance(id, time.Second, livestream.Event{Kind: livestream.Publish, Remote: "192.0.2.7:5000", Encoder: "ffmpeg"})
	p.count(p.advance(id, time.Second, livestream.Event{Kind: livestream.Playable}), 65*time.Second, 12*time.Second)
	return p
}

// In the upstream dialect, which an app is switched to by a plain request, the
// list is an array that Go's clients show undecoded (contract 6.4), booleans
// and seconds are bare, and Go's string fields take them as they are (6.1).
func TestUpstreamDialect(t *testing.T) {
	for _, c := range clients {
		t.Run(c.Name(), func(t *testing.T) {
			p := onAir(t)
			want := p.expected()
			a, err := c.Call(t.Context(), p.target, conformance.Call{Method: "PATCH ", Params: params{"tally": params{"wire": "upstream"}}})
			must(t, err)
			if a.Refusal != nil {
				t.Fatalf("switch the app's dialect: %+v", *a.Refusal)
			}
			listed(t, c, p)
			for name, call := range map[string]conformance.Call{
				"by_id":  of("Livestreams.GetLivestreamSessionForLivestreamID", p.target.Livestream),
				"active": of("Livestreams.GetActiveLivestreamsForLivestreamID", p.target.Livestream),
			} {
				fields := below(want, name)
				fields["livestream.disabled"] = field{golang: "false", js: false}
				ingest, viewed := fields["session.ingest_seconds"], fields["session.viewer_seconds"]
				fields["session.ingest_seconds"] = field{golang: ingest.golang, js: 65.0}
				fields["session.viewer_seconds"] = field{golang: viewed.golang, js: 12.0}
				a, err := c.Call(t.Context(), p.target, call)
				must(t, err)
				compare(t, c.Name(), fields, a.Reading, []string{"sessions", "paging"})
				if c.Go() && len(a.Problems) > 0 {
					t.Errorf("%s: %q", name, a.Problems)
				}
			}
			a, err = c.Call(t.Context(), p.target, of("Livestreams.GetLivestreamSessionDetailsForSessionID", p.target.Session))
			must(t, err)
			compare(t, c.Name(), below(want, "session"), a.Reading, []string{"invoked_time"})
		})
	}
}

// listed reads the list as an array.
func listed(t *testing.T, c conformance.Client, p *place) {
	t.Helper()
	a, err := c.Call(t.Context(), p.target, conformance.Call{Method: "Livestreams.GetAllLivestreams"})
	must(t, err)
	var raw struct {
		Data []struct {
			ID       string
			Disabled *bool
			Status   string
		}
		Paging struct{ Total_count, Start_offset, End_offset int }
	}
	if err := json.Unmarshal(a.Raw, &raw); err != nil || len(raw.Data) != 2 || raw.Data[0].ID != p.target.Livestream ||
		raw.Data[0].Disabled == nil || *raw.Data[0].Disabled || raw.Data[0].Status != "LIVE" || raw.Data[1].Status != "IDLE" || raw.Paging.Total_count != 2 {
		t.Errorf("the array is %s (%v)", a.Raw, err)
	}
	if !slices.Contains(a.Extra, "paging") {
		t.Errorf("paging is not beside data: extra fields %q", a.Extra)
	}
	if c.Go() {
		if a.Reading["id"] != nil && a.Reading["id"] != "" {
			t.Errorf("the array was decoded as %v", a.Reading)
		}
	} else if a.Reading["0.id"] != p.target.Livestream || a.Reading["0.disabled"] != false || a.Reading["paging.total_count"] != 2.0 {
		t.Errorf("the array is %v", a.Reading)
	}
}

// ?include=tally adds what no client declares: it is there for who asks, and
// every declared field is as before.
func TestIncludeTallyIsHarmless(t *testing.T) {
	p := onAir(t)
	p.target.Meeting = ""
	want := p.expected()
	calls := map[string]conformance.Call{
		"list":    {Method: "Livestreams.GetAllLivestreams"},
		"by_id":   of("Livestreams.GetLivestreamSessionForLivestreamID", p.target.Livestream),
		"active":  of("Livestreams.GetActiveLivestreamsForLivestreamID", p.target.Livestream),
		"session": of("Livestreams.GetLivestreamSessionDetailsForSessionID", p.target.Session),
	}
	extra := map[string][]string{
		"list": {"tally"}, "by_id": {"livestream.tally", "session.tally"}, "active": {"livestream.tally", "session.tally"}, "session": {"tally"},
	}
	for _, c := range clients {
		for name, call := range calls {
			without, err := c.Call(t.Context(), p.target, call)
			must(t, err)
			call.Query = map[string]string{"include": "tally"}
			with, err := c.Call(t.Context(), p.target, call)
			must(t, err)
			for _, path := range extra[name] {
				if !slices.Contains(with.Extra, path) || slices.Contains(without.Extra, path) {
					t.Errorf("%s, %s: extra fields %q, and %q without the query; want %s", c.Name(), name, with.Extra, without.Extra, path)
				}
			}
			if len(with.Problems) > 0 {
				t.Errorf("%s, %s: %q", c.Name(), name, with.Problems)
			}
			declared := maps.Clone(with.Reading)
			maps.DeleteFunc(declared, func(path string, _ any) bool { return strings.Contains("."+path, ".tally.") })
			compare(t, c.Name(), below(want, name), declared, []string{"livestreams", "sessions", "paging", "invoked_time"})
		}
	}
}
