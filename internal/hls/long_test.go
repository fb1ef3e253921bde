package hls

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"testing"
	"time"

	"tally/internal/hls/archive"
	"tally/internal/livestream"
)

// longWindow is a rendition with twelve hours of 2 s segments behind it, and 12 s
// in memory, as they would be: only the media is missing.
func longWindow(tb testing.TB, segments int64) *Rendition {
	r := NewRegistry(Config{})
	tb.Cleanup(r.Close)
	r.Open(OpenOptions{PlaybackID: "play", SessionID: "session", Run: livestream.Run{ID: "run", TargetDuration: 2, PartTarget: 335 * time.Millisecond}})
	s := r.Stream("play")
	d := s.main
	d.past.listFor = 12 * time.Hour
	d.ring.markMSN, d.ring.markDisc = 1<<40, 1<<40
	began := time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)
	for msn := range segments {
		d.past.add(PastSegment{
			SessionID: "session", Epoch: 1, MSN: msn, Duration: 2 * time.Second, SizeBytes: 500_000, Parts: make([]uint32, 6),
			at: began.Add(time.Duration(msn) * 2 * time.Second), start: time.Duration(msn) * 2 * time.Second, mapURI: archive.InitName(1, 0),
		})
	}
	d.ring.nextMSN, d.ring.listFrom, d.ring.nextPart = segments, segments, segments*6
	d.ring.edge = time.Duration(segments) * 2 * time.Second
	d.ring.epoch, d.ring.hinted = 1, 1
	d.ring.addInit(&Init{Epoch: 1, Data: []byte("init")})
	d.partTarget = 335 * time.Millisecond
	for range 42 {
		addPart(d, began)
	}
	return d
}

func addPart(d *Rendition, began time.Time) {
	d.ring.add(cut{duration: time.Second / 3, stand: standGap}, began.Add(d.ring.edge))
	if g := d.ring.open(); len(g.parts) == 6 {
		d.ring.complete()
	}
}

// TestLongGzip reads what is put together of blocks, with any decompressor that
// holds to RFC 1952, at every place of the window in its blocks.
func TestLongGzip(t *testing.T) {
	for _, n := range []int64{1, blockSegments - 1, blockSegments, blockSegments + 1, 3*blockSegments + 5} {
		d := longWindow(t, n)
		for _, from := range []int64{0, n / 2, n - 1} {
			d.past.listFrom = from
			d.publish(false)
			s := d.window.Current()
			for _, c := range []struct{ raw, zip *Body }{
				{s.Playlist(false, false), s.Playlist(false, true)}, {s.SharedPlaylist(false, false), s.SharedPlaylist(false, true)},
			} {
				z, err := gzip.NewReader(bytes.NewReader(c.zip.Data))
				if err != nil {
					t.Fatal(err)
				}
				z.Multistream(false)
				got, err := io.ReadAll(z)
				if err != nil || !bytes.Equal(got, c.raw.Data) {
					t.Fatalf("%d segments from %d: %v, %d bytes, want %d", n, from, err, len(got), len(c.raw.Data))
				}
			}
			if got := bytes.Count(s.Playlist(false, false).Data, []byte("#EXT-X-MAP")); got != 1 {
				t.Errorf("%d maps", got)
			}
		}
	}
}

// TestLongWindowAllocates: a part of a stream with a window of 12 h allocates no
// more than one with a minute, as long as nobody asks for the full playlist.
func TestLongWindowAllocates(t *testing.T) {
	perPart := func(segments int64) float64 {
		d := longWindow(t, segments)
		return testing.AllocsPerRun(50, func() { d.publish(false) })
	}
	if short, long := perPart(30), perPart(21600); long > short+1 {
		t.Errorf("%.0f allocations per part with 12 h, %.0f with a minute", long, short)
	}
}

// BenchmarkLongWindow is what a part costs, and what who asks first for a form of
// the playlist of that part, by the length of the window.
func BenchmarkLongWindow(b *testing.B) {
	for _, n := range []int64{30, 21600} {
		d := longWindow(b, n)
		run := func(name string, ask func(s *Snapshot) *Body) {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				size := 0
				for b.Loop() {
					d.publish(false)
					if ask != nil {
						size = len(ask(d.window.Current()).Data)
					}
				}
				b.ReportMetric(float64(size), "bytes")
			})
		}
		run("part", nil)
		run("delta", func(s *Snapshot) *Body { return s.Playlist(true, false) })
		run("delta-gzip", func(s *Snapshot) *Body { return s.Playlist(true, true) })
		run("full", func(s *Snapshot) *Body { return s.Playlist(false, false) })
		run("full-gzip", func(s *Snapshot) *Body { return s.Playlist(false, true) })
		run("full-shared", func(s *Snapshot) *Body { return s.SharedPlaylist(false, false) })
		run("full-shared-gzip", func(s *Snapshot) *Body { return s.SharedPlaylist(false, true) })
	}
}

// The list names the map wherever it begins, also where a block does and the one
// before was let go: as with segments a little above the target.
func TestPastNamesItsMap(t *testing.T) {
	const target, over = 2 * time.Second, 40 * time.Millisecond
	p := past{listFor: time.Minute}
	edge := time.Duration(0)
	for msn := range int64(3 * blockSegments) {
		p.add(PastSegment{MSN: msn, Duration: target + over, start: edge, mapURI: archive.InitName(1, 0)})
		for to := edge + target + over; edge < to; {
			edge += min(over/2, to-edge)
			p.trim(edge, target)
			v := p.view()
			text := (&long{past: v, start: v.appendMap(nil, v.listFrom)}).raw("")
			if n := bytes.Count(text, []byte("#EXT-X-MAP:")); n != 1 || !bytes.HasPrefix(text, []byte("#EXT-X-MAP:")) {
				t.Fatalf("behind segment %d the list begins at %d, with %d maps:\n%.200s", msn, v.listFrom, n, text)
			}
		}
	}
}

// Who still reads a list of before is not disturbed by what leaves it since.
func TestPastViewStays(t *testing.T) {
	const each = 2 * time.Second
	p := past{listFor: time.Minute}
	for msn := range int64(blockSegments + 60) {
		p.add(PastSegment{MSN: msn, Duration: each, start: time.Duration(msn) * each, mapURI: archive.InitName(1, 0)})
	}
	old := p.view()
	before := (&long{past: old, start: old.appendMap(nil, old.listFrom)}).raw("")
	for n := range time.Duration(2) {
		p.trim((blockSegments+60+n)*each, each)
	}
	if p.base == 0 {
		t.Fatal("no block was let go")
	}
	if after := (&long{past: old, start: old.appendMap(nil, old.listFrom)}).raw(""); !bytes.Equal(before, after) {
		t.Error("the list of before is another")
	}
}
