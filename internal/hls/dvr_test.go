package hls_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/blob"
	"tally/internal/hls"
	"tally/internal/hls/archive"
	"tally/internal/hls/hlscheck"
	"tally/internal/hls/playlist"
)

// A shelf is a library on disk, for a registry.
type shelf struct {
	t    testing.TB
	disk *blob.Disk
	lib  *archive.Library
}

func newShelf(t testing.TB, dir string) *shelf {
	t.Helper()
	d, err := blob.OpenDisk(dir, blob.DiskConfig{Floor: -1})
	if err != nil {
		t.Fatal(err)
	}
	return &shelf{t, d, archive.New(archive.Config{Blobs: d})}
}

// recorded is the playlist of the session's recording, which is over.
func (s *shelf) recorded() *playlist.Media {
	s.t.Helper()
	rec, err := s.lib.Recording("session")
	if err != nil {
		s.t.Fatal(err)
	}
	m, err := playlist.ParseMedia(string(rec.Playlist(archive.Muxed)))
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

func (s *shelf) close() {
	s.lib.Close()
	s.disk.Close()
}

// dvrRun is a run with a window on disk.
func dvrRun(window time.Duration) hls.OpenOptions {
	o := run(2)
	o.DVRWindow, o.LivestreamID = window, "livestream"
	return o
}

// onDisk runs f on a stage with a library in dir.
func onDisk(t *testing.T, dir string, o hls.OpenOptions, f func(*stage, *shelf)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		shelf := newShelf(t, dir)
		defer shelf.close()
		s := &stage{t: t, registry: hls.NewRegistry(hls.Config{Archive: shelf.lib}), began: time.Now()}
		defer s.registry.Close()
		s.p = s.registry.Open(o)
		s.v = newViewer(t, s.stream().Window(), hlscheck.Options{})
		s.v.past = s.past
		f(s, shelf)
		s.v.done()
	})
}

// past reads a segment that has left memory.
func (s *stage) past(epoch, msn int64) []byte { return s.pastOf(s.stream().Main(), epoch, msn) }

func (s *stage) pastOf(r *hls.Rendition, epoch, msn int64) []byte {
	p := r.Window().Current().Past(epoch, msn)
	if p == nil {
		return nil
	}
	o, err := r.Open(p)
	if err != nil {
		s.t.Errorf("segment %d is listed and cannot be opened: %v", msn, err)
		return nil
	}
	defer o.Close()
	b, err := io.ReadAll(io.LimitReader(o, p.SizeBytes))
	if err != nil || int64(len(b)) != p.SizeBytes {
		s.t.Errorf("segment %d: %d of %d bytes, %v", msn, len(b), p.SizeBytes, err)
	}
	return b
}

// checkForms compares the four forms of a playlist, and what a player makes of the
// delta update with the playlist before it.
func checkForms(t *testing.T, s *hls.Snapshot, before *playlist.Media) *playlist.Media {
	t.Helper()
	plain := s.Playlist(false, false).Data
	for _, delta := range []bool{false, true} {
		for _, c := range []struct{ raw, zip *hls.Body }{
			{s.Playlist(delta, false), s.Playlist(delta, true)},
			{s.SharedPlaylist(delta, false), s.SharedPlaylist(delta, true)},
		} {
			z, err := gzip.NewReader(bytes.NewReader(c.zip.Data))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(z)
			if err != nil || !bytes.Equal(got, c.raw.Data) {
				t.Fatalf("compressed it is another, %v:\n%s\nplain:\n%s", err, got, c.raw.Data)
			}
		}
	}
	if want := playlist.AppendPrefixed(nil, plain, "../"); !bytes.Equal(s.SharedPlaylist(false, false).Data, want) {
		t.Fatal("shared it is another")
	}
	full, err := playlist.ParseMedia(string(plain))
	if err != nil {
		t.Fatalf("%v\n%s", err, plain)
	}
	delta, err := playlist.ParseMedia(string(s.Playlist(true, false).Data))
	if err != nil {
		t.Fatal(err)
	}
	if before != nil && delta.SkippedSegments > 0 {
		merged, err := delta.Merge(before)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := string(merged.AppendText(nil)), string(full.AppendText(nil)); a != b {
			t.Fatalf("the delta update makes\n%s\nof the playlist before, want\n%s", a, b)
		}
	}
	return full
}

