package playlist_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tally/internal/hls/playlist"
)

const head = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-PART-INF:PART-TARGET=0.5\n" // lines 1 to 3

func TestParseRefuses(t *testing.T) {
	const part = "#EXT-X-PART:DURATION=0.5,URI=\"p\"\n"
	tests := []struct {
		name, text string
		line       int
	}{
		{"empty", "", 1},
		{"no EXTM3U", "#EXT-X-TARGETDURATION:2\n", 1},
		{"EXTM3U after an empty line", "\n#EXTM3U\n", 2},
		{"EXTM3U twice", head + "#EXTM3U\n", 4},
		{"not UTF-8", "#EXTM3U\n#EXT-X-TARGETDURATION:2\n# \xff\n", 1},
		{"no target duration", "#EXTM3U\n", 1},
		{"target duration 0", "#EXTM3U\n#EXT-X-TARGETDURATION:0\n", 2},
		{"target duration with a point", "#EXTM3U\n#EXT-X-TARGETDURATION:2.0\n", 2},
		{"target duration twice", head + "#EXT-X-TARGETDURATION:2\n", 4},
		{"version twice", head + "#EXT-X-VERSION:9\n#EXT-X-VERSION:9\n", 5},
		{"value on a tag that has none", head + "#EXT-X-ENDLIST:NO\n", 4},
		{"playlist type unknown", head + "#EXT-X-PLAYLIST-TYPE:LIVE\n", 4},
		{"media sequence negative", head + "#EXT-X-MEDIA-SEQUENCE:-1\n", 4},
		{"media sequence past 2^63", head + "#EXT-X-MEDIA-SEQUENCE:18446744073709551615\n", 4},
		{"media sequence after a segment", head + "#EXTINF:2,\na\n#EXT-X-MEDIA-SEQUENCE:1\n", 6},
		{"media sequence after a skip", head + "#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n#EXT-X-MEDIA-SEQUENCE:1\n", 5},
		{"discontinuity sequence after a discontinuity", head + "#EXT-X-DISCONTINUITY\n#EXT-X-DISCONTINUITY-SEQUENCE:1\n", 5},
		{"skip of nothing", head + "#EXT-X-SKIP:SKIPPED-SEGMENTS=0\n", 4},
		{"skip after a segment", head + "#EXTINF:2,\na\n#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n", 6},
		{"skip twice", head + "#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n", 5},
		{"URI without EXTINF", head + "a.m4s\n", 4},
		{"EXTINF twice", head + "#EXTINF:2,\n#EXTINF:2,\na\n", 5},
		{"EXTINF without URI", head + "#EXTINF:2,\n", 4},
		{"EXTINF without comma", head + "#EXTINF:2\na\n", 4},
		{"EXTINF negative", head + "#EXTINF:-1,\na\n", 4},
		{"EXTINF with exponent", head + "#EXTINF:1e3,\na\n", 4},
		{"EXTINF too long", head + "#EXTINF:99999999999,\na\n", 4},
		{"discontinuity twice", head + "#EXT-X-DISCONTINUITY\n#EXT-X-DISCONTINUITY\n", 5},
		{"discontinuity after a part", head + part + "#EXT-X-DISCONTINUITY\n", 5},
		{"map after a part", head + part + "#EXT-X-MAP:URI=\"i\"\n", 5},
		{"date after a part", head + part + "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00Z\n", 5},
		{"date broken", head + "#EXT-X-PROGRAM-DATE-TIME:yesterday\n", 4},
		{"map without URI", head + "#EXT-X-MAP:X=1\n", 4},
		{"map with empty URI", head + "#EXT-X-MAP:URI=\"\"\n", 4},
		{"part without duration", head + "#EXT-X-PART:URI=\"p\"\n", 4},
		{"part URI without quotes", head + "#EXT-X-PART:DURATION=0.5,URI=p\n", 4},
		{"part duration in quotes", head + "#EXT-X-PART:DURATION=\"0.5\",URI=\"p\"\n", 4},
		{"part independent MAYBE", head + "#EXT-X-PART:DURATION=0.5,URI=\"p\",INDEPENDENT=MAYBE\n", 4},
		{"part without PART-INF", "#EXTM3U\n#EXT-X-TARGETDURATION:2\n" + part, 3},
		{"PART-TARGET 0", "#EXTM3U\n#EXT-X-PART-INF:PART-TARGET=0\n", 2},
		{"hint without type", head + "#EXT-X-PRELOAD-HINT:URI=\"p\"\n", 4},
		{"two hints of parts", head + strings.Repeat("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p\"\n", 2), 5},
		{"report without MSN", head + "#EXT-X-RENDITION-REPORT:URI=\"a\"\n", 4},
		{"attribute twice", head + "#EXT-X-PART:DURATION=0.5,DURATION=0.5,URI=\"p\"\n", 4},
		{"attribute name in lower case", head + "#EXT-X-PART:duration=0.5\n", 4},
		{"attribute without value", head + "#EXT-X-PART:DURATION=,URI=\"p\"\n", 4},
		{"attribute quote not closed", head + "#EXT-X-MAP:URI=\"i\n", 4},
		{"attribute text after quote", head + "#EXT-X-MAP:URI=\"i\"x\n", 4},
		{"attribute comma at the end", head + "#EXT-X-MAP:URI=\"i\",\n", 4},
		{"attributes without end", head + "#EXT-X-MAP:" + manyAttributes(), 4},
		{"tag of a multivariant playlist", head + "#EXT-X-STREAM-INF:BANDWIDTH=1\n", 4},
		{"server control broken", head + "#EXT-X-SERVER-CONTROL:HOLD-BACK=soon\n", 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := playlist.ParseMedia(tt.text)
			var syntax *playlist.SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("error %v, want a SyntaxError", err)
			}
			if syntax.Line != tt.line {
				t.Errorf("line %d, want %d: %v", syntax.Line, tt.line, err)
			}
		})
	}
}

