package playlist

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrDirectives is in the error for delivery directives that are answered 400.
var ErrDirectives = errors.New("delivery directives")

// MaxDirectivePart bounds _HLS_part. A segment of the longest target duration
// (10 s) in the shortest parts (200 ms) has 50; a client that names a part past
// the last by more than the Advance Part Limit is refused anyway, by the window.
const MaxDirectivePart = 1 << 16

// Directives are the delivery directives of a playlist request
// (rfc8216bis-22 section 6.2.5).
type Directives struct {
	MSN  int64 // _HLS_msn; -1: absent
	Part int   // _HLS_part; -1: absent, and then the whole segment MSN is waited for
	Skip bool  // _HLS_skip: YES or v2
}

// NoDirectives asks for the playlist as it is.
var NoDirectives = Directives{MSN: -1, Part: -1}

// ParseDirectives reads the directives out of a raw query string. Parameters
// of other names, and _HLS_ ones the draft does not define, are left alone. It
// does not allocate unless there is an error.
//
// Errors, all of them ErrDirectives: a part without an MSN (section 6.2.5.2:
// MUST be 400), a number that is none or out of bounds, a _HLS_skip that is
// neither YES nor v2, a directive given twice.
func ParseDirectives(rawQuery string) (Directives, error) {
	d := NoDirectives
	for rest := rawQuery; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		name, value, _ := strings.Cut(pair, "=")
		var err error
		switch name {
		case "_HLS_msn":
			err = d.setMSN(value)
		case "_HLS_part":
			err = d.setPart(value)
		case "_HLS_skip":
			err = d.setSkip(value)
		}
		if err != nil {
			return NoDirectives, err
		}
	}
	if d.Part >= 0 && d.MSN < 0 {
		return NoDirectives, fmt.Errorf("%w: _HLS_part needs _HLS_msn beside it", ErrDirectives)
	}
	return d, nil
}

func (d *Directives) setMSN(value string) error {
	n, err := parseInteger(value)
	if err != nil {
		return fmt.Errorf("%w: _HLS_msn=%q: %w", ErrDirectives, clip(value), err)
	}
	if d.MSN >= 0 {
		return fmt.Errorf("%w: _HLS_msn is given twice", ErrDirectives)
	}
	d.MSN = n
	return nil
}

func (d *Directives) setPart(value string) error {
	n, err := parseInteger(value)
	if err != nil || n > MaxDirectivePart {
		return fmt.Errorf("%w: _HLS_part=%q, want an integer from 0 to %d", ErrDirectives, clip(value), MaxDirectivePart)
	}
	if d.Part >= 0 {
		return fmt.Errorf("%w: _HLS_part is given twice", ErrDirectives)
	}
	d.Part = int(n)
	return nil
}

func (d *Directives) setSkip(value string) error {
	if value != "YES" && value != "v2" {
		return fmt.Errorf("%w: _HLS_skip=%q, want YES or v2", ErrDirectives, clip(value))
	}
	if d.Skip {
		return fmt.Errorf("%w: _HLS_skip is given twice", ErrDirectives)
	}
	d.Skip = true
	return nil
}

// AppendQuery appends the directives as a query without its question mark, in
// the order of their names, which makes equal requests equal to a cache
// (section 6.3.1 asks for it). Nothing is appended for NoDirectives.
func (d Directives) AppendQuery(dst []byte) []byte {
	start := len(dst)
	if d.MSN >= 0 {
		dst = strconv.AppendInt(append(dst, "_HLS_msn="...), d.MSN, 10)
		if d.Part >= 0 {
			dst = strconv.AppendInt(append(dst, "&_HLS_part="...), int64(d.Part), 10)
		}
	}
	if d.Skip {
		if len(dst) > start {
			dst = append(dst, '&')
		}
		dst = append(dst, "_HLS_skip=YES"...)
	}
	return dst
}
