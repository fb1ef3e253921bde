package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// A child is a process that the bench started and ends again, by its id.
type child struct {
	name    string
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	started time.Time     // just before exec
	exited  chan struct{} // closed after the process was waited for
	lines   chan string   // what it printed on the watched stream; lines nobody takes are dropped

	mu   sync.Mutex
	tail []string // last lines, for error messages
}

// startChild runs a program. Its standard output and error are both read line
// by line. The process is killed when ctx ends.
func startChild(ctx context.Context, name, path string, args []string, env ...string) (*child, error) {
	c := &child{name: name, exited: make(chan struct{}), lines: make(chan string, 64)}
	c.cmd = exec.CommandContext(ctx, path, args...)
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.WaitDelay = time.Second
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	c.cmd.Stdout, c.cmd.Stderr = w, w // one writer for both: exec copies from one pipe
	c.started = time.Now()
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go c.read(r)
	go func() {
		c.cmd.Wait()
		w.Close()
		close(c.exited)
	}()
	return c, nil
}

// read keeps the output moving, so that the child never blocks on it.
func (c *child) read(r io.Reader) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), 1<<20)
	for s.Scan() {
		line := s.Text()
		c.mu.Lock()
		c.tail = append(c.tail, line)
		if len(c.tail) > 20 {
			c.tail = c.tail[1:]
		}
		c.mu.Unlock()
		select {
		case c.lines <- line:
		default:
		}
	}
	io.Copy(io.Discard, r)
}

// await returns the first line that accept takes.
func (c *child) await(ctx context.Context, accept func(line string) bool) error {
	timeout := time.NewTimer(20 * time.Second)
	defer timeout.Stop()
	for {
		select {
		case line := <-c.lines:
			if accept(line) {
				return nil
			}
		case <-c.exited:
			return fmt.Errorf("%s ended before it was ready: %s", c.name, c.lastLines())
		case <-timeout.C:
			return fmt.Errorf("%s not ready within 20 s: %s", c.name, c.lastLines())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *child) lastLines() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := ""
	for _, l := range c.tail {
		out += "\n  | " + l
	}
	return out
}

// stop asks the process to end, and kills it after a grace period.
func (c *child) stop() {
	c.stdin.Close()
	c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.exited:
	case <-time.After(12 * time.Second):
		c.cmd.Process.Kill()
		<-c.exited
	}
}

// usage reads what the process has taken so far.
func (c *child) usage() (usage, error) { return readUsage(c.cmd.Process.Pid) }
