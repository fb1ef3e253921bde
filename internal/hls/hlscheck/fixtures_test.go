package hlscheck

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tally/internal/hls/hlscheck/origin"
	"tally/internal/hls/playlist"
)

// A feed shows an origin's playlists and media to a checker, as a viewer would
// who is given each playlist.
type feed struct {
	t    *testing.T
	o    *origin.Origin
	c    *Checker
	now  time.Time
	edit func(*playlist.Media)                 // each playlist before it is shown
	body func(name string, body []byte) []byte // each body before it is shown
	done map[string]bool                       // media shown
}

func newFeed(t *testing.T, n int) *feed {
	return &feed{t: t, o: origin.New(n), c: New(Options{}), now: time.Unix(1_800_000_000, 0), done: map[string]bool{}}
}

// show shows the playlist as it stands, asked for with d, and media not shown yet.
func (f *feed) show(d playlist.Directives) {
	m := f.o.Current()
	if f.edit != nil {
		f.edit(m)
	}
	f.text(d, string(m.AppendText(nil)))
	for i := range m.Segments {
		s := &m.Segments[i]
		f.media(s.Map, f.c.Init)
		for j := range s.Parts {
			f.media(s.Parts[j].URI, f.c.Part)
		}
		if s.URI != "" && !s.Gap {
			f.media(s.URI, f.c.Segment)
		}
	}
}

func (f *feed) text(d playlist.Directives, text string) {
	f.now = f.now.Add(origin.PartTime)
	f.c.Playlist(Observation{At: f.now, Directives: d, Text: text})
}

func (f *feed) media(name string, give func(string, []byte)) {
	body := f.o.File(name)
	if f.done[name] || body == nil {
		return
	}
	f.done[name] = true
	if f.body != nil {
		body = f.body(name, body)
	}
	give(name, body)
}

// steps publishes n parts and shows the playlist after each.
func (f *feed) steps(n int) {
	for range n {
		f.o.Publish()
		f.show(playlist.NoDirectives)
	}
}

// rules returns the ids of the rules that fired.
func (f *feed) rules() []string {
	var ids []string
	for _, v := range f.c.Violations() {
		if !slices.Contains(ids, v.Rule) {
			ids = append(ids, v.Rule)
		}
	}
	return ids
}

// asDelta makes a playlist a delta update that skips n segments.
func asDelta(n int) func(*playlist.Media) {
	return func(m *playlist.Media) { m.SkippedSegments, m.Segments = n, m.Segments[n:] }
}

// segment returns the segment with an MSN, or a spare one to edit in vain.
func at(m *playlist.Media, msn int64) *playlist.Segment {
	if i := msn - m.FirstMSN(); i >= 0 && i < int64(len(m.Segments)) {
		s := &m.Segments[i]
		s.Parts = slices.Clone(s.Parts)
		return s
	}
	return new(playlist.Segment)
}

// ranged is a date range of a moment that is still to come.
func ranged(id string) playlist.DateRange {
	return playlist.DateRange{ID: id, Start: time.Unix(1_900_000_000, 0).UTC(), Known: true}
}

// edited plays n parts with an edit on each playlist.
func edited(n int, edit func(*playlist.Media)) func(*feed) {
	return func(f *feed) {
		f.edit = edit
		f.steps(n)
	}
}

// changed plays without, then with an edit, so that the two meet.
func changed(edit func(*playlist.Media)) func(*feed) {
	return func(f *feed) {
		f.steps(4)
		f.edit = edit
		f.steps(4)
	}
}

// damaged plays with one piece of media damaged.
func damaged(name string, damage func([]byte) []byte) func(*feed) {
	return func(f *feed) {
		f.body = func(n string, body []byte) []byte {
			if n == name {
				return damage(slices.Clone(body))
			}
			return body
		}
		f.steps(8)
	}
}

// replaced changes bytes inside a body.
func replaced(from, to string) func([]byte) []byte {
	return func(b []byte) []byte { return []byte(strings.Replace(string(b), from, to, 1)) }
}

// A fixture breaks one rule. The feed begins with 30 parts published, MSN 10 to
// 19, and none shown.
type fixture struct {
	rule string
	name string   // what is wrong with the stream
	also []string // rules that cannot but fire with it
	run  func(*feed)
}

