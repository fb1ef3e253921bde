package archive

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"tally/internal/hls/playlist"
)

// A journal is lines of words. Each ends with the CRC-32 (IEEE) of what stands
// before it, so that a line that power was lost in is known for one:
//
//	init NUMBER EPOCH SIZE CODECS WIDTH HEIGHT MILLIFPS RANGE LANGUAGE NAME CHANNELS CAPTIONS
//	seg MSN EPOCH DATE DISCONTINUITIES TAG STAND INIT INITEPOCH
//	part COUNTER EPOCH DURATION SIZE FLAGS
//	cue ATTRIBUTES
//	end MSN
//	lost MSN
//
// A part belongs to the segment begun last, and an init stands before each segment
// that needs it, with what is known by then. Dates are in microseconds since 1970,
// durations in microseconds, sizes in bytes; texts are escaped as in a URL's
// query, "-" when empty. A cue's are those of its EXT-X-DATERANGE.

// An Init is an initialization section, and what its media are.
type Init struct {
	Number, Epoch int64 // its name: unique in the run and rendition
	Size          int64
	Codecs        string
	Width, Height int     // 0 without a picture
	FrameRate     float64 // 0: unknown
	VideoRange    string  // SDR, HLG or PQ; "": not told
	Language      string  // of sound, BCP 47; "": not told
	Name          string  // for people; "": not told
	Channels      int     // of sound; 0: unknown
	Captions      string  // services in the picture, as INSTREAM-ID names them, comma-separated; "": none
}

// A Stand says what a segment is in for media that did not come.
type Stand uint8

const (
	StandNone Stand = iota // it is media that came
	StandHeld              // a held picture, or silence
	StandGap               // nothing: listed as EXT-X-GAP
)

// A Segment is one of a recording.
type Segment struct {
	MSN, Epoch    int64 // its name
	At            time.Time
	Disc          int64 // its discontinuity sequence number
	Discontinuity bool  // one tag stands before it
	Stand         Stand
	Init          int64 // number of its initialization section
	InitEpoch     int64 // and the epoch in its name
	Duration      time.Duration
	Size          int64
	FirstPart     int64    // counter of its first part
	Parts         []uint32 // their durations in microseconds
	partEnds      []int64  // where each ends in the segment
	Lost          bool     // it could not be written
	short         bool     // its end is missing
}

// Gap reports whether there is nothing to fetch.
func (s *Segment) Gap() bool { return s.Lost || s.Stand == StandGap || s.Size == 0 }

func appendLine(b []byte, words ...any) []byte {
	start := len(b)
	for _, w := range words {
		switch w := w.(type) {
		case string:
			if w == "" {
				w = "-"
			}
			b = append(b, w...)
		case int64:
			b = strconv.AppendInt(b, w, 10)
		case int:
			b = strconv.AppendInt(b, int64(w), 10)
		}
		b = append(b, ' ')
	}
	sum := crc32.ChecksumIEEE(b[start : len(b)-1])
	const hex = "0123456789abcdef"
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, hex[sum>>shift&15])
	}
	return append(b, '\n')
}

func (i *Init) appendLine(b []byte) []byte {
	return appendLine(b, "init", i.Number, i.Epoch, i.Size, i.Codecs, i.Width, i.Height, int64(math.Round(i.FrameRate*1000)),
		url.QueryEscape(i.VideoRange), url.QueryEscape(i.Language), url.QueryEscape(i.Name), i.Channels, url.QueryEscape(i.Captions))
}

func (s *Segment) appendLine(b []byte) []byte {
	tag := 0
	if s.Discontinuity {
		tag = 1
	}
	return appendLine(b, "seg", s.MSN, s.Epoch, s.At.UnixMicro(), s.Disc, tag, int(s.Stand), s.Init, s.InitEpoch)
}

func (p *Part) appendLine(b []byte, size int) []byte {
	return appendLine(b, "part", p.Counter, p.Epoch, p.Duration.Microseconds(), size, 0)
}

func appendCue(b []byte, r *playlist.DateRange) []byte {
	tag := strings.TrimSuffix(string(r.AppendText(nil)), "\n")
	return appendLine(b, "cue", url.QueryEscape(strings.TrimPrefix(tag, playlist.DateRangeTag)))
}

// maxCues bounds the cues of a recording: one a second over two hours. Those that
// came later are left out.
const maxCues = 8192

// errLine is about a line that is none of ours, or damaged.
var errLine = errors.New("not a line of a journal")

// A reader gathers what journals say, one after the other in order.
type reader struct {
	inits []Init
	segs  []Segment
	cues  []playlist.DateRange
	open  bool // parts may follow for the last of segs
}

// read reads one journal. It stops, with an error, at the first line that is not
// whole; what stands before it counts.
func (r *reader) read(text []byte) error {
	r.open = false
	for n := 1; len(text) > 0; n++ {
		end := bytes.IndexByte(text, '\n')
		if end < 0 {
			return fmt.Errorf("line %d: broken off: %w", n, errLine)
		}
		if err := r.line(text[:end]); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		text = text[end+1:]
	}
	return nil
}

const crcDigits = 8

