package hlscheck

import (
	"fmt"
	"net/http"
	"time"

	"tally/internal/hls/playlist"
)

// The steps of the probes in this file look at when: what is there at once,
// what stays, what is waited for in vain.

// available fetches all that is listed.
func (p *prober) available() error {
	m, err := p.now()
	if err != nil {
		return err
	}
	var uris []string
	for i := range m.Segments {
		s := &m.Segments[i]
		if s.Gap {
			continue
		}
		if s.URI != "" {
			uris = append(uris, s.URI)
		}
		for _, part := range s.Parts {
			if !part.Gap {
				uris = append(uris, part.URI)
			}
		}
	}
	for _, uri := range uris {
		r, err := p.get(p.ctx, uri)
		if err != nil {
			return err
		}
		if r.status != http.StatusOK || len(r.body) == 0 || r.took > probePrompt {
			p.report("probe-available", "%s is listed and answered %d with %d bytes after %v", uri, r.status, len(r.body), r.took.Round(time.Millisecond))
		}
	}
	return nil
}

// left follows the playlist until the segment that is its newest has left, and
// asks for it and its parts as long as they must be there.
func (p *prober) left() error {
	m, err := p.now()
	if err != nil {
		return err
	}
	target := time.Duration(m.TargetDuration) * time.Second
	msn, late := m.NextMSN()-1, time.Now().Add(m.Length()+6*target)
	var uri string
	var parts []playlist.Part
	var listed time.Time // when the parts were so last
	for m.FirstMSN() <= msn {
		if time.Now().After(late) {
			p.report("probe-left", "segment %d is still listed after %v", msn, m.Length()+6*target)
			return nil
		}
		if s := &m.Segments[msn-m.FirstMSN()]; len(s.Parts) > 0 {
			uri, parts, listed = s.URI, s.Parts, time.Now()
		} else if err := p.stays(parts, listed.Add(3*target)); err != nil {
			return err
		}
		if err := p.pause(max(m.PartTarget/2, minPartTarget/2)); err != nil {
			return err
		}
		next, r, err := p.playlist("")
		if err != nil {
			return err
		}
		if next == nil || next.EndList {
			return fmt.Errorf("the playlist is answered %d and did not go on for a window", r.status)
		}
		m = next
	}
	segment := []playlist.Part{{URI: uri}}
	for until := time.Now().Add(target); time.Now().Before(until); {
		if err := p.stays(segment, until); err != nil {
			return err
		}
		if err := p.pause(target / 4); err != nil {
			return err
		}
	}
	return nil
}

// probeMargin is what the moment at which something left is uncertain by.
const probeMargin = 400 * time.Millisecond

// stays asks for media that must be there until then.
func (p *prober) stays(list []playlist.Part, until time.Time) error {
	for i := range list {
		if list[i].Gap || time.Until(until) < probeMargin {
			continue
		}
		r, err := p.get(p.ctx, list[i].URI)
		if err != nil {
			return err
		}
		if r.status != http.StatusOK {
			p.report("probe-left", "%s is answered %d, %v before it may be gone", list[i].URI, r.status, time.Until(until).Round(time.Millisecond))
		}
	}
	return nil
}

func (p *prober) pause(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

// still: a reload that nothing comes for.
func (p *prober) still() error {
	m, err := p.now()
	if err != nil {
		return err
	}
	target := time.Duration(m.TargetDuration) * time.Second
	for _, q := range []string{fmt.Sprintf("_HLS_msn=%d&_HLS_part=%d", m.NextMSN(), openParts(m)), fmt.Sprintf("_HLS_msn=%d", m.NextMSN())} {
		r, err := p.query(p.ctx, q)
		if err != nil {
			return err
		}
		if r.status != http.StatusServiceUnavailable || r.took < 3*target-probePrompt || r.took > 3*target+probePrompt || r.header.Get("Retry-After") == "" {
			p.report("probe-still", "?%s, which does not come, is answered %d after %v, Retry-After %q; want 503 after %v", q, r.status, r.took.Round(time.Millisecond), r.header.Get("Retry-After"), 3*target)
		}
		p.refused("?"+q, r)
	}
	if r, err := p.query(p.ctx, ""); err != nil || r.status != http.StatusOK || r.took > probePrompt {
		p.report("probe-still", "without directives the playlist is answered %d after %v: %v", r.status, r.took.Round(time.Millisecond), err)
	}
	return nil
}

// ended: every directive is ignored, also a wrong one.
func (p *prober) ended() error {
	m, r, err := p.playlist("")
	if err != nil {
		return err
	}
	if m == nil || !m.EndList {
		return fmt.Errorf("answered %d, without EXT-X-ENDLIST; this probe needs a stream that ended", r.status)
	}
	for _, q := range []string{
		fmt.Sprintf("_HLS_msn=%d", m.NextMSN()), fmt.Sprintf("_HLS_msn=%d&_HLS_part=3", m.NextMSN()+100), "_HLS_part=0", "_HLS_skip=YES",
	} {
		got, r, err := p.playlist(q)
		if err != nil {
			return err
		}
		if got == nil || r.took > probePrompt || string(got.AppendText(nil)) != string(m.AppendText(nil)) {
			p.report("probe-ended", "?%s is answered %d after %v, want the playlist as it is", q, r.status, r.took.Round(time.Millisecond))
		}
	}
	return nil
}