// The window lists what has left memory, and its files are what was live. The
// checker looks at each playlist and at each delta update.
func TestDVRWindow(t *testing.T) {
	onDisk(t, t.TempDir(), dvrRun(30*time.Second), func(s *stage, _ *shelf) {
		s.begin(1)
		source := av
		source.length = 75 * time.Second
		var before *playlist.Media
		for _, chunk := range chunks(source.items(t), time.Second) {
			s.sendAt(1, chunk)
			if snap := s.stream().Window().Current(); snap.Listed() {
				before = checkForms(t, snap, before)
			}
		}
		m := s.v.media
		if length := m.Length(); length < 30*time.Second || length > 34*time.Second {
			t.Errorf("%v are listed, want 30 s and up to a target more", length)
		}
		if got := s.stream().Window().Span(); got != 12*time.Second {
			t.Errorf("a viewer that joins may take %v at once", got)
		}
		first := m.MediaSequence
		if s.past(1, first) == nil || !bytes.Equal(s.past(1, first), s.v.files[archive.SegmentName(1, first)]) {
			t.Error("on disk the oldest segment is another than it was")
		}
		if s.stream().Window().Current().Segment(1, first) != nil {
			t.Error("the oldest segment is in memory still")
		}
		if s.past(1, first-5) != nil {
			t.Error("what left the window long ago can be fetched")
		}
	})
}

// chunks are items by their time.
func chunks(items []item, each time.Duration) (all [][]item) {
	for from := 0; from < len(items); {
		to := from
		for to < len(items) && items[to].at/each == items[from].at/each {
			to++
		}
		all = append(all, items[from:to])
		from = to
	}
	return all
}

// sendAt sends items at their time since the stage began.
func (s *stage) sendAt(epoch int64, items []item) {
	s.t.Helper()
	for _, it := range items {
		time.Sleep(it.at - time.Since(s.began))
		if err := write(s.p, epoch, it); err != nil {
			s.t.Fatal(err)
		}
		s.v.look()
	}
}

