package hlscheck

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"tally/internal/hls/playlist"
)

// The steps of Probe in this file look at HTTP: what an answer says of itself,
// to caches and to pages.

// probeOrigin is the page that asks.
const probeOrigin = "https://page.example"

// newest returns the newest whole segment that is no gap, from the newest half
// of the list so that it does not leave meanwhile; nil: there is none.
func (p *prober) newest() (*playlist.Segment, error) {
	m, err := p.now()
	if err != nil {
		return nil, err
	}
	for i := len(m.Segments) - 1; i >= 0; i-- {
		if s := &m.Segments[i]; s.URI != "" && !s.Gap {
			return s, nil
		}
	}
	return nil, nil
}

// headers: types and lengths. A length lets players measure what they get.
func (p *prober) headers() error {
	r, err := p.query(p.ctx, "")
	if err != nil {
		return err
	}
	if kind := r.header.Get("Content-Type"); kind != "application/vnd.apple.mpegurl" && kind != "audio/mpegurl" {
		p.report("probe-headers", "the Content-Type of a playlist is %q", kind)
	}
	s, err := p.newest()
	if err != nil || s == nil {
		return err
	}
	for _, uri := range []string{s.URI, s.Map} {
		r, err := p.get(p.ctx, uri)
		if err != nil {
			return err
		}
		if kind := r.header.Get("Content-Type"); r.status != http.StatusOK || kind != "video/mp4" && kind != "audio/mp4" {
			p.report("probe-headers", "%s is answered %d with Content-Type %q", uri, r.status, kind)
		}
		if n := r.header.Get("Content-Length"); n != fmt.Sprint(len(r.body)) {
			p.report("probe-headers", "%s: Content-Length %q of %d bytes", uri, n, len(r.body))
		}
	}
	return nil
}

// gzip compares the compressed playlist with the other.
func (p *prober) gzip() error {
	for range probeAgain {
		plain, err := p.ask(p.ctx, http.MethodGet, p.base.String())
		if err != nil {
			return err
		}
		zipped, err := p.get(p.ctx, p.base.String())
		if err != nil {
			return err
		}
		again, err := p.ask(p.ctx, http.MethodGet, p.base.String())
		if err != nil {
			return err
		}
		if !bytes.Equal(plain.body, again.body) {
			continue // it grew
		}
		switch {
		case plain.gzip:
			p.report("probe-gzip", "a playlist is gzipped for who does not take it")
		case !zipped.gzip:
			p.report("probe-gzip", "a playlist is not gzipped on request")
		case !bytes.Equal(plain.body, zipped.body):
			p.report("probe-gzip", "a playlist of %d bytes is another of %d when it is gzipped", len(plain.body), len(zipped.body))
		case !strings.Contains(strings.ToLower(zipped.header.Get("Vary")), "accept-encoding"):
			p.report("probe-gzip", "Vary is %q, want Accept-Encoding in it", zipped.header.Get("Vary"))
		}
		break
	}
	s, err := p.newest()
	if err != nil || s == nil {
		return err
	}
	r, err := p.get(p.ctx, s.URI)
	if err == nil && r.gzip {
		p.report("probe-gzip", "%s is gzipped", s.URI)
	}
	return err
}

// cache: who may keep what.
func (p *prober) cache() error {
	if p.top != nil {
		r, err := p.get(p.ctx, p.top.String())
		if err != nil {
			return err
		}
		if cc := r.header.Get("Cache-Control"); !strings.Contains(cc, "no-store") {
			p.report("probe-cache", "the multivariant playlist has Cache-Control %q, want no-store", cc)
		}
	}
	r, err := p.query(p.ctx, "")
	if err != nil {
		return err
	}
	if cc := r.header.Get("Cache-Control"); !strings.Contains(cc, "no-cache") && !strings.Contains(cc, "no-store") && !strings.Contains(cc, "max-age=0") {
		p.report("probe-cache", "a media playlist has Cache-Control %q", cc)
	}
	s, err := p.newest()
	if err != nil || s == nil {
		return err
	}
	for _, uri := range []string{s.URI, s.Map} {
		r, err := p.get(p.ctx, uri)
		if err != nil {
			return err
		}
		if cc := r.header.Get("Cache-Control"); !strings.Contains(cc, "immutable") {
			p.report("probe-cache", "%s has Cache-Control %q, want immutable", uri, cc)
		}
	}
	return nil
}

// refused checks a refusal: that no cache keeps it, and that a page may read it.
func (p *prober) refused(what string, r reply) {
	if cc := r.header.Get("Cache-Control"); !strings.Contains(cc, "no-store") {
		p.report("probe-cache", "%s: Cache-Control of a %d is %q, want no-store", what, r.status, cc)
	}
	p.readable(what, r)
}

