// Package origin is a small LL-HLS server for tests: a made-up programme in
// true fMP4, published part by part, with blocking reload, delta updates,
// preload hints, discontinuities and an end. It shares only the playlist
// package with the server it stands in for. Its faults are switched on by
// tests: that is what it is for.
package origin

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"tally/internal/hls/playlist"
)

// The programme: 30 fps video and 48 kHz audio in parts of ten frames, three
// parts to a segment of one second.
const (
	TargetDuration  = 1
	PartsPerSegment = 3
	framesPerPart   = 10
	ticksPerPart    = framesPerPart * videoTimescale / 30
	window          = 9 // whole segments listed
)

// PartTime is how often Run publishes.
const PartTime = time.Second / PartsPerSegment

// PartTarget is PART-TARGET: a part's 333.334 ms and some headroom.
const PartTarget = 335 * time.Millisecond

// An Origin is one run. Its methods may be called concurrently.
type Origin struct {
	// Faults, to be set before use. Each may be nil.
	Edit   func(*playlist.Media)                             // changes a playlist before it is sent; it is a copy
	Before func(w http.ResponseWriter, r *http.Request) bool // answers a request itself if it returns true
	Media  func(name string, body []byte) []byte             // changes media when it is made
	// Rename gives the first part behind a discontinuity another name than the
	// one that was hinted at.
	Rename bool

	mu      sync.Mutex
	changed chan struct{} // closed at the next publication
	m       playlist.Media
	files   map[string][]byte
	epoch   int
	init    int
	counter int    // parts made in this epoch
	tick    int64  // video ticks made in all
	segFrom int64  // tick at which the open segment began
	body    []byte // of the open segment
	date    time.Time
	first   bool   // the next part follows a discontinuity
	hinted  string // name of the next part
}

// New returns an origin with n parts published, the last of which ends now.
func New(n int) *Origin {
	o := &Origin{files: map[string][]byte{}}
	o.changed = make(chan struct{})
	o.m = playlist.Media{
		TargetDuration: TargetDuration, IndependentSegments: true, CanBlockReload: true,
		PartTarget: PartTarget, PartHoldBack: 3 * PartTarget,
		HoldBack: 3 * TargetDuration * time.Second, CanSkipUntil: 6 * TargetDuration * time.Second,
		MediaSequence: 10,
	}
	o.files[o.initName()] = initSegment()
	o.hinted = o.partName(0)
	o.date = time.Now().UTC().Truncate(time.Millisecond).Add(-time.Duration(n) * PartTime)
	for range n {
		o.Publish()
	}
	return o
}

// Run publishes a part each PartTime until ctx ends.
func (o *Origin) Run(ctx context.Context) {
	t := time.NewTicker(PartTime)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			o.Publish()
		case <-ctx.Done():
			return
		}
	}
}

func (o *Origin) initName() string { return fmt.Sprintf("init-%d-%d.mp4", o.epoch, o.init) }
func (o *Origin) partName(counter int) string {
	return fmt.Sprintf("part-%d-%d.m4s", o.epoch, counter)
}

// Publish makes the next part and lists it.
func (o *Origin) Publish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.m.EndList {
		return
	}
	open := o.m.Open()
	if open == nil {
		o.m.Segments = append(o.m.Segments, playlist.Segment{
			Map: o.initName(), ProgramDateTime: o.date, Discontinuity: o.first,
		})
		o.first, o.segFrom, o.body = false, o.tick, nil
		open = o.m.Open()
	}
	key := len(open.Parts) == 0
	name := o.hinted
	body := o.make(name, part(o.tick, framesPerPart, key, uint32(o.counter+1)))
	o.body = append(o.body, body...)
	o.counter++
	from := o.tick
	o.tick += ticksPerPart
	parts := open.Parts[:len(open.Parts):len(open.Parts)] // snapshots share what is there
	open.Parts = append(parts, playlist.Part{
		URI: name, Duration: playlist.Span(from, o.tick, videoTimescale), Independent: key,
	})
	if len(open.Parts) == PartsPerSegment {
		o.closeSegment()
	}
	o.dropParts()
	o.hinted = o.partName(o.counter)
	o.m.PreloadHint = o.hinted
	o.notify()
}

