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
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && v.Type != nil {
			if id, ok := v.Type.(*ast.Ident); ok && id.Name == "Code" {
				text, _ := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				listed = append(listed, text)
			}
		}
		return true
	})
	doc, err := os.ReadFile("../../docs/err-messages.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)`").FindAllStringSubmatch(string(doc), -1) {
		documented = append(documented, m[1])
	}
	slices.Sort(listed)
	slices.Sort(documented)
	if len(listed) == 0 || !slices.Equal(listed, documented) {
		t.Errorf("reason.go lists %v, the page %v", listed, documented)
	}
}

func TestSentences(t *testing.T) {
	for _, c := range []struct {
		r    Reason
		want string
	}{
		{Reason{}, ""},
		{Keyless(10 * time.Second), "NO_KEYFRAME: no keyframe arrived within 10 s of the first packet; set the encoder's Keyframe Interval to 2 s"},
		{Gone(1234 * time.Millisecond), "DISCONNECTED: the encoder's connection ended 1.23 s after the publish, before anything was playable; check the encoder's log and network"},
		{NeverCame(30 * time.Minute), "NO_ENCODER: no encoder published within 30m0s of the start; start the livestream again and publish to its ingest server with its stream key"},
		{TooMuch("120.0 Mbit/s", 64<<20, 6*time.Second), "BITRATE_TOO_HIGH: 120.0 Mbit/s fill the 64 MB that a livestream may hold with less than 6 s, three target durations; lower the encoder's bitrate or its keyframe interval"},
	} {
		if got := c.r.String(); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}
