package webhook

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tally/internal/livestream"
)

// The receivers of docs/webhooks.md take what the engine sends, and refuse what
// it did not sign.
func TestReceiversOfTheDocumentation(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "webhooks.md"))
	must(t, err)
	for _, c := range []struct {
		name, file string
		command    func(file string) *exec.Cmd
	}{
		{"go", "receiver.go", func(file string) *exec.Cmd {
			binary := file + ".exe"
			if out, err := exec.Command("go", "build", "-o", binary, file).CombinedOutput(); err != nil {
				t.Fatalf("%s\n%s", err, out)
			}
			return exec.Command(binary)
		}},
		{"js", "receiver.mjs", func(file string) *exec.Cmd { return exec.Command("node", file) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, code, ok := strings.Cut(string(text), "```"+c.name+"\n")
			code, _, ended := strings.Cut(code, "```\n")
			if !ok || !ended {
				t.Fatalf("docs/webhooks.md has no %s code", c.name)
			}
			file := filepath.Join(t.TempDir(), c.file)
			must(t, os.WriteFile(file, []byte(code), 0o600))

			w := newWorld(t, "", local())
			w.start()
			keys := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				key, err := w.e.PublicKey(r.Context())
				if err != nil {
					panic(http.ErrAbortHandler)
				}
				_ = json.NewEncoder(rw).Encode(map[string]any{"success": true, "data": map[string]string{"publicKey": key}, "message": ""})
			}))
			defer keys.Close()
			h := w.hook("http://127.0.0.1:1/")
			run := c.command(file)
			run.Env = append(os.Environ(), "SECRET="+h.Secret.Reveal(), "KEY_URL="+keys.URL, "PORT=0")
			run.Stderr = os.Stderr
			out, err := run.StdoutPipe()
			must(t, err)
			must(t, run.Start())
			defer func() { _ = run.Process.Kill(); _ = run.Wait() }()
			lines := bufio.NewScanner(out)
			lines.Scan()
			addr, ok := strings.CutPrefix(lines.Text(), "listening on ")
			if !ok {
				t.Fatalf("receiver says %q", lines.Text())
			}
			_, err = w.store.ChangeWebhook(t.Context(), here, h.ID, func(h *livestream.Webhook) error { h.URL = "http://" + addr + "/hook"; return nil })
			must(t, err)

			resp, err := http.Post("http://"+addr+"/hook", "application/json", strings.NewReader(`{}`))
			must(t, err)
			resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden {
				t.Errorf("what is not signed is answered %d", resp.StatusCode)
			}
			l := w.livestream()
			w.onAir(l)
			w.advance(l, livestream.Unpublish)
			for _, status := range []string{"LIVE", "OFFLINE"} {
				lines.Scan()
				if want := fmt.Sprintf("livestreaming.statusUpdate %s %s", l.ID, status); lines.Text() != want {
					t.Errorf("receiver says %q, want %q", lines.Text(), want)
				}
			}
			for _, d := range w.settled(h) {
				if d.State != livestream.DeliveryDone {
					t.Errorf("delivery %+v", d)
				}
			}
			http.DefaultClient.CloseIdleConnections()
		})
	}
}