func (o *Origin) make(name string, body []byte) []byte {
	if o.Media != nil {
		body = o.Media(name, body)
	}
	o.files[name] = body
	return body
}

// closeSegment completes the open segment and trims the list.
func (o *Origin) closeSegment() {
	open := o.m.Open()
	if open == nil {
		return
	}
	msn := o.m.NextMSN()
	open.URI = fmt.Sprintf("seg-%d-%d.m4s", o.epoch, msn)
	open.Duration = playlist.Span(o.segFrom, o.tick, videoTimescale)
	o.date = open.ProgramDateTime.Add(open.Duration)
	o.make(open.URI, o.body)
	segs := append([]playlist.Segment(nil), o.m.Segments...)
	for len(segs) > window {
		o.m.MediaSequence++
		if segs[0].Discontinuity {
			o.m.DiscontinuitySequence++
		}
		segs = segs[1:]
	}
	o.m.Segments = segs
}

// dropParts takes the parts of segments that are far from the end off the list.
func (o *Origin) dropParts() {
	segs := append([]playlist.Segment(nil), o.m.Segments...)
	after := time.Duration(0)
	for i := len(segs) - 1; i >= 0; i-- {
		if after >= 3*TargetDuration*time.Second {
			segs[i].Parts = nil
		}
		after += segs[i].Length()
	}
	o.m.Segments = segs
}

func (o *Origin) notify() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// Discontinue ends the open segment and goes on as after an encoder's return:
// new epoch, new map, time that begins again, dates later by gap. The part that
// is hinted at keeps its name.
func (o *Origin) Discontinue(gap time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closeSegment()
	o.epoch++
	o.init++
	o.first = true
	o.date = o.date.Add(gap)
	o.files[o.initName()] = initSegment()
	if o.Rename {
		o.hinted = o.partName(o.counter)
		o.m.PreloadHint = o.hinted
	}
	o.notify()
}

// End adds EXT-X-ENDLIST.
func (o *Origin) End() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closeSegment()
	o.m.PreloadHint, o.m.EndList = "", true
	o.notify()
}

// Current returns a copy of the playlist as it stands, before Edit.
func (o *Origin) Current() *playlist.Media {
	m, _ := o.current()
	return &m
}

// File returns media by name; nil: there is none.
func (o *Origin) File(name string) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.files[name]
}

func (o *Origin) current() (playlist.Media, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	m := o.m
	m.Segments = append([]playlist.Segment(nil), m.Segments...)
	return m, o.changed
}

// ServeHTTP serves /index.m3u8 and, below /run/, media.m3u8 and the media.
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	if o.Before != nil && o.Before(w, r) {
		return
	}
	if r.Method == http.MethodOptions {
		w.Header().Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
		w.Header().Set("Access-Control-Allow-Headers", "*")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	switch name, inRun := strings.CutPrefix(r.URL.Path, "/run/"); {
	case r.URL.Path == "/index.m3u8":
		mv := playlist.Multivariant{IndependentSegments: true, Variants: []playlist.Variant{{
			URI: "run/media.m3u8", Bandwidth: 1_000_000, Codecs: "avc1.64001f,mp4a.40.2", Width: 640, Height: 360, FrameRate: 30,
		}}}
		o.send(w, r, mv.AppendText(nil))
	case inRun && name == "media.m3u8":
		w.Header().Set("Cache-Control", "no-cache")
		o.servePlaylist(w, r)
	case inRun:
		o.serveMedia(w, r, name)
	default:
		http.NotFound(w, r)
	}
}

