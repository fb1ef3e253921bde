package api

import (
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// An origin is where a client is told to play and to publish.
type origin struct {
	public string // scheme and host, without a slash at the end
	ingest string // ends in /live/
}

func (o origin) playbackURL(playbackID string) string {
	return o.public + "/hls/" + playbackID + "/index.m3u8"
}

// origin derives what the configuration leaves open from the request (design
// section 1). The request is authenticated by now.
func (c *Config) origin(r *http.Request) origin {
	o := origin{c.PublicURL, c.IngestURL}
	if o.public != "" && o.ingest != "" {
		return o
	}
	scheme, host := c.reachedAs(r)
	if o.public == "" {
		o.public = scheme + "://" + host
	}
	if o.ingest == "" {
		name := host
		if h, _, err := net.SplitHostPort(host); err == nil {
			name = h
		}
		name = strings.Trim(name, "[]")
		if scheme == "https" && c.RTMPSPort != 0 {
			o.ingest = "rtmps://" + net.JoinHostPort(name, strconv.Itoa(c.RTMPSPort)) + "/live/"
		} else {
			o.ingest = "rtmp://" + net.JoinHostPort(name, strconv.Itoa(c.RTMPPort)) + "/live/"
		}
	}
	return o
}

// Origins tells whoever else is asked over HTTP what answers tell of where a
// client plays and publishes: public is scheme and host, without a slash at the
// end, and ingest ends in /live/.
func (c Config) Origins() (public, ingest func(*http.Request) string) {
	c.fill()
	return func(r *http.Request) string { return c.origin(r).public }, func(r *http.Request) string { return c.origin(r).ingest }
}

// reachedAs is the scheme and host that the client used.
func (c *Config) reachedAs(r *http.Request) (scheme, host string) {
	scheme, host = "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if len(c.TrustedProxies) > 0 && c.trusts(addressOf(r.RemoteAddr)) {
		if p := last(r.Header.Get("X-Forwarded-Proto")); p == "http" || p == "https" {
			scheme = p
		}
		if h := last(r.Header.Get("X-Forwarded-Host")); isHost(h) {
			host = h
		}
	}
	if !isHost(host) { // HTTP/1.0 has none
		host = "localhost"
		if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
			host = a.String()
		}
	}
	return scheme, host
}

// last is the last of a comma-separated list: what the nearest proxy said.
func last(list string) string {
	return strings.TrimSpace(list[strings.LastIndexByte(list, ',')+1:])
}

// isHost reports whether s can stand as a URL's host: nothing in it can end
// the host or needs an escape.
func isHost(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z',
			c == '.', c == '-', c == '_', c == ':', c == '[', c == ']':
		default:
			return false
		}
	}
	return s != "" && len(s) <= 255
}

// ingestBase completes a configured ingest URL: path /live/ when it has none,
// and a slash at the end, because publish URLs are made by appending the key.
func ingestBase(s string) string {
	if s == "" {
		return ""
	}
	if u, err := url.Parse(s); err == nil && strings.Trim(u.Path, "/") == "" {
		return strings.TrimRight(s, "/") + "/live/"
	}
	return strings.TrimRight(s, "/") + "/"
}
