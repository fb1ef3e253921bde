package playlist_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"tally/internal/hls/playlist"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// sameMedia compares what a playlist says; nil and empty lists are one.
func sameMedia(a, b *playlist.Media) string {
	return cmp.Diff(a, b, cmpopts.IgnoreUnexported(playlist.Media{}), cmpopts.EquateEmpty())
}

// exampleMedia is a stream with a reconnect in it, seen in the middle of a segment.
func exampleMedia() *playlist.Media {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	part := func(uri string, ms int, key bool) playlist.Part {
		return playlist.Part{URI: uri, Duration: time.Duration(ms) * time.Millisecond, Independent: key}
	}
	return &playlist.Media{
		Version: 9, TargetDuration: 2, IndependentSegments: true,
		PartTarget: 335 * time.Millisecond, PartHoldBack: 1005 * time.Millisecond,
		HoldBack: 6 * time.Second, CanSkipUntil: 12 * time.Second, CanBlockReload: true,
		MediaSequence: 41, DiscontinuitySequence: 3,
		Segments: []playlist.Segment{
			{URI: "seg-1-41.m4s", Duration: 2 * time.Second, ProgramDateTime: start, Map: "init-1-0.mp4"},
			{URI: "seg-1-42.m4s", Duration: 2 * time.Second, ProgramDateTime: start.Add(2 * time.Second), Map: "init-1-0.mp4"},
			{URI: "seg-1-43.m4s", Duration: 2 * time.Second, ProgramDateTime: start.Add(4 * time.Second), Map: "init-1-0.mp4", Gap: true},
			{
				URI: "seg-2-44.m4s", Duration: 1 * time.Second, ProgramDateTime: start.Add(20 * time.Second), Map: "init-2-0.mp4",
				Discontinuity: true,
				Parts: []playlist.Part{
					part("part-2-0.m4s", 333, true), part("part-2-1.m4s", 333, false), part("part-2-2.m4s", 334, false),
				},
			},
			{
				ProgramDateTime: start.Add(21 * time.Second), Map: "init-2-0.mp4",
				Parts: []playlist.Part{part("part-2-3.m4s", 333, true)},
			},
		},
		PreloadHint:      "part-2-4.m4s",
		RenditionReports: []playlist.RenditionReport{{URI: "../audio/index.m3u8", LastMSN: 45, LastPart: 0}},
	}
}

func exampleDelta() *playlist.Media {
	m := exampleMedia()
	m.SkippedSegments = 2
	m.Segments = m.Segments[2:]
	return m
}

func exampleEnded() *playlist.Media {
	m := exampleMedia()
	m.Segments = m.Segments[:4]
	m.PreloadHint, m.RenditionReports, m.EndList = "", nil, true
	return m
}

