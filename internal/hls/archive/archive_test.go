package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tally/internal/blob"
	"tally/internal/hls/playlist"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var began = time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)

func openLibrary(t *testing.T, dir string) *Library {
	t.Helper()
	d, err := blob.OpenDisk(dir, blob.DiskConfig{Floor: -1})
	if err != nil {
		t.Fatal(err)
	}
	l := New(Config{Blobs: d})
	t.Cleanup(func() { l.Close(); d.Close() })
	return l
}

func aboutOf(session string, keep bool) About {
	return About{SessionID: session, PlaybackID: "play", LivestreamID: "live", Keep: keep, Target: 2, Began: began}
}

// A feeder hands over segments of three parts of half a second.
type feeder struct {
	lane    *Lane
	msn     int64
	counter int64
	epoch   int64
	disc    int64
}

func (f *feeder) head() Head {
	return Head{
		MSN: f.msn, Epoch: f.epoch, At: began.Add(time.Duration(f.msn) * 1500 * time.Millisecond), Disc: f.disc,
		Init:     Init{Number: 0, Epoch: 1, Codecs: "avc1.64001f,mp4a.40.2", Width: 1280, Height: 720, FrameRate: 29.97, Language: "de", Name: "Größe 1"},
		InitData: []byte("init"),
	}
}

func (f *feeder) part(e *Entry) {
	f.lane.Part(e, Part{Counter: f.counter, Epoch: f.epoch, Duration: 500 * time.Millisecond,
		Data: fmt.Appendf(nil, "<%d", f.counter), Tail: []byte(">")})
	f.counter++
}

func (f *feeder) segment(change func(*Head)) *Entry {
	h := f.head()
	if change != nil {
		change(&h)
	}
	e := f.lane.Begin(h)
	for range 3 {
		f.part(e)
	}
	f.lane.End(e)
	f.msn++
	return e
}

// drain waits until all that was handed over is written.
func drain(r *Recorder) {
	done := make(chan struct{})
	r.queue.offer(task{do: func() { close(done) }})
	<-done
}

