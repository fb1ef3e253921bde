package playlist

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Parse reads a Media Playlist or a Playlist Delta Update into m, replacing
// what m held and re-using its slices: segments and parts taken from m before
// the call may change under the caller. Strings are substrings of text.
//
// It is strict (rfc8216bis-22 section 4): what a tag's definition forbids is a
// *SyntaxError with the line. Tags and attributes that the draft does not
// define are ignored, as section 6.3.1 asks. Memory is bounded by the length
// of text.
func (m *Media) Parse(text string) error {
	*m = Media{Segments: m.Segments[:0], DateRanges: m.DateRanges[:0], RenditionReports: m.RenditionReports[:0], parts: m.parts[:0]}
	p := mediaParser{m: m, lines: lines{rest: text}}
	err := p.run()
	if err != nil {
		return &SyntaxError{Line: max(p.lines.n, 1), Err: err}
	}
	return nil
}

// ParseMedia reads a Media Playlist into a new Media. See Media.Parse.
func ParseMedia(text string) (*Media, error) {
	m := new(Media)
	if err := m.Parse(text); err != nil {
		return nil, err
	}
	return m, nil
}

// IsMultivariant reports whether text looks like a Multivariant Playlist: it
// holds an EXT-X-STREAM-INF tag.
func IsMultivariant(text string) bool {
	return strings.Contains(text, "\n#EXT-X-STREAM-INF:")
}

type mediaParser struct {
	m     *Media
	lines lines
	once  onceTags

	seg       Segment // being gathered
	segTags   bool    // seg has tags, so the playlist may not forget it
	hasInf    bool
	firstPart int    // index in m.parts of seg's first part
	curMap    string // EXT-X-MAP in force
}

// onceTags are the tags of which a playlist holds one.
type onceTags uint16

const (
	onceVersion onceTags = 1 << iota
	onceIndependent
	onceTarget
	onceMSN
	onceDisc
	onceEnd
	onceType
	oncePartInf
	onceControl
	onceSkip
	onceHint
)

func (o *onceTags) set(bit onceTags) error {
	if *o&bit != 0 {
		return errors.New("this tag appears twice")
	}
	*o |= bit
	return nil
}

func (p *mediaParser) run() error {
	if !utf8.ValidString(p.lines.rest) {
		return errors.New("the playlist is not UTF-8")
	}
	if line, ok := p.lines.next(); !ok || line != "#EXTM3U" || p.lines.n != 1 {
		return errors.New("want #EXTM3U as the first line")
	}
	for {
		line, ok := p.lines.next()
		if !ok {
			return p.finish()
		}
		name, value, isTag := splitTag(line)
		var err error
		if isTag {
			if err = p.tag(name, value); err != nil {
				err = fmt.Errorf("%s: %w", clip(name), err)
			}
		} else {
			err = p.uri(value)
		}
		if err != nil {
			return err
		}
	}
}

// finish checks what only the whole playlist shows.
func (p *mediaParser) finish() error {
	m := p.m
	if p.hasInf {
		return errors.New("EXTINF without a URI line after it")
	}
	if p.once&onceTarget == 0 {
		return errors.New("EXT-X-TARGETDURATION is missing")
	}
	if p.segTags {
		p.takeSegment()
	}
	if len(m.parts) > 0 && m.PartTarget == 0 {
		return errors.New("EXT-X-PART without EXT-X-PART-INF")
	}
	return nil
}

// uri ends a segment.
func (p *mediaParser) uri(uri string) error {
	if !p.hasInf {
		return fmt.Errorf("URI %q without EXTINF before it", clip(uri))
	}
	p.seg.URI = uri
	p.takeSegment()
	return nil
}

func (p *mediaParser) takeSegment() {
	p.seg.Map = p.curMap
	// Full slice expression: a later append to these parts may not run into
	// the next segment's. When m.parts grows, earlier segments keep the old array.
	if n := len(p.m.parts); n > p.firstPart {
		p.seg.Parts = p.m.parts[p.firstPart:n:n]
	}
	p.m.Segments = append(p.m.Segments, p.seg)
	p.seg, p.segTags, p.hasInf, p.firstPart = Segment{}, false, false, len(p.m.parts)
}

