package playback

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tally/internal/hls"
	"tally/internal/hls/playlist"
	"tally/internal/livestream"
	"tally/internal/viewer"
)

// multivariant answers index.m3u8: it mints the viewer id that the media
// playlist's URL carries, so no cache may keep it.
func (h *Handler) multivariant(w http.ResponseWriter, r *http.Request, p *path) error {
	st, err := h.playable(w, r, p)
	if err != nil {
		return err
	}
	uri := make([]byte, 0, 128)
	uri = append(append(uri, st.RunID()...), '/')
	if uri, err = h.appendViewer(uri, r, p); err != nil {
		return err
	}
	uri = append(uri, '/')
	body := st.AppendMultivariant(make([]byte, 0, 1024), string(uri))

	hdr := w.Header()
	hdr["Content-Type"] = typePlaylist
	hdr["Cache-Control"] = privateNoStore
	hdr["Content-Length"] = []string{strconv.Itoa(len(body))}
	extendDeadline(w)
	if r.Method != http.MethodHead {
		n, _ := w.Write(body)
		h.gate.out.add(n)
	}
	return nil
}

// appendViewer appends the id of the viewer that asks: its own, where it brings
// one, or a new one. errFull: it has none, or is not counted, and there is no
// room.
func (h *Handler) appendViewer(dst []byte, r *http.Request, p *path) ([]byte, error) {
	text, promised := viewerQuery(r.URL.RawQuery)
	known, ok := h.signer.Verify(p.playbackID, text)
	if !(ok && h.counter.Knows(known)) && h.gate.full() {
		return nil, errFull
	}
	if ok && !p.fresh {
		return append(dst, text...), nil
	}
	n := len(dst)
	dst = h.appendMinted(dst, p, promised)
	if r.Method == http.MethodGet && h.gate.maxViewers > 0 {
		id, _ := h.signer.Verify(p.playbackID, string(dst[n:]))
		h.gate.join(id)
	}
	return dst, nil
}

// appendMinted appends a new viewer id.
func (h *Handler) appendMinted(dst []byte, p *path, promised bool) []byte {
	if p.private() {
		return h.appendGranted(dst, p.admission, promised)
	}
	return h.signer.AppendMint(dst, p.playbackID, promised)
}

// viewerQuery reads what a page says of its viewer: viewer=ID, that it is one
// that has an id already, and beacon=1, that it will send beacons.
func viewerQuery(rawQuery string) (id string, promised bool) {
	for rest := rawQuery; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		switch name, value, _ := strings.Cut(pair, "="); name {
		case "viewer":
			id = value
		case "beacon":
			promised = value == "1"
		}
	}
	return id, promised
}