func manyAttributes() string {
	var b strings.Builder
	for i := range 40 {
		b.WriteString("X-" + strings.Repeat("A", i+1) + "=1,")
	}
	return b.String() + "URI=\"i\"\n"
}

func TestParseUnsupported(t *testing.T) {
	for _, line := range []string{
		"#EXT-X-KEY:METHOD=AES-128,URI=\"k\"", "#EXT-X-BYTERANGE:10@0", "#EXT-X-I-FRAMES-ONLY", "#EXT-X-DEFINE:NAME=\"a\",VALUE=\"b\"",
		"#EXT-X-MAP:URI=\"i\",BYTERANGE=\"10@0\"", "#EXT-X-PART:DURATION=0.5,URI=\"p\",BYTERANGE=\"10@0\"",
		"#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p\",BYTERANGE-START=10",
	} {
		if _, err := playlist.ParseMedia(head + line + "\n"); !errors.Is(err, playlist.ErrUnsupported) {
			t.Errorf("%s: error %v, want ErrUnsupported", line, err)
		}
	}
}

// What the draft tells a client to pass over, and what it lets a server vary.
func TestParseAccepts(t *testing.T) {
	text := head + "# a comment\n\n#EXT-X-FUTURE:what=ever\n#EXT-X-BITRATE:2000\n" +
		"#EXT-X-MAP:URI=\"i\",X-OURS=1\n" +
		"#EXT-X-PROGRAM-DATE-TIME:2026-01-01T02:00:00.5+02:00\n#EXTINF:2,a title, with a comma\na.m4s\n" +
		"#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:02.500\n#EXTINF:1.9999999999,\nb.m4s\n" +
		"#EXT-X-PROGRAM-DATE-TIME:2026-01-01T02:00:04+0200\n#EXTINF:2,\nc.m4s\n" +
		"#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"m\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p\"\n#EXT-X-DISCONTINUITY"
	m, err := playlist.ParseMedia(text)
	if err != nil {
		t.Fatal(err)
	}
	first := time.Date(2026, 1, 1, 0, 0, 0, 500e6, time.UTC)
	if len(m.Segments) != 4 || !m.Segments[0].ProgramDateTime.Equal(first) ||
		!m.Segments[1].ProgramDateTime.Equal(first.Add(2*time.Second)) ||
		!m.Segments[2].ProgramDateTime.Equal(first.Add(3500*time.Millisecond)) {
		t.Errorf("segments %+v", m.Segments)
	}
	if got := m.Segments[1].Duration; got != 1999999999 {
		t.Errorf("duration %d, want it cut to the nanosecond", got)
	}
	if open := m.Open(); open == nil || !open.Discontinuity || open.Map != "i" || m.NextMSN() != 3 {
		t.Errorf("open segment %+v, NextMSN %d", open, m.NextMSN())
	}
	if m.PreloadHint != "p" {
		t.Errorf("hint %q", m.PreloadHint)
	}
}

