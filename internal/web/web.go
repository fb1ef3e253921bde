// Package web holds the pages that people see: the watch page of a livestream,
// the documentation of the API, the page that says an address is wrong, and a
// landing page. Everything is
// embedded, hand-written but for hls.js (vendor/hls.js, refreshed by
// scripts/vendor-hlsjs.sh), and needs no other host.
//
// Pages carry no inline script or style, so that the Content-Security-Policy
// allows none. Their files are named by content and cached for ever.
package web

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"tally/internal/livestream"
)

//go:embed pages static vendor
var files embed.FS

// Records is where the watch page looks its playback id up.
// [livestream.Store] has it.
type Records interface {
	RecordByPlaybackID(ctx context.Context, playbackID string) (livestream.Record, error)
}

// Recordings tells whose recording there is of a session.
type Recordings interface {
	// PlaybackID returns the playback id of a session that is kept and over; ""
	// when there is no such recording.
	PlaybackID(sessionID string) string
}

// Config of the pages. Records and Contract are required.
type Config struct {
	Records  Records
	Contract []byte       // docs/openapi.yaml, shown at /docs and /openapi.json
	Log      *slog.Logger // nil: slog.Default
	// Recordings finds those that are kept; nil: there are none.
	Recordings Recordings
	// MediaOrigin is where playlists send players for media, if that is another
	// origin: scheme, host, port if any. "": this server.
	MediaOrigin string
	// Public is how who makes a request reaches this server: scheme and host,
	// without a slash at the end. nil: as the request says.
	Public func(*http.Request) string
}

// A Handler answers /, /watch/{playback_id}, /embed/{playback_id}, /oembed,
// /vod/{session_id}, /docs, /openapi.json and /static/.
// Any other path is answered with the 404 page. It may be used concurrently.
type Handler struct {
	records  Records
	kept     Recordings
	log      *slog.Logger
	assets   assets
	pages    *template.Template
	document func() (documents, error) // made when first asked for: most servers never are
	watching string                    // Content-Security-Policy of the watch page
	public   func(*http.Request) string
}

// New returns the handler. An error means that the binary was built from a
// damaged tree.
func New(c Config) (*Handler, error) {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	a, err := loadAssets()
	if err != nil {
		return nil, err
	}
	pages, err := template.ParseFS(files, "pages/*.html")
	if err != nil {
		return nil, err
	}
	h := &Handler{records: c.Records, kept: c.Recordings, log: c.Log, assets: a, pages: pages, watching: embeddable, public: c.Public}
	if h.public == nil {
		h.public = asked
	}
	if c.MediaOrigin != "" {
		h.watching = strings.NewReplacer("media-src 'self'", "media-src 'self' "+c.MediaOrigin,
			"connect-src 'self'", "connect-src 'self' "+c.MediaOrigin).Replace(embeddable)
	}
	h.document = sync.OnceValues(func() (documents, error) { return h.makeDocuments(c.Contract) })
	return h, nil
}

const (
	// policy allows a page its own files only. Playback needs blob: for the
	// object URL of a MediaSource, and data: because hls.js gives a track of
	// captions an empty file.
	policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
		"media-src 'self' blob: data:; connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; "
	embeddable = policy + "frame-ancestors *"
	unframed   = policy + "frame-ancestors 'none'"
)

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	hdr := w.Header()
	hdr.Set("X-Content-Type-Options", "nosniff")
	hdr.Set("Referrer-Policy", "no-referrer") // a watch address is nobody else's business
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		hdr.Set("Allow", "GET, HEAD")
		http.Error(w, "GET or HEAD, please", http.StatusMethodNotAllowed)
		return
	}
	if name, ok := strings.CutPrefix(r.URL.Path, "/static/"); ok {
		h.assets.serve(w, r, name)
		return
	}
	if id, ok := strings.CutPrefix(r.URL.Path, "/watch/"); ok && r.URL.RawPath == "" {
		h.watch(w, r, id, r.URL.Query().Get("embed") == "1", false)
		return
	}
	if id, ok := strings.CutPrefix(r.URL.Path, "/embed/"); ok && r.URL.RawPath == "" {
		h.watch(w, r, id, true, r.URL.Query().Get("autoplay") != "1")
		return
	}
	if id, ok := strings.CutPrefix(r.URL.Path, "/vod/"); ok && r.URL.RawPath == "" && h.kept != nil && isPlaybackID(id) {
		h.recording(w, r, id)
		return
	}
	switch r.URL.Path {
	case "/":
		h.page(w, r, http.StatusOK, "index.html", view{Root: "./"}, unframed)
	case "/oembed":
		h.oembed(w, r)
	case "/docs", "/openapi.json":
		h.documentation(w, r)
	default:
		h.notFound(w, r)
	}
}

