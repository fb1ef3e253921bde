package playback

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"tally/internal/hls"
	"tally/internal/livestream"
	"tally/internal/usage"
)

// rendition is what the path's media is of, or nil.
func (h *Handler) rendition(p *path) *hls.Rendition {
	st := p.of(h.registry)
	if st == nil {
		return nil
	}
	return st.Rendition(p.rendition)
}

// initSection answers an initialization section. It is no media: it counts nothing.
func (h *Handler) initSection(w http.ResponseWriter, r *http.Request, p *path) error {
	rendition := h.rendition(p)
	if rendition == nil {
		return errNotListed
	}
	i := rendition.Window().Current().Init(p.epoch, p.number)
	if i == nil {
		return h.pastInit(w, r, p, rendition)
	}
	mediaHeader(w, i.Length)
	switch {
	case conditional(r):
		h.serveCondition(w, r, [][]byte{i.Data})
	case r.Method != http.MethodHead:
		n, _ := w.Write(i.Data)
		h.gate.out.add(n)
	}
	return nil
}

// part answers a part, held while it is the one that the playlist hints at.
func (h *Handler) part(w http.ResponseWriter, r *http.Request, p *path) error {
	rendition := h.rendition(p)
	if rendition == nil {
		return errNotListed
	}
	part := rendition.Window().Current().Part(p.epoch, p.number)
	if part == nil {
		var err error
		if part, err = h.hinted(w, r, rendition.Window(), p); err != nil {
			return err
		}
	}
	mediaHeader(w, part.Length)
	whole := false
	if conditional(r) {
		whole = h.serveCondition(w, r, pieces(part))
	} else if r.Method != http.MethodHead {
		whole = h.write(w, part) == nil
	}
	if whole {
		h.count(rendition, p, part)
	}
	return nil
}

// hinted waits for a part that the playlist hints at.
func (h *Handler) hinted(w http.ResponseWriter, r *http.Request, win *hls.Window, p *path) (*hls.Part, error) {
	hold := h.hold(w, p, 3*win.TargetDuration(), errHeld)
	part, err := win.WaitPart(r.Context(), p.epoch, p.number, hold.within())
	err = hold.end(err)
	if errors.Is(err, livestream.ErrNotFound) {
		err = errNotListed
	}
	return part, err
}

// segment answers a full segment: its parts one after another.
func (h *Handler) segment(w http.ResponseWriter, r *http.Request, p *path) error {
	rendition := h.rendition(p)
	if rendition == nil {
		return errNotListed
	}
	seg := rendition.Window().Current().Segment(p.epoch, p.number)
	if seg == nil {
		return h.pastSegment(w, r, p, rendition)
	}
	mediaHeader(w, seg.Length)
	whole := false
	if conditional(r) {
		whole = h.serveCondition(w, r, pieces(seg.Parts...))
	} else if r.Method != http.MethodHead {
		whole = true
		for _, part := range seg.Parts {
			if h.write(w, part) != nil {
				whole = false
				break
			}
		}
	}
	if whole {
		h.count(rendition, p, seg.Parts...)
	}
	return nil
}

// write writes a part's bytes.
func (h *Handler) write(w io.Writer, p *hls.Part) error {
	n, err := w.Write(p.Data)
	if err == nil && len(p.Tail) > 0 {
		var more int
		more, err = w.Write(p.Tail)
		n += more
	}
	h.gate.out.add(n)
	return err
}

// pieces are the bytes of parts, one after another.
func pieces(parts ...*hls.Part) [][]byte {
	all := make([][]byte, 0, 2*len(parts))
	for _, p := range parts {
		all = append(all, p.Data, p.Tail)
	}
	return all
}

// mediaHeader: what the URL names never changes, so any cache may keep it for
// ever. With those of ServeHTTP and Server-Timing there are eight headers, which
// is how many a map holds before it grows.
func mediaHeader(w http.ResponseWriter, length []string) {
	hdr := w.Header()
	hdr["Content-Type"] = typeMP4
	if hdr["Cache-Control"] == nil { // else it is a private livestream's, and no cache may have it
		hdr["Cache-Control"] = immutable
	}
	hdr["Accept-Ranges"] = acceptRanges
	hdr["Content-Length"] = length
	extendDeadline(w)
}

