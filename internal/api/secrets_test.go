package api_test

import (
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// logs is everything that the servers of all tests of this package log, and the
// secrets that those tests know.
var logs grep

// A grep collects words of logs and words of secrets, and finds who is in both.
type grep struct {
	mu      sync.Mutex
	lines   int
	words   map[string]string // of the logs, with the line
	secrets map[string]string // with what it is
}

// word is what a key, a token or a secret is made of, but for prefixes.
var word = regexp.MustCompile(`[0-9A-Za-z]{12,}`)

// Write implements io.Writer for a slog handler: one line.
func (g *grep) Write(line []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.words == nil {
		g.words = map[string]string{}
	}
	g.lines++
	for _, w := range word.FindAll(line, -1) {
		if _, known := g.words[string(w)]; !known {
			g.words[string(w)] = string(line)
		}
	}
	return len(line), nil
}

// plant says that text is a secret.
func (g *grep) plant(what, text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.secrets == nil {
		g.secrets = map[string]string{}
	}
	for _, w := range word.FindAllString(text, -1) {
		g.secrets[w] = what
	}
}

// inAnswers finds the secrets that answers show.
var inAnswers = regexp.MustCompile(`"(stream_key|token|secret)":"([^"*]+)"`)

// plantAnswer plants what an answer shows.
func (g *grep) plantAnswer(body string) {
	for _, m := range inAnswers.FindAllStringSubmatch(body, -1) {
		g.plant(m[1], m[2])
	}
}

// found tells each secret that is in the logs.
func (g *grep) found() (all []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for w, what := range g.secrets {
		if line, ok := g.words[w]; ok {
			all = append(all, fmt.Sprintf("a %s is in the log: %s", what, line))
		}
	}
	return all
}

// logger logs everything, for tests and for grep.
func logger(also io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(io.MultiWriter(also, &logs), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// TestGrepFindsSecrets: what TestMain relies on.
func TestGrepFindsSecrets(t *testing.T) {
	var g grep
	g.plantAnswer(`{"stream_key":"0123456789abcdefghij","token":"tally_ABCDEFGHIJKLMNOPQRST","name":"x"}`)
	g.plantAnswer(`{"stream_key":"********"}`)
	log := slog.New(slog.NewJSONHandler(&g, nil))
	log.Info("api", "request", "ABCDEFGHIJKLM-1")
	if all := g.found(); len(all) != 0 {
		t.Error(all)
	}
	log.Info("api", "path", "/live/0123456789abcdefghij?x", "token", "tally_ABCDEFGHIJKLMNOPQRST")
	if all := g.found(); len(all) != 2 {
		t.Errorf("found %q, want both", all)
	}
}

// grepped runs the tests and then looks through the logs.
type grepped struct{ m *testing.M }

func (g grepped) Run() int {
	code := g.m.Run()
	if all := logs.found(); len(all) > 0 {
		fmt.Printf("--- FAIL: secrets in the log of %d lines\n%s\n", logs.lines, strings.Join(all, ""))
		return 1
	}
	return code
}

// No server or store leaves a goroutine behind, and no log holds a secret.
func TestMain(m *testing.M) { goleak.VerifyTestMain(grepped{m}) }
