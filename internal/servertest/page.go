package servertest

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// A Browser is a headless Chromium. Its pages may be used by several goroutines,
// each by one.
type Browser struct {
	mu  sync.Mutex // one command at a time
	in  io.WriteCloser
	out *bufio.Scanner
}

// StartBrowser starts a browser for many pages, which ends with the test. It
// needs chromium, node and the packages of internal/web/e2e (make deps).
func StartBrowser(t testing.TB) *Browser { return startBrowser(t, "pages.mjs") }

func startBrowser(t testing.TB, script string) *Browser {
	t.Helper()
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", script)
	cmd.Dir = filepath.Join(root, "internal", "web", "e2e")
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
	b := &Browser{in: in, out: bufio.NewScanner(out)}
	b.out.Buffer(nil, 1<<20)
	return b
}

// A Page is one page of a browser, for one goroutine.
type Page struct {
	T    testing.TB
	b    *Browser
	name string
}

// Page is the page of that name, which is opened with the first command and
// closed with the test.
func (b *Browser) Page(t testing.TB, name string) *Page {
	p := &Page{T: t, b: b, name: name}
	t.Cleanup(func() { p.Tell(Command{"do": "close"}, nil) })
	return p
}

// Browse starts a browser with one page, which can be told everything.
func Browse(t testing.TB) *Page {
	t.Helper()
	return &Page{T: t, b: startBrowser(t, "page.mjs")}
}

// A Command is a line of internal/web/e2e/page.mjs or, with several pages, of
// pages.mjs. The name of its page is filled in.
type Command map[string]any

// Tell sends a command and decodes its answer into value; nil: does not.
func (p *Page) Tell(c Command, value any) {
	p.T.Helper()
	c["page"] = p.name
	line, err := json.Marshal(c)
	if err != nil {
		p.T.Fatal(err)
	}
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	if _, err := p.b.in.Write(append(line, '\n')); err != nil {
		p.T.Fatal(err)
	}
	if !p.b.out.Scan() {
		p.T.Fatalf("%v: the browser is gone", c)
	}
	var answer struct {
		Value json.RawMessage
		Error string
	}
	if err := json.Unmarshal(p.b.out.Bytes(), &answer); err != nil || answer.Error != "" {
		p.T.Fatalf("%v: %s %v", c, answer.Error, err)
	}
	if value != nil {
		if err := json.Unmarshal(answer.Value, value); err != nil {
			p.T.Fatalf("%v: %s: %v", c, answer.Value, err)
		}
	}
}

// Open loads an address; more are width, height and dark.
func (p *Page) Open(url string, more Command) (status int) {
	p.T.Helper()
	c := Command{"do": "open", "url": url}
	for k, v := range more {
		c[k] = v
	}
	p.Tell(c, &status)
	return status
}

// Eval decodes the value of an expression in the page into value; nil: does not.
func (p *Page) Eval(code string, value any) {
	p.T.Helper()
	p.Tell(Command{"do": "eval", "code": code}, value)
}

// Shot takes a screenshot where TALLY_SCREENSHOTS says, if it is set.
func (p *Page) Shot(name string) {
	p.T.Helper()
	if dir := os.Getenv("TALLY_SCREENSHOTS"); dir != "" {
		p.Tell(Command{"do": "shot", "path": filepath.Join(dir, name+".png")}, nil)
	}
}

// Accessible fails for what axe-core finds.
func (p *Page) Accessible(where string) {
	p.T.Helper()
	var found []string
	p.Tell(Command{"do": "axe"}, &found)
	for _, f := range found {
		p.T.Errorf("%s: %s", where, f)
	}
}

// Await waits until an expression is true in the watch page, and says how long
// it took.
func (p *Page) Await(what, code string, limit time.Duration) time.Duration {
	p.T.Helper()
	for began := time.Now(); time.Since(began) < limit; time.Sleep(50 * time.Millisecond) {
		var ok bool
		if p.Eval("!!("+code+")", &ok); ok {
			return time.Since(began)
		}
	}
	var seen string
	p.Eval(`JSON.stringify([document.body.dataset.state, headline.textContent, tally.news, {...tally.player, hls: !!tally.player.hls, loaded: 0}, video.currentTime])`, &seen)
	p.T.Fatalf("%s: not after %v; the page has %s", what, limit, seen)
	return 0
}

// Quiet fails for errors on the console and uncaught exceptions.
func (p *Page) Quiet() {
	p.T.Helper()
	var problems []string
	p.Tell(Command{"do": "problems"}, &problems)
	for _, x := range problems {
		p.T.Errorf("the page complains: %s", x)
	}
}
