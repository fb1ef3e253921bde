package playlist

import (
	"errors"
	"fmt"
	"slices"
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
	Renditions     []Rendition
	Variants       []Variant
}

// Rendition is one EXT-X-MEDIA but of closed captions (rfc8216bis-22 section 4.4.6.1). Zero values leave
// their attribute out, except of Type, GroupID and Name, which are required. Texts
// must hold neither line break nor double quote.
type Rendition struct {
	Type       string // AUDIO, VIDEO or SUBTITLES
	GroupID    string
	Name       string // for people; no two of a group have the same
	Language   string // BCP 47
	Default    bool
	AutoSelect bool
	Channels   string // of audio: their number, in digits, and more behind a slash
	URI        string // of its media playlist; "": it is in the variants themselves
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
	Audio            string  // GROUP-ID of the audio renditions that go with it
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
	for i := range m.Renditions {
		dst = m.Renditions[i].appendText(dst)
	}
	for i := range m.Variants {
		dst = m.Variants[i].appendText(dst)
	}
	return dst
}

func (r *Rendition) appendText(dst []byte) []byte {
	dst = append(append(dst, "#EXT-X-MEDIA:TYPE="...), r.Type...)
	quoted := func(name, value string) {
		if value != "" {
			dst = append(append(append(dst, name...), value...), '"')
		}
	}
	quoted(",GROUP-ID=\"", r.GroupID)
	quoted(",NAME=\"", r.Name)
	quoted(",LANGUAGE=\"", r.Language)
	if r.Default {
		dst = append(dst, ",DEFAULT=YES"...)
	}
	if r.AutoSelect {
		dst = append(dst, ",AUTOSELECT=YES"...)
	}
	quoted(",CHANNELS=\"", r.Channels)
	quoted(",URI=\"", r.URI)
	return append(dst, '\n')
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
	if v.Audio != "" {
		dst = append(append(append(dst, ",AUDIO=\""...), v.Audio...), '"')
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
// Media.Parse. I-frame variants and session data are checked for nothing and left
// out.
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
	return p.m.checkGroups()
}

// checkGroups reports a group that is referred to and is not there, and a name
// that two of a group have (rfc8216bis-22 sections 4.4.6.1.1, 4.4.6.2).
func (m *Multivariant) checkGroups() error {
	type name struct{ kind, group, name string }
	names, groups := map[name]bool{}, map[string]bool{}
	for _, r := range m.Renditions {
		n := name{r.Type, r.GroupID, r.Name}
		if names[n] {
			return fmt.Errorf("EXT-X-MEDIA: two of group %q have the name %q", clip(r.GroupID), clip(r.Name))
		}
		names[n] = true
		if r.Type == "AUDIO" {
			groups[r.GroupID] = true
		}
	}
	for _, v := range m.Variants {
		if v.Audio != "" && !groups[v.Audio] {
			return fmt.Errorf("EXT-X-STREAM-INF: there is no audio group %q", clip(v.Audio))
		}
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

// media reads an EXT-X-MEDIA (section 4.4.6.1).
func (p *multivariantParser) media(value string) error {
	var r Rendition
	var service string
	a := attrs{rest: value}
	for a.next() {
		switch a.name {
		case "TYPE":
			r.Type = a.value
			if a.quoted || !slices.Contains([]string{"AUDIO", "VIDEO", "SUBTITLES", "CLOSED-CAPTIONS"}, a.value) {
				a.fail("attribute TYPE: %q", clip(a.value))
			}
		case "GROUP-ID":
			a.text(&r.GroupID)
		case "NAME":
			a.text(&r.Name)
		case "LANGUAGE":
			a.text(&r.Language)
		case "CHANNELS":
			a.text(&r.Channels)
		case "URI":
			a.text(&r.URI)
		case "INSTREAM-ID":
			a.text(&service)
		case "DEFAULT":
			a.yes(&r.Default)
		case "AUTOSELECT":
			a.yes(&r.AutoSelect)
		}
	}
	if err := a.need("TYPE", "GROUP-ID", "NAME"); err != nil {
		return err
	}
	if r.Default && !r.AutoSelect && strings.Contains(value, "AUTOSELECT=") {
		return errors.New("DEFAULT=YES with AUTOSELECT=NO")
	}
	if r.Type == "CLOSED-CAPTIONS" {
		if !captionService(service) || r.URI != "" {
			return fmt.Errorf("INSTREAM-ID %q: closed captions have CC1 to CC4 or SERVICE1 to SERVICE63 there, and no URI", clip(service))
		}
		p.m.ClosedCaptions = append(p.m.ClosedCaptions, service)
		return nil
	}
	p.m.Renditions = append(p.m.Renditions, r)
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
		case "AUDIO":
			a.text(&v.Audio)
		case "CLOSED-CAPTIONS":
			if v.NoClosedCaptions = !a.quoted && a.value == "NONE"; !v.NoClosedCaptions {
				a.text(&v.CaptionGroup)
			}
		}
	}
	p.variant = v
	return a.need("BANDWIDTH")
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
