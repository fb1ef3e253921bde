package hls_test

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tally/internal/hls"
	"tally/internal/hls/hlscheck"
	"tally/internal/hls/playlist"
	"tally/internal/ingest"
	"tally/internal/livestream"
	"tally/internal/media"
	"tally/internal/rtmp/clock"
	"tally/internal/rtmp/flv"
)

var _ ingest.Output = (*hls.Packager)(nil)

// An item is what a publisher sends at one moment of its own time.
type item struct {
	at    time.Duration
	track *media.Track // or
	frame media.Frame
}

// ffmpegFLV has ffmpeg write an FLV file and returns its bytes.
func ffmpegFLV(t testing.TB, args ...string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "in.flv")
	args = append(append([]string{"-v", "error", "-nostdin", "-y", "-threads", "1"}, args...), "-f", "flv", "-flvflags", "no_duration_filesize", file)
	if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg %v: %v\n%s", args, err, out)
	}
	b, err := readFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// readFLV turns an FLV file into what the RTMP server would hand on.
func readFLV(t testing.TB, b []byte) []item {
	t.Helper()
	r, err := flv.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var items []item
	var c clock.Clock
	clocks := map[media.TrackID]*clock.Track{}
	for {
		tag, err := r.Next()
		if err == io.EOF {
			return items
		}
		if err != nil {
			t.Fatal(err)
		}
		at := time.Duration(tag.Time) * time.Millisecond
		var tr media.Track
		var f media.Frame
		switch tag.Type {
		case flv.TypeVideo:
			v, err := flv.ParseVideo(tag.Body)
			if err != nil {
				t.Fatal(err)
			}
			if v.Packet == flv.SequenceHeader {
				tr, err = media.H264Track(v.Data)
			}
			if err != nil {
				t.Fatal(err)
			}
			if v.Packet == flv.EndOfSequence {
				continue
			}
			f = media.Frame{Track: media.VideoTrack, Key: v.Key, Payload: v.Data, PTS: int64(v.Composition) * 90}
		case flv.TypeAudio:
			a, err := flv.ParseAudio(tag.Body)
			if err != nil {
				t.Fatal(err)
			}
			if a.Packet == flv.SequenceHeader {
				tr, err = media.AACTrack(a.Data)
			}
			if err != nil {
				t.Fatal(err)
			}
			f = media.Frame{Track: media.AudioTrack, Key: true, Payload: a.Data}
		default:
			continue
		}
		if tr.Codec != media.CodecNone {
			clocks[tr.ID] = c.Track(tr.Timescale, tr.FrameSamples)
			items = append(items, item{at: at, track: &tr})
			continue
		}
		dts, jumped := clocks[f.Track].Next(uint32(tag.Time), at)
		f.DTS, f.PTS, f.Discontinuity = dts, f.PTS+dts, jumped
		items = append(items, item{at: at, frame: f})
	}
}

// write hands an item to a packager.
func write(p *hls.Packager, epoch int64, it item) error {
	if it.track != nil {
		return p.WriteTrack(epoch, *it.track)
	}
	return p.WriteFrame(epoch, it.frame)
}

// A viewer follows a stream as a strict player does: every snapshot through the
// checker, every part and segment fetched by the names that the playlist gives.
type viewer struct {
	t       fataler
	check   *hlscheck.Checker
	window  *hls.Window
	last    *hls.Snapshot
	media   *playlist.Media
	files   map[string][]byte // everything listed so far, by URI
	texts   []string
	longest time.Duration
	shared  string                        // what stands before URIs in shared delivery; "": it is direct
	past    func(epoch, msn int64) []byte // reads what has left memory; nil: nothing is listed then
}

func newViewer(t fataler, w *hls.Window, o hlscheck.Options) *viewer {
	return &viewer{t: t, check: hlscheck.New(o), window: w, files: map[string][]byte{}}
}

// look reads the current snapshot if it is a new one.
func (v *viewer) look() {
	s := v.window.Current()
	if s == v.last || !s.Listed() {
		return
	}
	v.last = s
	text := v.text(s, false)
	v.texts = append(v.texts, text)
	m, err := playlist.ParseMedia(text)
	if err != nil {
		v.t.Fatalf("%v\n%s", err, text)
	}
	v.media = m
	for _, g := range m.Segments {
		v.fetch(g.Map)
	}
	now := time.Now()
	v.check.Playlist(hlscheck.Observation{At: now, Text: text})
	skip := playlist.NoDirectives
	skip.Skip = true
	v.check.Playlist(hlscheck.Observation{At: now, Directives: skip, Text: v.text(s, true)})
	for _, g := range m.Segments {
		for _, p := range g.Parts {
			v.longest = max(v.longest, p.Duration)
			if !p.Gap {
				v.fetch(p.URI)
			}
		}
		if g.URI != "" && !g.Gap {
			v.fetch(g.URI)
		}
	}
}

// text is the playlist in the viewer's kind of delivery.
func (v *viewer) text(s *hls.Snapshot, delta bool) string {
	if v.shared != "" {
		return string(s.SharedPlaylist(delta, false).Data)
	}
	return string(s.Playlist(delta, false).Data)
}

// fetch reads what a URI names, and shows it to the checker.
func (v *viewer) fetch(uri string) {
	if v.files[uri] != nil {
		return
	}
	name, ok := strings.CutPrefix(uri, v.shared)
	if !ok {
		v.t.Fatalf("%s does not begin with %s", uri, v.shared)
	}
	var epoch, n int64
	var b []byte
	switch {
	case scan(name, "init-%d-%d.mp4", &epoch, &n):
		if i := v.last.Init(epoch, n); i != nil {
			b = i.Data
			v.check.Init(uri, b)
		}
	case scan(name, "part-%d-%d.m4s", &epoch, &n):
		if p := v.last.Part(epoch, n); p != nil {
			b = bytesOf(p)
			v.check.Part(uri, b)
		}
	case scan(name, "seg-%d-%d.m4s", &epoch, &n):
		if g := v.last.Segment(epoch, n); g != nil {
			for _, p := range g.Parts {
				b = append(b, bytesOf(p)...)
			}
			v.check.Segment(uri, b)
		} else if v.past != nil {
			b = v.past(epoch, n)
		}
	}
	if b == nil {
		v.t.Fatalf("%s is listed but not there", uri)
	}
	v.files[uri] = b
}

// bytesOf is a part as it is fetched.
func bytesOf(p *hls.Part) []byte { return slices.Concat(p.Data, p.Tail) }

func scan(s, format string, args ...any) bool {
	n, err := fmt.Sscanf(s, format, args...)
	return err == nil && n == len(args)
}

// done fails the test for what the checker found.
func (v *viewer) done() {
	v.t.Helper()
	found := v.check.Violations()
	for i, x := range found {
		if i == 20 {
			v.t.Errorf("and %d more", len(found)-i)
			break
		}
		v.t.Error(x)
	}
	if len(found) > 0 && len(v.texts) > 0 {
		v.t.Logf("last playlist:\n%s", v.texts[len(v.texts)-1])
	}
}

// run is a fresh run's options.
func run(target int) hls.OpenOptions {
	return hls.OpenOptions{PlaybackID: "play", SessionID: "session", EndlistDelay: 10 * time.Second,
		Run: livestream.Run{ID: "run", TargetDuration: target}}
}

const farAhead = 1 << 40 // a mark that hides nothing

// A fataler is a *testing.T or a *rapid.T.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
	Error(args ...any)
	Errorf(format string, args ...any)
	Logf(format string, args ...any)
}
