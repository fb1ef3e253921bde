package playback

import (
	"net/http"
	"strings"
)

// fromAllowed reports whether a request comes from a page that may play. A
// browser says which page: by Origin (RFC 6454; with every cross-origin request
// of a script), else by Referer, and where the page forbids that, by
// Sec-Fetch-Site that it is another site's. Who says nothing of the kind is no
// page: native players are admitted, because whoever is no browser could claim
// any origin anyway. Our own pages may play always; where they may be framed,
// their Content-Security-Policy says.
func (h *Handler) fromAllowed(r *http.Request, acc *access) bool {
	if v := r.Header["Origin"]; len(v) > 0 {
		return len(v) == 1 && h.allows(r, acc, v[0])
	}
	if v := r.Header["Referer"]; len(v) > 0 {
		return h.allows(r, acc, originOf(v[0]))
	}
	switch v := r.Header["Sec-Fetch-Site"]; {
	case len(v) == 0:
		return true
	default:
		return v[0] == "same-origin" || v[0] == "none" // none: a person typed the address
	}
}

// allows compares an origin with the list.
func (h *Handler) allows(r *http.Request, acc *access, origin string) bool {
	if h.own(r, origin) {
		return true
	}
	for _, o := range acc.origins {
		if o == origin {
			return true
		}
		// https://*.example.com stands for every host below example.com
		if scheme, domain, ok := strings.Cut(o, "*"); ok && len(origin) >= len(o) &&
			strings.HasPrefix(origin, scheme) && strings.HasSuffix(origin, domain) &&
			!strings.ContainsAny(origin[len(scheme):len(origin)-len(domain)], `/\?#:@`) { // it is host all through
			return true
		}
	}
	return false
}

// own reports whether the origin is this server's: as the request names it, or
// as it is told to the public.
func (h *Handler) own(r *http.Request, origin string) bool {
	host, ok := strings.CutPrefix(origin, "https://")
	if !ok {
		host, ok = strings.CutPrefix(origin, "http://")
	}
	return ok && host != "" && (host == r.Host || origin == h.public)
}

// originOf is the origin of a URL: what stands before its third slash.
func originOf(url string) string {
	scheme := strings.Index(url, "://")
	if scheme < 0 {
		return ""
	}
	if end := strings.IndexAny(url[scheme+3:], "/?#"); end >= 0 {
		return url[:scheme+3+end]
	}
	return url
}

// allowOrigin sets the CORS headers for what is not for the pages of everybody:
// instead of * the origin that asks, if it may.
func (h *Handler) allowOrigin(w http.ResponseWriter, r *http.Request, acc *access) {
	if acc == nil || len(acc.origins) == 0 {
		return
	}
	hdr := w.Header()
	hdr["Vary"] = varyOrigin
	if v := r.Header["Origin"]; len(v) == 1 && h.allows(r, acc, v[0]) {
		hdr["Access-Control-Allow-Origin"] = v
		hdr["Timing-Allow-Origin"] = v
		return
	}
	delete(hdr, "Access-Control-Allow-Origin")
	delete(hdr, "Timing-Allow-Origin")
}

// varyWith adds Origin to what an answer varies by, where it does.
func (p *path) varyWith(plain, andOrigin []string) []string {
	if p.access != nil && len(p.access.origins) > 0 {
		return andOrigin
	}
	return plain
}