// A reconnect and a changed configuration are in the past with their tags, and
// what only the past needs can be fetched.
func TestDVRWindowHoldsDiscontinuities(t *testing.T) {
	onDisk(t, t.TempDir(), dvrRun(10*time.Minute), func(s *stage, _ *shelf) {
		s.begin(1)
		source := av
		source.length = 10 * time.Second
		s.send(1, source.items(t))
		s.p.Lost(1)
		time.Sleep(6 * time.Second) // the picture is held
		s.v.look()
		s.begin(2)
		source.config, source.length = avc1080p, 40*time.Second
		s.send(2, source.items(t))
		m := s.v.media
		tags, maps, held := 0, map[string]bool{}, 0
		for i := range m.Segments {
			if m.Segments[i].Discontinuity {
				tags++
			}
			if m.Segments[i].Held() {
				held++
			}
			maps[m.Segments[i].Map] = true
		}
		if tags != 2 || m.DiscontinuitySequence != 0 || len(maps) != 2 || held < 3 || m.MediaSequence != 1 {
			t.Errorf("%d discontinuities, %d maps, %d held segments, from %d on:\n%s", tags, len(maps), held, m.MediaSequence, s.playlist())
		}
		if s.v.last.Init(1, 0) != nil {
			t.Error("the first initialization section is in memory still")
		}
		o, err := s.stream().Main().OpenInit(1, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		if got, _ := io.ReadAll(o); !bytes.Equal(got, s.v.files["init-1-0.mp4"]) {
			t.Error("the first initialization section is another than it was")
		}
		if _, err := s.stream().Main().OpenInit(1, 7); !errors.Is(err, archive.ErrNotFound) {
			t.Errorf("one that never was: %v", err)
		}
	})
}

// After the end the whole window can be fetched, without memory, for as long as it
// is; then it is gone, and its files too.
func TestDVRWindowAfterTheEnd(t *testing.T) {
	onDisk(t, t.TempDir(), dvrRun(time.Minute), func(s *stage, shelf *shelf) {
		s.begin(1)
		source := av
		source.length = 40 * time.Second
		s.send(1, source.items(t))
		end(s.p)
		s.playlist()
		withParts, stream := s.v.media, s.stream()
		time.Sleep(18*time.Second - hls.RoundTrip) // a window in memory, and three targets for who has that list
		synctest.Wait()
		text := string(stream.Window().Current().Playlist(false, false).Data)
		if lost := s.missing(stream.Window(), withParts); len(lost) > 0 || count(text, "EXT-X-PART:") > 0 {
			t.Errorf("these cannot be fetched, or parts are listed still: %v", lost)
		}
		time.Sleep(hls.RoundTrip)
		synctest.Wait()
		snap := s.stream().Window().Current()
		if snap.Segment(1, snap.LastMSN) != nil || snap.Part(1, 100) != nil {
			t.Error("there is media in memory")
		}
		if snap.SessionID() != "session" {
			t.Errorf("who watches the past watches session %q", snap.SessionID())
		}
		checkForms(t, snap, nil)
		text = string(snap.Playlist(false, false).Data)
		if !snap.Ended || !snap.Listed() || count(text, "EXTINF") < 39 || count(text, "EXT-X-PART:") != 0 || !strings.HasSuffix(text, "#EXT-X-ENDLIST\n") {
			t.Errorf("the ended playlist:\n%s", text)
		}
		for msn := int64(1); msn <= snap.LastMSN; msn++ {
			if s.past(1, msn) == nil {
				t.Errorf("segment %d is not there", msn)
			}
		}
		time.Sleep(43 * time.Second)
		synctest.Wait()
		if s.stream() != nil || !stream.Over() {
			t.Error("the playlist is still there")
		}
		time.Sleep(38 * time.Second) // the list is 40 s long
		synctest.Wait()
		for msn := int64(1); msn <= snap.LastMSN; msn++ {
			if s.pastOf(stream.Main(), 1, msn) == nil {
				t.Errorf("segment %d is not there", msn)
			}
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if s.registry.Run("play", "run") != nil {
			t.Error("the run is still there")
		}
		if left, err := shelf.disk.List(""); err != nil || len(left) != 0 {
			t.Errorf("on disk are %v, %v", left, err)
		}
	})
}

// A server that was killed goes on with what is on disk, under the same names, and
// with higher numbers.
func TestDVRWindowAfterAKill(t *testing.T) {
	dir := t.TempDir()
	var before *playlist.Media
	var files map[string][]byte
	onDisk(t, dir, dvrRun(time.Hour), func(s *stage, _ *shelf) {
		s.begin(1)
		source := av
		source.length = 40 * time.Second
		s.send(1, source.items(t))
		synctest.Wait()
		before, files = s.v.media, s.v.files
	}) // the registry's Close leaves the files, as a kill does
	o := dvrRun(time.Hour)
	o.Run.MSNMark, o.Run.DiscontinuityMark, o.Run.PartTarget = before.NextMSN()+15, 16, 335*time.Millisecond
	onDisk(t, dir, o, func(s *stage, _ *shelf) {
		if s.stream().Window().Current().Listed() {
			t.Error("something is listed before there is media")
		}
		s.v.check = noParts()
		time.Sleep(time.Minute)
		s.v.files = files
		s.begin(2)
		source := av
		source.length = 20 * time.Second
		s.send(2, source.items(t))
		m := s.v.media
		checkForms(t, s.v.last, nil)
		if m.MediaSequence != before.MediaSequence || m.DiscontinuitySequence != before.DiscontinuitySequence {
			t.Errorf("it begins at %d with %d discontinuities, before at %d with %d", m.MediaSequence, m.DiscontinuitySequence,
				before.MediaSequence, before.DiscontinuitySequence)
		}
		gaps, tags := 0, int64(0)
		for i := range m.Segments {
			g := &m.Segments[i]
			msn := m.MediaSequence + int64(i)
			if g.Gap {
				gaps++
			}
			if g.Discontinuity {
				tags++
			}
			if i < len(before.Segments)-1 && (g.URI != before.Segments[i].URI || g.Duration != before.Segments[i].Duration ||
				g.Discontinuity != before.Segments[i].Discontinuity || g.Map != before.Segments[i].Map ||
				g.ProgramDateTime.Sub(before.Segments[i].ProgramDateTime).Abs() > time.Millisecond) {
				t.Errorf("segment %d is %+v, was %+v", msn, g, before.Segments[i])
			}
			if g.URI != "" && !g.Gap && msn <= before.NextMSN() && s.past(1, msn) == nil {
				t.Errorf("segment %d cannot be fetched", msn)
			}
		}
		if gaps == 0 || gaps > 16 || tags <= 1 {
			t.Errorf("%d gaps and %d discontinuities between before and after", gaps, tags)
		}
		if first := m.MediaSequence + tags; first <= before.DiscontinuitySequence+1 {
			t.Error("the discontinuity sequence does not rise")
		}
	})
	if t.Failed() {
		return
	}
	// And once more, with the hole in what is on disk.
	o.Run.MSNMark, o.Run.DiscontinuityMark = o.Run.MSNMark+60, 60
	onDisk(t, dir, o, func(s *stage, _ *shelf) {
		s.v.check = noParts()
		time.Sleep(2 * time.Minute)
		s.v.files = files
		s.begin(3)
		s.send(3, av.items(t))
		if m := s.v.media; m.MediaSequence != before.MediaSequence || m.DiscontinuitySequence != before.DiscontinuitySequence {
			t.Errorf("it begins at %d with %d discontinuities", m.MediaSequence, m.DiscontinuitySequence)
		}
		checkForms(t, s.v.last, nil)
	})
}

// noParts is a checker for a server that was started anew: parts of before are gone.
func noParts() *hlscheck.Checker {
	return hlscheck.New(hlscheck.Options{Ignore: []string{"parts-kept"}})
}

// What the disk does not take is a gap in the past, and live goes on.
func TestDVRWindowOfAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := blob.OpenDisk(t.TempDir(), blob.DiskConfig{Floor: 1 << 62})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		lib := archive.New(archive.Config{Blobs: d})
		defer lib.Close()
		r := hls.NewRegistry(hls.Config{Archive: lib})
		defer r.Close()
		s := &stage{t: t, registry: r, p: r.Open(dvrRun(time.Hour)), began: time.Now()}
		s.v = newViewer(t, s.stream().Window(), hlscheck.Options{})
		s.begin(1)
		source := av
		source.length = 30 * time.Second
		s.send(1, source.items(t))
		text := s.playlist()
		if n := count(text, "EXT-X-GAP"); n < 10 || s.v.media.MediaSequence != 1 {
			t.Errorf("%d gaps:\n%s", n, text)
		}
		if got := s.p.Progress().Trouble; !strings.Contains(got, "nearly full") {
			t.Errorf("progress tells %q", got)
		}
		if lib.Lost() < 10 {
			t.Errorf("%d are counted as lost", lib.Lost())
		}
	})
}