func exampleMultivariant() *playlist.Multivariant {
	return &playlist.Multivariant{
		Version: 9, IndependentSegments: true,
		Variants: []playlist.Variant{
			{
				URI: "1/8f3a/index.m3u8", Bandwidth: 2_400_000, AverageBandwidth: 2_100_000,
				Codecs: "avc1.64001f,mp4a.40.2", Width: 1280, Height: 720, FrameRate: 29.97, NoClosedCaptions: true,
			},
			{URI: "2/8f3a/index.m3u8", Bandwidth: 128_000, Codecs: "mp4a.40.2"},
			{URI: "3/8f3a/index.m3u8", Bandwidth: 6_000_000, Codecs: "hvc1.2.4.L120.90", Width: 1920, Height: 1080, FrameRate: 50, VideoRange: "PQ"},
		},
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestGoldenMedia(t *testing.T) {
	for name, m := range map[string]*playlist.Media{
		"live.m3u8": exampleMedia(), "delta.m3u8": exampleDelta(), "ended.m3u8": exampleEnded(),
	} {
		text := m.AppendText(nil)
		golden(t, name, text)
		back, err := playlist.ParseMedia(string(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := sameMedia(m, back); diff != "" {
			t.Errorf("%s read back (-wrote +read):\n%s", name, diff)
		}
	}
}

func TestGoldenMultivariant(t *testing.T) {
	m := exampleMultivariant()
	text := m.AppendText(nil)
	golden(t, "multivariant.m3u8", text)
	back, err := playlist.ParseMultivariant(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, back); diff != "" {
		t.Errorf("read back (-wrote +read):\n%s", diff)
	}
	if !playlist.IsMultivariant(string(text)) || playlist.IsMultivariant(string(exampleMedia().AppendText(nil))) {
		t.Error("IsMultivariant confuses the two kinds")
	}
}

func TestZeroVersionIsDefault(t *testing.T) {
	text := string((&playlist.Media{TargetDuration: 2}).AppendText(nil))
	if !strings.Contains(text, "#EXT-X-VERSION:9\n") {
		t.Errorf("no default version in %q", text)
	}
}

func TestAppendTextDoesNotAllocate(t *testing.T) {
	m := exampleMedia()
	buf := m.AppendText(nil)
	if n := testing.AllocsPerRun(100, func() { buf = m.AppendText(buf[:0]) }); n != 0 {
		t.Errorf("AppendText allocates %v times into a buffer that is large enough", n)
	}
}

func TestPositions(t *testing.T) {
	m := exampleMedia()
	if m.NextMSN() != 45 || m.FirstMSN() != 41 || m.Open() == nil {
		t.Errorf("NextMSN %d, FirstMSN %d, Open %v", m.NextMSN(), m.FirstMSN(), m.Open())
	}
	if got, want := m.Length(), 7*time.Second+333*time.Millisecond; got != want {
		t.Errorf("Length %v, want %v", got, want)
	}
	d := exampleDelta()
	if d.NextMSN() != 45 || d.FirstMSN() != 43 {
		t.Errorf("delta: NextMSN %d, FirstMSN %d", d.NextMSN(), d.FirstMSN())
	}
	if e := exampleEnded(); e.NextMSN() != 45 || e.Open() != nil {
		t.Errorf("ended: NextMSN %d, Open %v", e.NextMSN(), e.Open())
	}
}

// Spans of adjacent parts sum to the span of the whole, for any clock.
func TestSpanTelescopes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		timescale := rapid.SampledFrom([]uint32{90000, 44100, 48000, 22050, 1000, 3}).Draw(t, "timescale")
		at := rapid.Int64Range(-1<<40, 1<<40).Draw(t, "start")
		first, sum := at, time.Duration(0)
		for _, step := range rapid.SliceOf(rapid.Int64Range(0, 1<<20)).Draw(t, "steps") {
			d := playlist.Span(at, at+step, timescale)
			if d%playlist.Precision != 0 {
				t.Fatalf("Span %v is no multiple of %v", d, playlist.Precision)
			}
			exact := float64(step) / float64(timescale)
			if off := d.Seconds() - exact; off > 1.1e-6 || off < -1.1e-6 {
				t.Fatalf("Span %v, exactly %v", d, exact)
			}
			sum, at = sum+d, at+step
		}
		if whole := playlist.Span(first, at, timescale); whole != sum {
			t.Fatalf("parts sum to %v, whole is %v", sum, whole)
		}
	})
}

func drawDuration(t *rapid.T) time.Duration {
	return time.Duration(rapid.Int64Range(1, 10_000_000).Draw(t, "microseconds")) * playlist.Precision
}

func drawParts(t *rapid.T) []playlist.Part {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) playlist.Part {
		return playlist.Part{
			URI:      rapid.StringMatching(`[a-z0-9./-]{1,12}`).Draw(t, "uri"),
			Duration: drawDuration(t), Independent: rapid.Bool().Draw(t, "key"), Gap: rapid.Bool().Draw(t, "gap"),
		}
	}), 0, 6).Draw(t, "parts")
}

func drawMedia(t *rapid.T) *playlist.Media {
	m := &playlist.Media{
		Version:               rapid.IntRange(1, 13).Draw(t, "version"),
		TargetDuration:        rapid.IntRange(1, 20).Draw(t, "target"),
		IndependentSegments:   rapid.Bool().Draw(t, "independent"),
		PartTarget:            drawDuration(t),
		CanBlockReload:        rapid.Bool().Draw(t, "block"),
		MediaSequence:         rapid.Int64Range(0, 1<<50).Draw(t, "msn"),
		DiscontinuitySequence: rapid.Int64Range(0, 1<<50).Draw(t, "dsn"),
		PreloadHint:           rapid.SampledFrom([]string{"", "part-9.m4s"}).Draw(t, "hint"),
		EndList:               rapid.Bool().Draw(t, "end"),
	}
	if rapid.Bool().Draw(t, "control") {
		m.PartHoldBack, m.HoldBack, m.CanSkipUntil = drawDuration(t), drawDuration(t), drawDuration(t)
	}
	initMap := rapid.SampledFrom([]string{"", "init-0.mp4"}).Draw(t, "map")
	for range rapid.IntRange(0, 8).Draw(t, "segments") {
		s := playlist.Segment{
			URI: rapid.StringMatching(`[a-z0-9./-]{1,12}`).Draw(t, "uri"), Duration: drawDuration(t),
			Discontinuity: rapid.Bool().Draw(t, "disc"), Gap: rapid.Bool().Draw(t, "gap"), Parts: drawParts(t),
		}
		if rapid.Bool().Draw(t, "dated") {
			s.ProgramDateTime = time.UnixMilli(rapid.Int64Range(0, 1<<41).Draw(t, "date")).UTC()
		}
		if initMap != "" && rapid.IntRange(0, 3).Draw(t, "newmap") == 0 {
			initMap = rapid.StringMatching(`init-[0-9]{1,3}\.mp4`).Draw(t, "mapuri")
		}
		s.Map = initMap
		m.Segments = append(m.Segments, s)
	}
	if rapid.Bool().Draw(t, "open") {
		if parts := drawParts(t); len(parts) > 0 {
			m.Segments = append(m.Segments, playlist.Segment{Map: initMap, Parts: parts})
		}
	}
	return m
}

