package livestream

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestWarningsAreDocumented keeps docs/encoder-warnings.md and the contract equal
// to the list in warning.go.
func TestWarningsAreDocumented(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "warning.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && v.Type != nil {
			if id, ok := v.Type.(*ast.Ident); ok && id.Name == "WarningCode" {
				text, _ := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				listed = append(listed, text)
			}
		}
		return true
	})
	page, err := os.ReadFile("../../docs/encoder-warnings.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)`").FindAllStringSubmatch(string(page), -1) {
		documented = append(documented, m[1])
	}
	contract, err := os.ReadFile("../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var declared []string
	if m := regexp.MustCompile(`(?m)^    WarningCode:\n      enum: \[(.*)\]`).FindStringSubmatch(string(contract)); m != nil {
		declared = strings.Split(m[1], ", ")
	}
	slices.Sort(listed)
	slices.Sort(documented)
	slices.Sort(declared)
	if len(listed) == 0 || !slices.Equal(listed, documented) || !slices.Equal(listed, declared) {
		t.Errorf("warning.go lists %v, the page %v, the contract %v", listed, documented, declared)
	}
}

func TestWarningText(t *testing.T) {
	ws := []Warning{{KeyframeInterval, "keyframes every 8.3 s: too rare"}, {NoAudio, "none"}}
	text := JoinWarnings(ws)
	if want := "KEYFRAME_INTERVAL: keyframes every 8.3 s: too rare\nNO_AUDIO: none"; text != want {
		t.Errorf("%q, want %q", text, want)
	}
	if got := SplitWarnings(text); !slices.Equal(got, ws) {
		t.Errorf("%v, want %v", got, ws)
	}
	if got := SplitWarnings(JoinWarnings(nil)); got != nil {
		t.Errorf("%v of nothing", got)
	}
}
