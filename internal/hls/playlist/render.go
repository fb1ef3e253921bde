package playlist

import (
	"strconv"
	"time"
)

// AppendText appends m as playlist text and returns the extended buffer. It
// allocates only to grow dst. It does not judge m: package hlscheck does.
//
// URIs must hold no line break and, where the format quotes them, no double
// quote; the server makes its own URIs, so nothing is escaped here.
func (m *Media) AppendText(dst []byte) []byte {
	dst = m.AppendStart(dst)
	// The first listed segment names its map even in a delta update: redundant
	// there, but then a delta can be read without its predecessor.
	lastMap := m.LastMap
	for i := range m.Segments {
		s := &m.Segments[i]
		dst = s.AppendText(dst, lastMap)
		lastMap = s.Map
	}
	if m.PreloadHint != "" {
		dst = append(dst, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\""...)
		dst = append(dst, m.PreloadHint...)
		dst = append(dst, "\"\n"...)
	}
	for i := range m.RenditionReports {
		dst = m.RenditionReports[i].appendText(dst)
	}
	if m.EndList {
		dst = append(dst, "#EXT-X-ENDLIST\n"...)
	}
	return dst
}

// AppendStart appends what stands before the first segment.
func (m *Media) AppendStart(dst []byte) []byte {
	dst = m.appendHead(dst)
	if m.SkippedSegments > 0 {
		// After EXT-X-MEDIA-SEQUENCE: hls.js reads the tags in order.
		dst = append(dst, "#EXT-X-SKIP:SKIPPED-SEGMENTS="...)
		dst = appendLine(strconv.AppendInt(dst, int64(m.SkippedSegments), 10))
	}
	for i := range m.DateRanges {
		dst = m.DateRanges[i].AppendText(dst)
	}
	return dst
}

func (m *Media) appendHead(dst []byte) []byte {
	dst = append(dst, "#EXTM3U\n#EXT-X-VERSION:"...)
	version := m.Version
	if version == 0 {
		version = DefaultVersion
	}
	dst = appendLine(strconv.AppendInt(dst, int64(version), 10))
	if m.IndependentSegments {
		dst = append(dst, "#EXT-X-INDEPENDENT-SEGMENTS\n"...)
	}
	dst = append(dst, "#EXT-X-TARGETDURATION:"...)
	dst = appendLine(strconv.AppendInt(dst, int64(m.TargetDuration), 10))
	if m.VOD {
		dst = append(dst, "#EXT-X-PLAYLIST-TYPE:VOD\n"...)
	}
	dst = m.appendServerControl(dst)
	if m.PartTarget > 0 {
		dst = append(dst, "#EXT-X-PART-INF:PART-TARGET="...)
		dst = appendLine(appendShort(dst, m.PartTarget))
	}
	dst = append(dst, "#EXT-X-MEDIA-SEQUENCE:"...)
	dst = appendLine(strconv.AppendInt(dst, m.MediaSequence, 10))
	// Always present: players count discontinuities from what is listed when it
	// is absent, and lose count as they roll out (nginx-rtmp-module#869).
	dst = append(dst, "#EXT-X-DISCONTINUITY-SEQUENCE:"...)
	return appendLine(strconv.AppendInt(dst, m.DiscontinuitySequence, 10))
}

func (m *Media) appendServerControl(dst []byte) []byte {
	start := len(dst)
	sep := "#EXT-X-SERVER-CONTROL:"
	attr := func(name string, d time.Duration) {
		if d > 0 {
			dst = append(dst, sep...)
			dst = append(dst, name...)
			dst = appendShort(dst, d)
			sep = ","
		}
	}
	if m.CanBlockReload {
		dst = append(dst, sep...)
		dst = append(dst, "CAN-BLOCK-RELOAD=YES"...)
		sep = ","
	}
	attr("PART-HOLD-BACK=", m.PartHoldBack)
	attr("HOLD-BACK=", m.HoldBack)
	attr("CAN-SKIP-UNTIL=", m.CanSkipUntil)
	if len(dst) == start {
		return dst
	}
	return append(dst, '\n')
}

// AppendText appends the lines of a segment that stands behind one with the map
// lastMap, "" for the first, and returns the extended buffer.
func (s *Segment) AppendText(dst []byte, lastMap string) []byte {
	if s.Discontinuity {
		dst = append(dst, "#EXT-X-DISCONTINUITY\n"...)
	}
	if s.Map != "" && s.Map != lastMap {
		dst = append(dst, "#EXT-X-MAP:URI=\""...)
		dst = append(dst, s.Map...)
		dst = append(dst, "\"\n"...)
	}
	if !s.ProgramDateTime.IsZero() {
		dst = append(dst, "#EXT-X-PROGRAM-DATE-TIME:"...)
		dst = appendLine(s.ProgramDateTime.UTC().AppendFormat(dst, dateLayout))
	}
	if s.Gap {
		dst = append(dst, "#EXT-X-GAP\n"...)
	}
	for i := range s.Parts {
		dst = s.Parts[i].appendText(dst)
	}
	if s.URI == "" {
		return dst
	}
	dst = append(dst, "#EXTINF:"...)
	dst = appendSeconds(dst, s.Duration)
	dst = append(dst, ',')
	dst = appendLine(append(dst, s.Title...))
	return appendLine(append(dst, s.URI...))
}

func (p *Part) appendText(dst []byte) []byte {
	dst = append(dst, "#EXT-X-PART:DURATION="...)
	dst = appendSeconds(dst, p.Duration)
	dst = append(dst, ",URI=\""...)
	dst = append(dst, p.URI...)
	dst = append(dst, '"')
	if p.Independent {
		dst = append(dst, ",INDEPENDENT=YES"...)
	}
	if p.Gap {
		dst = append(dst, ",GAP=YES"...)
	}
	return append(dst, '\n')
}

func (r *RenditionReport) appendText(dst []byte) []byte {
	dst = append(dst, "#EXT-X-RENDITION-REPORT:URI=\""...)
	dst = append(dst, r.URI...)
	dst = append(dst, "\",LAST-MSN="...)
	dst = strconv.AppendInt(dst, r.LastMSN, 10)
	if r.LastPart >= 0 {
		dst = append(dst, ",LAST-PART="...)
		dst = strconv.AppendInt(dst, r.LastPart, 10)
	}
	return append(dst, '\n')
}

func appendLine(dst []byte) []byte { return append(dst, '\n') }

// appendSeconds prints d in seconds with six decimals, cut to Precision. A
// negative duration is printed as 0: the format has no sign here.
func appendSeconds(dst []byte, d time.Duration) []byte {
	d = max(d, 0)
	dst = strconv.AppendInt(dst, int64(d/time.Second), 10)
	frac := int64(d % time.Second / Precision)
	dst = append(dst, '.')
	for unit := int64(time.Second/Precision) / 10; unit > 0; unit /= 10 {
		dst = append(dst, byte('0'+frac/unit%10))
	}
	return dst
}

// appendShort is appendSeconds without trailing zeros, for attributes that
// nothing is summed against.
func appendShort(dst []byte, d time.Duration) []byte {
	dst = appendSeconds(dst, d)
	n := len(dst)
	for dst[n-1] == '0' && dst[n-2] != '.' {
		n--
	}
	return dst[:n]
}
