package conformance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// JSVersions are the releases of npm cloudflare in js/package.json. Times in
// analytics are ISO 8601 up to 6.3 (which is 6.0.0 in this family), and Unix
// seconds after; 7.0 renamed methods; 7.3 cannot create a livestream.
var JSVersions = []string{"6.0.0", "6.5.0", "7.0.0", "7.3.0"}

// A jsClient is one node process, which answers a line of JSON with another.
type jsClient struct {
	version string

	mu      sync.Mutex
	cmd     *exec.Cmd // nil before the first call
	in      io.WriteCloser
	said    *bytes.Buffer // what node printed beside, whole once done is closed
	waiting map[int]chan jsAnswer
	next    int
	done    chan struct{}
}

// NewJS makes a client of one release. Its process starts with the first call
// and ends with Close.
func NewJS(version string) Client { return &jsClient{version: version} }

func (c *jsClient) Name() string { return "js " + c.version }
func (c *jsClient) Go() bool     { return false }

// A jsQuestion is one line to js/client.mjs.
type jsQuestion struct {
	ID     int               `json:"id"`
	Op     string            `json:"op"` // call, plain, probe, methods
	Target Target            `json:"target"`
	Method string            `json:"method"`
	Path   string            `json:"path,omitempty"`
	IDs    []string          `json:"ids"`
	Params any               `json:"params"`
	Query  map[string]string `json:"query"`
}

// A jsAnswer is one line from it.
type jsAnswer struct {
	ID         int
	Failed     string // the driver's error
	NoMethod   bool
	Answer     json.RawMessage
	Extra      []string
	Nulls      []string
	Problems   []string
	Undeclared []string
	Refusal    *Refusal
	TookMS     float64
	Methods    []Method
}

// Call implements Client.
func (c *jsClient) Call(ctx context.Context, t Target, call Call) (a Answer, err error) {
	q := jsQuestion{Op: "call", Target: t, Method: call.Method, IDs: call.IDs, Query: call.Query}
	if call.Params != nil {
		q.Params = jsValue(call.Params)
	}
	if method, path, plain := call.plain(t); plain {
		q.Op, q.Method, q.Path = "plain", method, path
	}
	got, err := c.ask(ctx, q)
	if err != nil {
		return a, err
	}
	a = Answer{Raw: got.Answer, Extra: got.Extra, Nulls: got.Nulls, Problems: got.Problems,
		Undeclared: got.Undeclared, Refusal: got.Refusal, Took: time.Duration(got.TookMS * float64(time.Millisecond)), Plain: q.Op == "plain"}
	if a.Refusal != nil {
		return a, nil
	}
	a.Reading, err = flatten(got.Answer)
	a.lift()
	return a, err
}

// jsValue marks times, which the driver sends as the client declares them.
func jsValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		object := map[string]any{}
		for name, inner := range v {
			object[name] = jsValue(inner)
		}
		return object
	case time.Time:
		return map[string]any{"$time": v.UnixMilli()}
	}
	return v
}

// Methods implements Client.
func (c *jsClient) Methods() ([]Method, error) {
	got, err := c.ask(context.Background(), jsQuestion{Op: "methods"})
	return got.Methods, err
}

// Probe implements Client.
func (c *jsClient) Probe(ctx context.Context, t Target, method string) error {
	_, err := c.ask(ctx, jsQuestion{Op: "probe", Target: t, Method: method})
	return err
}

func (c *jsClient) ask(ctx context.Context, q jsQuestion) (a jsAnswer, err error) {
	answered, err := c.send(q)
	if err != nil {
		return a, err
	}
	select {
	case a = <-answered:
	case <-c.done:
		return a, fmt.Errorf("npm cloudflare %s: node ended:\n%s", c.version, c.said)
	case <-ctx.Done():
		return a, context.Cause(ctx)
	}
	switch {
	case a.NoMethod:
		return a, ErrNoMethod
	case a.Failed != "":
		return a, fmt.Errorf("npm cloudflare %s: %s", c.version, a.Failed)
	}
	return a, nil
}

func (c *jsClient) send(q jsQuestion) (<-chan jsAnswer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		if err := c.start(); err != nil {
			return nil, err
		}
	}
	c.next++
	q.ID = c.next
	answered := make(chan jsAnswer, 1)
	c.waiting[q.ID] = answered
	return answered, json.NewEncoder(c.in).Encode(q)
}

func (c *jsClient) start() error {
	_, here, _, _ := runtime.Caller(0)
	cmd := exec.Command("node", filepath.Join(filepath.Dir(here), "js", "client.mjs"), c.version)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	c.said = &bytes.Buffer{}
	cmd.Stderr = c.said
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start node: %w", err)
	}
	c.cmd, c.in, c.waiting, c.done = cmd, in, map[int]chan jsAnswer{}, make(chan struct{})
	go func() { // ends with the process
		defer close(c.done)
		c.read(out)
		cmd.Wait()
	}()
	return nil
}

// read hands each answer to whoever waits for it; what is no answer fails all.
func (c *jsClient) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var a jsAnswer
		err := json.Unmarshal(lines.Bytes(), &a)
		c.mu.Lock()
		if err != nil {
			a.Failed = fmt.Sprintf("not an answer: %q", lines.Bytes())
			for _, answered := range c.waiting {
				answered <- a
			}
			clear(c.waiting)
		} else if answered, ok := c.waiting[a.ID]; ok {
			answered <- a
			delete(c.waiting, a.ID)
		}
		c.mu.Unlock()
	}
}

// Close implements Client: it ends the process and waits for it.
func (c *jsClient) Close() error {
	c.mu.Lock()
	cmd := c.cmd
	c.mu.Unlock()
	if cmd == nil {
		return nil
	}
	err := c.in.Close()
	<-c.done
	return err
}