func (p *mediaParser) tag(name, value string) error {
	if handled, err := p.headTag(name, value); handled {
		return err
	}
	if handled, err := p.segmentTag(name, value); handled {
		return err
	}
	switch name {
	case "EXT-X-SKIP":
		return p.skip(value)
	case "EXT-X-DATERANGE":
		return p.dateRange(value)
	case "EXT-X-PRELOAD-HINT":
		return p.preloadHint(value)
	case "EXT-X-RENDITION-REPORT":
		return p.renditionReport(value)
	case "EXT-X-BYTERANGE", "EXT-X-KEY", "EXT-X-DEFINE", "EXT-X-I-FRAMES-ONLY":
		return ErrUnsupported
	case "EXT-X-MEDIA", "EXT-X-STREAM-INF", "EXT-X-I-FRAME-STREAM-INF", "EXT-X-SESSION-DATA",
		"EXT-X-SESSION-KEY", "EXT-X-CONTENT-STEERING":
		return errors.New("multivariant tag in a media playlist")
	case "EXTM3U":
		return errors.New("only the first line may be #EXTM3U")
	}
	return nil // not defined by the draft, or of no consequence here
}

// headTag handles the tags that describe the whole playlist (sections 4.4.1 to
// 4.4.3).
func (p *mediaParser) headTag(name, value string) (bool, error) {
	m := p.m
	switch name {
	case "EXT-X-VERSION":
		return true, p.number(onceVersion, value, 1, 1<<31-1, func(n int64) { m.Version = int(n) })
	case "EXT-X-INDEPENDENT-SEGMENTS":
		m.IndependentSegments = true
		return true, p.flag(onceIndependent, value)
	case "EXT-X-TARGETDURATION":
		return true, p.number(onceTarget, value, 1, 1<<31-1, func(n int64) { m.TargetDuration = int(n) })
	case "EXT-X-MEDIA-SEQUENCE":
		return true, p.early(p.number(onceMSN, value, 0, 1<<62, func(n int64) { m.MediaSequence = n }))
	case "EXT-X-DISCONTINUITY-SEQUENCE":
		return true, p.early(p.number(onceDisc, value, 0, 1<<62, func(n int64) { m.DiscontinuitySequence = n }))
	case "EXT-X-ENDLIST":
		m.EndList = true
		return true, p.flag(onceEnd, value)
	case "EXT-X-PLAYLIST-TYPE":
		if value != "VOD" && value != "EVENT" {
			return true, fmt.Errorf("%q, want VOD or EVENT", clip(value))
		}
		return true, p.once.set(onceType)
	case "EXT-X-PART-INF":
		return true, p.partInf(value)
	case "EXT-X-SERVER-CONTROL":
		return true, p.serverControl(value)
	}
	return false, nil
}

func (p *mediaParser) number(bit onceTags, value string, low, high int64, set func(int64)) error {
	if err := p.once.set(bit); err != nil {
		return err
	}
	n, err := parseInteger(value)
	if err != nil || n < low || n > high {
		return fmt.Errorf("%q, want an integer from %d to %d", clip(value), low, high)
	}
	set(n)
	return nil
}

func (p *mediaParser) flag(bit onceTags, value string) error {
	if value != "" {
		return errors.New("this tag has no value")
	}
	return p.once.set(bit)
}

// early adds the rule of sections 4.4.3.2 and 4.4.3.3: before the first
// segment, and so before any tag of it. EXT-X-SKIP stands for segments.
func (p *mediaParser) early(err error) error {
	if err == nil && (len(p.m.Segments) > 0 || p.segTags || p.hasInf || p.m.SkippedSegments > 0) {
		return errors.New("this tag must come before the first segment")
	}
	return err
}

func (p *mediaParser) partInf(value string) error {
	if err := p.once.set(oncePartInf); err != nil {
		return err
	}
	a := attrs{rest: value}
	for a.next() {
		if a.name == "PART-TARGET" {
			a.seconds(&p.m.PartTarget)
		}
	}
	if err := a.need("PART-TARGET"); err != nil {
		return err
	}
	if p.m.PartTarget <= 0 {
		return errors.New("PART-TARGET must be more than 0")
	}
	return nil
}

func (p *mediaParser) serverControl(value string) error {
	if err := p.once.set(onceControl); err != nil {
		return err
	}
	m := p.m
	a := attrs{rest: value}
	for a.next() {
		switch a.name {
		case "CAN-BLOCK-RELOAD":
			a.yes(&m.CanBlockReload)
		case "PART-HOLD-BACK":
			a.seconds(&m.PartHoldBack)
		case "HOLD-BACK":
			a.seconds(&m.HoldBack)
		case "CAN-SKIP-UNTIL":
			a.seconds(&m.CanSkipUntil)
		}
	}
	return a.need()
}