// readable: any page that may read at all may read this.
func (p *prober) readable(what string, r reply) {
	if o := r.header.Get("Access-Control-Allow-Origin"); o != "*" && o != probeOrigin {
		p.report("probe-cors", "%s: Access-Control-Allow-Origin of a %d is %q", what, r.status, o)
	}
	if c := r.header.Get("Access-Control-Allow-Credentials"); c != "" {
		p.report("probe-cors", "%s: Access-Control-Allow-Credentials is %q", what, c)
	}
}

func (p *prober) cors() error {
	s, err := p.newest()
	if err != nil || s == nil {
		return err
	}
	for _, uri := range []string{p.base.String(), s.URI, s.Map} {
		r, err := p.ask(p.ctx, http.MethodGet, uri, "Origin", probeOrigin)
		if err != nil {
			return err
		}
		p.readable(uri, r)
		r, err = p.ask(p.ctx, http.MethodOptions, uri, "Origin", probeOrigin,
			"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "range")
		if err != nil {
			return err
		}
		p.readable(uri, r)
		allowed := strings.ToLower(r.header.Get("Access-Control-Allow-Headers"))
		if r.status/100 != 2 || allowed != "*" && !strings.Contains(allowed, "range") {
			p.report("probe-cors", "OPTIONS %s is answered %d and allows the headers %q, want 2xx and range", uri, r.status, allowed)
		}
	}
	return nil
}

// head compares HEAD with GET, where the answer does not change meanwhile.
func (p *prober) head() error {
	s, err := p.newest()
	if err != nil || s == nil {
		return err
	}
	for _, uri := range []string{s.URI, s.Map, p.base.String()} {
		get, err := p.ask(p.ctx, http.MethodGet, uri)
		if err != nil {
			return err
		}
		head, err := p.ask(p.ctx, http.MethodHead, uri)
		if err != nil {
			return err
		}
		if head.status != get.status || len(head.body) > 0 || head.took > probePrompt {
			p.report("probe-head", "HEAD %s is answered %d with %d bytes after %v, GET %d", uri, head.status, len(head.body), head.took.Round(time.Millisecond), get.status)
		}
		names := []string{"Content-Type", "Cache-Control", "Content-Length"}
		if uri == p.base.String() {
			names = names[:2] // it may have grown
		}
		for _, name := range names {
			if h, g := head.header.Get(name), get.header.Get(name); h != g {
				p.report("probe-head", "HEAD %s has %s %q, GET %q", uri, name, h, g)
			}
		}
	}
	return nil
}

// etag asks again for a playlist with its tag.
func (p *prober) etag() error {
	for range probeAgain {
		r, err := p.ask(p.ctx, http.MethodGet, p.base.String())
		if err != nil {
			return err
		}
		tag := r.header.Get("ETag")
		if tag == "" {
			return nil // none is promised
		}
		again, err := p.ask(p.ctx, http.MethodGet, p.base.String(), "If-None-Match", tag)
		if err != nil {
			return err
		}
		if again.status == http.StatusOK && again.header.Get("ETag") != tag {
			continue // it grew
		}
		if again.status != http.StatusNotModified || len(again.body) > 0 {
			p.report("probe-etag", "If-None-Match with the ETag is answered %d with %d bytes", again.status, len(again.body))
		}
		return nil
	}
	return nil
}

// ranges asks for pieces of a segment.
func (p *prober) ranges() error {
	s, err := p.newest()
	if err != nil || s == nil {
		return err
	}
	whole, err := p.ask(p.ctx, http.MethodGet, s.URI)
	if err != nil {
		return err
	}
	size := len(whole.body)
	for _, c := range []struct {
		ask      string
		from, to int
	}{{"bytes=0-9", 0, 10}, {fmt.Sprintf("bytes=%d-", size/2), size / 2, size}, {"bytes=-5", size - 5, size}} {
		r, err := p.ask(p.ctx, http.MethodGet, s.URI, "Range", c.ask)
		if err != nil {
			return err
		}
		want := fmt.Sprintf("bytes %d-%d/%d", c.from, c.to-1, size)
		if r.status != http.StatusPartialContent || r.header.Get("Content-Range") != want || !bytes.Equal(r.body, whole.body[c.from:c.to]) {
			p.report("probe-range", "%s of %s is answered %d, Content-Range %q, %d bytes; want 206, %q", c.ask, s.URI, r.status, r.header.Get("Content-Range"), len(r.body), want)
		}
	}
	r, err := p.ask(p.ctx, http.MethodGet, s.URI, "Range", fmt.Sprintf("bytes=%d-", size+1))
	if err != nil {
		return err
	}
	if r.status != http.StatusRequestedRangeNotSatisfiable {
		p.report("probe-range", "a range past the end of %s is answered %d, want 416", s.URI, r.status)
	} else {
		p.refused("a range past the end", r)
	}
	return nil
}
