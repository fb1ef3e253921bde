package livestream

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestWarningsAreDocumented keeps docs/encoder-warnings.md and the contract equal
// to the list in warning.go.
func TestWarningsAreDocumented(t *testing.T) {
	listed, documented := codesIn(t, "warning.go", "WarningCode"), codesOn(t, "encoder-warnings.md")
	contract, err := os.ReadFile("../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var declared []string
	if m := regexp.MustCompile(`(?m)^    WarningCode:\n      enum: \[(.*)\]`).FindStringSubmatch(string(contract)); m != nil {
		declared = strings.Split(m[1], ", ")
	}
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
