package hls_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"tally/internal/hls"
	"tally/internal/media"
)

func itoa(n int) string { return strconv.Itoa(n) }

// live returns a stream with some seconds of 720p30, 2 Mbit/s, behind it, and
// its source for going on.
func live(b testing.TB) (*hls.Registry, *hls.Packager, *endless) {
	r := hls.NewRegistry(hls.Config{})
	p := r.Open(run(2))
	p.Begin(1)
	p.Mark(farAhead, farAhead)
	p.Expect(1, media.First(true, true))
	e := newEndless(b, p)
	for range 20 {
		e.second()
	}
	return r, p, e
}

// An endless encoder: 30 pictures and 47 access units to a second, over again.
type endless struct {
	b      testing.TB
	p      *hls.Packager
	key    []byte
	other  []byte
	sound  []byte
	pics   int64
	sounds int64
}

func newEndless(b testing.TB, p *hls.Packager) *endless {
	for _, tr := range (synth{fps: 30, gop: 60, rate: 48000, announces: 1}).tracks(b) {
		if err := p.WriteTrack(1, tr); err != nil {
			b.Fatal(err)
		}
	}
	s := synth{bytes: 8000}
	return &endless{b: b, p: p, key: s.picture(true), other: s.picture(false), sound: make([]byte, 340)}
}

func (e *endless) second() {
	for range 30 {
		e.frame()
	}
}

// frame sends one picture and the sound up to it.
func (e *endless) frame() {
	f := media.Frame{Track: media.VideoTrack, DTS: e.pics * 3000, PTS: e.pics * 3000, Key: e.pics%60 == 0, Payload: e.other}
	if f.Key {
		f.Payload = e.key
	}
	if err := e.p.WriteFrame(1, f); err != nil {
		e.b.Fatal(err)
	}
	e.pics++
	for e.sounds*1024*30 < e.pics*48000 {
		f := media.Frame{Track: media.AudioTrack, DTS: e.sounds * 1024, PTS: e.sounds * 1024, Key: true, Payload: e.sound}
		if err := e.p.WriteFrame(1, f); err != nil {
			e.b.Fatal(err)
		}
		e.sounds++
	}
}

// One second of 720p30 at 2 Mbit/s with 128 kbit/s of sound: three parts.
func BenchmarkPackageSecond(b *testing.B) {
	_, _, e := live(b)
	b.ReportAllocs()
	b.SetBytes(30*8000 + 47*340)
	for b.Loop() {
		e.second()
	}
}

// From the last frame of a part to the last of 500 waiting reloads.
func BenchmarkWake500(b *testing.B) {
	r, _, e := live(b)
	w := r.Stream("play").Window()
	b.ReportAllocs()
	var spent time.Duration
	for b.Loop() {
		snap := w.Current()
		want := hls.Position{MSN: snap.LastMSN + 1, Part: snap.OpenParts}
		if snap.OpenParts == 6 {
			want = hls.Position{MSN: snap.LastMSN + 2, Part: 0}
		}
		var asleep, awake sync.WaitGroup
		asleep.Add(500)
		for range 500 {
			awake.Go(func() {
				asleep.Done()
				if s, err := w.Wait(context.Background(), want, hls.Within{}); err != nil || len(s.Playlist(false, true).Data) == 0 {
					b.Error(err)
				}
			})
		}
		asleep.Wait()
		for w.Current() == snap {
			at := time.Now()
			e.frame()
			if w.Current() != snap {
				awake.Wait()
				spent += time.Since(at)
			}
		}
		for !w.Current().Has(want) { // a segment ended between
			e.frame()
		}
		awake.Wait()
	}
	b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "µs/wake")
}

func BenchmarkPartLookup(b *testing.B) {
	r, _, _ := live(b)
	w := r.Stream("play").Window()
	n := w.Current().NextPart - 5
	b.ReportAllocs()
	for b.Loop() {
		if r.Run("play", "run").Window().Current().Part(1, n) == nil {
			b.Fatal("no part")
		}
	}
}

// Look-ups and satisfied reloads allocate nothing.
func TestReadersDoNotAllocate(t *testing.T) {
	r, _, _ := live(t)
	w := r.Stream("play").Window()
	snap := w.Current()
	ctx := context.Background()
	for name, f := range map[string]func(){
		"stream":  func() { r.Run("play", "run").Rendition("") },
		"part":    func() { w.Current().Part(1, snap.NextPart-1) },
		"segment": func() { w.Current().Segment(1, snap.LastMSN) },
		"init":    func() { w.Current().Init(1, 0) },
		"wait":    func() { w.Wait(ctx, hls.Position{MSN: snap.LastMSN, Part: -1}, hls.Within{}) },
		"hinted":  func() { w.WaitPart(ctx, 1, snap.NextPart-1, hls.Within{}) },
		"text":    func() { w.Current().Playlist(true, true) },
		"shared":  func() { w.Current().SharedPlaylist(true, true) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// One second of a ladder of two pictures, 2 Mbit/s each, and sound: what each has
// beyond a muxed one is a playlist of its own.
func BenchmarkPackageLadderSecond(b *testing.B) {
	r := hls.NewRegistry(hls.Config{})
	p := r.Open(run(2))
	p.Begin(1)
	p.Mark(farAhead, farAhead)
	ids := []media.TrackID{media.VideoID(0), media.VideoID(1), media.AudioID(0)}
	p.Expect(1, ids)
	for i, tr := range (synth{fps: 30, gop: 60, rate: 48000, announces: 1}).tracks(b) {
		tr.ID = ids[2*i]
		if err := p.WriteTrack(1, tr); err != nil {
			b.Fatal(err)
		}
		if tr.ID = ids[1]; i == 0 {
			if err := p.WriteTrack(1, tr); err != nil {
				b.Fatal(err)
			}
		}
	}
	s := synth{bytes: 8000}
	key, other, sound := s.picture(true), s.picture(false), make([]byte, 340)
	var pics, sounds int64
	write := func(f media.Frame) {
		f.PTS = f.DTS
		if err := p.WriteFrame(1, f); err != nil {
			b.Fatal(err)
		}
	}
	second := func() {
		for range 30 {
			payload := other
			if pics%60 == 0 {
				payload = key
			}
			for _, id := range ids[:2] {
				write(media.Frame{Track: id, DTS: pics * 3000, Key: pics%60 == 0, Payload: payload})
			}
			pics++
			for ; sounds*1024*30 < pics*48000; sounds++ {
				write(media.Frame{Track: ids[2], DTS: sounds * 1024, Key: true, Payload: sound})
			}
		}
	}
	for range 20 {
		second()
	}
	b.ReportAllocs()
	b.SetBytes(2*30*8000 + 47*340)
	for b.Loop() {
		second()
	}
	if n := r.Stream("play").Rendition("v1").Window().Current().LastMSN; n < 10 {
		b.Fatalf("v1 ends at MSN %d", n)
	}
}