// count tells usage of parts that a viewer was given completely. A URL of
// shared delivery names none: whoever asked may be a cache.
func (h *Handler) count(rendition *hls.Rendition, p *path, parts ...*hls.Part) {
	id, ok := h.verified(p)
	if !ok {
		return
	}
	var buf [4]usage.Span // parts follow one another; holes beyond go to the heap
	spans := buf[:0]
	size := 0
	for _, part := range parts {
		size += part.Size()
		span := usage.Span{From: part.Start, To: part.Start + part.Duration}
		switch n := len(spans); {
		case part.Held: // whoever waits for the encoder is there, and watches nothing
		case n > 0 && spans[n-1].To >= span.From: // the first of a segment is listed longer than it is
			spans[n-1].To = span.To
		default:
			spans = append(spans, span)
		}
	}
	win := rendition.Window()
	target := win.TargetDuration()
	h.counter.Delivered(usage.Delivery{
		SessionID: parts[0].SessionID, Viewer: id,
		// a segment more than is listed can be fetched
		Window: win.Span() + target,
		Target: target,
		Bytes:  int64(size), Rendition: rendition.Index(),
	}, spans)
}

// conditional reports whether one byte range is asked for, or the media only if
// the client does not have it. Several ranges at once are answered with
// everything, as RFC 9110 section 14.2 allows.
func conditional(r *http.Request) bool {
	return oneRange(r.Header["Range"]) || len(r.Header["If-None-Match"]) > 0
}

func oneRange(v []string) bool {
	return len(v) == 1 && strings.HasPrefix(v[0], "bytes=") && strings.IndexByte(v[0], ',') < 0
}

// serveCondition answers a request with one byte range or a condition by the
// standard library's rules, and reports whether all of the media was written. Only
// these answers have an entity tag, for If-Range, and show it to pages: see
// mediaHeader.
func (h *Handler) serveCondition(w http.ResponseWriter, r *http.Request, pieces [][]byte) bool {
	c := &content{pieces: pieces}
	for _, p := range pieces {
		c.size += int64(len(p))
	}
	return h.serveContent(w, r, c, c.size)
}

// serveContent is serveCondition for media of that size.
func (h *Handler) serveContent(w http.ResponseWriter, r *http.Request, media io.ReadSeeker, size int64) bool {
	if v := r.Header["Range"]; len(v) > 0 && !oneRange(v) {
		r = r.Clone(r.Context())
		delete(r.Header, "Range")
	}
	hdr := w.Header()
	delete(hdr, "Content-Length")
	hdr["Etag"] = mediaTag // as net/http spells it
	hdr["Access-Control-Expose-Headers"] = exposed
	sink := &sink{ResponseWriter: w}
	http.ServeContent(sink, r, "", time.Time{}, media)
	h.gate.out.add(int(sink.written))
	return r.Method == http.MethodGet && sink.err == nil && sink.written == size
}

// A sink counts what was written.
type sink struct {
	http.ResponseWriter
	written int64
	err     error
}

func (s *sink) Write(b []byte) (int, error) {
	n, err := s.ResponseWriter.Write(b)
	s.written += int64(n)
	if err != nil {
		s.err = err
	}
	return n, err
}

// WriteHeader: a refused range is a refusal, which nobody may store.
func (s *sink) WriteHeader(code int) {
	if code >= 400 {
		s.Header()["Cache-Control"] = noStore
		s.err = errNotListed
	}
	s.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController through.
func (s *sink) Unwrap() http.ResponseWriter { return s.ResponseWriter }

var errSeek = errors.New("seek before the start")

// A content reads pieces as one file.
type content struct {
	pieces [][]byte
	size   int64
	at     int64
}

func (c *content) Read(b []byte) (int, error) {
	skip := c.at
	for _, p := range c.pieces {
		if skip < int64(len(p)) {
			n := copy(b, p[skip:])
			c.at += int64(n)
			return n, nil
		}
		skip -= int64(len(p))
	}
	return 0, io.EOF
}

// Seek serves http.ServeContent, which asks for the end to learn the size.
func (c *content) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += c.at
	case io.SeekEnd:
		offset += c.size
	}
	if offset < 0 {
		return 0, errSeek
	}
	c.at = offset
	return offset, nil
}
