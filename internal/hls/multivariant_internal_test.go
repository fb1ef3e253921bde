package hls

import (
	"fmt"
	"slices"
	"testing"

	"tally/internal/hls/playlist"
	"tally/internal/media"
)

// Groups of one type have the same members (rfc8216bis-22 section 4.4.6.1.1).
func TestAudioGroups(t *testing.T) {
	aac := func(n uint8, name, language string) sound {
		return sound{&media.Track{ID: media.AudioID(n), Codec: media.AAC, Name: name, Language: language}, playlist.Variant{Codecs: "mp4a.40.2"}}
	}
	opus := func(n uint8, name, language string) sound {
		return sound{&media.Track{ID: media.AudioID(n), Codec: media.Opus, Name: name, Language: language}, playlist.Variant{Codecs: "opus"}}
	}
	for what, c := range map[string]struct {
		all  []sound
		want []string
	}{
		"none":                            {nil, nil},
		"one codec":                       {[]sound{aac(0, "", "en"), aac(1, "", "de")}, []string{"aac [mp4a.40.2] en* de"}},
		"the same in two codecs":          {[]sound{aac(0, "", "en"), opus(1, "", "en"), aac(2, "", "de"), opus(3, "", "de")}, []string{"aac [mp4a.40.2] en* de", "opus [opus] en* de"}},
		"nothing is said of either":       {[]sound{aac(0, "", ""), opus(1, "", "")}, []string{"aac [mp4a.40.2] Audio 1*", "opus [opus] Audio 1*"}},
		"another language in each":        {[]sound{aac(0, "", "en"), opus(1, "", "de")}, []string{"audio [mp4a.40.2 opus] en* de"}},
		"one has more":                    {[]sound{aac(0, "", "en"), aac(1, "", "de"), opus(2, "", "en")}, []string{"audio [mp4a.40.2 opus] en* de en 2"}},
		"another default":                 {[]sound{aac(0, "", "en"), aac(1, "", "de"), opus(2, "", "de"), opus(3, "", "en")}, []string{"audio [mp4a.40.2 opus] en* de de 2 en 2"}},
		"the same name, another language": {[]sound{aac(0, "Voice", "en"), opus(1, "Voice", "de")}, []string{"audio [mp4a.40.2 opus] Voice* Voice 2"}},
	} {
		var got []string
		for _, g := range audioGroups(c.all) {
			text := fmt.Sprint(g.id, " ", g.codecs)
			for _, m := range g.members {
				if text += " " + m.Name; m.Default {
					text += "*"
				}
				if m.GroupID != g.id {
					t.Errorf("%s: %s is of group %s", what, m.Name, m.GroupID)
				}
			}
			got = append(got, text)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
}
