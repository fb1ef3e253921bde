package playlist

import "strconv"

// Multivariant is a Multivariant Playlist (rfc8216bis-16 section 4.4.6).
type Multivariant struct {
	Version             int // 0 is written as DefaultVersion
	IndependentSegments bool
	Variants            []Variant
}

// Variant is one EXT-X-STREAM-INF with its URI (rfc8216bis-16 section 4.4.6.2).
// Zero values leave their attribute out, except BANDWIDTH, which is required.
type Variant struct {
	URI              string
	Bandwidth        int64   // peak bits per second of any segment
	AverageBandwidth int64   // bits per second
	Codecs           string  // RFC 6381, comma-separated: avc1.64001f,mp4a.40.2
	Width, Height    int     // pixels; RESOLUTION is written when both are set
	FrameRate        float64 // frames per second, printed with three decimals
	// NoClosedCaptions writes CLOSED-CAPTIONS=NONE: without it some players
	// offer an empty CEA-608 track.
	NoClosedCaptions bool
}

// AppendText appends m as playlist text and returns the extended buffer.
func (m *Multivariant) AppendText(dst []byte) []byte {
	dst = append(dst, "#EXTM3U\n#EXT-X-VERSION:"...)
	version := m.Version
	if version == 0 {
		version = DefaultVersion
	}
	dst = appendLine(strconv.AppendInt(dst, int64(version), 10))
	if m.IndependentSegments {
		dst = append(dst, "#EXT-X-INDEPENDENT-SEGMENTS\n"...)
	}
	for i := range m.Variants {
		dst = m.Variants[i].appendText(dst)
	}
	return dst
}

func (v *Variant) appendText(dst []byte) []byte {
	dst = append(dst, "#EXT-X-STREAM-INF:BANDWIDTH="...)
	dst = strconv.AppendInt(dst, v.Bandwidth, 10)
	if v.AverageBandwidth > 0 {
		dst = append(dst, ",AVERAGE-BANDWIDTH="...)
		dst = strconv.AppendInt(dst, v.AverageBandwidth, 10)
	}
	if v.Codecs != "" {
		dst = append(dst, ",CODECS=\""...)
		dst = append(dst, v.Codecs...)
		dst = append(dst, '"')
	}
	if v.Width > 0 && v.Height > 0 {
		dst = append(dst, ",RESOLUTION="...)
		dst = strconv.AppendInt(dst, int64(v.Width), 10)
		dst = append(dst, 'x')
		dst = strconv.AppendInt(dst, int64(v.Height), 10)
	}
	if v.FrameRate > 0 {
		dst = append(dst, ",FRAME-RATE="...)
		dst = strconv.AppendFloat(dst, v.FrameRate, 'f', 3, 64)
	}
	if v.NoClosedCaptions {
		dst = append(dst, ",CLOSED-CAPTIONS=NONE"...)
	}
	dst = append(dst, '\n')
	dst = append(dst, v.URI...)
	return append(dst, '\n')
}