// playable returns the newest run, which lists something: held while the session
// is INVOKED.
func (h *Handler) playable(w http.ResponseWriter, r *http.Request, p *path) (*hls.Stream, error) {
	if st := h.registry.Stream(p.playbackID); st != nil && st.Listed() {
		return st, nil
	}
	ctx, cancel := h.held(r, p, playableHold, errNotYet)
	defer cancel()
	defer waited(w, time.Now())
	for {
		changed := h.registry.Changed(p.playbackID)
		if st := h.registry.Stream(p.playbackID); st != nil {
			err := st.WaitListed(ctx)
			switch {
			case err == nil:
				return st, nil
			case !errors.Is(err, hls.ErrEnded):
				return nil, err
			case h.registry.Stream(p.playbackID) == st:
				return nil, errNeverLive
			}
			continue // another run has begun
		}
		if err := h.invoked(ctx, p.playbackID); err != nil {
			return nil, err
		}
		again := time.NewTimer(time.Second) // what only the store knows, such as a session that failed
		select {
		case <-changed:
		case <-again.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		again.Stop()
	}
}

// invoked returns nil when a livestream that is not in memory is about to
// become playable, and else what to answer instead of a playlist.
func (h *Handler) invoked(ctx context.Context, playbackID string) error {
	rec, err := h.record(ctx, playbackID)
	if err != nil {
		return err
	}
	switch rec.Session.Phase {
	case livestream.Awaiting, livestream.Starting, livestream.Interrupted:
		return nil
	case livestream.OnAir, livestream.Reconnecting:
		return errRestarting
	}
	return errNeverLive
}

// record looks a playback id up in the store.
func (h *Handler) record(ctx context.Context, playbackID string) (livestream.Record, error) {
	rec, err := h.records.RecordByPlaybackID(ctx, playbackID)
	if errors.Is(err, livestream.ErrNotFound) {
		err = errUnknown
	}
	return rec, err
}

// media answers a media playlist: at once, or when what its directives name is
// there.
func (h *Handler) media(w http.ResponseWriter, r *http.Request, p *path) error {
	st := p.of(h.registry)
	if st == nil || st.Over() {
		return h.absent(r.Context(), p)
	}
	rendition := st.Rendition(p.rendition)
	if rendition == nil {
		return errNoRendition
	}
	win := rendition.Window()
	s := win.Current()
	delta := false
	if !s.Ended { // with ENDLIST directives are ignored
		d, err := playlist.ParseDirectives(r.URL.RawQuery)
		if err != nil {
			return err
		}
		if d.MSN >= 0 {
			if s, err = h.reload(w, r, p, win, hls.Position{MSN: d.MSN, Part: d.Part}); err != nil {
				return err
			}
		}
		delta = d.Skip && !s.Ended
	}
	if !s.Listed() {
		if s.Ended {
			return errNeverLive
		}
		return hls.ErrStarting
	}
	zip := acceptsGzip(r)
	w.Header()["Vary"] = p.varyWith(h.vary, varyPlaylistOrigin)
	if p.private() { // its media have no address that viewers share
		h.writePlaylist(w, r, s.Playlist(delta, zip), zip, privateNoCache)
	} else if !h.sharedFor(r) {
		h.writePlaylist(w, r, s.Playlist(delta, zip), zip, noCache)
	} else if h.writePlaylist(w, r, s.SharedPlaylist(delta, zip), zip, privateNoCache) {
		h.present(st, s, p, r)
	}
	return nil
}

// reload waits for a position, for three target durations at most
// (rfc8216bis-22 section 6.2.5.2).
func (h *Handler) reload(w http.ResponseWriter, r *http.Request, p *path, win *hls.Window, want hls.Position) (*hls.Snapshot, error) {
	if s := win.Current(); s.Listed() && s.Has(want) {
		return s, nil
	}
	hold := h.hold(w, p, 3*win.TargetDuration(), errHeld)
	s, err := win.Wait(r.Context(), want, hold.within())
	err = hold.end(err)
	if errors.Is(err, hls.ErrEnded) {
		return s, nil
	}
	return s, err
}

// absent says why a run is not in memory. A session that outlived a restart of
// the server goes on under the same URL once its encoder is back.
func (h *Handler) absent(ctx context.Context, p *path) error {
	if h.registry.Stream(p.playbackID) != nil {
		return errOver
	}
	rec, err := h.record(ctx, p.playbackID)
	if err != nil {
		return err
	}
	if rec.Session.Phase.Open() && rec.Livestream.Run.ID == p.run {
		return errRestarting
	}
	return errOver
}

// writePlaylist answers a media playlist, and reports whether all of the answer
// was written.
func (h *Handler) writePlaylist(w http.ResponseWriter, r *http.Request, b *hls.Body, zip bool, cache []string) bool {
	hdr := w.Header()
	hdr["Cache-Control"] = cache
	hdr["Etag"] = b.ETag // as net/http spells it
	if matches(r, b.ETag) {
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	hdr["Content-Type"] = typePlaylist
	hdr["Content-Length"] = b.Length
	if zip {
		hdr["Content-Encoding"] = gzipped
	}
	extendDeadline(w)
	if r.Method == http.MethodHead {
		return true
	}
	n, err := w.Write(b.Data)
	h.gate.out.add(n)
	return err == nil
}

// verified returns the viewer that a request counts for: none when the id's MAC
// is wrong, which plays all the same.
func (h *Handler) verified(p *path) (viewer.ID, bool) {
	if p.verified {
		return p.id, true
	}
	return h.signer.Verify(p.playbackID, p.viewer)
}
