package crash

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var binary string // the built tally

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tally-crash-")
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
	http, rtmp string // HOST:PORT, the same after a restart
	proc       *exec.Cmd
	base       string // of the API, down to the app
	token      string

	mu     sync.Mutex
	log    bytes.Buffer
	logged chan struct{} // closed when the process's log has ended
}

func newServer(t *testing.T) *server {
	s := &server{t: t, dir: t.TempDir(), http: "127.0.0.1:0", rtmp: "127.0.0.1:0"}
	s.start()
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("server log:\n%s", &s.log)
		}
	})
	text, err := os.ReadFile(filepath.Join(s.dir, "credentials.json"))
	must(t, err)
	var c struct {
		Base    string `json:"api_base"`
		Account string `json:"account_id"`
		App     string `json:"app_id"`
		Token   string `json:"api_token"`
	}
	must(t, json.Unmarshal(text, &c))
	s.base = fmt.Sprintf("%s/accounts/%s/realtime/kit/%s", c.Base, c.Account, c.App)
	s.token = c.Token
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start runs the binary and waits for its listening line.
func (s *server) start() {
	s.t.Helper()
	s.proc = exec.Command(binary, "serve", "--data-dir", s.dir, "--http-addr", s.http, "--rtmp-addr", s.rtmp,
		"--admin-addr", "", "--api-rate-limit", "0", "--api-address-rate-limit", "0")
	pipe, err := s.proc.StderrPipe()
	must(s.t, err)
	must(s.t, s.proc.Start())
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		s.note(lines.Text())
		var line struct{ Msg, HTTP, RTMP string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			s.http, s.rtmp = line.HTTP, line.RTMP
			logged := make(chan struct{})
			s.logged = logged
			go func() { // ends with the process
				defer close(logged)
				for lines.Scan() {
					s.note(lines.Text())
				}
			}()
			return
		}
	}
	s.t.Fatalf("the server did not start:\n%s", &s.log)
}

func (s *server) note(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(&s.log, line)
}

// kill ends the process without notice.
func (s *server) kill() {
	s.proc.Process.Kill()
	<-s.logged
	s.proc.Wait()
}

// An answer is one of the API's; status 0: none came.
type answer struct {
	status int
	data   json.RawMessage
}

// call asks the API. An answer that was cut off counts as none.
func (s *server) call(method, path string, body any) answer {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		must(s.t, err)
		content = bytes.NewReader(text)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, content)
	must(s.t, err)
	req.Header.Set("Authorization", "Bearer "+s.token)
	status, text := fetch(req)
	var envelope struct {
		Data json.RawMessage `json:"data"`
	}
	if status == 0 || json.Unmarshal(text, &envelope) != nil {
		return answer{}
	}
	return answer{status, envelope.Data}
}

// get fetches a public address.
func (s *server) get(path string) (int, []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.http+path, nil)
	must(s.t, err)
	return fetch(req)
}

// fetch returns the whole answer, or status 0.
func fetch(req *http.Request) (int, []byte) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil
	}
	return resp.StatusCode, text
}

// path is the path of an absolute address of this server.
func (s *server) path(address string) string {
	_, rest, _ := strings.Cut(address, "://")
	return rest[strings.IndexByte(rest, '/'):]
}
