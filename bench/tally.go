package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// buildTally builds the binary under test, as a release is built.
func buildTally(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "tally")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "tally/cmd/tally")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build tally: %w\n%s", err, out)
	}
	return path, nil
}

// Fixed names of the servers under test: they live for minutes, on loopback.
const (
	benchAccount = "bench"
	benchApp     = "bench"
	benchToken   = "bench-token-for-a-temporary-server-only"
)

// A tally is one running server under test.
type tally struct {
	*child
	http, rtmp, admin string // HOST:PORT
	https             string // the same; "" without a certificate
}

// startTally runs `tally serve` on free loopback ports.
func startTally(ctx context.Context, binary, dataDir string, flags ...string) (*tally, error) {
	c, err := startChild(ctx, "tally", binary, append([]string{
		"serve", "--data-dir", dataDir, "--http-addr", "127.0.0.1:0", "--rtmp-addr", "127.0.0.1:0",
		"--admin-addr", "127.0.0.1:0", "--account-id", benchAccount, "--app-id", benchApp,
		"--api-token", benchToken,
		"--api-rate-limit", "1000000000", "--api-address-rate-limit", "1000000000", // counted, never reached
	}, flags...))
	if err != nil {
		return nil, err
	}
	t := &tally{child: c}
	err = c.await(ctx, func(line string) bool {
		var l struct{ Msg, HTTP, HTTPS, RTMP, Admin string }
		if json.Unmarshal([]byte(line), &l) != nil || l.Msg != "listening" {
			return false
		}
		t.http, t.https, t.rtmp, t.admin = l.HTTP, l.HTTPS, l.RTMP, l.Admin
		return true
	})
	if err != nil {
		c.stop()
		return nil, err
	}
	return t, nil
}

// apiPath is the prefix of every API route of the bench's app.
const apiPath = "/client/v4/accounts/" + benchAccount + "/realtime/kit/" + benchApp

// call does one API request; in may be nil. out receives "data".
func (t *tally) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+t.http+apiPath+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+benchToken)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	if out == nil {
		return nil
	}
	envelope := struct{ Data any }{Data: out}
	return json.Unmarshal(text, &envelope)
}

// A target is one livestream to publish to and to watch.
type target struct {
	id       string
	rtmpURL  string // with the key
	playback string // path of the multivariant playlist on the HTTP address
}

// create makes a livestream.
func (t *tally) create(ctx context.Context, name string) (target, error) {
	var l struct {
		ID           string `json:"id"`
		IngestServer string `json:"ingest_server"`
		StreamKey    string `json:"stream_key"`
		PlaybackURL  string `json:"playback_url"`
	}
	if err := t.call(ctx, "POST", "/livestreams", map[string]any{"name": name}, &l); err != nil {
		return target{}, fmt.Errorf("create livestream: %w", err)
	}
	u, err := url.Parse(l.PlaybackURL)
	if err != nil {
		return target{}, fmt.Errorf("playback_url: %w", err)
	}
	// The bound port is what counts here, whatever ingest_server says of it.
	return target{id: l.ID, rtmpURL: "rtmp://" + t.rtmp + "/live/" + l.StreamKey, playback: u.Path}, nil
}

// A truth is what the API says about a livestream's newest session.
type truth struct {
	Status                       string
	IngestSeconds, ViewerSeconds float64
}

// number reads a figure that the wire sends as a string or as a number.
type number float64

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == "null" {
		return nil
	}
	_, err := fmt.Sscan(text, (*float64)(n))
	return err
}

// active asks for the active session; ok is false when there is none.
func (t *tally) active(ctx context.Context, id string) (truth, string, bool) {
	var d struct {
		Livestream struct{ Status string }
		Session    struct {
			ID            string `json:"id"`
			IngestSeconds number `json:"ingest_seconds"`
			ViewerSeconds number `json:"viewer_seconds"`
		}
	}
	if err := t.call(ctx, "GET", "/livestreams/"+id+"/active-livestream-session", nil, &d); err != nil {
		return truth{}, "", false
	}
	return truth{d.Livestream.Status, float64(d.Session.IngestSeconds), float64(d.Session.ViewerSeconds)}, d.Session.ID, true
}

// session asks for one session, ended or not.
func (t *tally) session(ctx context.Context, id string) (truth, error) {
	var d struct {
		IngestSeconds *number `json:"ingest_seconds"`
		ViewerSeconds *number `json:"viewer_seconds"`
	}
	err := t.call(ctx, "GET", "/livestreams/sessions/"+id, nil, &d)
	if err != nil {
		return truth{}, err
	}
	if d.IngestSeconds == nil || d.ViewerSeconds == nil {
		return truth{}, fmt.Errorf("session %s: the answer holds no seconds", id)
	}
	return truth{"", float64(*d.IngestSeconds), float64(*d.ViewerSeconds)}, nil
}

// profile saves a CPU profile of the next while, as `go tool pprof` reads it.
func (t *tally) profile(ctx context.Context, path string, d time.Duration) error {
	p, err := t.look(ctx, fmt.Sprintf("profile?seconds=%d", max(1, int(d.Seconds()))), d+10*time.Second)
	if err != nil {
		return err
	}
	return os.WriteFile(path, p, 0o644)
}

// look gets one of the profiles that the server has of itself.
func (t *tally) look(ctx context.Context, profile string, limit time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("http://%s/debug/pprof/%s", t.admin, profile), nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// collect lets the server free what it holds no more, which nothing asks for while it
// is idle: the runtime looks each two minutes.
func (t *tally) collect(ctx context.Context) error {
	for range 2 { // the second also frees what pools had
		if _, err := t.look(ctx, "heap?gc=1", 10*time.Second); err != nil {
			return err
		}
	}
	return pause(ctx, 5*time.Second) // what is free goes back to the system little by little
}

// A bareServer is the yardstick's process.
type bareServer struct {
	*child
	*feeder
	http  string
	https string // "" without a certificate
}

// startBare runs this program again as the bare server; files are a certificate
// and its key, or none.
func startBare(ctx context.Context, files ...string) (*bareServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c, err := startChild(ctx, "bare", self, append([]string{bareCommand}, files...))
	if err != nil {
		return nil, err
	}
	b := &bareServer{child: c}
	var l struct{ HTTP, HTTPS, Feed string }
	err = c.await(ctx, func(line string) bool { return json.Unmarshal([]byte(line), &l) == nil && l.HTTP != "" })
	if err == nil {
		b.http, b.https = l.HTTP, l.HTTPS
		b.feeder, err = dialFeed(l.Feed)
	}
	if err != nil {
		c.stop()
		return nil, err
	}
	return b, nil
}

// stop ends the process.
func (b *bareServer) stop() {
	b.feeder.c.Close()
	b.child.stop()
}
