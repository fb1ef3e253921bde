package hlscheck

import (
	"slices"
	"strings"
	"time"

	"tally/internal/hls/playlist"
)

// Multivariant checks a multivariant playlist. What it says of its first
// variant is held against the media playlist and the init section shown next.
func (c *Checker) Multivariant(at time.Time, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = at
	m, err := playlist.ParseMultivariant(text)
	if err != nil {
		c.report("syntax", -1, "multivariant playlist: %v", err)
		return
	}
	for i, v := range m.Variants {
		if v.Bandwidth <= 0 || v.Codecs == "" {
			c.report("variant", -1, "variant %d: BANDWIDTH %d, CODECS %q", i, v.Bandwidth, v.Codecs)
		}
		if hasVideo(v.Codecs) && (v.Width == 0 || v.FrameRate == 0) {
			c.report("variant", -1, "variant %d has video but RESOLUTION %dx%d, FRAME-RATE %.3f", i, v.Width, v.Height, v.FrameRate)
		}
	}
	if len(m.Variants) == 0 {
		c.report("variant", -1, "no variant is listed")
	}
	for i, v := range m.Variants {
		if group := v.CaptionGroup; (group != "") != (len(m.ClosedCaptions) > 0) || v.NoClosedCaptions != m.Variants[0].NoClosedCaptions {
			c.report("captions", -1, "variant %d: CLOSED-CAPTIONS %q, NONE %v; captions %v", i, group, v.NoClosedCaptions, m.ClosedCaptions)
		}
	}
	c.checkGroups(m.Renditions)
	c.variants, c.rates = m.Variants, rates{told: -1}
	if len(m.Variants) > 0 {
		c.rates.limit = m.Variants[0].Bandwidth
	}
}

// checkGroups compares groups of renditions: each with itself, and with the first
// of its type. Members correspond to one another by NAME.
func (c *Checker) checkGroups(all []playlist.Rendition) {
	type group struct{ kind, id string }
	groups := map[group][]playlist.Rendition{}
	first := map[string]group{} // by TYPE
	for _, r := range all {
		g := group{r.Type, r.GroupID}
		if _, ok := first[r.Type]; !ok {
			first[r.Type] = g
		}
		for _, o := range groups[g] {
			if o.Default && r.Default {
				c.report("media-groups", -1, "group %q: %q and %q are both the DEFAULT", r.GroupID, o.Name, r.Name)
			}
		}
		groups[g] = append(groups[g], r)
	}
	for g, members := range groups {
		model := groups[first[g.kind]]
		same := len(members) == len(model) && !slices.ContainsFunc(members, func(r playlist.Rendition) bool {
			return !slices.ContainsFunc(model, func(o playlist.Rendition) bool {
				o.GroupID, o.URI, o.Channels = r.GroupID, r.URI, r.Channels
				return o == r
			})
		})
		if !same {
			c.report("media-groups", -1, "%s group %q has other members than %q", g.kind, g.id, first[g.kind].id)
		}
	}
}

// leads notes the variant that leads to the playlist, where none is known.
func (c *Checker) leads(v playlist.Variant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.prev == nil && c.variants == nil {
		c.variants, c.rates = []playlist.Variant{v}, rates{told: -1, limit: v.Bandwidth}
	}
}

// hasVideo reports whether CODECS names a video format.
func hasVideo(codecs string) bool {
	return slices.ContainsFunc(strings.Split(codecs, ","), func(c string) bool {
		kind, _, _ := strings.Cut(strings.TrimSpace(c), ".")
		return slices.Contains([]string{"avc1", "avc3", "hvc1", "hev1", "av01", "vp09"}, kind)
	})
}

// checkCodecs compares the init section that the playlist begins with with the
// variant that led there. Later ones may be of formats that came later.
func (c *Checker) checkCodecs(uri string, in *Init) {
	if len(c.variants) == 0 || in == nil {
		return
	}
	codecs := strings.Split(c.variants[0].Codecs, ",")
	for i := range in.Tracks {
		entry := in.Tracks[i].Codec
		if !slices.ContainsFunc(codecs, func(s string) bool { return formatOf(s) == formatOf(entry) }) {
			c.report("codecs", -1, "CODECS %q does not name %s, which %s has", c.variants[0].Codecs, entry, uri)
		}
	}
	c.variants = nil
}

// formatOf is what stands before the first dot, in lower case: sample entries
// say Opus and fLaC where CODECS may say opus and flac.
func formatOf(s string) string {
	kind, _, _ := strings.Cut(strings.TrimSpace(s), ".")
	return strings.ToLower(kind)
}

// rates holds BANDWIDTH against the segments that were listed when it was told.
type rates struct {
	limit int64 // bits per second; 0: none was told
	told  int64 // MSN of the last segment that it must hold for; -1: the next playlist says
	run   []rated
}

// rated is one whole segment.
type rated struct {
	msn  int64
	size int64
	time time.Duration
}

// listed takes note of which segments BANDWIDTH was told for.
func (r *rates) listed(m *playlist.Media) {
	if r.limit > 0 && r.told < 0 {
		r.told = m.NextMSN() - 1
	}
}

// checkBandwidth takes a whole segment of that size. The peak is that of any
// contiguous segments between 0.5 and 1.5 target durations long (section
// 4.4.6.2); a measured one may differ by a tenth.
func (c *Checker) checkBandwidth(msn int64, s *segment, size int) {
	r := &c.rates
	if r.limit <= 0 || msn > r.told || c.prev == nil || s.Duration <= 0 {
		return
	}
	if n := len(r.run); n > 0 && r.run[n-1].msn != msn-1 {
		r.run = r.run[:0]
	}
	r.run = append(r.run, rated{msn, int64(size), s.Duration})
	target := time.Duration(c.prev.TargetDuration) * time.Second
	var bytes int64
	var length time.Duration
	for i := len(r.run) - 1; i >= 0; i-- {
		bytes, length = bytes+r.run[i].size, length+r.run[i].time
		if length > target*3/2 {
			r.run = slices.Delete(r.run, 0, i) // no later run reaches back further
			return
		}
		if rate := int64(float64(bytes*8) / length.Seconds()); length >= target/2 && rate > r.limit+r.limit/10 {
			c.report("bandwidth", msn, "segments of %v have %d bits per second, BANDWIDTH is %d", length, rate, r.limit)
		}
	}
}
