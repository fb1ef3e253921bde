package playlist

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Multivariant is a Multivariant Playlist (rfc8216bis-22 section 4.4.6).
type Multivariant struct {
	Version             int // 0 is written as DefaultVersion
	IndependentSegments bool
	// Start is where players should begin; nil leaves it to them. Parsing
	// leaves it out.
	Start *Start
	// ClosedCaptions are the services in the video, as INSTREAM-ID names them:
	// CC1 to CC4, SERVICE1 to SERVICE63. They are the group CaptionGroup.
	ClosedCaptions []string
	Variants       []Variant
}

// CaptionGroup is the GROUP-ID of closed captions.
const CaptionGroup = "cc"

// Start is EXT-X-START (rfc8216bis-22 section 4.4.2.2).
type Start struct {
	// Offset is from the beginning of the playlist; negative: from its end.
	Offset time.Duration
}

// Variant is one EXT-X-STREAM-INF with its URI (rfc8216bis-22 section 4.4.6.2).
// Zero values leave their attribute out, except BANDWIDTH, which is required.
type Variant struct {
	URI              string
	Bandwidth        int64   // peak bits per second of any segment
	AverageBandwidth int64   // bits per second
	Codecs           string  // RFC 6381, comma-separated: avc1.64001f,mp4a.40.2
	Width, Height    int     // pixels; RESOLUTION is written when both are set
	FrameRate        float64 // frames per second, printed with three decimals
	VideoRange       string  // SDR, HLG or PQ
	// NoClosedCaptions writes CLOSED-CAPTIONS=NONE: without it some players
	// offer an empty CEA-608 track.
	NoClosedCaptions bool
	CaptionGroup     string // CLOSED-CAPTIONS, where NoClosedCaptions is not set
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
	if m.Start != nil {
		offset := m.Start.Offset
		dst = append(dst, "#EXT-X-START:TIME-OFFSET="...)
		if offset < 0 {
			dst, offset = append(dst, '-'), -offset
		}
		dst = appendLine(appendSeconds(dst, offset))
	}
	for _, id := range m.ClosedCaptions {
		dst = append(dst, `#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="`+CaptionGroup+`",NAME="`...)
		dst = append(append(dst, id...), `",INSTREAM-ID="`...)
		dst = append(append(dst, id...), "\"\n"...)
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
	if v.VideoRange != "" {
		dst = append(append(dst, ",VIDEO-RANGE="...), v.VideoRange...)
	}
	switch {
	case v.NoClosedCaptions:
		dst = append(dst, ",CLOSED-CAPTIONS=NONE"...)
	case v.CaptionGroup != "":
		dst = append(append(append(dst, `,CLOSED-CAPTIONS="`...), v.CaptionGroup...), '"')
	}
	dst = append(dst, '\n')
	dst = append(dst, v.URI...)
	return append(dst, '\n')
}

// ParseMultivariant reads a Multivariant Playlist. It is as strict as
// Media.Parse. Of EXT-X-MEDIA closed captions are read; the others, I-frame
// variants and session data are checked for nothing and left out.
func ParseMultivariant(text string) (*Multivariant, error) {
	p := multivariantParser{m: new(Multivariant), lines: lines{rest: text}}
	if err := p.run(); err != nil {
		return nil, &SyntaxError{Line: max(p.lines.n, 1), Err: err}
	}
	return p.m, nil
}

type multivariantParser struct {
	m       *Multivariant
	lines   lines
	once    onceTags
	variant *Variant // awaits its URI line
}

func (p *multivariantParser) run() error {
	if !utf8.ValidString(p.lines.rest) {
		return errors.New("the playlist is not UTF-8")
	}
	if line, ok := p.lines.next(); !ok || line != "#EXTM3U" || p.lines.n != 1 {
		return errors.New("want #EXTM3U as the first line")
	}
	for line, ok := p.lines.next(); ok; line, ok = p.lines.next() {
		name, value, isTag := splitTag(line)
		switch {
		case isTag && p.variant != nil:
			return errors.New("EXT-X-STREAM-INF: want its URI on the next line")
		case isTag:
			if err := p.tag(name, value); err != nil {
				return fmt.Errorf("%s: %w", clip(name), err)
			}
		case p.variant == nil:
			return fmt.Errorf("URI %q without EXT-X-STREAM-INF before it", clip(value))
		default:
			p.variant.URI = value
			p.m.Variants = append(p.m.Variants, *p.variant)
			p.variant = nil
		}
	}
	if p.variant != nil {
		return errors.New("EXT-X-STREAM-INF: want its URI on the next line")
	}
	return nil
}

func (p *multivariantParser) tag(name, value string) error {
	switch name {
	case "EXT-X-VERSION":
		n, err := parseInteger(value)
		if err != nil || n < 1 || n > 1<<31-1 {
			return fmt.Errorf("%q, want an integer from 1", clip(value))
		}
		p.m.Version = int(n)
		return p.once.set(onceVersion)
	case "EXT-X-INDEPENDENT-SEGMENTS":
		p.m.IndependentSegments = true
		return p.once.set(onceIndependent)
	case "EXT-X-STREAM-INF":
		return p.streamInf(value)
	case "EXT-X-MEDIA":
		return p.media(value)
	case "EXT-X-DEFINE":
		return ErrUnsupported
	case "EXTM3U":
		return errors.New("only the first line may be #EXTM3U")
	case "EXTINF", "EXT-X-TARGETDURATION", "EXT-X-MEDIA-SEQUENCE", "EXT-X-DISCONTINUITY-SEQUENCE", "EXT-X-ENDLIST",
		"EXT-X-PLAYLIST-TYPE", "EXT-X-I-FRAMES-ONLY", "EXT-X-PART-INF", "EXT-X-SERVER-CONTROL", "EXT-X-BYTERANGE",
		"EXT-X-DISCONTINUITY", "EXT-X-KEY", "EXT-X-MAP", "EXT-X-PROGRAM-DATE-TIME", "EXT-X-GAP", "EXT-X-BITRATE",
		"EXT-X-PART", "EXT-X-DATERANGE", "EXT-X-SKIP", "EXT-X-PRELOAD-HINT", "EXT-X-RENDITION-REPORT":
		return errors.New("media playlist tag in a multivariant playlist")
	}
	return nil
}

func (p *multivariantParser) streamInf(value string) error {
	v := new(Variant)
	a := attrs{rest: value}
	for a.next() {
		switch a.name {
		case "BANDWIDTH":
			a.integer(&v.Bandwidth)
		case "AVERAGE-BANDWIDTH":
			a.integer(&v.AverageBandwidth)
		case "CODECS":
			a.text(&v.Codecs)
		case "RESOLUTION":
			a.resolution(&v.Width, &v.Height)
		case "FRAME-RATE":
			var d time.Duration
			a.seconds(&d) // the same decimal-floating-point
			v.FrameRate = d.Seconds()
		case "VIDEO-RANGE":
			v.VideoRange = strings.Clone(a.value)
		case "CLOSED-CAPTIONS":
			if v.NoClosedCaptions = !a.quoted && a.value == "NONE"; !v.NoClosedCaptions {
				a.text(&v.CaptionGroup)
			}
		}
	}
	p.variant = v
	return a.need("BANDWIDTH")
}

// media reads an EXT-X-MEDIA of closed captions (section 4.4.6.1).
func (p *multivariantParser) media(value string) error {
	var kind, id, group, name string
	uri := false
	a := attrs{rest: value}
	for a.next() {
		switch a.name {
		case "TYPE":
			kind = a.value
		case "GROUP-ID":
			a.text(&group)
		case "NAME":
			a.text(&name)
		case "INSTREAM-ID":
			a.text(&id)
		case "URI":
			uri = true
		}
	}
	if err := a.need("TYPE", "GROUP-ID", "NAME"); err != nil {
		return err
	}
	if kind != "CLOSED-CAPTIONS" {
		return nil
	}
	if !captionService(id) || uri {
		return fmt.Errorf("INSTREAM-ID %q: closed captions have CC1 to CC4 or SERVICE1 to SERVICE63 there, and no URI", clip(id))
	}
	p.m.ClosedCaptions = append(p.m.ClosedCaptions, id)
	return nil
}

func captionService(id string) bool {
	if n, ok := strings.CutPrefix(id, "SERVICE"); ok {
		i, err := parseInteger(n)
		return err == nil && 1 <= i && i <= 63
	}
	return len(id) == 3 && strings.HasPrefix(id, "CC") && '1' <= id[2] && id[2] <= '4'
}

func (a *attrs) resolution(width, height *int) {
	w, h, _ := strings.Cut(a.value, "x")
	wn, err1 := parseInteger(w)
	hn, err2 := parseInteger(h)
	if a.quoted || err1 != nil || err2 != nil || wn > 1<<20 || hn > 1<<20 {
		a.fail("attribute RESOLUTION: %q, want WIDTHxHEIGHT", clip(a.value))
		return
	}
	*width, *height = int(wn), int(hn)
}