func TestRoundTrip(t *testing.T) {
	var reused playlist.Media // Parse must leave nothing of what it held
	rapid.Check(t, func(t *rapid.T) {
		m := drawMedia(t)
		if rapid.Bool().Draw(t, "delta") {
			m.SkippedSegments = rapid.IntRange(1, 100).Draw(t, "skipped")
		}
		text := m.AppendText(nil)
		if err := reused.Parse(string(text)); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if diff := sameMedia(m, &reused); diff != "" {
			t.Fatalf("(-wrote +read):\n%s\n%s", diff, text)
		}
		if again := reused.AppendText(nil); string(again) != string(text) {
			t.Fatalf("written again:\n%s\nfirst:\n%s", again, text)
		}
		crlf := strings.ReplaceAll(string(text), "\n", "\r\n")
		if err := reused.Parse(crlf); err != nil || sameMedia(m, &reused) != "" {
			t.Fatalf("with CR LF: %v", err)
		}
	})
}

// A delta update merged with any earlier full playlist that reaches far enough
// is the full playlist.
func TestMergeIsFull(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := drawMedia(t)
		complete := int(all.NextMSN() - all.MediaSequence)
		if complete == 0 {
			return
		}
		skip := rapid.IntRange(1, complete).Draw(t, "skip")
		for i := range all.Segments[:skip] {
			all.Segments[i].Parts = nil // beyond the skip boundary
		}
		delta := *all
		delta.SkippedSegments, delta.Segments = skip, all.Segments[skip:]
		var read playlist.Media
		if err := read.Parse(string(delta.AppendText(nil))); err != nil {
			t.Fatal(err)
		}
		prev := *all // older: begins earlier, ends anywhere after what is skipped
		prev.Segments = append([]playlist.Segment{{URI: "older", Duration: time.Second}},
			all.Segments[:rapid.IntRange(skip, complete).Draw(t, "prevEnd")]...)
		prev.MediaSequence--
		full, err := read.Merge(&prev)
		if err != nil {
			t.Fatal(err)
		}
		if diff := sameMedia(all, full); diff != "" {
			t.Fatalf("(-full +merged):\n%s", diff)
		}
	})
}

func TestMergeRefusesGaps(t *testing.T) {
	delta, full := exampleDelta(), exampleMedia()
	short := *full
	short.Segments = full.Segments[:1]
	later := *full
	later.MediaSequence++
	open := *full
	open.Segments = []playlist.Segment{full.Segments[0], {Parts: full.Segments[3].Parts}}
	for name, prev := range map[string]*playlist.Media{
		"no previous": nil, "previous is a delta": exampleDelta(), "previous ends too early": &short,
		"previous begins too late": &later, "skipped segment was open": &open,
	} {
		if _, err := delta.Merge(prev); !errors.Is(err, playlist.ErrSkipGap) {
			t.Errorf("%s: error %v, want ErrSkipGap", name, err)
		}
	}
	if same, err := full.Merge(nil); err != nil || same != full {
		t.Errorf("a full playlist merges to itself: %v", err)
	}
}

// A delta without an EXT-X-MAP of its own inherits that of what it skips.
func TestMergeInheritsMap(t *testing.T) {
	text := "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:41\n#EXT-X-SKIP:SKIPPED-SEGMENTS=2\n#EXTINF:2,\nnext.m4s\n"
	delta, err := playlist.ParseMedia(text)
	if err != nil {
		t.Fatal(err)
	}
	full, err := delta.Merge(exampleMedia())
	if err != nil {
		t.Fatal(err)
	}
	if got := full.Segments[2].Map; got != "init-1-0.mp4" {
		t.Errorf("map %q", got)
	}
}

func BenchmarkAppendText(b *testing.B) {
	m := exampleMedia()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = m.AppendText(buf[:0])
	}
}

func BenchmarkParse(b *testing.B) {
	text := string(exampleMedia().AppendText(nil))
	var m playlist.Media
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}
