package playlist

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrUnsupported is in the error for a playlist that is well-formed but uses
// what Tally neither writes nor plays: byte ranges, encryption, variables,
// I-frame playlists.
var ErrUnsupported = errors.New("not supported")

// A SyntaxError is a line that the format forbids.
type SyntaxError struct {
	Line int // from 1
	Err  error
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }
func (e *SyntaxError) Unwrap() error { return e.Err }

// lines walks the lines of a playlist: separated by LF or CR LF, empty lines
// and comments left out (rfc8216bis-22 section 4.1).
type lines struct {
	rest string
	n    int // number of the line last returned
}

// next returns the next tag or URI line; ok is false at the end.
func (l *lines) next() (line string, ok bool) {
	for l.rest != "" {
		line, l.rest, _ = strings.Cut(l.rest, "\n")
		l.n++
		line = strings.TrimSuffix(line, "\r")
		if line == "" || line[0] == '#' && !strings.HasPrefix(line, "#EXT") {
			continue
		}
		return line, true
	}
	return "", false
}

// splitTag cuts "#NAME:value"; isTag is false for a URI line.
func splitTag(line string) (name, value string, isTag bool) {
	if line[0] != '#' {
		return "", line, false
	}
	name, value, _ = strings.Cut(line[1:], ":")
	return name, value, true
}

// maxAttrs bounds the attributes of one tag. EXT-X-MEDIA, the longest, has 15.
const maxAttrs = 32

// attrs walks an attribute list (rfc8216bis-22 section 4.2).
type attrs struct {
	rest  string
	seen  [maxAttrs]string
	count int

	name, value string
	quoted      bool
	err         error
}

// next reads one attribute into name, value and quoted. It returns false at
// the end and on an error.
func (a *attrs) next() bool {
	if a.err != nil || a.rest == "" {
		return false
	}
	name, rest, found := strings.Cut(a.rest, "=")
	if !found || !attrName(name) {
		return a.fail("attribute name %q: want A-Z, 0-9 and - followed by =", clip(name))
	}
	a.name, a.quoted = name, strings.HasPrefix(rest, `"`)
	if a.quoted {
		var closed bool
		a.value, rest, closed = strings.Cut(rest[1:], `"`)
		if !closed {
			return a.fail("attribute %s: no closing quote", name)
		}
		if rest != "" && rest[0] != ',' {
			return a.fail("attribute %s: text after the closing quote", name)
		}
	} else {
		end := strings.IndexByte(rest, ',')
		if end < 0 {
			end = len(rest)
		}
		a.value, rest = rest[:end], rest[end:]
		if a.value == "" || strings.ContainsAny(a.value, "\" \t") {
			return a.fail("attribute %s: value %q is empty or holds a quote or a space", name, clip(a.value))
		}
	}
	if rest == "," {
		return a.fail("comma at the end of the attribute list")
	}
	a.rest = strings.TrimPrefix(rest, ",")
	return a.note(name)
}

// note refuses a name that appears twice (section 4.2: MUST NOT).
func (a *attrs) note(name string) bool {
	for _, s := range a.seen[:a.count] {
		if s == name {
			return a.fail("attribute %s appears twice", name)
		}
	}
	if a.count == maxAttrs {
		return a.fail("more than %d attributes", maxAttrs)
	}
	a.seen[a.count] = name
	a.count++
	return true
}

func (a *attrs) fail(format string, args ...any) bool {
	a.err = fmt.Errorf(format, args...)
	return false
}

func (a *attrs) has(name string) bool {
	for _, s := range a.seen[:a.count] {
		if s == name {
			return true
		}
	}
	return false
}

// need fails unless each name was read.
func (a *attrs) need(names ...string) error {
	if a.err != nil {
		return a.err
	}
	for _, n := range names {
		if !a.has(n) {
			return fmt.Errorf("attribute %s is missing", n)
		}
	}
	return nil
}

// The readers below convert the current value and record what is wrong with it.

func (a *attrs) text(dst *string) {
	if !a.quoted || a.value == "" {
		a.fail("attribute %s: want a non-empty quoted string", a.name)
		return
	}
	*dst = a.value
}

func (a *attrs) yes(dst *bool) {
	switch {
	case !a.quoted && a.value == "YES":
		*dst = true
	case !a.quoted && a.value == "NO":
		*dst = false
	default:
		a.fail("attribute %s: %q, want YES", a.name, clip(a.value))
	}
}

func (a *attrs) integer(dst *int64) {
	n, err := parseInteger(a.value)
	if err != nil || a.quoted {
		a.fail("attribute %s: %q, want a decimal integer", a.name, clip(a.value))
		return
	}
	*dst = n
}

func (a *attrs) seconds(dst *time.Duration) {
	d, err := parseSeconds(a.value)
	if err != nil || a.quoted {
		a.fail("attribute %s: %q, want seconds", a.name, clip(a.value))
		return
	}
	*dst = d
}

func attrName(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != ""
}

var (
	errInteger = errors.New("want a decimal integer below 2^63")
	errSeconds = errors.New("want seconds as digits with at most one point, below 2^31")
)

// parseInteger reads a decimal-integer (section 4.2): digits only. The format
// goes to 2^64-1; nothing of Tally's counts that far.
func parseInteger(s string) (int64, error) {
	if s == "" || len(s) > 20 {
		return 0, errInteger
	}
	var n int64
	for i := 0; i < len(s); i++ {
		c := int64(s[i]) - '0'
		if c < 0 || c > 9 || n > (1<<63-1-c)/10 {
			return 0, errInteger
		}
		n = n*10 + c
	}
	return n, nil
}

// parseSeconds reads a decimal-floating-point (section 4.2). Digits beyond the
// nanosecond are cut off.
func parseSeconds(s string) (time.Duration, error) {
	whole, frac, _ := strings.Cut(s, ".")
	sec, err := parseInteger(whole)
	if err != nil || sec >= 1<<31 {
		return 0, errSeconds
	}
	d, unit := time.Duration(sec)*time.Second, time.Second
	for i := 0; i < len(frac); i++ {
		c := frac[i]
		if c < '0' || c > '9' {
			return 0, errSeconds
		}
		unit /= 10
		d += time.Duration(c-'0') * unit
	}
	return d, nil
}

// clip keeps an error message short whatever the playlist holds.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}
