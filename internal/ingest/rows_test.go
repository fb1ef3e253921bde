package ingest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestRowsAreProven: docs/states.md names tests that exist for each row of
// design section 3.
func TestRowsAreProven(t *testing.T) {
	doc, err := os.ReadFile("../../docs/states.md")
	if err != nil {
		t.Fatal(err)
	}
	dirs := map[string]string{"": ".", "livestream": "../livestream", "hls": "../hls", "rtmpserver": "rtmpserver", "loopback": "loopback"}
	tests := map[string]string{}
	for name, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no tests in %s: %v", dir, err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tests[name] += string(b)
		}
	}
	rows := 0
	for _, line := range strings.Split(string(doc), "\n") {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| ---") || strings.HasPrefix(line, "| row ") {
			continue
		}
		rows++
		named := regexp.MustCompile("`(?:([a-z]+)\\.)?(Test[A-Za-z]+)`").FindAllStringSubmatch(line, -1)
		if len(named) == 0 {
			t.Errorf("nothing proves: %s", line)
		}
		for _, n := range named {
			if !strings.Contains(tests[n[1]], "\nfunc "+n[2]+"(t *testing.T)") {
				t.Errorf("%s is not in %q: %s", n[2], dirs[n[1]], line)
			}
		}
	}
	if rows < 30 {
		t.Errorf("%d rows", rows)
	}
}
