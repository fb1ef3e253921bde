// Package cdn holds that Varnish, from Debian's package and with the VCL that is
// shipped, serves shared delivery: the origin is asked for each part and segment
// once, viewers are counted right, and who waits for a part gets it as it comes.
package cdn

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tally/internal/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// patience bounds every wait: far above what is measured.
const patience = 30 * time.Second

// A varnish is a varnishd of this test.
type varnish struct {
	addr string // HOST:PORT
	proc *exec.Cmd
	out  bytes.Buffer // what it printed; valid once it has ended
}

// varnishd is the program: Debian has it where only root looks.
func varnishd(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"varnishd", "/usr/sbin/varnishd"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("varnishd is not installed: scripts/install-test-deps.sh installs it")
	return ""
}

// startVarnish runs varnishd with the shipped VCL in front of a server, with a
// directory of its own. It ends with the test.
func startVarnish(t *testing.T, origin string) *varnish {
	t.Helper()
	dir := t.TempDir()
	vcl := filepath.Join(dir, "tally.vcl")
	if err := os.WriteFile(vcl, shippedVCL(t, origin), 0o644); err != nil {
		t.Fatal(err)
	}
	for try := 1; ; try++ {
		v := &varnish{addr: freeAddr(t)}
		// Of one worker pool, and without a user to change to: any user may run this.
		v.proc = exec.Command(varnishd(t), "-F", "-j", "none", "-n", filepath.Join(dir, fmt.Sprint("run", try)), "-f", vcl,
			"-a", v.addr, "-T", "none", "-s", "malloc,64m", "-p", "thread_pools=1", "-p", "thread_pool_min=50", "-p", "vcc_allow_inline_c=off")
		v.proc.Stdout, v.proc.Stderr = &v.out, &v.out
		v.proc.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
		if err := v.proc.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			v.proc.Wait()
		}()
		if v.listens(ended) {
			t.Cleanup(func() {
				v.proc.Process.Signal(syscall.SIGTERM)
				<-ended
				if t.Failed() {
					t.Logf("varnishd printed:\n%s", v.out.String())
				}
			})
			return v
		}
		v.proc.Process.Kill()
		<-ended
		if try == 3 { // another program may have taken the port twice
			t.Fatalf("varnishd does not listen:\n%s", v.out.String())
		}
	}
}

// listens waits until varnishd does; false: it ended, or never did.
func (v *varnish) listens(ended <-chan struct{}) bool {
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if c, err := net.Dial("tcp", v.addr); err == nil {
			c.Close()
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

// shippedVCL is deploy/varnish/tally.vcl with the origin's address in it.
func shippedVCL(t *testing.T, origin string) []byte {
	t.Helper()
	root, err := servertest.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "deploy", "varnish", "tally.vcl"))
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(origin)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []struct{ old, new string }{{`.host = "127.0.0.1";`, `.host = "` + host + `";`}, {`.port = "8080";`, `.port = "` + port + `";`}} {
		if bytes.Count(text, []byte(line.old)) != 1 {
			t.Fatalf("the VCL has not one line %s", line.old)
		}
		text = bytes.Replace(text, []byte(line.old), []byte(line.new), 1)
	}
	return text
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// A tap stands in front of the server, lets everything through as it is, and
// remembers what was asked for. It copies bytes, so that it says nothing of
// itself and delays nothing.
type tap struct {
	addr string // HOST:PORT

	mu    sync.Mutex
	asked map[string]int // requests by path
}

// newTap starts a tap, which ends with the test.
func newTap(t *testing.T, server string) *tap {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{addr: ln.Addr().String(), asked: map[string]int{}}
	ctx, stop := context.WithCancel(context.Background())
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { p.pass(ctx, c, server) })
		}
	})
	t.Cleanup(func() {
		stop()
		ln.Close()
		conns.Wait()
	})
	return p
}

// pass copies one connection both ways, until either end is done.
func (p *tap) pass(ctx context.Context, c net.Conn, server string) {
	up, err := net.Dial("tcp", server)
	if err != nil {
		c.Close()
		return
	}
	over := context.AfterFunc(ctx, func() { c.Close(); up.Close() })
	defer over()
	var both sync.WaitGroup
	both.Go(func() {
		defer c.Close()
		io.Copy(c, up)
	})
	defer both.Wait()
	defer up.Close()
	in := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(in) // what varnishd sends has no bodies here but beacons, which nobody sends
		if err != nil {
			return
		}
		p.mu.Lock()
		p.asked[req.URL.Path]++
		p.mu.Unlock()
		if err := req.Write(up); err != nil {
			return
		}
	}
}

// media is how often each piece of media was asked for, by its path.
func (p *tap) media() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := map[string]int{}
	for path, n := range p.asked {
		if strings.HasSuffix(path, ".m4s") || strings.HasSuffix(path, ".mp4") {
			found[path] = n
		}
	}
	return found
}