var fixtures = []fixture{
	{"syntax", "an HTML page for a playlist", nil, func(f *feed) { f.text(playlist.NoDirectives, "<html>") }},
	{"variant", "a variant with video and no RESOLUTION", nil, func(f *feed) {
		f.c.Multivariant(f.now, "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"avc1.64001f\"\nx\n")
	}},

	{"captions", "closed captions that no variant names", nil, func(f *feed) {
		f.c.Multivariant(f.now, "#EXTM3U\n#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"cc\",NAME=\"CC1\",INSTREAM-ID=\"CC1\"\n"+
			"#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"mp4a.40.2\",CLOSED-CAPTIONS=NONE\nx\n")
	}},

	{"media-groups", "AAC in English, Opus in German", nil, func(f *feed) {
		f.c.Multivariant(f.now, "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"aac\",NAME=\"en\",LANGUAGE=\"en\",DEFAULT=YES,AUTOSELECT=YES,URI=\"a0\"\n"+
			"#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"opus\",NAME=\"de\",LANGUAGE=\"de\",DEFAULT=YES,AUTOSELECT=YES,URI=\"a1\"\n"+
			"#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"mp4a.40.2\",AUDIO=\"aac\",CLOSED-CAPTIONS=NONE\na0\n")
	}},
	{"media-groups", "two defaults", nil, func(f *feed) {
		f.c.Multivariant(f.now, "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"aac\",NAME=\"en\",DEFAULT=YES,AUTOSELECT=YES,URI=\"a0\"\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"aac\",NAME=\"de\",DEFAULT=YES,AUTOSELECT=YES,URI=\"a1\"\n"+
			"#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"mp4a.40.2\",AUDIO=\"aac\",CLOSED-CAPTIONS=NONE\na0\n")
	}},

	{"target-constant", "a longer target duration from some reload on", []string{"hold-back", "can-skip-until", "parts-kept"},
		changed(func(m *playlist.Media) { m.TargetDuration = 2 })},
	{"part-target-constant", "PART-TARGET recomputed from what was seen", []string{"part-85", "control-constant"}, // parts have 333 ms
		changed(func(m *playlist.Media) {
			m.PartTarget, m.PartHoldBack = 400*time.Millisecond, m.PartHoldBack+300*time.Millisecond
		})},
	{"control-constant", "CAN-BLOCK-RELOAD that comes and goes", []string{"can-block-reload"}, changed(func(m *playlist.Media) { m.CanBlockReload = false })},
	{"hold-back", "no HOLD-BACK", nil, edited(3, func(m *playlist.Media) { m.HoldBack = 0 })},
	{"part-hold-back", "PART-HOLD-BACK of two and a half parts", nil, edited(3, func(m *playlist.Media) { m.PartHoldBack = m.PartTarget * 5 / 2 })},
	{"can-skip-until", "CAN-SKIP-UNTIL of five target durations", nil, edited(3, func(m *playlist.Media) { m.CanSkipUntil = 5 * time.Second })},

	{"extinf-target", "a segment of 1.6 s under a target of 1 s", []string{"part-sum", "pdt-consistent", "media-duration", "parts-edge"},
		edited(3, func(m *playlist.Media) { at(m, 18).Duration = 1600 * time.Millisecond })},
	{"part-target-max", "a part 1 ms longer than PART-TARGET", []string{"part-sum", "media-duration"},
		edited(3, func(m *playlist.Media) { setPart(m, 18, 1, m.PartTarget+time.Millisecond) })},
	{"part-85", "a short part in the middle of a segment", []string{"part-sum", "media-duration"},
		edited(3, func(m *playlist.Media) { setPart(m, 18, 1, 250*time.Millisecond) })},
	{"part-sum", "EXTINF one digit off its parts", nil, edited(3, func(m *playlist.Media) { at(m, 18).Duration -= playlist.Precision })},
	{"independent-first", "a segment whose first part is not INDEPENDENT", []string{"independent-idr"},
		edited(3, func(m *playlist.Media) {
			if s := at(m, 18); len(s.Parts) > 0 {
				s.Parts[0].Independent = false
			}
		})},
	{"parts-edge", "parts listed for longer than three target durations", nil, func(f *feed) {
		kept := map[int64][]playlist.Part{}
		f.edit = func(m *playlist.Media) {
			for i := range m.Segments {
				s, msn := &m.Segments[i], m.FirstMSN()+int64(i)
				if len(s.Parts) == 0 {
					s.Parts = kept[msn]
				}
				kept[msn] = s.Parts
			}
		}
		f.steps(9)
	}},
	{"uri-unique", "a part name used again", []string{"hint-true", "segment-bytes"}, func(f *feed) {
		f.edit = func(m *playlist.Media) {
			if s := at(m, 20); len(s.Parts) > 1 {
				s.Parts[1].URI = s.Parts[0].URI
			}
		}
		f.steps(4)
	}},

	{"pdt-present", "a segment without a date", nil, edited(3, func(m *playlist.Media) { at(m, 15).ProgramDateTime = time.Time{} })},
	{"pdt-consistent", "a date taken from the arrival of the segment", nil, edited(3, func(m *playlist.Media) {
		if s := at(m, 15); s.URI != "" {
			s.ProgramDateTime = s.ProgramDateTime.Add(10 * time.Millisecond)
		}
	})},
	{"map-present", "a segment before the first map", []string{"map-discontinuity", "media-parse"}, edited(3, func(m *playlist.Media) {
		if m.MediaSequence == 11 {
			at(m, 11).Map = ""
		}
	})},
	{"gap-parts", "EXT-X-GAP before parts that are there", nil,
		edited(3, func(m *playlist.Media) { at(m, 18).Gap = true })},
	{"held-apart", "a held picture without a discontinuity", []string{"held-independent"},
		edited(3, func(m *playlist.Media) { at(m, 18).Title = playlist.TitleHeld })},
	{"held-independent", "a held picture that goes on where the encoder's stopped", nil,
		edited(3, func(m *playlist.Media) {
			at(m, 18).Title, at(m, 18).Discontinuity, at(m, 19).Discontinuity = playlist.TitleHeld, true, true
		})},
	{"map-discontinuity", "a new map without EXT-X-DISCONTINUITY", nil, func(f *feed) {
		f.steps(2)
		f.o.Discontinue(0)
		f.edit = func(m *playlist.Media) { at(m, 21).Discontinuity = false }
		f.c.o.Ignore = []string{"tfdt-continuity"} // follows from the other half of the lie
		f.steps(3)
	}},

	{"msn-monotone", "a media sequence that starts again", []string{"edge-monotone", "uri-unique"}, func(f *feed) {
		f.steps(2)
		m := f.o.Current()
		m.MediaSequence = 0
		f.text(playlist.NoDirectives, string(m.AppendText(nil)))
	}},
	{"edge-monotone", "an old playlist from some cache", []string{"part-stable"}, func(f *feed) {
		f.steps(1)
		old := f.o.Current()
		f.steps(1)
		f.text(playlist.NoDirectives, string(old.AppendText(nil)))
	}},
	{"segment-stable", "a segment whose name changes", nil, changed(func(m *playlist.Media) {
		if s := at(m, 15); s.URI != "" {
			s.URI = "other.m4s"
		}
	})},
	{"part-stable", "a part that loses INDEPENDENT", []string{"independent-first"}, changed(func(m *playlist.Media) {
		if s := at(m, 20); len(s.Parts) > 0 {
			s.Parts[0].Independent = false
		}
	})},
	{"discontinuity-sequence", "a discontinuity that leaves uncounted", nil, func(f *feed) {
		f.o.Discontinue(time.Second)
		f.edit = func(m *playlist.Media) { m.DiscontinuitySequence = 0 }
		f.steps(3 * 11)
	}},
	{"window", "a list cut to two target durations", nil, changed(func(m *playlist.Media) {
		for len(m.Segments) > 3 {
			m.Segments = m.Segments[1:]
			m.MediaSequence++
		}
	})},
	{"same-position", "two servers that disagree where the list begins", nil, func(f *feed) {
		f.steps(1)
		f.edit = func(m *playlist.Media) { m.MediaSequence, m.Segments = m.MediaSequence+1, m.Segments[1:] }
		f.show(playlist.NoDirectives)
	}},
	{"delta-full", "a skip counted from the oldest segment of another list", nil, func(f *feed) {
		f.steps(1)
		f.edit = func(m *playlist.Media) {
			m.MediaSequence++ // leaves one out that is still listed
			m.SkippedSegments, m.Segments = 2, m.Segments[3:]
		}
		f.show(playlist.Directives{MSN: -1, Part: -1, Skip: true})
	}},
	{"delta-full", "a skip that reaches before the playlist held", nil, func(f *feed) {
		f.edit = asDelta(2)
		f.show(playlist.Directives{MSN: -1, Part: -1, Skip: true})
	}},
	{"delta-boundary", "a skip of all but the edge", []string{"delta-full", "parts-kept"}, func(f *feed) {
		f.steps(1)
		f.edit = asDelta(7)
		f.show(playlist.Directives{MSN: -1, Part: -1, Skip: true})
	}},
	{"delta-unasked", "a delta update for everyone", nil, func(f *feed) {
		f.steps(1)
		f.edit = asDelta(2)
		f.steps(1)
	}},
	{"hint-present", "no preload hint", nil, edited(2, func(m *playlist.Media) { m.PreloadHint = "" })},
	{"hint-true", "a hint that another publisher does not keep", nil, func(f *feed) {
		f.steps(2)
		f.o.Rename = true
		f.o.Discontinue(time.Second)
		f.steps(2)
	}},
	{"hint-true", "a hint that is off by one", nil, func(f *feed) {
		f.edit = func(m *playlist.Media) { m.PreloadHint = "x" + m.PreloadHint }
		f.steps(2)
	}},
	{"block-early", "a reload answered at the segment's first part", nil, func(f *feed) {
		f.o.Publish() // part 0 of MSN 20
		f.show(playlist.Directives{MSN: 20, Part: -1})
	}},
	{"block-early", "a part past the last answered before the next segment began", nil, func(f *feed) {
		f.show(playlist.Directives{MSN: 19, Part: 3})
	}},
	{"endlist-final", "a segment after EXT-X-ENDLIST", nil, func(f *feed) {
		f.edit = func(m *playlist.Media) {
			m.EndList, m.PreloadHint = true, ""
			if m.Open() != nil {
				m.Segments = m.Segments[:len(m.Segments)-1]
			}
		}
		f.steps(4)
	}},
	{"endlist-final", "EXT-X-ENDLIST taken back", nil, func(f *feed) {
		f.edit = func(m *playlist.Media) { m.EndList, m.PreloadHint = true, "" }
		f.show(playlist.NoDirectives)
		f.edit = nil
		f.show(playlist.NoDirectives)
	}},
	{"daterange-same", "a splice whose end moves its begin", nil, edited(3, func(m *playlist.Media) {
		out, in := ranged("a"), ranged("a")
		in.Start = in.Start.Add(time.Second)
		m.DateRanges = []playlist.DateRange{out, in}
	})},
	{"daterange-stable", "a date range that moves with the live edge", nil, edited(3, func(m *playlist.Media) {
		r := ranged("a")
		r.Start = m.Segments[len(m.Segments)-1].ProgramDateTime.Add(time.Duration(openParts(m)) * time.Second)
		m.DateRanges = []playlist.DateRange{r}
	})},
	{"daterange-stable", "a date range that comes and goes", []string{"daterange-stays"}, func(f *feed) {
		n := 0
		f.edit = func(m *playlist.Media) {
			if n++; n%2 == 1 {
				m.DateRanges = []playlist.DateRange{ranged("a")}
			}
		}
		f.steps(3)
	}},
	{"daterange-stays", "a date range that is told once", nil, func(f *feed) {
		n := 0
		f.edit = func(m *playlist.Media) {
			n++
			m.DateRanges = []playlist.DateRange{ranged("a" + string(rune('0'+n)))}
		}
		f.steps(3)
	}},

	{"endlist-hint", "a hint beside EXT-X-ENDLIST", nil, func(f *feed) {
		f.edit = func(m *playlist.Media) { m.EndList = true }
		f.show(playlist.NoDirectives)
	}},

	{"init-parse", "an init section without track extends", []string{"media-parse"}, damaged("init-0-0.mp4", replaced("trex", "free"))},
	{"media-parse", "a part cut short", []string{"segment-bytes"}, damaged("part-0-31.m4s", func(b []byte) []byte { return b[:len(b)-1] })},
	{"media-parse", "a part of a track that the map does not declare", []string{"segment-bytes"},
		damaged("part-0-31.m4s", replaced("tfhd\x00\x02\x00\x00\x00\x00\x00\x02", "tfhd\x00\x02\x00\x00\x00\x00\x00\x03"))},
	{"media-parse", "data offsets from the start of the file", []string{"segment-bytes"},
		damaged("part-0-31.m4s", replaced("tfhd\x00\x02\x00\x00", "tfhd\x00\x00\x00\x00"))},
	{"tfdt-continuity", "a part whose clock is 10 ms late", []string{"segment-bytes"}, damaged("part-0-31.m4s", func(b []byte) []byte {
		i := strings.Index(string(b), "tfdt") + 15 // lowest byte of the 64-bit time
		b[i], b[i-1] = b[i]+132, b[i-1]+3          // 900 of 90,000 ticks
		return b
	})},
	{"media-duration", "a part listed 20 ms too short", []string{"part-sum"},
		edited(3, func(m *playlist.Media) { setPart(m, 18, 1, 313333*time.Microsecond) })},
	{"independent-idr", "INDEPENDENT on any part", nil, edited(3, func(m *playlist.Media) {
		if s := at(m, 18); len(s.Parts) > 1 {
			s.Parts[1].Independent = true
		}
	})},
	{"independent-idr", "a sync sample that holds no IDR picture", []string{"segment-bytes"},
		damaged("part-0-30.m4s", replaced("\x00\x00\x00\x14\x65", "\x00\x00\x00\x14\x41"))},
	{"segment-bytes", "a segment packaged apart from its parts", []string{"media-parse"},
		damaged("seg-0-19.m4s", func(b []byte) []byte { return append(b, 0) })},
	{"segment-bytes", "a segment with a part left out", []string{"media-duration", "tfdt-continuity"},
		damaged("seg-0-19.m4s", func(b []byte) []byte {
			moof := binary.BigEndian.Uint32(b)
			return b[moof+binary.BigEndian.Uint32(b[moof:]):] // and its mdat
		})},
	{"immutable", "an init section replaced under its name", nil, func(f *feed) {
		f.steps(1)
		f.c.Init("init-0-0.mp4", replaced("avc1", "hvc1")(f.o.File("init-0-0.mp4")))
	}},
	{"immutable", "a part replaced under its name", nil, func(f *feed) {
		f.steps(1)
		f.c.Part("part-0-30.m4s", append(f.o.File("part-0-30.m4s"), "x"...))
	}},
}

