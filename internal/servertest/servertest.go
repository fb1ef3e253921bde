// Package servertest runs the built tally for tests: a process on a fresh data
// directory and free ports that can be killed, stopped and started again, with
// what such a test needs around it: a small API client, encoders that leave in
// every way, a receiver of webhooks, a relay that plays a pulled cable, and a
// browser.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { servertest.Main(m) }
//
// The binary is built once per test process, when the first server is started;
// TALLY_TEST_BINARY names another one to test instead.
// Nothing in the product imports this package.
package servertest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Main runs the tests of a package and removes what was built for them.
func Main(m *testing.M) {
	code := m.Run()
	if scratch != "" {
		os.RemoveAll(scratch)
	}
	os.Exit(code)
}

var scratch string // made by scratchDir, removed by Main

var scratchDir = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tally-test-")
	scratch = dir
	return dir, err
})

// built is the binary that TALLY_TEST_BINARY names, or one that is built now.
var built = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("TALLY_TEST_BINARY"); path != "" {
		return path, nil
	}
	return Build("tally")
})

// Binary is the path of the built tally.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Build builds cmd/tally as a file of that name, with more flags of go build
// than the usual ones, and returns its path. Main removes it.
func Build(name string, flags ...string) (string, error) {
	dir, err := scratchDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	args := append([]string{"build", "-trimpath", "-o", path}, flags...)
	build := exec.Command("go", append(args, "tally/cmd/tally")...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build tally: %w\n%s", err, out)
	}
	return path, nil
}

// Root is the directory of the module's go.mod.
var Root = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
})

// Options say how to start a server. The zero value is ready.
type Options struct {
	Flags      []string // of tally serve, behind those that every server here gets
	Binary     string   // "": Binary
	HTTP, RTMP string   // HOST:PORT to listen on; "": a free port of 127.0.0.1
	Env        []string // more variables, NAME=VALUE
}

// A Server is one data directory and the process that serves it now. Start,
// Kill, Stop and Restart are for one goroutine; all else may be called by several.
type Server struct {
	Dir        string
	HTTP, RTMP string // HOST:PORT, the same after a restart
	HTTPS      string // HOST:PORT; "" without a certificate
	API        string // base address of the API, ending in /client/v4
	Account    string
	App        string
	Token      string

	t      testing.TB
	o      Options
	proc   *exec.Cmd
	logged chan struct{} // closed when the process's log has ended; nil: none runs

	stepped map[int]time.Duration // wall clocks, by process id

	mu  sync.Mutex
	log bytes.Buffer // of all lives
}

// Start starts a server with these flags on a fresh data directory. It is
// stopped with the test, and its log is shown if the test failed.
func Start(t testing.TB, flags ...string) *Server {
	t.Helper()
	return StartWith(t, Options{Flags: flags})
}

// StartWith is Start with options.
func StartWith(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{t: t, o: o, Dir: t.TempDir(), HTTP: "127.0.0.1:0", RTMP: "127.0.0.1:0", stepped: map[int]time.Duration{}}
	if o.HTTP != "" {
		s.HTTP = o.HTTP
	}
	if o.RTMP != "" {
		s.RTMP = o.RTMP
	}
	t.Cleanup(func() {
		if s.logged != nil {
			s.Stop()
		}
		if t.Failed() {
			t.Logf("server log:\n%s", s.Log())
		}
	})
	s.Restart()
	text, err := os.ReadFile(filepath.Join(s.Dir, "credentials.json"))
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
	s.API, s.Account, s.App, s.Token = c.Base, c.Account, c.App, c.Token
	return s
}

// Restart starts a process on the data directory, at the addresses of the one
// before, and returns when it listens.
func (s *Server) Restart() {
	s.t.Helper()
	binary := s.o.Binary
	if binary == "" {
		binary = Binary(s.t)
	}
	args := []string{"serve", "--data-dir", s.Dir, "--http-addr", s.HTTP, "--rtmp-addr", s.RTMP, "--admin-addr", "",
		"--api-rate-limit", "0", "--api-address-rate-limit", "0", "--access-log", "off"} // tests poll
	proc := exec.Command(binary, append(args, s.o.Flags...)...)
	proc.Env = append(os.Environ(), s.o.Env...)
	pipe, err := proc.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := proc.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.proc, s.logged = proc, make(chan struct{})
	listening := make(chan struct{})
	go s.follow(bufio.NewScanner(pipe), listening, s.logged)
	select {
	case <-listening:
	case <-s.logged: // it ended
		proc.Wait()
		s.logged = nil
		s.t.Fatalf("the server did not start:\n%s", s.Log())
	case <-time.After(30 * time.Second):
		s.Kill()
		s.t.Fatalf("the server does not listen after 30 s:\n%s", s.Log())
	}
}

// follow keeps the log of one process. It ends with it.
func (s *Server) follow(lines *bufio.Scanner, listening, logged chan struct{}) {
	defer close(logged)
	lines.Buffer(nil, 1<<20)
	for heard := false; lines.Scan(); {
		s.mu.Lock()
		s.log.Write(append(lines.Bytes(), '\n'))
		s.mu.Unlock()
		var line struct{ Msg, HTTP, HTTPS, RTMP string }
		if !heard && json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			s.HTTP, s.HTTPS, s.RTMP = line.HTTP, line.HTTPS, line.RTMP // before anybody is told
			heard = true
			close(listening)
		}
	}
}

// Log is what all processes so far have logged.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// Process is the process that serves now.
func (s *Server) Process() *os.Process { return s.proc.Process }

// Kill ends the process without notice (SIGKILL).
func (s *Server) Kill() {
	s.proc.Process.Kill()
	<-s.logged
	s.proc.Wait()
	s.logged = nil
}

// Stop asks the process to end (SIGTERM) and returns how long that took. It must
// exit cleanly within the 10 s of the design.
func (s *Server) Stop() time.Duration {
	s.t.Helper()
	began := time.Now()
	s.proc.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(15*time.Second, func() { s.proc.Process.Kill() })
	<-s.logged
	err := s.proc.Wait()
	late.Stop()
	s.logged = nil
	took := time.Since(began)
	if err != nil || took > 10*time.Second {
		s.t.Errorf("SIGTERM: the server ended after %v: %v, want a clean exit within 10 s", took, err)
	}
	return took
}

// Eventually waits until ok is true and returns how long that took. It looks
// every 10 ms.
func Eventually(t testing.TB, what string, limit time.Duration, ok func() bool) time.Duration {
	t.Helper()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if ok() {
			return time.Since(began)
		}
		if time.Since(began) > limit {
			t.Fatalf("waited %v for %s", limit, what)
		}
	}
}
