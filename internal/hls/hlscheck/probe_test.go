package hlscheck

import (
	"bytes"
	"compress/gzip"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"tally/internal/hls/hlscheck/origin"
)

var update = flag.Bool("update", false, "rewrite docs/hlscheck.md")

// probe runs Probe in virtual time against an origin that publishes.
func probe(t *testing.T, o *origin.Origin, patient bool) ([]Violation, error) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.Run(ctx)
	}()
	options := to(o)
	options.Patient = patient
	found, err := Probe(ctx, options)
	stop()
	<-done
	return found, err
}

// to asks an origin, in the caller's goroutine. Faults see an answer that they
// can change.
func to(o *origin.Origin) ProbeOptions {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := &faulty{ResponseWriter: w}
		o.ServeHTTP(f, r)
		if !f.sent {
			f.WriteHeader(http.StatusOK)
		}
	})
	return ProbeOptions{URL: "http://origin.test/index.m3u8", Client: &http.Client{Transport: origin.Transport{Handler: h}}}
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
	{"probe-bad-request", "_HLS_part alone taken for no directive", func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.RawQuery == "_HLS_part=0" {
			r.URL.RawQuery = ""
		}
		return false
	}},
	{"probe-bad-request", "numbers that are none taken for no directive", forget("=x")},
	{"probe-delta", "_HLS_skip refused", answer("_HLS_skip", http.StatusBadRequest)},
	{"probe-delta", "_HLS_skip ignored", forget("_HLS_skip")},
	{"probe-delta", "_HLS_skip=v2 refused", answer("_HLS_skip=v2", http.StatusBadRequest)},
	{"probe-bad-request", "a part far past the Advance Part Limit is waited for", forget("_HLS_part=3")},
	{"probe-headers", "a playlist as text/plain", header("media.m3u8", "Content-Type", "text/plain")},
	{"probe-headers", "media without a length", header("/seg-", "Content-Length", "")},
	{"probe-gzip", "playlists never gzipped", func(_ http.ResponseWriter, r *http.Request) bool {
		r.Header.Del("Accept-Encoding")
		return false
	}},
	{"probe-gzip", "no Vary", header("media.m3u8", "Vary", "")},
	{"probe-gzip", "the compressed playlist is older than the other", olderZip()},
	{"probe-cache", "a multivariant playlist that any cache may keep", header("index.m3u8", "Cache-Control", "public, max-age=60")},
	{"probe-cache", "a media playlist that a cache may keep for ten seconds", header("media.m3u8", "Cache-Control", "max-age=10")},
	{"probe-cache", "media that has to be asked for again", header("/seg-", "Cache-Control", "no-cache")},
	{"probe-cache", "a 404 that caches keep", header("never-listed", "Cache-Control", "public, max-age=60")},
	{"probe-head", "HEAD refused", func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodHead {
			return false
		}
		w.WriteHeader(http.StatusMethodNotAllowed)
		return true
	}},
	{"probe-cors", "refusals without Access-Control-Allow-Origin", header("never-listed", "Access-Control-Allow-Origin", "")},
	{"probe-cors", "credentials allowed", header("media.m3u8", "Access-Control-Allow-Credentials", "true")},
	{"probe-cors", "OPTIONS refused", func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodOptions {
			return false
		}
		w.WriteHeader(http.StatusMethodNotAllowed)
		return true
	}},
	{"probe-etag", "an ETag that nobody heeds", func(_ http.ResponseWriter, r *http.Request) bool {
		r.Header.Del("If-None-Match")
		return false
	}},
	{"probe-range", "ranges ignored", func(_ http.ResponseWriter, r *http.Request) bool {
		r.Header.Del("Range")
		return false
	}},
	{"probe-available", "a listed part that is not there yet", answer("/part-0-38", http.StatusNotFound)},
	{"probe-left", "segments that are gone with their line", gone("seg-")},
	{"probe-left", "parts that are gone with their segment's line", gone("part-")},
	{"probe-hint", "a hinted part that is refused until it is listed", hintRefused()},
	{"probe-not-found", "200 and nothing for media that never was", answer("never-listed", http.StatusOK)},
	{"probe-cancel", "400 for the furthest segment that may be waited for", refuseTwoAhead()},
}

// header returns a fault that changes a header of answers to requests which hold
// match; "" takes it away.
func header(match, name, value string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if f, ok := w.(*faulty); ok && strings.Contains(r.URL.Path, match) {
			f.name, f.value = name, value
		}
		return false
	}
}

// A faulty answer has one header changed as it is sent.
type faulty struct {
	http.ResponseWriter
	name, value string
	sent        bool
	copied      *string // the body, uncompressed; nil: nobody wants it
}

func (f *faulty) WriteHeader(code int) {
	f.sent = true
	if f.name != "" && f.value == "" {
		f.Header().Del(f.name)
	} else if f.name != "" {
		f.Header().Set(f.name, f.value)
	}
	f.ResponseWriter.WriteHeader(code)
}