// segmentTag handles the tags of the segment being gathered (section 4.4.4).
func (p *mediaParser) segmentTag(name, value string) (bool, error) {
	var err error
	switch name {
	case "EXTINF":
		return true, p.extinf(value)
	case "EXT-X-DISCONTINUITY":
		err = p.beforeParts()
		if p.seg.Discontinuity {
			err = errors.New("twice before one segment")
		}
		p.seg.Discontinuity = true
	case "EXT-X-MAP":
		if err = p.beforeParts(); err == nil {
			err = p.initMap(value)
		}
	case "EXT-X-PROGRAM-DATE-TIME":
		if err = p.beforeParts(); err == nil {
			p.seg.ProgramDateTime, err = parseDate(value)
		}
	case "EXT-X-GAP":
		p.seg.Gap = true
	case "EXT-X-PART":
		err = p.part(value)
	default:
		return false, nil
	}
	p.segTags = true
	return true, err
}

// beforeParts is section 4.4.4.9: these tags apply to the first part too, so
// they must stand before it.
func (p *mediaParser) beforeParts() error {
	if len(p.m.parts) > p.firstPart {
		return errors.New("must come before the segment's first EXT-X-PART")
	}
	return nil
}

func (p *mediaParser) extinf(value string) error {
	if p.hasInf {
		return errors.New("twice before one URI")
	}
	seconds, title, comma := strings.Cut(value, ",")
	d, err := parseSeconds(seconds)
	if err != nil {
		return fmt.Errorf("%q: %w", clip(seconds), err)
	}
	if !comma {
		return errors.New("no comma after the duration")
	}
	p.seg.Duration, p.seg.Title, p.hasInf = d, title, true
	return nil
}

func (p *mediaParser) initMap(value string) error {
	a := attrs{rest: value}
	for a.next() {
		switch a.name {
		case "URI":
			a.text(&p.curMap)
		case "BYTERANGE":
			return ErrUnsupported
		}
	}
	return a.need("URI")
}

func (p *mediaParser) part(value string) error {
	var part Part
	a := attrs{rest: value}
	for a.next() {
		switch a.name {
		case "URI":
			a.text(&part.URI)
		case "DURATION":
			a.seconds(&part.Duration)
		case "INDEPENDENT":
			a.yes(&part.Independent)
		case "GAP":
			a.yes(&part.Gap)
		case "BYTERANGE":
			return ErrUnsupported
		}
	}
	p.m.parts = append(p.m.parts, part)
	return a.need("URI", "DURATION")
}

func (p *mediaParser) skip(value string) error {
	if err := p.once.set(onceSkip); err != nil {
		return err
	}
	if err := p.early(nil); err != nil {
		return err
	}
	var n int64
	a := attrs{rest: value}
	for a.next() {
		if a.name == "SKIPPED-SEGMENTS" {
			a.integer(&n)
		}
	}
	if err := a.need("SKIPPED-SEGMENTS"); err != nil {
		return err
	}
	if n < 1 || n > 1<<31-1 {
		return fmt.Errorf("SKIPPED-SEGMENTS=%d, want at least 1", n)
	}
	p.m.SkippedSegments = int(n)
	return nil
}

func (p *mediaParser) preloadHint(value string) error {
	var uri, kind string
	a := attrs{rest: value}
	for a.next() {
		switch a.name {
		case "TYPE":
			kind = a.value
		case "URI":
			a.text(&uri)
		case "BYTERANGE-START", "BYTERANGE-LENGTH":
			return ErrUnsupported
		}
	}
	if err := a.need("TYPE", "URI"); err != nil {
		return err
	}
	switch kind {
	case "PART":
		p.m.PreloadHint = uri
		return p.once.set(onceHint)
	case "MAP":
		return nil // nothing of ours asks for a map ahead
	}
	return nil // section 6.3.1: an enumerated string not known is ignored
}

func (p *mediaParser) renditionReport(value string) error {
	r := RenditionReport{LastPart: -1}
	a := attrs{rest: value}
	for a.next() {
		switch a.name {
		case "URI":
			a.text(&r.URI)
		case "LAST-MSN":
			a.integer(&r.LastMSN)
		case "LAST-PART":
			a.integer(&r.LastPart)
		}
	}
	p.m.RenditionReports = append(p.m.RenditionReports, r)
	return a.need("URI", "LAST-MSN")
}

// parseDate reads EXT-X-PROGRAM-DATE-TIME (section 4.4.4.6). Without a zone it
// is UTC, as the draft says a client should take it.
func parseDate(s string) (time.Time, error) {
	for _, layout := range [...]string{
		time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05",
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q, want for example 2026-01-02T15:04:05.000Z", clip(s))
}
