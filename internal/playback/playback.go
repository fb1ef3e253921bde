// Package playback is what viewers talk to: playlists with blocking reload,
// parts and segments, and the public state of a broadcast, all below /hls/.
//
// Dispatch is by hand ([parsePath]), before any mux, and the answers are bytes
// and header values that internal/hls prepared: a playlist, part or segment
// that exists is answered without an allocation of ours. What is waited for is
// waited for without a lock, and the wait ends with the request. URLs, answers
// and caching are described in docs/playback.md.
package playback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"tally/internal/hls"
	"tally/internal/hls/archive"
	"tally/internal/hls/playlist"
	"tally/internal/livestream"
	"tally/internal/playback/beacon"
	"tally/internal/playtoken"
	"tally/internal/thumbnail"
	"tally/internal/usage"
	"tally/internal/viewer"
)

const (
	// playableHold is how long a multivariant playlist is held until something
	// is playable (design section 5, Requests).
	playableHold = 10 * time.Second

	// writeTimeout ends an answer that its reader does not take: twice the time
	// in which the longest segment (10 s) would have to be read to keep up, and
	// a margin for a wireless link that comes back.
	writeTimeout = 30 * time.Second
)

// Records is where the handler looks up what is not in memory.
// [livestream.Store] has it.
type Records interface {
	RecordByPlaybackID(ctx context.Context, playbackID string) (livestream.Record, error)
}

// Config of a [Handler]. Registry, Signer, Counter and Records are required.
type Config struct {
	Registry *hls.Registry
	Signer   *viewer.Signer
	Counter  *usage.Counter
	Records  Records
	// Access says what was revoked, and that policies changed; nil: nothing is, and
	// a policy is the one that was first seen.
	Access Access
	// Tokens checks the tokens of private livestreams; nil: none is good.
	Tokens *playtoken.Keyring
	// PublicURL is how this server is known, if not by the host that requests name:
	// its own pages may play everything.
	PublicURL string
	Delivery  Mode         // "": Auto
	Log       *slog.Logger // nil: slog.Default

	Thumbnails thumbnail.Config

	// At either limit new viewers are answered 503. 0: none.
	MaxViewers   int
	MaxEgressBps int64 // bits per second, of bodies

	Archive *archive.Library // recordings; nil: there are none
}

// A Handler answers everything below /hls/ and /vod/{session_id}/. It may be used concurrently.
type Handler struct {
	registry *hls.Registry
	signer   *viewer.Signer
	counter  *usage.Counter
	records  Records
	mode     Mode
	vary     []string // of media playlists
	log      *slog.Logger
	tracks   tracks
	gate     gate
	accesses accesses
	tokens   *playtoken.Keyring
	archive  *archive.Library
	// thumbnails makes pictures of what is on air.
	thumbnails *thumbnail.Maker
	public     string // origin of PublicURL; "" without

	timers   sync.Pool       // of *time.Timer, stopped: see hold
	drain    context.Context // done: the server stops
	startEnd context.CancelCauseFunc
	board    board
	boards   sync.WaitGroup // goroutines of the board and the gate
}