func (f *faulty) Write(b []byte) (int, error) {
	if !f.sent {
		f.WriteHeader(http.StatusOK)
	}
	if f.copied != nil {
		if z, err := gzip.NewReader(bytes.NewReader(b)); err == nil {
			text, _ := io.ReadAll(z)
			*f.copied = string(text)
		}
	}
	return f.ResponseWriter.Write(b)
}

// olderZip makes compressed playlists say something else.
func olderZip() func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "media.m3u8") || r.URL.RawQuery != "" || r.Header.Get("Accept-Encoding") != "gzip" {
			return false
		}
		rec := httptest.NewRecorder()
		plain := r.Clone(r.Context())
		plain.Header.Del("Accept-Encoding")
		origin.New(40).ServeHTTP(rec, plain)
		w.Header().Set("Vary", "Accept-Encoding")
		w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		z.Write(append(rec.Body.Bytes(), "# older\n"...))
		z.Close()
		return true
	}
}

// gone answers 404 for media that were listed and are not listed any more.
func gone(kind string) func(http.ResponseWriter, *http.Request) bool {
	listed := ""
	return func(w http.ResponseWriter, r *http.Request) bool {
		name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		if f, ok := w.(*faulty); ok && strings.HasSuffix(name, ".m3u8") {
			f.copied = &listed
		}
		if !strings.HasPrefix(name, kind) || strings.Contains(listed, name) {
			return false
		}
		http.NotFound(w, r)
		return true
	}
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
		found, err := probe(t, origin.New(40), true)
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
				found, err := probe(t, o, fx.rule == "probe-left")
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

// stopped are faults of streams that nothing is published to.
var stopped = []struct {
	probeFixture
	ended bool
}{
	{probeFixture{"probe-still", "a reload that is held for ever, or until its client leaves", forget("_HLS_msn")}, false},
	{probeFixture{"probe-ended", "directives that count after the end", answer("_HLS_part=0", http.StatusBadRequest)}, true},
}

// Streams that stand still: the right answers, and each fault.
func TestProbeStopped(t *testing.T) {
	ask := func(t *testing.T, ended bool, before func(http.ResponseWriter, *http.Request) bool) []Violation {
		o := origin.New(40)
		o.Before = before
		probe := ProbeStill
		if ended {
			o.End()
			probe = ProbeEnded
		}
		found, err := probe(t.Context(), to(o))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	for _, fx := range stopped {
		synctest.Test(t, func(t *testing.T) {
			if found := ask(t, fx.ended, nil); len(found) > 0 {
				t.Errorf("%s: without the fault: %v", fx.rule, found)
			}
			found := ask(t, fx.ended, fx.before)
			if len(found) == 0 || found[0].Rule != fx.rule {
				t.Errorf("%s did not fire; fired: %v", fx.rule, found)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		if _, err := ProbeEnded(t.Context(), to(origin.New(40))); err == nil {
			t.Error("a stream that has not ended: no error")
		}
	})
}

func TestProbeErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := origin.New(40)
		o.End()
		if _, err := probe(t, o, false); err == nil || !strings.Contains(err.Error(), "ended") {
			t.Errorf("ended stream: %v", err)
		}
		o = origin.New(40)
		o.Before = answer("index", http.StatusNotFound)
		if _, err := probe(t, o, false); err == nil {
			t.Error("no stream: no error")
		}
	})
}

// docs/hlscheck.md is the table of rules with their fixtures, and every rule
// has one.
func TestDocument(t *testing.T) {
	names := fixtureNames()
	var b strings.Builder
	b.WriteString(`# The strict checker's rules

Package ` + "`internal/hls/hlscheck`" + ` is what the packager has to satisfy. Sections are those of draft-pantos-hls-rfc8216bis-22 of 1 May 2026 ("22"; the newest
revision that could be read, in a public transcription of its sections 4 and 6), "design" is the project's own design. Where the design asks for
more than the draft, the rule is as strict as the design. Each fixture is a stream with that fault, in a test that proves that the rule fires;
rules named ` + "`probe-…`" + ` are those of ` + "`hlscheck.Probe`, `ProbeStill` and `ProbeEnded`" + `, which ask a server. What Apple's players ask for beyond
this stands in [apple.md](apple.md). This file is written by
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

// fixtureNames are the names of each rule's fixtures.
func fixtureNames() map[string][]string {
	names := map[string][]string{}
	for _, fx := range slices.Concat(fixtures, laterFixtures) {
		names[fx.rule] = append(names[fx.rule], fx.name)
	}
	for _, fx := range probeFixtures {
		names[fx.rule] = append(names[fx.rule], fx.name)
	}
	for _, fx := range setFixtures {
		names[fx.rule] = append(names[fx.rule], fx.name)
	}
	for _, fx := range stopped {
		names[fx.rule] = append(names[fx.rule], fx.name)
	}
	return names
}
