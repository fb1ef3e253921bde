package hlscheck

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tally/internal/hls/playlist"
)

// ProbeOptions say which live stream to ask, and how.
type ProbeOptions struct {
	URL    string       // a multivariant or media playlist of a stream on air
	Client *http.Client // nil: http.DefaultClient
}

const (
	probeBodyLimit = 64 << 20
	// probePrompt is what an answer that must not wait for media may take.
	probePrompt = 2 * time.Second
	// probeGivenUp is how many reloads probe-cancel starts and gives up.
	probeGivenUp = 20
)

// Probe asks a live server what one well-behaved viewer never asks: directives
// out of order and out of bounds, requests given up, media that does not exist.
// It takes a few target durations. The error says why the probe could not be
// done; a server that answers wrongly is a violation, not an error.
func Probe(ctx context.Context, o ProbeOptions) ([]Violation, error) {
	p := &prober{ctx: ctx, client: o.Client}
	if p.client == nil {
		p.client = http.DefaultClient
	}
	if err := p.open(o.URL); err != nil {
		return nil, fmt.Errorf("probe %s: %w", o.URL, err)
	}
	for _, step := range []func() error{
		p.headers, p.badRequests, p.notFound, p.blockPart, p.blockSegment, p.blockPastLast, p.behind, p.delta, p.hint, p.cancel,
	} {
		if err := step(); err != nil {
			return p.found, fmt.Errorf("probe %s: %w", o.URL, err)
		}
	}
	return p.found, nil
}

type prober struct {
	ctx    context.Context
	client *http.Client
	base   *url.URL // of the media playlist
	found  []Violation
}

// reply is an answer, read whole and decompressed.
type reply struct {
	status int
	header http.Header
	body   []byte
	took   time.Duration
	gzip   bool
}

func (p *prober) report(rule, format string, args ...any) {
	p.found = append(p.found, Violation{Rule: rule, Section: section(rule), At: time.Now(), MSN: -1, Text: fmt.Sprintf(format, args...)})
}