func setPart(m *playlist.Media, msn int64, i int, d time.Duration) {
	if s := at(m, msn); len(s.Parts) > i {
		s.Parts[i].Duration = d
	}
}

// Each fixture breaks its rule, and nothing that it does not say.
func TestFixtures(t *testing.T) {
	for _, fx := range slices.Concat(fixtures, laterFixtures) {
		t.Run(fx.rule+"/"+fx.name, func(t *testing.T) {
			f := newFeed(t, 30)
			fx.run(f)
			fired := f.rules()
			if !slices.Contains(fired, fx.rule) {
				t.Errorf("%s did not fire; fired: %v", fx.rule, f.c.Violations())
			}
			for _, id := range fired {
				if id != fx.rule && !slices.Contains(fx.also, id) {
					t.Errorf("also fired: %v", f.c.Violations())
				}
			}
			for _, id := range fx.also {
				if !slices.Contains(fired, id) {
					t.Errorf("%s is expected too and did not fire", id)
				}
			}
		})
	}
}

// A stream that keeps every rule, through a discontinuity and to its end, read
// in full and as deltas, breaks none.
func TestGoodStream(t *testing.T) {
	f := newFeed(t, 3)
	f.c.o.Cadence, f.now = time.Millisecond, time.Now()
	f.c.o.SameClock = true
	f.steps(40)
	read := playlist.Directives{MSN: -1, Part: -1, Skip: true}
	deltas := func(n int) {
		for i := range n {
			f.o.Publish()
			f.edit = nil
			if m := f.o.Current(); i%3 != 0 && m.Length()-2*time.Second >= m.CanSkipUntil {
				f.edit = asDelta(2)
			}
			f.show(read)
		}
	}
	deltas(10)
	f.now = f.now.Add(3 * time.Second)
	f.c.o.Cadence = 0 // the encoder was away
	f.o.Discontinue(3 * time.Second)
	deltas(60) // until the discontinuity has left
	f.o.End()
	f.edit = nil
	f.show(read)
	f.show(read)
	for _, v := range f.c.Violations() {
		t.Error(v)
	}
}

