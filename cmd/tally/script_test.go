package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rogpeppe/go-internal/testscript"

	"tally/internal/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"tally": func() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// TestScripts tells the binary as users meet it; each file of testdata/script
// is one story. Every process a script starts with & is ended by its end.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exec-code":   cmdExecCode,
			"ready":       cmdReady,
			"get":         cmdGet,
			"await":       cmdAwait,
			"freeport":    cmdFreePort,
			"fields":      cmdFields,
			"certificate": cmdCertificate,
			"empty":       cmdEmpty,
			"mode":        cmdMode,
			"lines":       cmdLines,
			"receiver":    cmdReceiver,
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			// Under -race a process sleeps a second before it exits unless told
			// otherwise, and a story runs dozens.
			env.Setenv("GORACE", "atexit_sleep_ms=50")
			return nil
		},
	})
}

// patience bounds every wait in a script: far above what is measured, so that a
// busy machine does not fail a story.
const patience = 30 * time.Second

// until calls try each 50 ms until it returns nil; then, or after patience, it
// returns what try last said.
func until(try func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// cmdReady waits until the server of a data directory is ready and sets what
// its credentials say: ready DIR → $BASE (scheme and host), $API (up to the
// app), $ACCOUNT, $APP, $TOKEN.
func cmdReady(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ready DIR")
	}
	ts.Check(until(func() error {
		c, err := cli.ReadCredentials(ts.MkAbs(args[0]))
		if err != nil {
			return err
		}
		base := strings.TrimSuffix(c.APIBase, "/client/v4")
		resp, err := http.Get(base + "/readyz")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s/readyz: %s", base, resp.Status)
		}
		ts.Setenv("BASE", base)
		ts.Setenv("API", fmt.Sprintf("%s/accounts/%s/realtime/kit/%s", c.APIBase, c.AccountID, c.AppID))
		ts.Setenv("ACCOUNT", c.AccountID)
		ts.Setenv("APP", c.AppID)
		ts.Setenv("TOKEN", c.APIToken)
		return nil
	}))
}

// fetch GETs an address with the script's token.
func fetch(ts *testscript.TestScript, address string) (string, int, error) {
	req, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return "", 0, err
	}
	if token := ts.Getenv("TOKEN"); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), resp.StatusCode, err
}

// cmdExecCode runs a program and checks its exit code: exec-code 2 tally serv.
func cmdExecCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exec-code N PROGRAM ARGS...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d (%v), want %s", code, err, args[0])
	}
}

// cmdGet fetches an address with the token and writes the body to FILE:
// get STATUS URL FILE.
func cmdGet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: get STATUS URL FILE")
	}
	body, status, err := fetch(ts, args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(body), 0o600))
	if want, _ := strconv.Atoi(args[0]); status != want {
		ts.Fatalf("%s answered %d, want %s: %s", args[1], status, args[0], body)
	}
}

// cmdAwait fetches an address until its body matches, and sets $1, $2, … to
// the groups of the pattern as $MATCH1, $MATCH2: await URL REGEXP.
func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await URL REGEXP")
	}
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	ts.Check(until(func() error {
		body, status, err := fetch(ts, args[0])
		if err != nil {
			return err
		}
		groups := pattern.FindStringSubmatch(body)
		if groups == nil {
			return fmt.Errorf("%s answered %d without %s: %s", args[0], status, args[1], body)
		}
		for i, g := range groups[1:] {
			ts.Setenv("MATCH"+strconv.Itoa(i+1), g)
		}
		return nil
	}))
}

// cmdFields sets variables named like the keys from a JSON object in FILE:
// fields FILE KEY..., or NAME=KEY.KEY... for what stands deeper.
func cmdFields(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: fields FILE KEY|NAME=KEY.KEY...")
	}
	var object map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &object))
	for _, arg := range args[1:] {
		name, path, found := strings.Cut(arg, "=")
		if !found {
			path = name
		}
		var value any = object
		for key := range strings.SplitSeq(path, ".") {
			within, _ := value.(map[string]any)
			value = within[key]
		}
		text, ok := value.(string)
		if !ok {
			ts.Fatalf("%s has no text %q", args[0], path)
		}
		ts.Setenv(name, text)
	}
}

// cmdEmpty checks that a directory holds nothing but .keep: empty DIR.
func cmdEmpty(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: empty DIR")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	for _, e := range entries {
		if e.Name() != ".keep" {
			ts.Fatalf("%s holds %s", args[0], e.Name())
		}
	}
}

// cmdCertificate writes a certificate for 127.0.0.1 that signs itself:
// certificate CERT KEY.
func cmdCertificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: certificate CERT KEY")
	}
	cert, key, err := selfSigned(1, time.Now().Add(time.Hour))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), cert, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), key, 0o600))
}

// cmdFreePort sets a variable to a port that was free a moment ago.
func cmdFreePort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: freeport VARIABLE")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
	ts.Check(ln.Close())
}

// cmdMode checks a file's permission bits: mode 600 FILE.
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode BITS FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := strconv.FormatUint(uint64(info.Mode().Perm()), 8); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", filepath.Base(args[1]), got, args[0])
	}
}

// cmdLines checks how many lines the last program wrote: lines 1 stderr.
func cmdLines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: lines N stdout|stderr")
	}
	text := strings.TrimSuffix(ts.ReadFile(args[1]), "\n")
	if got := strconv.Itoa(len(strings.Split(text, "\n"))); got != args[0] {
		ts.Fatalf("%s has %s lines, want %s:\n%s", args[1], got, args[0], text)
	}
}

func serveFlags(t *testing.T) []*kong.Flag {
	t.Helper()
	for _, node := range newParser(io.Discard, io.Discard).Model.Children {
		if node.Name == "serve" {
			return node.Flags
		}
	}
	t.Fatal("no serve command")
	return nil
}

// TestServeFlagsHaveVariables holds the promise that every flag of serve is a key and an
// environment variable of the stated form.
func TestServeFlagsHaveVariables(t *testing.T) {
	var out strings.Builder
	for _, f := range serveFlags(t) {
		if f.Name == "help" {
			continue
		}
		want := "TALLY_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if len(f.Envs) != 1 || f.Envs[0] != want {
			fmt.Fprintf(&out, "--%s has variables %v, want %s\n", f.Name, f.Envs, want)
		}
	}
	if out.Len() > 0 {
		t.Error(out.String())
	}
}

// TestCredentialsFile pins the file's form, which other programs read.
func TestCredentialsFile(t *testing.T) {
	dir := t.TempDir()
	want := cli.Credentials{APIBase: "http://127.0.0.1:8080/client/v4", AccountID: "a", AppID: "b", APIToken: "c"}
	if err := writeCredentials(dir, want); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "credentials.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{"api_base": want.APIBase, "account_id": "a", "app_id": "b", "api_token": "c"} {
		if got[key] != value {
			t.Errorf("%s = %q, want %q", key, got[key], value)
		}
	}
}