func (o *Origin) send(w http.ResponseWriter, r *http.Request, text []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/vnd.apple.mpegurl")
	h.Set("Vary", "Accept-Encoding")
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256(text))
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write(text)
		z.Close()
		text, tag = b.Bytes(), tag[:len(tag)-1]+`-gz"`
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", fmt.Sprint(len(text)))
	w.Write(text)
}

func (o *Origin) servePlaylist(w http.ResponseWriter, r *http.Request) {
	d, err := playlist.ParseDirectives(r.URL.RawQuery)
	if m, _ := o.current(); m.EndList {
		d, err = playlist.NoDirectives, nil
	}
	if err != nil {
		refuse(w, err.Error(), http.StatusBadRequest)
		return
	}
	timeout := time.NewTimer(3 * TargetDuration * time.Second)
	defer timeout.Stop()
	for {
		m, changed := o.current()
		if !m.EndList && (d.MSN > m.NextMSN()+1 || d.MSN >= m.NextMSN() && d.Part > PartsPerSegment+advance) {
			refuse(w, "too far ahead", http.StatusBadRequest)
			return
		}
		if m.EndList || d.MSN < 0 || has(&m, d.MSN, d.Part) {
			if d.Skip && !m.EndList {
				skipOld(&m)
			}
			if o.Edit != nil {
				o.Edit(&m)
			}
			o.send(w, r, m.AppendText(nil))
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-timeout.C:
			w.Header().Set("Retry-After", "1")
			refuse(w, "nothing new", http.StatusServiceUnavailable)
			return
		}
	}
}

// advance is the Advance Part Limit: three seconds in parts.
const advance = 9

func refuse(w http.ResponseWriter, text string, code int) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, text, code)
}

// skipOld makes m a delta update, if anything lies beyond the skip boundary.
func skipOld(m *playlist.Media) {
	left := m.Length()
	n := 0
	for n < len(m.Segments) && left-m.Segments[n].Length() >= m.CanSkipUntil {
		left -= m.Segments[n].Length()
		n++
	}
	m.SkippedSegments, m.Segments = n, m.Segments[n:]
}

// has is written out rather than shared: it is half of what the tests are about.
func has(m *playlist.Media, msn int64, part int) bool {
	next, listed := m.NextMSN(), 0
	if i := msn - m.MediaSequence; i >= 0 && i < int64(len(m.Segments)) {
		listed = len(m.Segments[i].Parts)
	}
	switch {
	case part < 0 || msn > next || msn < m.MediaSequence:
		return msn < next
	case msn == next:
		return part < listed
	case part < listed || listed == 0:
		return true
	}
	return has(m, msn+1, 0) // past the last: part 0 of the next segment
}

func (o *Origin) serveMedia(w http.ResponseWriter, r *http.Request, name string) {
	for {
		o.mu.Lock()
		body, changed, hinted := o.files[name], o.changed, name == o.m.PreloadHint
		o.mu.Unlock()
		if body != nil {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
			w.Header().Set("Content-Type", "video/mp4")
			http.ServeContent(&refusals{w}, r, "", time.Time{}, bytes.NewReader(body))
			return
		}
		if !hinted {
			http.NotFound(w, r)
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// refusals keeps caches from storing a refused range.
type refusals struct{ http.ResponseWriter }

func (w *refusals) WriteHeader(code int) {
	if code >= 400 {
		w.Header().Set("Cache-Control", "no-store")
	}
	w.ResponseWriter.WriteHeader(code)
}

// Transport runs requests against h in the caller's goroutine, without sockets,
// so that tests can run in virtual time.
type Transport struct{ Handler http.Handler }

// RoundTrip implements http.RoundTripper. The answer is complete when it returns.
func (t Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	t.Handler.ServeHTTP(rec, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	resp := rec.Result()
	resp.Request = r
	if r.Method == http.MethodHead { // as the server of net/http does
		resp.Body = http.NoBody
	}
	return resp, nil
}
