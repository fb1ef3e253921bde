package hlscheck

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"tally/internal/hls/hlscheck/origin"
)

var update = flag.Bool("update", false, "rewrite docs/hlscheck.md")

// probe runs Probe in virtual time against an origin that publishes.
func probe(t *testing.T, o *origin.Origin) ([]Violation, error) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.Run(ctx)
	}()
	found, err := Probe(ctx, ProbeOptions{URL: "http://origin.test/index.m3u8", Client: &http.Client{Transport: origin.Transport{Handler: o}}})
	stop()
	<-done
	return found, err
}

type probeFixture struct {
	rule, name string
	before     func(w http.ResponseWriter, r *http.Request) bool
}

// answer returns a fault that answers requests which hold match.
func answer(match string, status int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.String(), match) {
			w.WriteHeader(status)
			return true
		}
		return false
	}
}

// forget drops the query of requests which hold match.
func forget(match string) func(http.ResponseWriter, *http.Request) bool {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.RawQuery, match) {
			r.URL.RawQuery = ""
		}
		return false
	}
}

var probeFixtures = []probeFixture{
	{"probe-block", "blocking reloads answered at once", forget("_HLS_msn=2")},
	{"probe-block", "blocking reloads refused", answer("_HLS_msn=2", http.StatusServiceUnavailable)},
	{"probe-block", "a hinted part that is refused until it is listed", hintRefused()},
	{"probe-bad-request", "_HLS_part alone taken for no directive", func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.RawQuery == "_HLS_part=0" {
			r.URL.RawQuery = ""
		}
		return false
	}},
	{"probe-bad-request", "numbers that are none taken for no directive", forget("=x")},
	{"probe-delta", "_HLS_skip refused", answer("_HLS_skip", http.StatusBadRequest)},
	{"probe-delta", "_HLS_skip ignored", forget("_HLS_skip")},
	{"probe-headers", "playlists never gzipped", func(_ http.ResponseWriter, r *http.Request) bool {
		r.Header.Del("Accept-Encoding")
		return false
	}},
	{"probe-not-found", "200 and nothing for media that never was", answer("never-listed", http.StatusOK)},
	{"probe-cancel", "400 for the furthest segment that may be waited for", refuseTwoAhead()},
}

// hintRefused answers the first request for each part 404.
func hintRefused() func(http.ResponseWriter, *http.Request) bool {
	asked := map[string]bool{}
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/part-") || asked[r.URL.Path] {
			return false
		}
		asked[r.URL.Path] = true
		http.NotFound(w, r)
		return true
	}
}

func refuseTwoAhead() func(http.ResponseWriter, *http.Request) bool {
	asked := map[string]int{}
	return func(w http.ResponseWriter, r *http.Request) bool {
		if q := r.URL.RawQuery; strings.HasPrefix(q, "_HLS_msn=") && !strings.Contains(q, "&") {
			if asked[q]++; asked[q] > 1 { // only probe-cancel asks the same twice
				w.WriteHeader(http.StatusBadRequest)
				return true
			}
		}
		return false
	}
}

func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		found, err := probe(t, origin.New(40))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range found {
			t.Error(v)
		}
	})
}

func TestProbeFixtures(t *testing.T) {
	for _, fx := range probeFixtures {
		t.Run(fx.rule+"/"+fx.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := origin.New(40) // MSN 10 to 22
				guard := make(chan struct{}, 1)
				o.Before = func(w http.ResponseWriter, r *http.Request) bool {
					guard <- struct{}{} // fixtures keep state
					defer func() { <-guard }()
					return fx.before(w, r)
				}
				found, err := probe(t, o)
				if err != nil {
					t.Fatal(err)
				}
				fired := false
				for _, v := range found {
					fired = fired || v.Rule == fx.rule
				}
				if !fired {
					t.Errorf("%s did not fire; fired: %v", fx.rule, found)
				}
			})
		})
	}
}

func TestProbeErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := origin.New(40)
		o.End()
		if _, err := probe(t, o); err == nil || !strings.Contains(err.Error(), "ended") {
			t.Errorf("ended stream: %v", err)
		}
		o = origin.New(40)
		o.Before = answer("index", http.StatusNotFound)
		if _, err := probe(t, o); err == nil {
			t.Error("no stream: no error")
		}
	})
}

// docs/hlscheck.md is the table of rules with their fixtures, and every rule
// has one.
func TestDocument(t *testing.T) {
	names := map[string][]string{}
	for _, fx := range fixtures {
		names[fx.rule] = append(names[fx.rule], fx.name)
	}
	for _, fx := range probeFixtures {
		names[fx.rule] = append(names[fx.rule], fx.name)
	}
	var b strings.Builder
	b.WriteString(`# The strict checker's rules

Package ` + "`internal/hls/hlscheck`" + ` is what the packager has to satisfy. Sections are those of draft-pantos-hls-rfc8216bis-22 ("22"; the newest
revision that could be read, in a public transcription of its sections 4 and 6), "design" is the project's own design. Where the design asks for
more than the draft, the rule is as strict as the design. Each fixture is a stream with that fault, in a test that proves that the rule fires;
rules named ` + "`probe-…`" + ` are those of ` + "`hlscheck.Probe`" + `, which asks a live server. This file is written by
` + "`go test ./internal/hls/hlscheck -update`" + `.

| id | rule | section | fixture |
| --- | --- | --- | --- |
`)
	for _, r := range Rules {
		if len(names[r.ID]) == 0 {
			t.Errorf("rule %s has no fixture", r.ID)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.ID, r.Text, r.Section, strings.Join(names[r.ID], "; "))
	}
	path := filepath.Join("..", "..", "..", "docs", "hlscheck.md")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.String() {
		t.Error("docs/hlscheck.md is out of date: run go test ./internal/hls/hlscheck -update")
	}
}
