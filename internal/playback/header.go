package playback

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Header values, prebuilt so that an answer allocates none. Nobody writes to them.
var (
	anyOrigin = []string{"*"}
	exposed   = []string{"Age, Content-Length, Content-Range, Date, ETag, Retry-After"}
	methods   = []string{"GET, HEAD, OPTIONS"}
	posting   = []string{"POST, OPTIONS"}
	oneDay    = []string{"86400"}
	nosniff   = []string{"nosniff"}
	oneSecond = []string{"1"}

	tenSeconds = []string{"10"}

	noStore          = []string{"no-store"}
	privateNoStore   = []string{"private, no-store"}
	privateImmutable = []string{"private, max-age=31536000, immutable"}
	privateNoCache   = []string{"private, no-cache"}
	noCache          = []string{"no-cache"}

	fiveSeconds        = []string{"public, max-age=5"}
	privateFiveSeconds = []string{"private, max-age=5"}

	immutable = []string{"public, max-age=31536000, immutable"}

	typePlaylist = []string{"application/vnd.apple.mpegurl"}
	typeMP4      = []string{"video/mp4"}
	typeJSON     = []string{"application/json"}
	typeText     = []string{"text/plain; charset=utf-8"}
	typeEvents   = []string{"text/event-stream"}
	typeJPEG     = []string{"image/jpeg"}

	gzipped              = []string{"gzip"}
	varyEncoding         = []string{"Accept-Encoding"}
	varyEncodingAndCache = []string{"Accept-Encoding, Via, CDN-Loop"}
	varyAccept           = []string{"Accept"}
	varyOrigin           = []string{"Origin"}
	varyAcceptOrigin     = []string{"Accept, Origin"}
	varyPlaylistOrigin   = []string{"Accept-Encoding, Via, CDN-Loop, Origin"}
	acceptRanges         = []string{"bytes"}

	// mediaTag is the entity tag of all media: a URL's bytes never change, and
	// tags are compared for one URL at a time (RFC 9110 section 8.8.3).
	mediaTag = []string{`"1"`}

	isTrue = []string{"true"}
)

// methods are those that the path answers to.
func (p *path) methods() []string {
	if p.file == fileBeacon {
		return posting
	}
	return methods
}

// preflight answers OPTIONS (Fetch standard, CORS protocol): any page may read
// playlists and media and send beacons, without credentials; also a page of the
// internet, where this server is in a private network: what is below /hls/ is
// for whoever knows its name (WICG Private Network Access, section 3.1.1). Where
// a livestream names origins, others are not allowed.
func (h *Handler) preflight(w http.ResponseWriter, r *http.Request, p *path) {
	hdr, methods := w.Header(), p.methods()
	if acc, err := h.accessOf(r.Context(), p); err == nil {
		h.allowOrigin(w, r, acc)
	}
	hdr["Access-Control-Allow-Methods"] = methods
	hdr["Access-Control-Allow-Headers"] = anyOrigin
	hdr["Access-Control-Max-Age"] = oneDay
	hdr["Allow"] = methods
	if v := r.Header["Access-Control-Request-Private-Network"]; len(v) == 1 && v[0] == "true" {
		hdr["Access-Control-Allow-Private-Network"] = isTrue
	}
	w.WriteHeader(http.StatusNoContent)
}

// extendDeadline gives the answer that is about to be written its time. Writers
// without deadlines, as in tests, do without.
func extendDeadline(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
}

// A refusal is an error where the answer would have been JSON.
type refusal struct {
	Error string `json:"error"`
	Code  string `json:"code,omitempty"` // of a 403: a word by which pages tell them apart
}

// writeError writes a refusal of one line.
func writeError(w http.ResponseWriter, r *http.Request, code int, asJSON bool, text, word string) {
	var body []byte
	hdr := w.Header()
	if asJSON {
		hdr["Content-Type"] = typeJSON
		body, _ = json.Marshal(refusal{text, word}) // strings always marshal
	} else {
		hdr["Content-Type"] = typeText
		body = []byte(text)
	}
	body = append(body, '\n')
	hdr.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

// acceptsGzip reports whether the client takes gzip (RFC 9110 section 12.5.3).
func acceptsGzip(r *http.Request) bool { return accepts(r.Header["Accept-Encoding"], "gzip", "*") }

// acceptsEvents reports whether the client asks for an event stream by name: every
// browser takes anything.
func acceptsEvents(r *http.Request) bool {
	return accepts(r.Header["Accept"], "text/event-stream", "text/event-stream")
}

// accepts reports whether one of two names is in a list of what is accepted (RFC
// 9110 section 12.4.2). A weight of zero refuses; other weights are not compared.
func accepts(lines []string, name, orName string) bool {
	for _, line := range lines {
		for line != "" {
			var item string
			item, line, _ = strings.Cut(line, ",")
			item, weight, weighted := strings.Cut(strings.TrimSpace(item), ";")
			if item = strings.TrimSpace(item); item != name && item != orName {
				continue
			}
			return !weighted || !zeroWeight(weight)
		}
	}
	return false
}

// zeroWeight reads q=0 in its spellings: 0, 0.0, 0.00, 0.000.
func zeroWeight(s string) bool {
	q, ok := strings.CutPrefix(strings.TrimSpace(s), "q=")
	return ok && strings.Trim(q, "0.") == ""
}

// matches reports whether If-None-Match names the entity (RFC 9110 section
// 13.1.2; weak comparison).
func matches(r *http.Request, etag []string) bool {
	if len(etag) == 0 {
		return false
	}
	for _, line := range r.Header["If-None-Match"] {
		for line != "" {
			var item string
			item, line, _ = strings.Cut(line, ",")
			item = strings.TrimPrefix(strings.TrimSpace(item), "W/")
			if item == etag[0] || item == "*" {
				return true
			}
		}
	}
	return false
}