// With keep, and without a window, the playlist is as ever, and the session is a
// recording afterwards, without the held picture.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	onDisk(t, dir, func() hls.OpenOptions { o := run(2); o.Keep = true; return o }(), func(s *stage, shelf *shelf) {
		s.begin(1)
		source := av
		source.length = 20 * time.Second
		s.send(1, source.items(t))
		s.p.Lost(1)
		time.Sleep(8 * time.Second)
		s.begin(2)
		s.send(2, source.items(t))
		if m := s.v.media; m.Length() > 15*time.Second {
			t.Errorf("%v are listed", m.Length())
		}
		if _, err := shelf.lib.Recording("session"); !errors.Is(err, archive.ErrLive) {
			t.Errorf("on air: %v", err)
		}
		s.p.End(true)
		synctest.Wait()
		rec, err := shelf.lib.Recording("session")
		if err != nil {
			t.Fatal(err)
		}
		if d := rec.Length(); d < 39*time.Second || d > 41*time.Second {
			t.Errorf("the recording is %v long, want 40 s", d)
		}
		text := string(rec.Playlist(archive.Muxed))
		m, err := playlist.ParseMedia(text)
		if err != nil {
			t.Fatal(err)
		}
		if count(text, "EXT-X-DISCONTINUITY\n") != 1 || strings.Contains(text, "held") {
			t.Errorf("the recording:\n%s", text)
		}
		for _, g := range m.Segments {
			var epoch, msn int64
			if !scan(g.URI, "seg-%d-%d.m4s", &epoch, &msn) {
				t.Fatal(g.URI)
			}
			o, err := shelf.lib.Open("session", archive.Muxed, epoch, msn)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(o)
			o.Close()
			if want := s.v.files[g.URI]; want != nil && !bytes.Equal(got, want) {
				t.Errorf("%s is another than it was", g.URI)
			}
		}
		time.Sleep(time.Minute)
		if _, err := shelf.lib.Recording("session"); err != nil {
			t.Errorf("after the run is gone: %v", err)
		}
	})
}

