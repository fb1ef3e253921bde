package playlist_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tally/internal/hls/playlist"
)

// prefixed is m with prefix before each of its media URIs.
func prefixed(m *playlist.Media, prefix string) *playlist.Media {
	add := func(uri *string) {
		if *uri != "" {
			*uri = prefix + *uri
		}
	}
	p := *m
	p.Segments = slices.Clone(m.Segments)
	for i := range p.Segments {
		s := &p.Segments[i]
		add(&s.URI)
		add(&s.Map)
		s.Parts = slices.Clone(s.Parts)
		for j := range s.Parts {
			add(&s.Parts[j].URI)
		}
	}
	add(&p.PreloadHint)
	return &p
}

// A prefix put into the text says what a playlist with longer URIs says.
func TestPrefixedTextIsThatOfPrefixedURIs(t *testing.T) {
	check := func(t interface{ Errorf(string, ...any) }, m *playlist.Media, prefix string) {
		got := string(playlist.AppendPrefixed([]byte("kept"), m.AppendText(nil), prefix))
		if want := "kept" + string(prefixed(m, prefix).AppendText(nil)); got != want {
			t.Errorf("with prefix %q:\n%s\nwant\n%s", prefix, got, want)
		}
	}
	for _, m := range []*playlist.Media{exampleMedia(), exampleDelta(), exampleEnded()} {
		check(t, m, "../")
		check(t, m, "https://cdn.example.com/hls/a/b/")
	}
	rapid.Check(t, func(t *rapid.T) {
		check(t, drawMedia(t), rapid.StringMatching(`(https://[a-z.]{1,20}/)?([a-z]{1,8}/|\.\./)?`).Draw(t, "prefix"))
	})
}
