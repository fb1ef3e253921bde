package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// A chromium is a headless browser with one page, driven by
// internal/web/e2e/page.mjs, whose commands it takes.
type chromium struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// openChromium starts a browser. It needs chromium, node and the packages of
// internal/web/e2e (make deps).
func openChromium(ctx context.Context) (*chromium, error) {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOMOD: %w", err)
	}
	c := &chromium{cmd: exec.CommandContext(ctx, "node", "page.mjs")}
	c.cmd.Dir = filepath.Join(filepath.Dir(string(mod)), "internal", "web", "e2e")
	if err := hasPackages(c.cmd.Dir); err != nil {
		return nil, err
	}
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewScanner(out)
	c.out.Buffer(nil, 64<<20)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("the browser is driven by node: %w; make deps installs what it needs", err)
	}
	return c, nil
}

// hasPackages says what to do where a fresh clone has no packages yet.
func hasPackages(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "playwright-core")); err != nil {
		return fmt.Errorf("what drives the browser is not installed: run make deps, then this again: %w", err)
	}
	return nil
}

// close ends the browser.
func (c *chromium) close() {
	c.in.Close()
	c.cmd.Wait()
}

// tell sends a command and decodes its answer into value; nil: does not.
func (c *chromium) tell(command map[string]any, value any) error {
	line, err := json.Marshal(command)
	if err != nil {
		return err
	}
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		return err
	}
	if !c.out.Scan() {
		return errors.Join(errors.New("the browser is gone"), c.out.Err())
	}
	var answer struct {
		Value json.RawMessage
		Error string
	}
	if err := json.Unmarshal(c.out.Bytes(), &answer); err != nil {
		return err
	}
	if answer.Error != "" {
		return fmt.Errorf("the browser says: %s", answer.Error)
	}
	if value == nil {
		return nil
	}
	return json.Unmarshal(answer.Value, value)
}

// eval decodes the value of an expression in the page.
func (c *chromium) eval(code string, value any) error {
	return c.tell(map[string]any{"do": "eval", "code": code}, value)
}