func TestParseMultivariantRefuses(t *testing.T) {
	const inf = "#EXT-X-STREAM-INF:BANDWIDTH=1\n"
	tests := []struct {
		name, text string
		line       int
	}{
		{"no EXTM3U", inf + "a\n", 1},
		{"URI alone", "#EXTM3U\na\n", 2},
		{"no URI", "#EXTM3U\n" + inf, 2},
		{"tag where the URI belongs", "#EXTM3U\n" + inf + inf, 3},
		{"no BANDWIDTH", "#EXTM3U\n#EXT-X-STREAM-INF:CODECS=\"a\"\na\n", 2},
		{"resolution", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=1280\na\n", 2},
		{"codecs without quotes", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=avc1\na\n", 2},
		{"media tag", "#EXTM3U\n#EXT-X-TARGETDURATION:2\n", 2},
		{"version", "#EXTM3U\n#EXT-X-VERSION:x\n", 2},
		{"independent twice", "#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-INDEPENDENT-SEGMENTS\n", 3},
		{"variables", "#EXTM3U\n#EXT-X-DEFINE:NAME=\"a\",VALUE=\"b\"\n", 2},
		{"EXTM3U twice", "#EXTM3U\n#EXTM3U\n", 2},
		{"not UTF-8", "#EXTM3U\n#\xff\n", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := playlist.ParseMultivariant(tt.text)
			var syntax *playlist.SyntaxError
			if !errors.As(err, &syntax) || syntax.Line != tt.line {
				t.Errorf("error %v, want line %d", err, tt.line)
			}
		})
	}
}

func TestDirectives(t *testing.T) {
	none := playlist.NoDirectives
	tests := []struct {
		name, query string
		want        playlist.Directives
		bad         bool
	}{
		{"none", "", none, false},
		{"others only", "token=a%20b&_hls_msn=1&&x", none, false},
		{"directive of a later draft", "_HLS_future=1", none, false},
		{"segment", "_HLS_msn=12", playlist.Directives{MSN: 12, Part: -1}, false},
		{"part", "_HLS_msn=12&_HLS_part=3", playlist.Directives{MSN: 12, Part: 3}, false},
		{"part first", "_HLS_part=0&_HLS_msn=0", playlist.Directives{MSN: 0, Part: 0}, false},
		{"skip", "_HLS_skip=YES", playlist.Directives{MSN: -1, Part: -1, Skip: true}, false},
		{"all", "a=b&_HLS_msn=7&_HLS_part=1&_HLS_skip=v2", playlist.Directives{MSN: 7, Part: 1, Skip: true}, false},
		{"largest", "_HLS_msn=9223372036854775807&_HLS_part=65536", playlist.Directives{MSN: 1<<63 - 1, Part: 1 << 16}, false},
		{"part alone", "_HLS_part=3", none, true},
		{"part alone with skip", "_HLS_skip=YES&_HLS_part=0", none, true},
		{"empty", "_HLS_msn=", none, true},
		{"no value", "_HLS_msn", none, true},
		{"negative", "_HLS_msn=-1", none, true},
		{"sign", "_HLS_msn=+1", none, true},
		{"fraction", "_HLS_msn=1.5", none, true},
		{"text", "_HLS_msn=12&_HLS_part=x", none, true},
		{"past 2^63", "_HLS_msn=9223372036854775808", none, true},
		{"past all bounds", "_HLS_msn=" + strings.Repeat("9", 1000), none, true},
		{"part too large", "_HLS_msn=1&_HLS_part=65537", none, true},
		{"msn twice", "_HLS_msn=1&_HLS_msn=1", none, true},
		{"part twice", "_HLS_msn=1&_HLS_part=1&_HLS_part=1", none, true},
		{"skip twice", "_HLS_skip=YES&_HLS_skip=v2", none, true},
		{"skip NO", "_HLS_skip=NO", none, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := playlist.ParseDirectives(tt.query)
			if got != tt.want || (err != nil) != tt.bad || tt.bad && !errors.Is(err, playlist.ErrDirectives) {
				t.Errorf("got %+v, %v; want %+v, error %v", got, err, tt.want, tt.bad)
			}
		})
	}
	if n := testing.AllocsPerRun(100, func() { playlist.ParseDirectives("a=b&_HLS_msn=7&_HLS_part=1&_HLS_skip=YES") }); n != 0 {
		t.Errorf("ParseDirectives allocates %v times", n)
	}
}