func (p *prober) get(ctx context.Context, ref string) (reply, error) {
	u, err := p.base.Parse(ref)
	if err != nil {
		return reply{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Accept-Encoding", "gzip") // set by hand: then what comes is what was sent
	began := time.Now()
	resp, err := p.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	r := reply{status: resp.StatusCode, header: resp.Header, gzip: resp.Header.Get("Content-Encoding") == "gzip"}
	var body io.Reader = resp.Body
	if r.gzip {
		if body, err = gzip.NewReader(resp.Body); err != nil {
			return reply{}, fmt.Errorf("%s: %w", u, err)
		}
	}
	r.body, err = io.ReadAll(io.LimitReader(body, probeBodyLimit))
	r.took = time.Since(began)
	if err != nil {
		return reply{}, fmt.Errorf("%s: %w", u, err)
	}
	return r, nil
}

// query asks for the media playlist with a raw query.
func (p *prober) query(ctx context.Context, raw string) (reply, error) {
	u := *p.base
	if u.RawQuery != "" && raw != "" {
		raw = u.RawQuery + "&" + raw
	}
	u.RawQuery = raw
	return p.get(ctx, u.String())
}

// playlist asks for the media playlist and reads it; m is nil unless it is 200.
func (p *prober) playlist(raw string) (*playlist.Media, reply, error) {
	r, err := p.query(p.ctx, raw)
	if err != nil || r.status != http.StatusOK {
		return nil, r, err
	}
	m, err := playlist.ParseMedia(string(r.body))
	return m, r, err
}

// now returns the playlist as it stands; the stream must be live.
func (p *prober) now() (*playlist.Media, error) {
	m, r, err := p.playlist("")
	switch {
	case err != nil:
		return nil, err
	case m == nil:
		return nil, fmt.Errorf("the playlist is answered %d", r.status)
	case m.EndList:
		return nil, errors.New("the stream has ended; a probe needs one on air")
	}
	return m, nil
}

func (p *prober) open(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return err
	}
	for range 2 {
		p.base = u
		r, err := p.get(p.ctx, "")
		if err != nil {
			return err
		}
		if r.status != http.StatusOK {
			return fmt.Errorf("answered %d", r.status)
		}
		if !playlist.IsMultivariant(string(r.body)) {
			_, err := playlist.ParseMedia(string(r.body))
			return err
		}
		m, err := playlist.ParseMultivariant(string(r.body))
		if err != nil {
			return err
		}
		if len(m.Variants) == 0 {
			return errors.New("no variant is listed")
		}
		if u, err = u.Parse(m.Variants[0].URI); err != nil {
			return err
		}
	}
	return errors.New("a multivariant playlist points at another")
}

func (p *prober) headers() error {
	r, err := p.query(p.ctx, "")
	if err != nil {
		return err
	}
	if kind := r.header.Get("Content-Type"); kind != "application/vnd.apple.mpegurl" && kind != "audio/mpegurl" {
		p.report("probe-headers", "Content-Type of a playlist is %q", kind)
	}
	if !r.gzip {
		p.report("probe-headers", "a playlist is not gzipped on request")
	}
	m, err := p.now()
	if err != nil {
		return err
	}
	for i := len(m.Segments) - 1; i >= 0; i-- {
		s := &m.Segments[i]
		if s.URI == "" || s.Gap {
			continue
		}
		for _, uri := range []string{s.URI, s.Map} {
			r, err := p.get(p.ctx, uri)
			if err != nil {
				return err
			}
			if cc := r.header.Get("Cache-Control"); r.status != http.StatusOK || !strings.Contains(cc, "immutable") {
				p.report("probe-headers", "%s is answered %d with Cache-Control %q, want 200 and immutable", uri, r.status, cc)
			}
		}
		return nil // one of each says it
	}
	return nil
}

// badRequests: each must be 400, at once. last is the MSN of the last segment.
func (p *prober) badRequests() error {
	m, err := p.now()
	if err != nil {
		return err
	}
	last := m.NextMSN() - 1
	for _, q := range []string{
		"_HLS_part=0", "_HLS_msn=x", "_HLS_msn=-1", "_HLS_msn=", fmt.Sprintf("_HLS_msn=%d&_HLS_part=x", last),
		// Further than 2 by what may be listed while the question travels.
		fmt.Sprintf("_HLS_msn=%d", last+2+5), fmt.Sprintf("_HLS_msn=%d&_HLS_part=0", last+2+5), "_HLS_msn=99999999999999999999",
	} {
		r, err := p.query(p.ctx, q)
		if err != nil {
			return err
		}
		if r.status != http.StatusBadRequest || r.took > probePrompt {
			p.report("probe-bad-request", "?%s with last MSN %d is answered %d after %v, want 400 at once", q, last, r.status, r.took.Round(time.Millisecond))
		}
	}
	return nil
}

func (p *prober) notFound() error {
	m, err := p.now()
	if err != nil {
		return err
	}
	for _, uri := range []string{
		"never-listed.m4s", "part-0-99999999999999999999.m4s", "init-99-99.mp4", m.PreloadHint + ".bak",
	} {
		r, err := p.get(p.ctx, uri)
		if err != nil {
			return err
		}
		if r.status != http.StatusNotFound || r.took > probePrompt {
			p.report("probe-not-found", "%s is answered %d after %v, want 404 at once", uri, r.status, r.took.Round(time.Millisecond))
		}
		if cc := r.header.Get("Cache-Control"); !strings.Contains(cc, "no-store") {
			p.report("probe-headers", "%s: Cache-Control of a %d is %q, want no-store", uri, r.status, cc)
		}
	}
	return nil
}

// block asks and checks that the answer holds part of msn (-1: the segment).
func (p *prober) block(rule, what string, msn int64, part int) error {
	q := string(playlist.Directives{MSN: msn, Part: part}.AppendQuery(nil))
	m, r, err := p.playlist(q)
	if err != nil {
		return err
	}
	if m == nil {
		p.report(rule, "%s: ?%s is answered %d after %v", what, q, r.status, r.took.Round(time.Millisecond))
		return nil
	}
	if !m.EndList && !has(m, msn, part) {
		p.report(rule, "%s: ?%s is answered with a playlist that ends at MSN %d with %d parts of the next", what, q, m.NextMSN()-1, openParts(m))
	}
	return nil
}

func (p *prober) blockPart() error {
	m, err := p.now()
	if err != nil {
		return err
	}
	return p.block("probe-block", "next part", m.NextMSN(), openParts(m))
}

func (p *prober) blockSegment() error {
	m, err := p.now()
	if err != nil {
		return err
	}
	return p.block("probe-block", "next whole segment", m.NextMSN(), -1)
}

// blockPastLast: one past the last part of the last whole segment.
func (p *prober) blockPastLast() error {
	m, err := p.now()
	if err != nil {
		return err
	}
	for i := len(m.Segments) - 1; i >= 0; i-- {
		if s := &m.Segments[i]; s.URI != "" && len(s.Parts) > 0 {
			return p.block("probe-block", "part past the last", m.FirstMSN()+int64(i), len(s.Parts))
		}
	}
	return nil
}

// behind: what has been listed, or has left the list, is answered at once with
// the playlist as it is.
func (p *prober) behind() error {
	m, err := p.now()
	if err != nil {
		return err
	}
	for _, q := range []string{"_HLS_msn=0", fmt.Sprintf("_HLS_msn=%d&_HLS_part=0", m.NextMSN()-1)} {
		got, r, err := p.playlist(q)
		if err != nil {
			return err
		}
		if got == nil || r.took > probePrompt {
			p.report("probe-block", "?%s, which has been listed, is answered %d after %v", q, r.status, r.took.Round(time.Millisecond))
		}
	}
	return nil
}

func (p *prober) delta() error {
	full, err := p.now()
	if err != nil {
		return err
	}
	m, r, err := p.playlist("_HLS_skip=YES")
	if err != nil {
		return err
	}
	if m == nil {
		p.report("probe-delta", "?_HLS_skip=YES is answered %d", r.status)
		return nil
	}
	if m.SkippedSegments > 0 {
		if _, err := m.Merge(full); err != nil {
			p.report("probe-delta", "a delta update right after the full playlist: %v", err)
		}
		return nil
	}
	// Some whole segment ends beyond the boundary, counted with a segment to
	// spare: then it should have been skipped.
	if m.CanSkipUntil > 0 && len(m.Segments) > 1 {
		if rest := m.Length() - m.Segments[0].Length() - m.Segments[1].Length(); rest > m.CanSkipUntil {
			p.report("probe-delta", "?_HLS_skip=YES skips nothing, two segments lie more than CAN-SKIP-UNTIL %v before the end", m.CanSkipUntil)
		}
	}
	return nil
}

// hint asks for the hinted part before it exists.
func (p *prober) hint() error {
	m, err := p.now()
	if err != nil {
		return err
	}
	if m.PreloadHint == "" {
		return nil // hint-present is the Checker's
	}
	early, err := p.get(p.ctx, m.PreloadHint)
	if err != nil {
		return err
	}
	if early.status != http.StatusOK {
		p.report("probe-block", "the hinted part %s is answered %d after %v", m.PreloadHint, early.status, early.took.Round(time.Millisecond))
		return nil
	}
	again, err := p.get(p.ctx, m.PreloadHint)
	if err != nil {
		return err
	}
	if string(again.body) != string(early.body) {
		p.report("probe-block", "the hinted part %s was handed out before it was whole: %d bytes, then %d", m.PreloadHint, len(early.body), len(again.body))
	}
	return nil
}

// cancel gives up many reloads, of the furthest segment that may be waited for,
// and then asks like everyone else.
func (p *prober) cancel() error {
	m, err := p.now()
	if err != nil {
		return err
	}
	ctx, giveUp := context.WithCancel(p.ctx)
	defer giveUp()
	q := fmt.Sprintf("_HLS_msn=%d", m.NextMSN()+1)
	answers := make(chan reply, probeGivenUp)
	for range probeGivenUp {
		go func() {
			r, _ := p.query(ctx, q) // given up: its error is ours
			answers <- r
		}()
	}
	err = p.block("probe-cancel", "beside reloads that are given up", m.NextMSN(), openParts(m))
	giveUp()
	var refused reply
	for range probeGivenUp { // wait for all of them
		if r := <-answers; r.status != 0 && r.status != http.StatusOK {
			refused = r
		}
	}
	if refused.status != 0 {
		p.report("probe-cancel", "?%s, two segments ahead, is answered %d after %v", q, refused.status, refused.took.Round(time.Millisecond))
	}
	return err
}