func (r *reader) line(line []byte) error {
	at := len(line) - crcDigits
	if at < 2 || line[at-1] != ' ' {
		return errLine
	}
	var sum uint32
	for _, c := range line[at:] {
		switch {
		case '0' <= c && c <= '9':
			sum = sum<<4 | uint32(c-'0')
		case 'a' <= c && c <= 'f':
			sum = sum<<4 | uint32(c-'a'+10)
		default:
			return errLine
		}
	}
	line = line[:at-1]
	if crc32.ChecksumIEEE(line) != sum {
		return fmt.Errorf("damaged: %w", errLine)
	}
	kind, rest, _ := bytes.Cut(line, []byte(" "))
	w := words{rest: rest}
	switch string(kind) {
	case "init":
		r.init(&w)
	case "seg":
		r.seg(&w)
	case "part":
		r.part(&w)
	case "cue":
		r.cue(&w)
	case "end", "lost":
		r.end(&w, string(kind) == "lost")
	default:
		return errLine
	}
	if w.bad || len(w.rest) > 0 {
		return errLine
	}
	return nil
}

func (r *reader) init(w *words) {
	i := Init{
		Number: w.number(), Epoch: w.number(), Size: w.number(), Codecs: w.word(),
		Width: int(w.number()), Height: int(w.number()), FrameRate: float64(w.number()) / 1000,
		VideoRange: w.text(), Language: w.text(), Name: w.text(), Channels: int(w.number()), Captions: w.text(),
	}
	if w.bad {
		return
	}
	for n := range r.inits {
		if have := &r.inits[n]; have.Number == i.Number && have.Epoch == i.Epoch {
			*have = i
			return
		}
	}
	r.inits = append(r.inits, i)
}

func (r *reader) seg(w *words) {
	s := Segment{MSN: w.number(), Epoch: w.number(), At: time.UnixMicro(w.number()).UTC(), Disc: w.number()}
	tag, stand := w.number(), w.number()
	s.Discontinuity, s.Stand, s.Init, s.InitEpoch = tag == 1, Stand(stand), w.number(), w.number()
	if tag > 1 || stand > int64(StandGap) {
		w.bad = true
	}
	if w.bad {
		return
	}
	// A number that was never durable is given again after a restart: what had it
	// was never listed.
	for len(r.segs) > 0 && r.segs[len(r.segs)-1].MSN >= s.MSN {
		r.segs = r.segs[:len(r.segs)-1]
	}
	r.segs, r.open = append(r.segs, s), true
}

// maxPart bounds what one part can be: an hour, a gigabyte.
const (
	maxPartMicros = 3600 * 1_000_000
	maxPartBytes  = 1 << 30
)

func (r *reader) part(w *words) {
	counter, _, micros, size, _ := w.number(), w.number(), w.number(), w.number(), w.number()
	if !r.open || micros > maxPartMicros || size > maxPartBytes {
		w.bad = true
	}
	if w.bad {
		return
	}
	s := &r.segs[len(r.segs)-1]
	if len(s.Parts) == 0 {
		s.FirstPart = counter
	} else if counter != s.FirstPart+int64(len(s.Parts)) {
		w.bad = true
		return
	}
	s.Parts = append(s.Parts, uint32(micros))
	s.Size += size
	s.partEnds = append(s.partEnds, s.Size)
	s.Duration += time.Duration(micros) * time.Microsecond
}

func (r *reader) cue(w *words) {
	c, err := playlist.ParseDateRange(w.text())
	if err != nil {
		w.bad = true
	}
	if !w.bad && len(r.cues) < maxCues {
		r.cues = append(r.cues, c)
	}
}

func (r *reader) end(w *words, lost bool) {
	msn := w.number()
	if len(r.segs) == 0 || r.segs[len(r.segs)-1].MSN != msn {
		w.bad = true
		return
	}
	s := &r.segs[len(r.segs)-1]
	s.Lost, r.open = lost, false
}

// cut leaves out of a segment what its object does not hold.
func (s *Segment) cut(size int64) {
	for len(s.Parts) > 0 && s.Size > size {
		s.short = true
		last := len(s.Parts) - 1
		s.Duration -= time.Duration(s.Parts[last]) * time.Microsecond
		s.Parts, s.partEnds = s.Parts[:last], s.partEnds[:last]
		s.Size = 0
		if last > 0 {
			s.Size = s.partEnds[last-1]
		}
	}
}

// words reads a line's words. What is missing or malformed makes it bad.
type words struct {
	rest []byte
	bad  bool
}

func (w *words) next() []byte {
	if len(w.rest) == 0 {
		w.bad = true
		return nil
	}
	word, rest, found := bytes.Cut(w.rest, []byte(" "))
	if len(word) == 0 || found && len(rest) == 0 {
		w.bad = true
	}
	w.rest = rest
	return word
}

// number reads a decimal of at most 18 digits.
func (w *words) number() (n int64) {
	word := w.next()
	if len(word) == 0 || len(word) > 18 {
		w.bad = true
		return 0
	}
	for _, c := range word {
		if c < '0' || c > '9' {
			w.bad = true
			return 0
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

func (w *words) word() string {
	if s := string(w.next()); s != "-" {
		return s
	}
	return ""
}

func (w *words) text() string {
	s, err := url.QueryUnescape(w.word())
	if err != nil {
		w.bad = true
	}
	return s
}