// New returns a handler.
func New(c Config) *Handler {
	vary := varyEncoding
	if c.Delivery == "" || c.Delivery == Auto {
		vary = varyEncodingAndCache
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	h := &Handler{
		registry: c.Registry, signer: c.Signer, counter: c.Counter, records: c.Records,
		mode: c.Delivery, vary: vary, log: c.Log, tokens: c.Tokens, public: originOf(strings.ToLower(c.PublicURL)),
	}
	h.archive = c.Archive
	h.board.topics = map[string]*topic{}
	h.thumbnails = thumbnail.New(c.Thumbnails)
	h.drain, h.startEnd = context.WithCancelCause(context.Background())
	h.gate.maxViewers, h.gate.maxBps, h.gate.counter, h.gate.log = c.MaxViewers, c.MaxEgressBps, c.Counter, c.Log
	h.accesses.records, h.accesses.store, h.accesses.registry = c.Records, c.Access, c.Registry
	h.accesses.signer, h.accesses.log, h.accesses.drain = c.Signer, c.Log, h.drain
	if c.Access != nil {
		h.boards.Go(func() { h.accesses.follow(h.drain) })
	}
	if c.MaxEgressBps > 0 {
		h.boards.Go(func() { h.gate.measure(h.drain) })
	}
	return h
}

// Close ends every wait and every event stream: what was held is answered 503
// with Retry-After, so that players come back to the next server. It returns
// when the handler's goroutines have ended; requests may still come.
func (h *Handler) Close() {
	h.startEnd(errStopping)
	h.thumbnails.Close()
	h.boards.Wait()
}

// What is refused. The text is what the client reads.
var (
	errPath        = errors.New("no such file: below /hls/ there are {playback_id}/index.m3u8, {playback_id}/state, {playback_id}/thumbnail.jpg, and what the playlists list")
	errMethod      = errors.New("GET, HEAD or OPTIONS, please")
	errPostOnly    = errors.New("POST or OPTIONS, please: a beacon is sent, not fetched")
	errTooLong     = fmt.Errorf("a beacon has at most %d bytes: send it more often", beacon.MaxBody)
	errBrokenBody  = errors.New("the body broke off, or did not come in time")
	errUnknown     = errors.New("no livestream has this playback id: check the address with whoever gave it to you")
	errNeverLive   = errors.New("nothing is on air: nobody has published here yet, or the broadcast is over")
	errOver        = errors.New("this broadcast is over: ask for index.m3u8 again")
	errNotListed   = errors.New("not there: it has left the playlist, or was never in it")
	errNoRendition = errors.New("this broadcast has no such rendition: ask for index.m3u8 again")
	errNotYet      = errors.New("nothing is playable yet: try again in a second")
	errRestarting  = errors.New("the server has restarted and waits for the encoder: try again in a second")
	errHeld        = errors.New("held for three target durations and it did not come: the encoder is away, try again")
	errEarly       = errors.New("the server has restarted, and this viewer has fetched nothing since: send the beacon again in a second")
	errFull        = errors.New("full: as many are watching as this server may serve; try again in a while, whoever is in goes on")
	errStopping    = errors.New("the server is stopping: try again in a second")
)

// statuses turns errors into answers; anything else is a 500, logged in full
// and answered without detail.
var statuses = []struct {
	err  error
	code int
}{
	{errPath, http.StatusNotFound},
	{errUnknown, http.StatusNotFound},
	{errNeverLive, http.StatusNotFound},
	{errOver, http.StatusNotFound},
	{errNotListed, http.StatusNotFound},
	{errNoRecording, http.StatusNotFound},
	{errStillLive, http.StatusNotFound},
	{errVODPath, http.StatusNotFound},
	{errNoRendition, http.StatusNotFound},
	{errMethod, http.StatusMethodNotAllowed},
	{errPostOnly, http.StatusMethodNotAllowed},
	{errTooLong, http.StatusRequestEntityTooLarge},
	{errBrokenBody, http.StatusBadRequest},
	{beacon.ErrBody, http.StatusBadRequest},
	{playlist.ErrDirectives, http.StatusBadRequest},
	{hls.ErrTooFar, http.StatusBadRequest},
	{hls.ErrStarting, http.StatusServiceUnavailable},
	{errNotYet, http.StatusServiceUnavailable},
	{errRestarting, http.StatusServiceUnavailable},
	{errHeld, http.StatusServiceUnavailable},
	{errNoPicture, http.StatusNotFound},
	{errWidth, http.StatusBadRequest},
	{thumbnail.ErrNoDecoder, http.StatusNotImplemented},
	{thumbnail.ErrPicture, http.StatusNotImplemented},
	{thumbnail.ErrBusy, http.StatusServiceUnavailable},
	{errEarly, http.StatusServiceUnavailable},
	{playtoken.ErrUnavailable, http.StatusServiceUnavailable},
	{errFull, http.StatusServiceUnavailable},
	{errStopping, http.StatusServiceUnavailable},
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	hdr := w.Header()
	hdr["Access-Control-Allow-Origin"] = anyOrigin
	hdr["Timing-Allow-Origin"] = anyOrigin
	hdr["X-Content-Type-Options"] = nosniff
	p, ok := parsePath(r.URL.Path)
	recorded := strings.HasPrefix(r.URL.Path, vodPrefix)
	if recorded {
		p, ok = parseVOD(r.URL.Path)
	}
	if r.URL.RawPath != "" { // a path that needs unescaping is none of ours
		p, ok = path{}, false
	}
	if r.Method == http.MethodOptions {
		h.preflight(w, r, &p)
		return
	}
	if p.file != filePart && p.file != fileSegment { // whole media have nothing to read there
		hdr["Access-Control-Expose-Headers"] = exposed
	}
	var err error
	switch {
	case p.file == fileBeacon && r.Method != http.MethodPost:
		err = errPostOnly
	case p.file != fileBeacon && r.Method != http.MethodGet && r.Method != http.MethodHead:
		err = errMethod
	case !ok && recorded:
		err = errVODPath
	case !ok:
		err = errPath
	case recorded:
		err = h.vod(w, r, &p)
	default:
		err = h.admitted(w, r, &p)
	}
	if err != nil {
		h.refuse(w, r, &p, err)
	}
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, p *path) error {
	switch p.file {
	case fileMultivariant:
		return h.multivariant(w, r, p)
	case fileState:
		return h.state(w, r, p)
	case fileThumbnail:
		return h.thumbnail(w, r, p)
	case fileMedia:
		return h.media(w, r, p)
	case fileBeacon:
		return h.beacon(w, r, p)
	case filePart:
		return h.part(w, r, p)
	case fileSegment:
		return h.segment(w, r, p)
	case fileVOD, fileVODMedia, fileVODInit, fileVODSegment:
		return h.serveVOD(w, r, p)
	default:
		return h.initSection(w, r, p)
	}
}

// refuse answers an error: one line of text, or an object where the answer
// would have been JSON. No refusal is stored by any cache.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, p *path, err error) {
	code, text := http.StatusInternalServerError, "a fault of the server: its log says more"
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			code, text = s.code, err.Error()
			break
		}
	}
	word := refusalWord(err)
	if word != "" {
		code, text = http.StatusForbidden, err.Error()
	}
	if code == http.StatusInternalServerError {
		if r.Context().Err() != nil {
			return // the viewer is gone
		}
		h.log.Error("playback", "playback_id", p.playbackID, "run", p.run, "err", err) // not the path: a viewer id lets in
	}
	hdr := w.Header()
	hdr["Cache-Control"] = noStore
	hdr["Access-Control-Expose-Headers"] = exposed
	switch code {
	case http.StatusServiceUnavailable:
		hdr["Retry-After"] = oneSecond
		if errors.Is(err, errFull) {
			hdr["Retry-After"] = tenSeconds
		}
	case http.StatusMethodNotAllowed:
		hdr["Allow"] = p.methods()
	}
	extendDeadline(w)
	writeError(w, r, code, p.file == fileState, text, word)
}
