package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"tally/internal/api/specfuzz"
	"tally/internal/auth"
	"tally/internal/livestream"
)

// roundSize is how many requests one server gets in TestAPIFuzz, so that its
// store stays small and a finding is found again quickly.
const roundSize = 10_000

// tries is how many servers an operation may take to be answered 2xx: some need
// several others in a row, which is luck in a few thousand requests.
const tries = 5

// rare are operations that need a broadcast or a recording, of which there is
// none here. Their own tests have them.
var rare = []string{"createCue", "getRecording", "deleteRecording"}

// TestAPIFuzz sends a server what docs/openapi.yaml allows and what it does
// not, and holds every answer against that file (internal/api/specfuzz). What
// is told of a finding repeats it. For a search of hours:
//
//	make fuzz-api
//	TALLY_FUZZ_REQUESTS=100000 TALLY_FUZZ_SEED=7 go test -timeout 0 -run TestAPIFuzz ./cmd/tally
func TestAPIFuzz(t *testing.T) {
	requests, seed := number(t, "TALLY_FUZZ_REQUESTS", 4000), number(t, "TALLY_FUZZ_SEED", 1)
	statuses := map[int]int{}
	var unproven []string // by every round so far
	total, began := 0, time.Now()
	for round := 0; !t.Failed() && (total < requests || requests >= 4000 && round < tries && len(unproven) > 0); round++ {
		n := min(roundSize, max(requests-total, min(requests, 4000)))
		report := fuzzServer(t, uint64(seed+round), n)
		for status, count := range report.Statuses {
			statuses[status] += count
		}
		for _, f := range report.Findings {
			t.Errorf("TALLY_FUZZ_SEED=%d TALLY_FUZZ_REQUESTS=%d repeats this:\n%s", seed+round, f.Number+1, f)
		}
		if round == 0 {
			unproven = report.Unproven
		}
		unproven = slices.DeleteFunc(unproven, func(id string) bool {
			return !slices.Contains(report.Unproven, id) || slices.Contains(rare, id)
		})
		if total += n; requests > roundSize {
			t.Logf("%v: seed %d: %s", time.Since(began).Round(time.Second), seed+round, report.Table())
		}
	}
	if total >= 4000 && !t.Failed() && len(unproven) > 0 {
		t.Errorf("seed %d: never answered 2xx: %q", seed, unproven)
	}
	t.Logf("seed %d, %v: %s", seed, time.Since(began).Round(time.Millisecond), specfuzz.Report{Requests: total, Statuses: statuses}.Table())
}

func number(t *testing.T, name string, without int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return without
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s=%q must be a whole number", name, text)
	}
	return n
}

// fuzzServer sends n requests to the handler of a server with a new store.
func fuzzServer(t *testing.T, seed uint64, n int) specfuzz.Report {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "data-")
	fatal(t, err)
	defer os.RemoveAll(dir)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer receiver.Close()
	s, err := newServer(t.Context(), &serverFlags{
		DataDir: dir, HTTPAddr: "127.0.0.1:0", RTMPAddr: "127.0.0.1:0",
		AccountID: "acc", AppID: "app", APIToken: "the-token-of-a-test-server",
		WebhookAllow: []string{"127.0.0.0/8", "::1"},
	}, io.Discard, slog.New(slog.DiscardHandler))
	fatal(t, err)
	defer s.close()
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s.manager.Shutdown(ctx)
	}()

	file := httptest.NewRecorder()
	s.handler.ServeHTTP(file, httptest.NewRequest("GET", "/openapi.json", nil))
	spec, err := specfuzz.Load(file.Body.Bytes())
	fatal(t, err)
	return specfuzz.Run(specfuzz.Config{
		Spec: spec, Handler: s.handler, Seed: seed, Token: s.flags.APIToken,
		IDs:       map[string]string{"account_id": "acc", "app_id": "app"},
		URL:       receiver.URL,
		Strangers: strangers(t, s), Below: []string{"/client/v4/", "/accounts/"},
	}, n)
}

// strangers makes tokens that may not do what the first one may.
func strangers(t *testing.T, s *server) []specfuzz.Stranger {
	t.Helper()
	token := func(account, group string, expires time.Time, apps ...string) string {
		text, hash := auth.NewToken()
		fatal(t, s.store.CreateToken(t.Context(), livestream.Token{ID: livestream.NewUUID(), Hash: hash, AccountID: account,
			Name: "fuzz", Scopes: []string{group}, AppIDs: apps, CreatedAt: time.Now(), ExpiresAt: expires}))
		return text.Reveal()
	}
	fatal(t, s.store.CreateApp(t.Context(), livestream.App{AccountID: "other", ID: "other", Name: "other", CreatedAt: time.Now()}))
	return []specfuzz.Stranger{
		{Name: "another account's", Token: token("other", auth.RealtimeAdmin, time.Time{}), Status: 403},
		{Name: "limited to another app", Token: token("acc", auth.RealtimeAdmin, time.Time{}, "another"), Status: 403, AppsOnly: true},
		{Name: "expired", Token: token("acc", auth.RealtimeAdmin, time.Now().Add(-time.Hour)), Status: 401},
		{Name: "for reading", Token: token("acc", auth.RealtimeRead, time.Time{}), Status: 403, WritesOnly: true},
	}
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
