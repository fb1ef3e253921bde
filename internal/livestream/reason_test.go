package livestream

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"
)

// TestCodesAreDocumented keeps docs/err-messages.md equal to the list in reason.go.
func TestCodesAreDocumented(t *testing.T) {
	listed, documented := codesIn(t, "reason.go", "Code"), codesOn(t, "err-messages.md")
	if len(listed) == 0 || !slices.Equal(listed, documented) {
		t.Errorf("reason.go lists %v, the page %v", listed, documented)
	}
}

// codesIn returns the constants of a type of codes that a file declares, sorted.
func codesIn(t *testing.T, name, codeType string) (listed []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && v.Type != nil {
			if id, ok := v.Type.(*ast.Ident); ok && id.Name == codeType {
				text, _ := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				listed = append(listed, text)
			}
		}
		return true
	})
	slices.Sort(listed)
	return listed
}

// codesOn returns the codes that have a line of their own in the table of a page
// below docs, sorted.
func codesOn(t *testing.T, page string) (documented []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)`").FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, m[1])
	}
	slices.Sort(documented)
	return documented
}

func TestSentences(t *testing.T) {
	for _, c := range []struct {
		r    Reason
		want string
	}{
		{Reason{}, ""},
		{Keyless(10 * time.Second), "NO_KEYFRAME: no keyframe arrived within 10 s of the first packet; set the encoder's Keyframe Interval to 2 s"},
		{HeadersOnly(10 * time.Second), "NO_MEDIA: sequence headers arrived, but no picture or sound that belongs to them within 10 s; start the encoder's output and check that it sends without pauses"},
		{Gone(1234 * time.Millisecond), "DISCONNECTED: the encoder's connection ended 1.23 s after the publish, before anything was playable; check the encoder's log and network"},
		{NeverCame(30 * time.Minute), "NO_ENCODER: no encoder published within 30m0s of the start; start the livestream again and publish to its ingest server with its stream key"},
		{TooMuch("120.0 Mbit/s", 64<<20, 6*time.Second), "BITRATE_TOO_HIGH: 120.0 Mbit/s fill the 64 MB that a livestream may hold with less than 6 s, three target durations; lower the encoder's bitrate or its keyframe interval"},
	} {
		if got := c.r.String(); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}