func addGoldenSeeds(f *testing.F) {
	f.Helper()
	paths, err := filepath.Glob("testdata/*.m3u8")
	if err != nil || len(paths) == 0 {
		f.Fatal("no golden files to start from: ", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
}

// What parses is written as text that parses to the same.
func FuzzMedia(f *testing.F) {
	addGoldenSeeds(f)
	f.Add(head + "#EXT-X-PART:DURATION=.5,URI=\"p\",INDEPENDENT=NO\n#EXT-X-DISCONTINUITY\n")
	f.Add(head + "#EXT-X-SKIP:SKIPPED-SEGMENTS=2147483647\n#EXTINF:1,\n#EXT-X-GAP\na b\n")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := playlist.ParseMedia(text)
		if err != nil {
			return
		}
		lineCount := strings.Count(text, "\n") + 1
		if n := len(m.Segments); n > lineCount {
			t.Fatalf("%d segments from %d lines", n, lineCount)
		}
		first := m.AppendText(nil)
		again, err := playlist.ParseMedia(string(first))
		if err != nil {
			t.Fatalf("%v in what was written:\n%s", err, first)
		}
		if second := again.AppendText(nil); string(first) != string(second) {
			t.Fatalf("written:\n%s\nread and written again:\n%s", first, second)
		}
		if _, err := m.Merge(again); err != nil && !errors.Is(err, playlist.ErrSkipGap) {
			t.Fatal(err)
		}
	})
}

func FuzzMultivariant(f *testing.F) {
	addGoldenSeeds(f)
	f.Add("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,FRAME-RATE=29.97,CLOSED-CAPTIONS=\"cc\"\nv\n")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := playlist.ParseMultivariant(text)
		if err != nil {
			return
		}
		first := m.AppendText(nil)
		again, err := playlist.ParseMultivariant(string(first))
		if err != nil {
			t.Fatalf("%v in what was written:\n%s", err, first)
		}
		if second := again.AppendText(nil); string(first) != string(second) {
			t.Fatalf("written:\n%s\nread and written again:\n%s", first, second)
		}
	})
}

func FuzzDirectives(f *testing.F) {
	for _, q := range []string{"", "_HLS_msn=1&_HLS_part=2&_HLS_skip=YES", "_HLS_part=1", "_HLS_msn=99999999999999999999", "a&=&&b=%zz"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		d, err := playlist.ParseDirectives(query)
		if err != nil {
			if !errors.Is(err, playlist.ErrDirectives) || d != playlist.NoDirectives {
				t.Fatalf("%+v, %v", d, err)
			}
			return
		}
		if d.Part >= 0 && d.MSN < 0 {
			t.Fatalf("part without MSN: %+v", d)
		}
		back, err := playlist.ParseDirectives(string(d.AppendQuery(nil)))
		if err != nil || back != d {
			t.Fatalf("%+v written and read: %+v, %v", d, back, err)
		}
	})
}