// A view is what a page's template sees.
type view struct {
	Root       string // relative way to /, so that a proxy may add a path before it
	PlaybackID string
	State      string // waiting, live, reconnecting, ended
	NowMillis  int64  // the server's clock, against which the page corrects its own
	Embed      bool
	Recording  string // the session whose recording it is; "": the page of a livestream
	Ask        bool   // begin when somebody asks for it, not by itself
	Preview    preview
	assets     assets
}

// Asset gives the address of a static file by its plain name.
func (v view) Asset(name string) (string, error) {
	hashed, err := v.assets.name(name)
	return v.Root + "static/" + hashed, err
}

// watch answers the page of one livestream, with its state as it is now, so
// that the player need not ask before it starts.
func (h *Handler) watch(w http.ResponseWriter, r *http.Request, id string, embed, ask bool) {
	if !isPlaybackID(id) {
		h.notFound(w, r)
		return
	}
	rec, err := h.records.RecordByPlaybackID(r.Context(), id)
	switch {
	case errors.Is(err, livestream.ErrNotFound):
		h.notFound(w, r)
	case err != nil:
		h.fault(w, r, err)
	default:
		state := rec.Session.Stage()
		if rec.Livestream.Settings.Signed() {
			state = livestream.StageWaiting // the page asks, and is told if it has a token
		}
		h.page(w, r, http.StatusOK, "watch.html", view{
			Root: "../", PlaybackID: id, State: state.String(), NowMillis: time.Now().UnixMilli(),
			Embed: embed, Ask: ask, Preview: h.previewOf(r, rec.Livestream),
		}, h.framed(rec.Livestream.Settings.Origins()))
	}
}

// recording answers the page of one recording, which is shown as its livestream
// is.
func (h *Handler) recording(w http.ResponseWriter, r *http.Request, sessionID string) {
	id := h.kept.PlaybackID(sessionID)
	if id == "" {
		h.notFound(w, r)
		return
	}
	rec, err := h.records.RecordByPlaybackID(r.Context(), id)
	switch {
	case errors.Is(err, livestream.ErrNotFound):
		h.notFound(w, r)
	case err != nil:
		h.fault(w, r, err)
	default:
		h.page(w, r, http.StatusOK, "watch.html", view{
			Root: "../", PlaybackID: id, State: livestream.StageEnded.String(), NowMillis: time.Now().UnixMilli(),
			Embed: r.URL.Query().Get("embed") == "1", Recording: sessionID,
		}, h.framed(rec.Livestream.Settings.Origins()))
	}
}

// framed is the policy of a watch page that only pages of these origins may
// embed; of none: any.
func (h *Handler) framed(origins []string) string {
	if len(origins) == 0 {
		return h.watching
	}
	return strings.Replace(h.watching, "frame-ancestors *", "frame-ancestors 'self' "+strings.Join(origins, " "), 1)
}

// notFound answers an address that leads nowhere.
func (h *Handler) notFound(w http.ResponseWriter, r *http.Request) {
	depth := strings.Count(r.URL.Path, "/") - 1
	h.page(w, r, http.StatusNotFound, "notfound.html", view{Root: "./" + strings.Repeat("../", max(depth, 0))}, embeddable)
}

// page renders a template. Pages change with the broadcast: nobody stores them.
func (h *Handler) page(w http.ResponseWriter, r *http.Request, code int, name string, v view, csp string) {
	v.assets = h.assets
	var body bytes.Buffer
	if err := h.pages.ExecuteTemplate(&body, name, v); err != nil {
		h.fault(w, r, err)
		return
	}
	hdr := w.Header()
	hdr.Set("Content-Type", "text/html; charset=utf-8")
	hdr.Set("Content-Security-Policy", csp)
	hdr.Set("Cache-Control", "no-store")
	hdr.Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(code)
	write(w, r, body.Bytes())
}

// fault answers what is our fault, and logs it.
func (h *Handler) fault(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // nobody reads the answer
	}
	h.log.Error("page", "path", r.URL.Path, "err", err)
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, "a fault of the server: its log says more", http.StatusInternalServerError)
}

// isPlaybackID keeps anything else out of the page and the store.
func isPlaybackID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}
