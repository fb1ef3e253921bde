package cli

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/" + name
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Error(d)
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	s := &Streams{Out: &out}
	rows := [][]string{{"1", "käse", ""}, {"22", "a\x1b[31m\tb", "x"}}
	if err := s.list("ID|NAME|NOTE", rows, Paging{TotalCount: 30, StartOffset: 1, EndOffset: 2}, "none"); err != nil {
		t.Fatal(err)
	}
	if err := s.list("ID", nil, Paging{}, "none; make one"); err != nil {
		t.Fatal(err)
	}
	golden(t, "table.txt", out.String())
}

func TestChart(t *testing.T) {
	days := []totals{
		{Date: "2026-07-29"},
		{Date: "2026-07-30", Count: 1, In: 3598, Out: 10870},
		{Date: "2026-07-31", Count: 12, In: 6012, Out: 52200},
		{Date: "2026-08-01", Count: 1, In: 1, Out: 1},
	}
	golden(t, "chart.txt", chart(days, 80)+chart(days, 120)+chart(nil, 60)+chart(days[:1], 60))
	for _, width := range []int{60, 80, 160} {
		for _, line := range strings.Split(chart(days, width), "\n") {
			if n := utf8.RuneCountInString(line); n > width {
				t.Errorf("a line of %d columns where there are %d: %s", n, width, line)
			}
		}
	}
}

// TestTokenStaysAtHome: a token that was read from the file goes to the server
// of the file.
func TestTokenStaysAtHome(t *testing.T) {
	dir := t.TempDir()
	file := `{"api_base":"http://127.0.0.1:8080/client/v4","account_id":"a","app_id":"b","api_token":"from-file"}`
	if err := os.WriteFile(CredentialsFile(dir), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, base, token string
		want              string // the token that is sent; "" for a refusal
	}{
		{"as the file says", "", "", "from-file"},
		{"the same by name", "http://localhost:8080/client/v4", "", "from-file"},
		{"the same over IPv6", "http://[::1]:8080/client/v4", "", "from-file"},
		{"another port", "http://127.0.0.1:8081/client/v4", "", ""},
		{"another host", "http://live.example.com:8080/client/v4", "", ""},
		{"another scheme", "https://127.0.0.1:8080/client/v4", "", ""},
		{"another host with its token", "https://live.example.com/client/v4", "given", "given"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, err := APIFlags{APIBase: c.base, APIToken: c.token, DataDir: dir}.client()
			switch {
			case c.want == "" && (err == nil || !strings.Contains(err.Error(), "for that one alone") || strings.Contains(err.Error(), "from-file")):
				t.Errorf("%v, %v", client, err)
			case c.want != "" && (err != nil || client.creds.APIToken != c.want):
				t.Errorf("%v, %v", client, err)
			}
		})
	}
}
