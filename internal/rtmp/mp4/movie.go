package mp4

import (
	"math"
	"strings"
)

// A movie is what the tables say.
type movie struct {
	timescale uint32
	tracks    []*track
	count     int   // samples so far
	size      int64 // of the file
}

// A track is one of the file's, with what only reading needs.
type track struct {
	Track
	id    uint32
	entry string // kind of its sample entry
	edits struct {
		delay uint64 // empty edits, in ticks of the movie
		media int64  // where the first other one begins, in ticks of the track
		done  bool
	}
	table table
	extends
	next int64 // decode time of the next fragment's first sample, ticks
}

// extends are a track's defaults for fragments (trex, section 8.8.3).
type extends struct{ duration, size, flags uint32 }

// start is what is added to decode times so that the presentation begins at 0
// (edit list, section 8.6.6).
func (t *track) start(movie uint32) int64 {
	delay := int64(0)
	if movie > 0 {
		delay = int64(min(t.edits.delay, math.MaxInt32) * uint64(t.Timescale) / uint64(movie))
	}
	return delay - t.edits.media
}

func (m *movie) moov(b []byte) error {
	m.tracks = []*track{}
	return each(b, func(kind string, b []byte) error {
		switch kind {
		case "mvhd":
			r := reader{b: b}
			version, _ := r.full()
			r.word(version == 1)
			r.word(version == 1)
			m.timescale = r.u32()
			return r.err()
		case "trak":
			return m.trak(b)
		case "mvex":
			return each(b, m.mvex)
		}
		return nil
	})
}

// trak reads a track, and its samples where they are listed in the movie.
func (m *movie) trak(b []byte) error {
	if len(m.tracks) == maxTracks {
		return ErrTooLong
	}
	t := &track{}
	if err := each(b, t.box); err != nil {
		return err
	}
	if t.Timescale == 0 || t.Timescale > math.MaxInt32 {
		return ErrBroken
	}
	m.tracks = append(m.tracks, t)
	if t.FourCC == [4]byte{} {
		return nil
	}
	return m.list(t)
}

// box reads one box of a track, at whatever depth it lies.
func (t *track) box(kind string, b []byte) error {
	r := reader{b: b}
	switch kind {
	case "mdia", "minf", "stbl", "edts", "udta":
		return each(b, t.box)
	case "tkhd":
		version, _ := r.full()
		r.word(version == 1)
		r.word(version == 1)
		t.id = r.u32()
	case "mdhd":
		version, _ := r.full()
		r.word(version == 1)
		r.word(version == 1)
		t.Timescale = r.u32()
		r.word(version == 1)
		t.Language = language(r.u16())
	case "hdlr":
		r.skip(4 + 4 + 4 + 12)
		if name := strings.Trim(string(r.b), "\x00"); name != "VideoHandler" && name != "SoundHandler" { // ffmpeg's defaults
			t.Name = name
		}
	case "name":
		t.Name = strings.Trim(string(b), "\x00")
	case "elst":
		t.elst(&r)
	case "stsd":
		r.skip(8)
		if err := r.err(); err != nil {
			return err
		}
		return each(r.b, t.sampleEntry)
	default:
		t.table.box(kind, b)
	}
	return r.err()
}

// elst reads how the track is moved: empty edits delay it, the first other one
// says where in the track it begins.
func (t *track) elst(r *reader) {
	version, _ := r.full()
	for range r.u32() {
		duration, at := r.word(version == 1), int64(r.word(version == 1))
		if version == 0 {
			at = int64(int32(at))
		}
		r.skip(4) // rate
		switch {
		case r.over:
			return
		case t.edits.done:
		case at < 0:
			t.edits.delay += min(duration, math.MaxInt32)
		default:
			t.edits.media, t.edits.done = min(at, math.MaxInt32), true
		}
	}
}

// languages are the two-letter tags of languages that files name with three
// letters (ISO 639-2); BCP 47 demands the shorter. Others keep their three.
var languages = map[string]string{
	"ara": "ar", "ben": "bn", "bul": "bg", "cat": "ca", "ces": "cs", "cze": "cs", "chi": "zh", "zho": "zh", "dan": "da",
	"deu": "de", "ger": "de", "ell": "el", "gre": "el", "eng": "en", "est": "et", "fas": "fa", "fin": "fi", "fra": "fr",
	"fre": "fr", "heb": "he", "hin": "hi", "hrv": "hr", "hun": "hu", "ind": "id", "ita": "it", "jpn": "ja", "kor": "ko",
	"lav": "lv", "lit": "lt", "nld": "nl", "dut": "nl", "nor": "no", "pol": "pl", "por": "pt", "ron": "ro", "rum": "ro",
	"rus": "ru", "slk": "sk", "slo": "sk", "slv": "sl", "spa": "es", "srp": "sr", "swe": "sv", "tam": "ta", "tha": "th",
	"tur": "tr", "ukr": "uk", "vie": "vi",
}

// language reads mdhd's packed letters (section 8.4.2.3); "" where it says nothing.
func language(packed uint16) string {
	code := string([]byte{byte(packed>>10&31) + 0x60, byte(packed>>5&31) + 0x60, byte(packed&31) + 0x60})
	for _, c := range code {
		if c < 'a' || c > 'z' {
			return ""
		}
	}
	if code == "und" {
		return ""
	}
	if short := languages[code]; short != "" {
		return short
	}
	return code
}