func content(t *testing.T, o blob.Object, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	b, err := io.ReadAll(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRecordAndPlay(t *testing.T) {
	l := openLibrary(t, t.TempDir())
	r := l.Record("run")
	defer r.Close(false)
	r.Begin(aboutOf("s1", true))
	f := &feeder{lane: r.Lane("main"), epoch: 1}
	for range 3 {
		f.segment(nil)
	}
	f.disc++
	f.segment(func(h *Head) { h.Discontinuity, h.Stand = true, StandHeld })
	f.epoch, f.disc = 2, f.disc+1
	last := f.segment(func(h *Head) { h.Discontinuity = true })
	if _, err := l.Recording("s1"); !errors.Is(err, ErrLive) {
		t.Errorf("while it is written: %v", err)
	}
	if err := l.Delete("s1"); !errors.Is(err, ErrLive) {
		t.Errorf("deleted while it is written: %v", err)
	}
	r.End()
	drain(r)
	if !last.Settle() {
		t.Error("the last segment is not at rest")
	}

	rec, err := l.Recording("s1")
	if err != nil {
		t.Fatal(err)
	}
	rd := rec.Rendition("main")
	if rec.Length() != 6*time.Second || len(rd.Segments) != 5 || rec.Run != "run" {
		t.Errorf("recording: %v long, %d segments, %+v", rec.Length(), len(rd.Segments), rec.About)
	}
	if want := f.head().Init; rd.Inits[0].Codecs != want.Codecs || rd.Inits[0].Name != want.Name || rd.Inits[0].Language != "de" || rd.Inits[0].FrameRate != 29.97 {
		t.Errorf("initialization section: %+v", rd.Inits[0])
	}
	if got := content2(t, l, 1, 1); got != "<3><4><5>" {
		t.Errorf("segment 1: %q", got)
	}
	want := `#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-PLAYLIST-TYPE:VOD
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-MAP:URI="init-1-0.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-11-23T09:30:00.000Z
#EXTINF:1.500000,
seg-1-0.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-23T09:30:01.500Z
#EXTINF:1.500000,
seg-1-1.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-23T09:30:03.000Z
#EXTINF:1.500000,
seg-1-2.m4s
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2026-11-23T09:30:06.000Z
#EXTINF:1.500000,
seg-2-4.m4s
#EXT-X-ENDLIST
`
	if got := string(rec.Playlist("main")); got != want {
		t.Errorf("playlist:\n%s\nwant:\n%s", got, want)
	}
	if err := new(playlist.Media).Parse(want); err != nil {
		t.Error(err)
	}
	if err := l.Delete("s1"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Recording("s1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
	if err := l.Delete("s1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
}

func content2(t *testing.T, l *Library, epoch, msn int64) string {
	t.Helper()
	o, err := l.Open("s1", "main", epoch, msn)
	return content(t, o, err)
}

// A process that is killed leaves everything up to the last part that was written,
// and the next one goes on in the same session.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	l := openLibrary(t, dir)
	r := l.Record("run")
	r.Begin(aboutOf("s1", true))
	f := &feeder{lane: r.Lane("main"), epoch: 1}
	f.segment(nil)
	e := f.lane.Begin(f.head())
	f.part(e)
	f.part(e)
	drain(r) // and then nothing: the process is gone

	again := openLibrary(t, dir)
	past, err := again.Past("run")
	if err != nil || len(past) != 1 || len(past[0].Sessions) != 1 || len(past[0].Sessions[0].Segments) != 2 {
		t.Fatalf("past: %+v, %v", past, err)
	}
	r2 := again.Record("run")
	r2.Resume(past)
	r2.Begin(aboutOf("s1", true))
	f2 := &feeder{lane: r2.Lane("main"), epoch: 2, msn: 17, counter: 90, disc: 9}
	f2.segment(func(h *Head) { h.Discontinuity, h.Init.Epoch = true, 2 }) // numbers of them begin anew
	r2.Close(true)
	again.Close()
	rec, err := again.Recording("s1")
	if err != nil {
		t.Fatal(err)
	}
	if rec.Length() != 4*time.Second {
		t.Errorf("length %v, want 4 s: 1.5 before, 1 of the segment that was open, 1.5 after", rec.Length())
	}
	if text := string(rec.Playlist("main")); !strings.Contains(text, "#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init-2-0.mp4\"\n") {
		t.Errorf("playlist:\n%s", text)
	}
	o, err := again.Open("s1", "main", 1, 1)
	if got := content(t, o, err); got != "<3><4>" {
		t.Errorf("the segment that was open: %q", got)
	}
	r.Close(false)
}

// What is not kept is deleted as it leaves the window, and altogether at the end.
func TestPassing(t *testing.T) {
	dir := t.TempDir()
	l := openLibrary(t, dir)
	r := l.Record("run")
	r.Begin(aboutOf("s1", false))
	f := &feeder{lane: r.Lane("main"), epoch: 1}
	for range 6 {
		f.segment(nil)
	}
	drain(r)
	f.lane.Release(4)
	f.segment(nil)
	drain(r)
	files, err := filepath.Glob(filepath.Join(dir, "s1", "main", "seg-*"))
	if err != nil || len(files) != 3 {
		t.Errorf("files of the window: %v, %v", files, err)
	}
	if _, err := l.Recording("s1"); !errors.Is(err, ErrLive) {
		t.Errorf("while it is written: %v", err)
	}
	r.End()
	drain(r)
	if _, err := l.Recording("s1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a session that is not kept: %v", err)
	}
	if err := l.Delete("s1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted under its run: %v", err)
	}
	r.Close(true)
	l.Close()
	if left, _ := os.ReadDir(filepath.Join(dir, "s1")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A broken is a store that refuses once it was told so.
type broken struct {
	blob.Store
	err  error
	hang chan struct{}
}

type brokenWriter struct {
	blob.Writer
	b *broken
}

func (b *broken) Create(name string) (blob.Writer, error) {
	w, err := b.Store.Create(name)
	return brokenWriter{w, b}, err
}

func (w brokenWriter) Append(pieces ...[]byte) error {
	if w.b.hang != nil {
		<-w.b.hang
	}
	if w.b.err != nil {
		return w.b.err
	}
	return w.Writer.Append(pieces...)
}

// A disk that is full for a while costs whole segments, which are counted; what
// comes after it is kept.
func TestFull(t *testing.T) {
	d, err := blob.OpenDisk(t.TempDir(), blob.DiskConfig{Floor: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	b := &broken{Store: d}
	l := New(Config{Blobs: b})
	defer l.Close()
	r := l.Record("run")
	defer r.Close(false)
	r.Begin(aboutOf("s1", true))
	f := &feeder{lane: r.Lane("main"), epoch: 1}
	f.segment(nil)
	e := f.lane.Begin(f.head())
	f.part(e)
	drain(r)
	b.err = fmt.Errorf("a test: %w", blob.ErrFull)
	f.part(e)
	f.part(e)
	f.lane.End(e)
	f.msn++
	during := f.segment(nil)
	drain(r)
	if e.Settle() || during.Settle() || l.Lost() != 2 {
		t.Errorf("while it was full: %d lost", l.Lost())
	}
	if got := r.Trouble(); !strings.Contains(got, "nearly full") {
		t.Errorf("trouble: %q", got)
	}
	b.err = nil
	after := f.segment(nil)
	r.End()
	drain(r)
	if !after.Settle() || r.Trouble() != "" {
		t.Errorf("afterwards: trouble %q", r.Trouble())
	}
	rec, err := l.Recording("s1")
	if err != nil {
		t.Fatal(err)
	}
	text := string(rec.Playlist("main"))
	if rec.Length() != 3*time.Second || !strings.Contains(text, "#EXT-X-DISCONTINUITY\n") {
		t.Errorf("%v long:\n%s", rec.Length(), text)
	}
}

// A disk that hangs holds nobody up: what does not fit into the queue is lost.
func TestHangs(t *testing.T) {
	d, err := blob.OpenDisk(t.TempDir(), blob.DiskConfig{Floor: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	b := &broken{Store: d, hang: make(chan struct{})}
	l := New(Config{Blobs: b})
	r := l.Record("run")
	r.Begin(aboutOf("s1", true))
	f := &feeder{lane: r.Lane("main"), epoch: 1}
	var all []*Entry
	for range 200 {
		all = append(all, f.segment(nil))
	}
	first, last := all[0], all[199]
	if last.Settle() {
		t.Error("the queue has no end")
	}
	if first.lost() {
		t.Error("what had room is lost")
	}
	if first.Settle() || !first.lost() {
		t.Error("what left memory before it was written is at rest")
	}
	close(b.hang)
	r.Close(false)
	l.Close()
	rec, err := l.Recording("s1")
	if err != nil {
		t.Fatal(err)
	}
	if got := len(rec.Rendition("main").Segments); got+int(l.Lost()) != 200 {
		t.Errorf("%d written, %d lost, of 200", got, l.Lost())
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	l := openLibrary(t, dir)
	for _, c := range []struct {
		run, session string
		keep         bool
	}{{"over", "a-passing", false}, {"over", "b-kept", true}, {"on", "c-passing", false}, {"old", "d-old", true}, {"gone", "e-gone", true}} {
		r := l.Record(c.run)
		a := aboutOf(c.session, c.keep)
		if c.run == "old" {
			a.Began = began.AddDate(0, 0, -40)
		}
		if c.run == "gone" {
			a.PlaybackID = "deleted"
		}
		r.Begin(a)
		(&feeder{lane: r.Lane("main"), epoch: 1}).segment(nil)
		r.Close(false)
	}
	l.Close()
	if err := os.MkdirAll(filepath.Join(dir, "f-nothing", "main"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := l.Sweep(context.Background(), Keeper{
		Runs:   func(context.Context) (map[string]bool, error) { return map[string]bool{"on": true}, nil },
		Exists: func(_ context.Context, id string) (bool, error) { return id == "play", nil },
		For:    30 * 24 * time.Hour,
	}, began)
	if err != nil {
		t.Fatal(err)
	}
	left, _ := l.blobs.Dirs("")
	if got := strings.Join(left, " "); got != "b-kept c-passing runs" {
		t.Errorf("left: %s", got)
	}
	if _, err := l.Recording("b-kept"); err != nil {
		t.Error(err)
	}
}

// What is damaged at the end of a journal ends it; what is shorter than it says
// counts as far as it goes.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	l := openLibrary(t, dir)
	r := l.Record("run")
	r.Begin(aboutOf("s1", true))
	f := &feeder{lane: r.Lane("main"), epoch: 1}
	for range 3 {
		f.segment(nil)
	}
	r.Close(false)
	l.Close()
	journal := filepath.Join(dir, "s1", "main", "journal-000000")
	text, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(text, []byte("seg 2"))
	if err := os.WriteFile(journal, append(bytes.Clone(text[:at]), make([]byte, len(text)-at)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "s1", "main", "seg-1-1.m4s"), 5); err != nil {
		t.Fatal(err)
	}
	rec, err := l.Recording("s1")
	if err != nil {
		t.Fatal(err)
	}
	if segs := rec.Rendition("main").Segments; len(segs) != 2 || segs[1].Size != 3 || rec.Length() != 2*time.Second {
		t.Errorf("%v long: %+v", rec.Length(), segs)
	}
}

func FuzzJournal(f *testing.F) {
	var text []byte
	in := (&feeder{epoch: 1}).head().Init
	text = in.appendLine(text)
	text = (&Segment{MSN: 5, Epoch: 1, At: began, Stand: StandHeld, Discontinuity: true}).appendLine(text)
	text = (&Part{Counter: 7, Duration: time.Second}).appendLine(text, 100)
	text = (&Part{Counter: 8, Duration: time.Second}).appendLine(text, 50)
	text = appendLine(text, "end", int64(5))
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Add([]byte("seg 1 2 00000000\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var r reader
		_ = r.read(text)
		for i := range r.segs {
			s := &r.segs[i]
			var d time.Duration
			for _, p := range s.Parts {
				d += time.Duration(p) * time.Microsecond
			}
			if d != s.Duration || len(s.Parts) != len(s.partEnds) {
				t.Fatalf("%+v", s)
			}
			s.cut(s.Size / 2)
			if s.Size < 0 || s.Duration < 0 {
				t.Fatalf("cut: %+v", s)
			}
		}
	})
}

// BenchmarkLoad reads 12 h of 2 s segments in parts of a third of a second.
func BenchmarkLoad(b *testing.B) {
	var text []byte
	counter := int64(0)
	for msn := range int64(21600) {
		text = (&Segment{MSN: msn, Epoch: 1, At: began.Add(time.Duration(msn) * 2 * time.Second)}).appendLine(text)
		for range 6 {
			text = (&Part{Counter: counter, Duration: time.Second / 3}).appendLine(text, 83_000)
			counter++
		}
		text = appendLine(text, "end", msn)
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		var r reader
		if err := r.read(text); err != nil || len(r.segs) != 21600 {
			b.Fatal(len(r.segs), err)
		}
	}
}

// Renditions of one session have the same segments: what one has lost is a gap in
// it alone.
func TestRenditions(t *testing.T) {
	l := openLibrary(t, t.TempDir())
	r := l.Record("run")
	r.Begin(aboutOf("s1", true))
	video := &feeder{lane: r.Lane("v0"), epoch: 1}
	audio := &feeder{lane: r.Lane("a0"), epoch: 1}
	for range 4 {
		video.segment(nil)
		audio.segment(func(h *Head) { h.Init.Width, h.Init.Height, h.Init.Channels = 0, 0, 6 })
	}
	muxed := &feeder{lane: r.Lane(Muxed), epoch: 1}
	muxed.segment(nil)
	r.Close(false)
	l.Close()
	if err := l.blobs.Delete("s1/v0/" + SegmentName(1, 1)); err != nil {
		t.Fatal(err)
	}
	rec, err := l.Recording("s1")
	if err != nil {
		t.Fatal(err)
	}
	if len(rec.Renditions) != 2 || rec.Playlist(Muxed) != nil {
		t.Errorf("%d renditions", len(rec.Renditions))
	}
	lines := func(name string) (text []string) {
		for line := range strings.Lines(string(rec.Playlist(name))) {
			if strings.HasPrefix(line, "seg-") || strings.HasPrefix(line, "#EXT-X-GAP") || strings.HasPrefix(line, "#EXT-X-DIS") && !strings.Contains(line, "SEQUENCE") {
				text = append(text, strings.TrimSpace(line))
			}
		}
		return text
	}
	if got, want := fmt.Sprint(lines("v0")), "[seg-1-0.m4s #EXT-X-GAP seg-1-1.m4s seg-1-2.m4s seg-1-3.m4s]"; got != want {
		t.Errorf("video: %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(lines("a0")), "[seg-1-0.m4s seg-1-1.m4s seg-1-2.m4s seg-1-3.m4s]"; got != want {
		t.Errorf("audio: %s, want %s", got, want)
	}
	if in := rec.Rendition("a0").NewestInit(); in.Channels != 6 || in.Language != "de" {
		t.Errorf("%+v", in)
	}
}
