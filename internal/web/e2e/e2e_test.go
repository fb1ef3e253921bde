//go:build browser

// Package e2e plays broadcasts on the watch page in a real browser: the built
// binary serves, ffmpeg publishes, Chromium watches. It needs ffmpeg, chromium,
// node and the packages of package-lock.json (make deps), and so has a build
// tag of its own: go test -tags browser ./internal/web/e2e
package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

var binary string // the built tally

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tally-web-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "tally")
	if out, err := exec.Command("go", "build", "-o", binary, "tally/cmd/tally").CombinedOutput(); err != nil {
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
	http, rtmp string // HOST:PORT, the same after a restart
	proc       *exec.Cmd
	logged     chan struct{} // closed when the process's log has ended
	log        bytes.Buffer

	key, playbackID string
}

// serve starts a server with one livestream.
func serve(t *testing.T) *server {
	s := &server{t: t, dir: t.TempDir(), http: "127.0.0.1:0", rtmp: "127.0.0.1:0"}
	s.start()
	t.Cleanup(func() {
		s.stop(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("server log:\n%s", &s.log)
		}
	})
	s.create(`{"name":"e2e"}`)
	return s
}

func (s *server) start() {
	s.t.Helper()
	s.proc = exec.Command(binary, "serve", "--data-dir", s.dir, "--http-addr", s.http, "--rtmp-addr", s.rtmp, "--admin-addr", "")
	pipe, err := s.proc.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.proc.Start(); err != nil {
		s.t.Fatal(err)
	}
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		fmt.Fprintln(&s.log, lines.Text())
		var line struct{ Msg, HTTP, RTMP string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			s.http, s.rtmp = line.HTTP, line.RTMP
			logged := make(chan struct{})
			s.logged = logged
			go func() { // ends with the process
				defer close(logged)
				for lines.Scan() {
					fmt.Fprintln(&s.log, lines.Text())
				}
			}()
			return
		}
	}
	s.t.Fatalf("the server did not start:\n%s", &s.log)
}

func (s *server) stop(sig os.Signal) {
	s.proc.Process.Signal(sig)
	<-s.logged
	s.proc.Wait()
}

// create makes the livestream.
func (s *server) create(body string) {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "credentials.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	var c struct {
		Base    string `json:"api_base"`
		Account string `json:"account_id"`
		App     string `json:"app_id"`
		Token   string `json:"api_token"`
	}
	if err := json.Unmarshal(text, &c); err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequest("POST", fmt.Sprintf("%s/accounts/%s/realtime/kit/%s/livestreams", c.Base, c.Account, c.App), strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err = io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var answer struct {
		Data struct {
			StreamKey   string `json:"stream_key"`
			PlaybackURL string `json:"playback_url"`
		}
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Data.StreamKey == "" {
		s.t.Fatalf("create: %d %s", resp.StatusCode, text)
	}
	s.key = answer.Data.StreamKey
	_, rest, _ := strings.Cut(answer.Data.PlaybackURL, "/hls/")
	s.playbackID, _, _ = strings.Cut(rest, "/")
}

func (s *server) watchURL() string { return "http://" + s.http + "/watch/" + s.playbackID }

// publish runs ffmpeg in real time: 30 frames a second, a keyframe every
// second, a tone. The function kills it.
func (s *server) publish() *exec.Cmd {
	s.t.Helper()
	cmd := exec.Command("ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30",
		"-f", "lavfi", "-i", "sine=440:sample_rate=48000", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency",
		"-b:v", "800k", "-g", "30", "-pix_fmt", "yuv420p", "-c:a", "aac", "-t", "300", "-f", "flv",
		"rtmp://"+s.rtmp+"/live/"+s.key)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

// A page is a browser with one page.
type page struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Scanner
}

func browse(t *testing.T) *page {
	t.Helper()
	cmd := exec.Command("node", "page.mjs")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	p := &page{t: t, in: in, out: bufio.NewScanner(out)}
	p.out.Buffer(nil, 1<<20)
	return p
}

type command map[string]any

// tell sends a command and decodes its answer into value.
func (p *page) tell(c command, value any) {
	p.t.Helper()
	line, err := json.Marshal(c)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		p.t.Fatal(err)
	}
	if !p.out.Scan() {
		p.t.Fatalf("%v: the browser is gone", c)
	}
	var answer struct {
		Value json.RawMessage
		Error string
	}
	if err := json.Unmarshal(p.out.Bytes(), &answer); err != nil || answer.Error != "" {
		p.t.Fatalf("%v: %s %v", c, answer.Error, err)
	}
	if value != nil {
		if err := json.Unmarshal(answer.Value, value); err != nil {
			p.t.Fatalf("%v: %s: %v", c, answer.Value, err)
		}
	}
}

func (p *page) open(url string, more command) (status int) {
	p.t.Helper()
	c := command{"do": "open", "url": url}
	for k, v := range more {
		c[k] = v
	}
	p.tell(c, &status)
	return status
}

func (p *page) eval(code string, value any) {
	p.t.Helper()
	p.tell(command{"do": "eval", "code": code}, value)
}

// shot takes a screenshot where TALLY_SCREENSHOTS says, if it is set.
func (p *page) shot(name string) {
	p.t.Helper()
	if dir := os.Getenv("TALLY_SCREENSHOTS"); dir != "" {
		p.tell(command{"do": "shot", "path": filepath.Join(dir, name+".png")}, nil)
	}
}

// accessible fails for what axe-core finds.
func (p *page) accessible(where string) {
	p.t.Helper()
	var found []string
	p.tell(command{"do": "axe"}, &found)
	for _, f := range found {
		p.t.Errorf("%s: %s", where, f)
	}
}

// await waits until an expression is true in the page, and says how long it took.
func (p *page) await(what, code string, limit time.Duration) time.Duration {
	p.t.Helper()
	start := time.Now()
	for time.Since(start) < limit {
		var ok bool
		if p.eval("!!("+code+")", &ok); ok {
			return time.Since(start)
		}
		time.Sleep(50 * time.Millisecond)
	}
	var seen string
	p.eval(`JSON.stringify([document.body.dataset.state, headline.textContent, tally.news, {...tally.player, hls: !!tally.player.hls, loaded: 0}, video.currentTime])`, &seen)
	p.t.Fatalf("%s: not after %v; the page has %s", what, limit, seen)
	return 0
}

// quiet fails for errors on the console and uncaught exceptions.
func (p *page) quiet() {
	p.t.Helper()
	var problems []string
	p.tell(command{"do": "problems"}, &problems)
	for _, x := range problems {
		p.t.Errorf("the page complains: %s", x)
	}
}