// Sessions of one run: the one that is kept stays when the other goes.
func TestDVRWindowOverSessions(t *testing.T) {
	onDisk(t, t.TempDir(), dvrRun(time.Hour), func(s *stage, shelf *shelf) {
		s.begin(1)
		source := av
		source.length = 20 * time.Second
		s.send(1, source.items(t))
		s.p.End(true)
		time.Sleep(2 * time.Second)
		o := dvrRun(time.Hour)
		o.SessionID, o.Keep = "second", true
		s.p = s.registry.Open(o)
		s.begin(2)
		s.send(2, source.items(t))
		if m := s.v.media; m.MediaSequence != 1 || m.Length() < 39*time.Second {
			t.Errorf("%v from %d on", m.Length(), m.MediaSequence)
		}
		end(s.p)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if dirs, err := shelf.disk.Dirs(""); err != nil || fmt.Sprint(dirs) != "[runs second]" {
			t.Errorf("on disk are %v, %v", dirs, err)
		}
		if _, err := shelf.lib.Recording("second"); err != nil {
			t.Error(err)
		}
	})
}

// A ladder's window on disk, over a kill of the server: each rendition goes on where
// it was, all on one grid, and keeps every rule.
func TestDVRWindowOfALadder(t *testing.T) {
	dir := t.TempDir()
	src := func(l time.Duration) []item {
		long := func(s *synth) { s.length = l }
		return together(with(hi, long).items(t), v1(with(lo, long).items(t)), with(voice, long).items(t))
	}
	before := map[string]*playlist.Media{}
	files := map[string]map[string][]byte{}
	live := func(s *stage, o hlscheck.Options, epoch int64, items []item) *views {
		all := newViews(t, o)
		all.begin = func(v *viewer, r *hls.Rendition) {
			v.past = func(epoch, msn int64) []byte { return s.pastOf(r, epoch, msn) }
			if f := files[r.Name()]; f != nil {
				v.files = f
			}
		}
		s.begin(epoch)
		s.p.Expect(epoch, ids(items))
		start := time.Now()
		for _, it := range items {
			time.Sleep(it.at - time.Since(start))
			if err := write(s.p, epoch, it); err != nil {
				t.Fatal(err)
			}
			all.look(s.stream())
		}
		synctest.Wait()
		all.look(s.stream())
		all.done()
		return all
	}
	var mark, disc int64
	onDisk(t, dir, dvrRun(time.Hour), func(s *stage, _ *shelf) {
		all := live(s, hlscheck.Options{}, 1, src(40*time.Second))
		for name, v := range all.views {
			before[name], files[name] = v.media, v.files
		}
		mark, disc = s.p.Progress().MSN+15, s.p.Progress().Discontinuity+16
	})
	o := dvrRun(time.Hour)
	o.Run.MSNMark, o.Run.DiscontinuityMark, o.Run.PartTarget = mark, disc, 335*time.Millisecond
	onDisk(t, dir, o, func(s *stage, _ *shelf) {
		time.Sleep(time.Minute)
		all := live(s, hlscheck.Options{Ignore: []string{"parts-kept"}}, 2, src(20*time.Second))
		if want := []string{"v0", "v1", "a0"}; !slices.Equal(all.names, want) {
			t.Fatalf("renditions %v, want %v", all.names, want)
		}
		for name, v := range all.views {
			m, was := v.media, before[name]
			if m.MediaSequence != was.MediaSequence || m.DiscontinuitySequence != was.DiscontinuitySequence {
				t.Errorf("%s begins at %d with %d discontinuities, before at %d with %d", name, m.MediaSequence, m.DiscontinuitySequence,
					was.MediaSequence, was.DiscontinuitySequence)
			}
			for i := range was.Segments[:len(was.Segments)-1] {
				if a, b := &m.Segments[i], &was.Segments[i]; a.URI != b.URI || a.Duration != b.Duration || a.Map != b.Map {
					t.Errorf("%s: segment %d is %+v, was %+v", name, i, a, b)
				}
			}
		}
	})
	// Muxed from then on, if the encoder has only that, it stays a ladder.
	o.Run.MSNMark, o.Run.DiscontinuityMark = mark+60, disc+60
	onDisk(t, dir, o, func(s *stage, _ *shelf) {
		time.Sleep(2 * time.Minute)
		short := func(s *synth) { s.length = 5 * time.Second }
		all := live(s, hlscheck.Options{Ignore: []string{"parts-kept"}}, 3, together(with(hi, short).items(t), with(voice, short).items(t)))
		if want := []string{"v0", "a0"}; !slices.Equal(all.names, want) {
			t.Fatalf("renditions %v, want %v", all.names, want)
		}
		for _, name := range all.names {
			if m := all.views[name].media; m.MediaSequence != before[name].MediaSequence {
				t.Errorf("%s begins at %d, before at %d", name, m.MediaSequence, before[name].MediaSequence)
			}
		}
	})
}

