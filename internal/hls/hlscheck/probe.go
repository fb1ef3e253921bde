package hlscheck

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"tally/internal/hls/playlist"
)

// ProbeOptions say which live stream to ask, and how.
type ProbeOptions struct {
	URL    string       // a multivariant or media playlist
	Client *http.Client // nil: http.DefaultClient
	// Patient waits until what is listed now has left, for probe-left: a window
	// longer.
	Patient bool
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
	return probing(ctx, o, func(p *prober) []func() error {
		steps := []func() error{
			p.headers, p.gzip, p.cache, p.head, p.cors, p.etag, p.ranges, p.available, p.badRequests, p.notFound,
			p.blockPart, p.blockSegment, p.blockPastLast, p.behind, p.delta, p.hint, p.cancel,
		}
		if o.Patient {
			steps = append(steps, p.left)
		}
		return steps
	})
}

// ProbeStill asks a stream that is open and that nothing is published to: what
// is waited for does not come. It takes three target durations.
func ProbeStill(ctx context.Context, o ProbeOptions) ([]Violation, error) {
	return probing(ctx, o, func(p *prober) []func() error { return []func() error{p.still} })
}

// ProbeEnded asks a stream that has its EXT-X-ENDLIST. It takes no time.
func ProbeEnded(ctx context.Context, o ProbeOptions) ([]Violation, error) {
	return probing(ctx, o, func(p *prober) []func() error { return []func() error{p.ended} })
}

func probing(ctx context.Context, o ProbeOptions, steps func(*prober) []func() error) ([]Violation, error) {
	p := &prober{ctx: ctx, client: o.Client}
	if p.client == nil {
		p.client = http.DefaultClient
	}
	if err := p.open(o.URL); err != nil {
		return nil, fmt.Errorf("probe %s: %w", o.URL, err)
	}
	for _, step := range steps(p) {
		if err := step(); err != nil {
			return p.found, fmt.Errorf("probe %s: %w", o.URL, err)
		}
	}
	return p.found, nil
}

type prober struct {
	ctx    context.Context
	client *http.Client
	top    *url.URL // of the multivariant playlist; nil: none was given
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

// get fetches and decompresses.
func (p *prober) get(ctx context.Context, ref string) (reply, error) {
	return p.ask(ctx, http.MethodGet, ref, "Accept-Encoding", "gzip") // set by hand: then what comes is what was sent
}

// ask makes a request with these headers, names and values in turn, and reads
// all of its answer.
func (p *prober) ask(ctx context.Context, method, ref string, headers ...string) (reply, error) {
	u, err := p.base.Parse(ref)
	if err != nil {
		return reply{}, err
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Accept-Encoding", "identity")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	began := time.Now()
	resp, err := p.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	r := reply{status: resp.StatusCode, header: resp.Header, gzip: resp.Header.Get("Content-Encoding") == "gzip"}
	var body io.Reader = resp.Body
	if r.gzip && method != http.MethodHead {
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
		p.top = u
		if len(m.Variants) == 0 {
			return errors.New("no variant is listed")
		}
		if u, err = u.Parse(m.Variants[0].URI); err != nil {
			return err
		}
	}
	return errors.New("a multivariant playlist points at another")
}

// badRequests: each must be 400, at once. last is the MSN of the last segment.
func (p *prober) badRequests() error {
	m, err := p.now()
	if err != nil {
		return err
	}
	last := m.NextMSN() - 1
	limit := 3 // the Advance Part Limit
	if m.PartTarget > 0 && m.PartTarget < time.Second {
		limit = int((3*time.Second + m.PartTarget - 1) / m.PartTarget)
	}
	for _, q := range []string{
		"_HLS_part=0", "_HLS_msn=x", "_HLS_msn=-1", "_HLS_msn=", fmt.Sprintf("_HLS_msn=%d&_HLS_part=x", last),
		// Further than 2 by what may be listed while the question travels.
		fmt.Sprintf("_HLS_msn=%d&_HLS_part=%d", last+2, 2*limit+20), fmt.Sprintf("_HLS_msn=%d", last+2+5), fmt.Sprintf("_HLS_msn=%d&_HLS_part=0", last+2+5), "_HLS_msn=99999999999999999999",
	} {
		r, err := p.query(p.ctx, q)
		if err != nil {
			return err
		}
		if r.status != http.StatusBadRequest || r.took > probePrompt {
			p.report("probe-bad-request", "?%s with last MSN %d is answered %d after %v, want 400 at once", q, last, r.status, r.took.Round(time.Millisecond))
		}
		if r.status >= 400 {
			p.refused("?"+q, r)
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
		p.refused(uri, r)
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

// delta asks for the playlist, its delta update and the playlist again: where
// nothing was added meanwhile the three must agree.
func (p *prober) delta() error {
	for _, q := range []string{"_HLS_skip=YES", "_HLS_skip=v2"} {
		for range probeAgain {
			before, err := p.now()
			if err != nil {
				return err
			}
			m, r, err := p.playlist(q)
			if err != nil {
				return err
			}
			if m == nil {
				p.report("probe-delta", "?%s is answered %d", q, r.status)
				break
			}
			after, err := p.now()
			if err != nil {
				return err
			}
			if string(before.AppendText(nil)) != string(after.AppendText(nil)) {
				continue // it grew
			}
			p.compare(q, before, m)
			break
		}
	}
	return nil
}

// probeAgain is how often what must be asked between two parts is tried.
const probeAgain = 20

// compare holds a delta update against the full playlist at the same moment.
func (p *prober) compare(q string, full, m *playlist.Media) {
	if m.SkippedSegments > 0 {
		merged, err := m.Merge(full)
		if err != nil || string(merged.AppendText(nil)) != string(full.AppendText(nil)) {
			p.report("probe-delta", "?%s right after the full playlist does not make it: %v", q, err)
		}
		return
	}
	// Some whole segment ends beyond the boundary, counted with a segment to
	// spare: then it should have been skipped.
	if m.CanSkipUntil > 0 && len(m.Segments) > 1 {
		if rest := m.Length() - m.Segments[0].Length() - m.Segments[1].Length(); rest > m.CanSkipUntil {
			p.report("probe-delta", "?%s skips nothing, two segments lie more than CAN-SKIP-UNTIL %v before the end", q, m.CanSkipUntil)
		}
	}
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
		p.report("probe-hint", "the hinted part %s is answered %d after %v", m.PreloadHint, early.status, early.took.Round(time.Millisecond))
		return nil
	}
	again, err := p.get(p.ctx, m.PreloadHint)
	if err != nil {
		return err
	}
	if string(again.body) != string(early.body) {
		p.report("probe-hint", "the hinted part %s was handed out before it was whole: %d bytes, then %d", m.PreloadHint, len(early.body), len(again.body))
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
