package playback

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	"tally/internal/blob"
	"tally/internal/hls"
	"tally/internal/hls/archive"
	"tally/internal/usage"
)

// pastSegment answers a segment of the DVR window that has left memory, from disk.
func (h *Handler) pastSegment(w http.ResponseWriter, r *http.Request, p *path, of *hls.Rendition) error {
	seg := of.Window().Current().Past(p.epoch, p.number)
	if seg == nil {
		return errNotListed
	}
	o, err := of.Open(seg)
	if err != nil {
		return gone(err)
	}
	defer o.Close()
	if o.Size() < seg.SizeBytes {
		return errNotListed // somebody cut it: better none than half
	}
	if h.serveObject(w, r, o, seg.SizeBytes) {
		h.countPast(of, p, seg)
	}
	return nil
}

// pastInit answers an initialization section that memory has no more.
func (h *Handler) pastInit(w http.ResponseWriter, r *http.Request, p *path, of *hls.Rendition) error {
	o, err := of.OpenInit(p.epoch, p.number)
	if err != nil {
		return gone(err)
	}
	defer o.Close()
	h.serveObject(w, r, o, o.Size())
	return nil
}

// gone is what an error of the archive means to a viewer.
func gone(err error) error {
	if errors.Is(err, archive.ErrNotFound) {
		return errNotListed
	}
	return err
}

// serveObject answers the first size bytes of an object, and reports whether all
// of them were written. Over plain HTTP/1.1 the kernel hands a file to the
// connection: it is not copied through this process (sendfile).
func (h *Handler) serveObject(w http.ResponseWriter, r *http.Request, o blob.Object, size int64) bool {
	mediaHeader(w, []string{strconv.FormatInt(size, 10)})
	switch {
	case conditional(r):
		return h.serveContent(w, r, &limited{o: o, size: size}, size)
	case r.Method == http.MethodHead:
		return false
	}
	n, err := io.CopyN(w, o, size)
	h.gate.out.add(int(n))
	return err == nil
}

// countPast tells usage of a segment from disk, as count does of parts.
func (h *Handler) countPast(of *hls.Rendition, p *path, seg *hls.PastSegment) {
	id, ok := h.verified(p)
	if !ok {
		return
	}
	span := usage.Span{From: seg.Start, To: seg.Start + seg.Duration}
	if seg.Held {
		span.To = span.From
	}
	win := of.Window()
	target := win.TargetDuration()
	h.counter.Delivered(usage.Delivery{
		SessionID: seg.SessionID, Viewer: id,
		Window: win.Span() + target, Target: target, Bytes: seg.SizeBytes, Rendition: of.Index(),
	}, []usage.Span{span})
}

// limited is the beginning of an object, as http.ServeContent reads it.
type limited struct {
	o        blob.Object
	at, size int64
}

func (l *limited) Read(b []byte) (int, error) {
	if l.at >= l.size {
		return 0, io.EOF
	}
	n, err := l.o.Read(b[:min(int64(len(b)), l.size-l.at)])
	l.at += int64(n)
	return n, err
}

func (l *limited) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += l.at
	case io.SeekEnd:
		offset += l.size
	}
	at, err := l.o.Seek(offset, io.SeekStart)
	if err == nil {
		l.at = at
	}
	return at, err
}
