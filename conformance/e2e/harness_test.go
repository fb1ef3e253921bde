// Package e2e drives the built binary as its users do: ffmpeg publishes, the
// official clients ask, ffprobe and a real browser watch. Nothing here knows
// the server's insides.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloudflare/cloudflare-go/v7"
	"github.com/cloudflare/cloudflare-go/v7/option"
	"github.com/cloudflare/cloudflare-go/v7/realtime_kit"

	"tally/conformance"
	v7 "tally/conformance/v7"
)

var binary string // the built tally

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tally-e2e-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "tally")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "tally/cmd/tally")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build tally: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// A server is one data directory and the process that serves it now.
type server struct {
	t          *testing.T
	dir        string
	flags      []string
	http, rtmp string // HOST:PORT, the same after a restart
	proc       *exec.Cmd
	log        *bytes.Buffer // written until logged is closed
	logged     chan struct{}
	target     conformance.Target
	client     *cloudflare.Client
}

// serve starts a server on a fresh data directory; it is stopped with the test,
// and its log is shown when the test failed.
func serve(t *testing.T, flags ...string) *server {
	s := &server{t: t, dir: t.TempDir(), flags: flags, http: "127.0.0.1:0", rtmp: "127.0.0.1:0", log: &bytes.Buffer{}}
	s.start()
	t.Cleanup(func() {
		s.stop(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("server log:\n%s", s.log)
		}
	})
	text, err := os.ReadFile(filepath.Join(s.dir, "credentials.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Base    string `json:"api_base"`
		Account string `json:"account_id"`
		App     string `json:"app_id"`
		Token   string `json:"api_token"`
	}
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	s.target = conformance.Target{Base: c.Base, Account: c.Account, App: c.App, Token: c.Token}
	s.client = cloudflare.NewClient(option.WithBaseURL(c.Base), option.WithAPIToken(c.Token))
	return s
}

// start runs the binary and waits for its listening line.
func (s *server) start() {
	s.t.Helper()
	args := []string{"serve", "--data-dir", s.dir, "--http-addr", s.http, "--rtmp-addr", s.rtmp, "--admin-addr", "",
		"--api-rate-limit", "0", "--api-address-rate-limit", "0", "--access-log", "off"} // the tests poll
	s.proc = exec.Command(binary, append(args, s.flags...)...)
	pipe, err := s.proc.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.proc.Start(); err != nil {
		s.t.Fatal(err)
	}
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		fmt.Fprintln(s.log, lines.Text())
		var line struct{ Msg, HTTP, RTMP string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			s.http, s.rtmp = line.HTTP, line.RTMP
			s.logged = make(chan struct{})
			go func() { // ends with the process
				defer close(s.logged)
				for lines.Scan() {
					fmt.Fprintln(s.log, lines.Text())
				}
			}()
			return
		}
	}
	s.t.Fatalf("the server did not start:\n%s", s.log)
}

// stop ends the process with sig and waits for it.
func (s *server) stop(sig os.Signal) {
	s.t.Helper()
	s.proc.Process.Signal(sig)
	<-s.logged
	err := s.proc.Wait()
	if sig == syscall.SIGTERM && err != nil {
		s.t.Errorf("SIGTERM: %v, want a clean exit", err)
	}
}

// A broadcast is one livestream of a server.
type broadcast struct {
	*server
	id, key, playback string
}

// create makes a livestream through the official client.
func (s *server) create() *broadcast {
	s.t.Helper()
	made, err := s.client.RealtimeKit.Livestreams.NewIndependentLivestream(s.t.Context(), s.target.App,
		realtime_kit.LivestreamNewIndependentLivestreamParams{AccountID: cloudflare.F(s.target.Account), Name: cloudflare.F("made by a client")})
	if err != nil {
		s.t.Fatal(err)
	}
	b := &broadcast{server: s, id: made.Data.ID, key: made.Data.StreamKey, playback: made.Data.PlaybackURL}
	s.target.Livestream = b.id
	return b
}

func (b *broadcast) ingestURL() string { return "rtmp://" + b.rtmp + "/live/" + b.key }

// publish runs ffmpeg in real time for that long: 30 frames a second, a
// keyframe every second, a tone.
func (b *broadcast) publish(seconds int) *exec.Cmd {
	b.t.Helper()
	cmd := exec.Command("ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30",
		"-f", "lavfi", "-i", "sine=440:sample_rate=48000", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency",
		"-b:v", "800k", "-g", "30", "-pix_fmt", "yuv420p", "-c:a", "aac", "-t", fmt.Sprint(seconds), "-f", "flv", b.ingestURL())
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // an error if somebody waited before
		if b.t.Failed() && said.Len() > 0 {
			b.t.Logf("ffmpeg: %s", &said)
		}
	})
	return cmd
}

// read asks with cloudflare-go v7.
func (b *broadcast) read() conformance.Reading {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r, err := conformance.ReadAll(ctx, v7.New(), b.target)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// status is the active session's status and err_message's code, or "404".
func (b *broadcast) status() string {
	b.t.Helper()
	answer, err := b.client.RealtimeKit.Livestreams.GetActiveLivestreamsForLivestreamID(b.t.Context(), b.target.App, b.id,
		realtime_kit.LivestreamGetActiveLivestreamsForLivestreamIDParams{AccountID: cloudflare.F(b.target.Account)})
	if refused, ok := errors.AsType[*cloudflare.Error](err); ok {
		return fmt.Sprint(refused.StatusCode)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	code, _, _ := strings.Cut(answer.Data.Session.ErrMessage, ":")
	return strings.TrimSpace(string(answer.Data.Livestream.Status) + " " + code)
}

// await waits until the active session shows want.
func (b *broadcast) await(want string, limit time.Duration) {
	b.t.Helper()
	var got string
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if got = b.status(); got == want {
			return
		}
	}
	b.t.Fatalf("after %v the active session is %q, want %q", limit, got, want)
}