// A part that arrives before its listing is checked once it is listed.
func TestPendingPart(t *testing.T) {
	f := newFeed(t, 30)
	f.show(playlist.NoDirectives)
	f.o.Publish()
	name := "part-0-30.m4s"
	f.c.Part(name, f.o.File(name)[:20])
	if n := len(f.c.Violations()); n != 0 {
		t.Errorf("%d violations before it is listed", n)
	}
	f.done[name] = true
	f.show(playlist.NoDirectives)
	if got := f.rules(); !slices.Equal(got, []string{"media-parse"}) {
		t.Errorf("rules %v", got)
	}
	for i := range 100 { // names that never come
		f.c.Part(fmt.Sprint("never-", i), nil)
	}
	if n := len(f.c.media.pending); n > maxPending {
		t.Errorf("%d bodies are kept", n)
	}
}

func TestIgnoreAndBound(t *testing.T) {
	f := newFeed(t, 30)
	f.c = New(Options{Ignore: []string{"hold-back"}})
	f.edit = func(m *playlist.Media) { m.HoldBack = 0 }
	f.steps(2)
	if v := f.c.Violations(); len(v) != 0 {
		t.Errorf("ignored, yet %v", v)
	}
	for i := range 2 * maxViolations {
		f.text(playlist.NoDirectives, fmt.Sprintf("#EXTM3U\n#EXT-X-VERSION:x%d\n", i))
	}
	if n := len(f.c.Violations()); n != maxViolations {
		t.Errorf("%d violations are kept, want %d", n, maxViolations)
	}
}
