package livestream_test

import (
	"regexp"
	"testing"

	"tally/internal/livestream"
)

func TestIdsHaveTheirFormsAndDiffer(t *testing.T) {
	for _, c := range []struct {
		name string
		form string
		make func() string
	}{
		{"UUID", `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, livestream.NewUUID},
		{"account or app", `^[0-9a-f]{32}$`, livestream.NewHex32},
		{"stream key", `^[0-9A-Za-z]{32}$`, func() string { return livestream.NewStreamKey().Reveal() }},
		{"playback id", `^[0-9A-Za-z]{20}$`, livestream.NewPlaybackID},
		{"run", `^[0-9A-Za-z]{12}$`, livestream.NewRunID},
	} {
		t.Run(c.name, func(t *testing.T) {
			form, seen := regexp.MustCompile(c.form), map[string]bool{}
			for range 1000 {
				id := c.make()
				if !form.MatchString(id) {
					t.Fatalf("%q does not match %s", id, c.form)
				}
				if seen[id] {
					t.Fatalf("%q came twice in 1000", id)
				}
				seen[id] = true
			}
		})
	}
}

func TestRandomTextUsesEveryCharacterEqually(t *testing.T) {
	const n = 62 * 10_000
	counts := map[rune]int{}
	for _, c := range livestream.RandomText(n) {
		counts[c]++
	}
	if len(counts) != 62 {
		t.Fatalf("%d different characters, want 62", len(counts))
	}
	for c, got := range counts { // 10,000 each with a standard deviation of 100
		if got < 9_300 || got > 10_700 {
			t.Errorf("%q came %d times of %d, want about 10000", c, got, n)
		}
	}
}

func TestIsUUID(t *testing.T) {
	for s, want := range map[string]bool{
		livestream.NewUUID():                   true,
		"00000000-0000-0000-0000-000000000000": true,
		"bbb0a1b2-c3d4-1e5f-0123-456789abcdef": true,
		"BBB0A1B2-c3d4-1e5f-0123-456789abcdef": false,
		"bbb0a1b2xc3d4-1e5f-0123-456789abcdef": false,
		"bbb0a1b2-c3d4-1e5f-0123-456789abcdeg": false,
		"bbb0a1b2-c3d4-1e5f-0123-456789abcde":  false,
		"bbb0a1b2c3d41e5f0123456789abcdef":     false,
		"{b0a1b2c-c3d4-1e5f-0123-456789abcde}": false,
		"bbb0a1b2-c3d4-1e5f-0123-456789abcdé":  false,
		"":                                     false,
	} {
		if got := livestream.IsUUID(s); got != want {
			t.Errorf("IsUUID(%q) is %v", s, got)
		}
	}
}