// A session that a restart interrupted and whose encoder does not come back ends
// like one of which nothing was in memory.
func TestDVRWindowEndsWithoutItsEncoder(t *testing.T) {
	dir := t.TempDir()
	var last int64
	onDisk(t, dir, dvrRun(time.Hour), func(s *stage, _ *shelf) {
		s.begin(1)
		source := av
		source.length = 40 * time.Second
		s.send(1, source.items(t))
		last = s.stream().Window().Current().LastMSN
	})
	o := dvrRun(time.Hour)
	o.Run.MSNMark, o.Run.DiscontinuityMark, o.Run.PartTarget = last+15, 16, 335*time.Millisecond
	onDisk(t, dir, o, func(s *stage, shelf *shelf) {
		s.begin(2)
		st := s.stream()
		end(s.p)
		if st.Listed() || st.Window().Current().Listed() || st.AppendMultivariant(nil, "") != nil {
			t.Error("something is listed")
		}
		if err := st.WaitListed(context.Background()); !errors.Is(err, hls.ErrEnded) {
			t.Errorf("waiting for it: %v", err)
		}
		if s.stream() != nil {
			t.Error("the run is still there")
		}
		shelf.lib.Close()
		if left, err := shelf.disk.List(""); err != nil || len(left) != 0 {
			t.Errorf("on disk are %v, %v", left, err)
		}
	})
}
