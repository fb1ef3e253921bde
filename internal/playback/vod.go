package playback

import (
	"bytes"
	"compress/gzip"
	"errors"
	"hash/crc32"
	"net/http"
	"strconv"
	"strings"

	"tally/internal/hls"
	"tally/internal/hls/archive"
	"tally/internal/viewer"
)

const vodPrefix = "/vod/"

// What is refused of recordings.
var (
	errNoRecording = errors.New("there is no recording of this session: it was not kept, or it was deleted")
	errStillLive   = errors.New("this session is still on air: its recording can be played when it is over")
	errVODPath     = errors.New("no such file: below /vod/{session_id}/ there are index.m3u8, and what the playlists list")
)

// parseVOD takes the path of a recording apart, as parsePath does others. Its media
// are those of the viewer, or anybody's:
//
//	/vod/{session_id}/index.m3u8
//	/vod/{session_id}/[{viewer}/]{rendition}/index.m3u8
//	/vod/{session_id}/[{viewer}/]{rendition}/init-{epoch}-{number}.mp4
//	/vod/{session_id}/[{viewer}/]{rendition}/seg-{epoch}-{msn}.m4s
func parseVOD(s string) (path, bool) {
	rest, ok := strings.CutPrefix(s, vodPrefix)
	if !ok {
		return path{}, false
	}
	var p path
	if p.session, rest, ok = strings.Cut(rest, "/"); !ok || !isName(p.session) {
		return path{}, false
	}
	if rest == "index.m3u8" {
		p.file = fileVOD
		return p, true
	}
	p.run = "vod" // not the way in: a private recording wants the viewer
	first, rest, ok := strings.Cut(rest, "/")
	if !ok {
		return path{}, false
	}
	if next, name, more := strings.Cut(rest, "/"); more {
		if p.viewer = first; !viewer.Valid(first) {
			return path{}, false
		}
		first, rest = next, name
	}
	if p.rendition = first; !isName(first) {
		return path{}, false
	}
	if rest == "index.m3u8" {
		p.file = fileVODMedia
		return p, true
	}
	if !p.parseMedia(rest) {
		return path{}, false
	}
	switch p.file {
	case fileInit:
		p.file = fileVODInit
	case fileSegment:
		p.file = fileVODSegment
	default:
		return path{}, false
	}
	return p, true
}

// vod finds the recording that a path is of, and answers what may be answered. A
// recording is as private as its livestream.
func (h *Handler) vod(w http.ResponseWriter, r *http.Request, p *path) error {
	if h.archive == nil {
		return errNoRecording
	}
	rec, err := h.archive.Recording(p.session)
	switch {
	case errors.Is(err, archive.ErrLive):
		return errStillLive
	case errors.Is(err, archive.ErrNotFound):
		return errNoRecording
	case err != nil:
		return err
	}
	p.recording, p.playbackID = rec, rec.PlaybackID
	if err = h.admitted(w, r, p); errors.Is(err, errUnknown) {
		return errNoRecording // its livestream was deleted
	}
	return err
}

// multivariantVOD answers the multivariant playlist of a recording, while there is
// room for one more viewer. Who watches a recording is not counted, and so takes
// no place.
func (h *Handler) multivariantVOD(w http.ResponseWriter, r *http.Request, p *path) error {
	if h.gate.full() {
		return errFull
	}
	var below []byte
	if p.private() {
		if text, _ := viewerQuery(r.URL.RawQuery); p.verified {
			below = append(below, text...)
		} else {
			below = h.appendMinted(below, p, false)
		}
		below = append(below, '/')
	}
	return h.writeVOD(w, r, p, hls.AppendRecording(nil, p.recording, string(below)), privateNoStore)
}

// serveVOD answers a file of a recording. Nobody is counted: seconds are those of
// the broadcast.
func (h *Handler) serveVOD(w http.ResponseWriter, r *http.Request, p *path) error {
	rec := p.recording
	switch p.file {
	case fileVOD:
		return h.multivariantVOD(w, r, p)
	case fileVODMedia:
		body := rec.Playlist(p.rendition)
		if body == nil {
			return errNotListed
		}
		return h.writeVOD(w, r, p, body, noCache)
	}
	of := rec.Rendition(p.rendition)
	if of == nil {
		return errNotListed
	}
	if p.file == fileVODInit {
		o, err := h.archive.OpenInit(p.session, p.rendition, p.epoch, p.number)
		if err != nil {
			return gone(err)
		}
		defer o.Close()
		h.serveObject(w, r, o, o.Size())
		return nil
	}
	seg := of.Segment(p.epoch, p.number)
	if seg == nil {
		return errNotListed
	}
	o, err := h.archive.Open(p.session, p.rendition, p.epoch, p.number)
	if err != nil {
		return gone(err)
	}
	defer o.Close()
	if o.Size() < seg.Size {
		return errNotListed
	}
	h.serveObject(w, r, o, seg.Size)
	return nil
}

// writeVOD answers a playlist of a recording. It is compressed for each who asks:
// players ask once.
func (h *Handler) writeVOD(w http.ResponseWriter, r *http.Request, p *path, body []byte, cache []string) error {
	zip := acceptsGzip(r) && len(body) > 1024
	tag := strconv.FormatUint(uint64(crc32.ChecksumIEEE(body)), 16)
	if zip {
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // a valid level
		z.Write(body)                                   // into memory: cannot fail
		z.Close()
		body, tag = b.Bytes(), tag+"-gz"
	}
	if p.private() {
		cache = privateNoCache
		if p.file == fileVOD {
			cache = privateNoStore
		}
	}
	w.Header()["Vary"] = p.varyWith(varyEncoding, varyPlaylistOrigin)
	h.writePlaylist(w, r, &hls.Body{
		Data: body, Length: []string{strconv.Itoa(len(body))}, ETag: []string{`"` + tag + `"`},
	}, zip, cache)
	return nil
}
