package playlist

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A DateRange is an EXT-X-DATERANGE tag (rfc8216bis-22 section 4.4.5.1): what is
// told of a moment of the programme, or of a stretch of it. Two tags of one ID
// describe the same range. A DateRange is comparable.
type DateRange struct {
	ID    string // unique in the playlist, but for tags of the same range
	Class string // "": no attribute
	Start time.Time
	// Duration is written where it is Known; 0 is a moment.
	Duration time.Duration
	Known    bool
	Planned  time.Duration // PLANNED-DURATION; 0: no attribute
	// Data is the attribute DataAttribute, escaped: see [EscapeData]. "": no attribute.
	Data string
	// splice_info_sections in hexadecimal, with 0x before; "": no attribute
	Command, Out, In string
}

// DataAttribute holds the text or JSON of a cue.
const DataAttribute = "X-TALLY-DATA"

// End is where the range ends as far as the tag says: where it begins, when it
// does not say.
func (r *DateRange) End() time.Time {
	if r.Known {
		return r.Start.Add(r.Duration)
	}
	return r.Start.Add(r.Planned)
}

// AppendText appends r as a line of a playlist and returns the extended buffer.
// No text in it may hold a double quote or a line break.
func (r *DateRange) AppendText(dst []byte) []byte {
	dst = append(append(dst, DateRangeTag...), `ID="`...)
	dst = append(append(dst, r.ID...), '"')
	if r.Class != "" {
		dst = append(dst, `,CLASS="`...)
		dst = append(append(dst, r.Class...), '"')
	}
	dst = append(dst, `,START-DATE="`...)
	dst = append(r.Start.UTC().AppendFormat(dst, dateLayout), '"')
	if r.Known {
		dst = appendShort(append(dst, ",DURATION="...), r.Duration)
	}
	if r.Planned > 0 {
		dst = appendShort(append(dst, ",PLANNED-DURATION="...), r.Planned)
	}
	for _, a := range [...]struct{ name, value string }{{"SCTE35-CMD", r.Command}, {"SCTE35-OUT", r.Out}, {"SCTE35-IN", r.In}} {
		if a.value != "" {
			dst = append(append(append(append(dst, ','), a.name...), '='), a.value...)
		}
	}
	if r.Data != "" {
		dst = append(dst, ","+DataAttribute+`="`...)
		dst = append(append(dst, r.Data...), '"')
	}
	return append(dst, '\n')
}

// dateLayout is how dates are printed, in UTC.
const dateLayout = "2006-01-02T15:04:05.000Z"

// Hex is how a splice_info_section stands in an attribute; "" for none.
func Hex(section []byte) string {
	if len(section) == 0 {
		return ""
	}
	return "0x" + strings.ToUpper(hex.EncodeToString(section))
}

// EscapeData makes text fit for a quoted string, which holds no double quote and
// no line break: these, other control characters and % become % and two
// hexadecimal digits. A page reads it with decodeURIComponent.
func EscapeData(s string) string {
	clean := func(c byte) bool { return c >= ' ' && c != '"' && c != '%' && c != 0x7f }
	n := 0
	for i := range len(s) {
		if !clean(s[i]) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	b := make([]byte, 0, len(s)+2*n)
	for i := range len(s) {
		if c := s[i]; clean(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
		}
	}
	return string(b)
}

// UnescapeData undoes EscapeData. What is no escape stays as it is.
func UnescapeData(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(c))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// dateRange reads an EXT-X-DATERANGE.
func (p *mediaParser) dateRange(value string) error {
	r, err := ParseDateRange(value)
	if err == nil {
		p.m.DateRanges = append(p.m.DateRanges, r)
	}
	return err
}

// DateRangeTag is what stands before the attributes of a DateRange.
const DateRangeTag = "#EXT-X-DATERANGE:"

// ParseDateRange reads the attributes of an EXT-X-DATERANGE, what stands behind
// [DateRangeTag].
func ParseDateRange(value string) (r DateRange, err error) {
	var date, end, next string
	a := attrs{rest: value}
	for a.next() {
		switch a.name {
		case "ID":
			a.text(&r.ID)
		case "CLASS":
			a.text(&r.Class)
		case "START-DATE":
			a.text(&date)
		case "END-DATE":
			a.text(&end)
		case "DURATION":
			r.Known = true
			a.seconds(&r.Duration)
		case "PLANNED-DURATION":
			a.seconds(&r.Planned)
		case "END-ON-NEXT":
			next = a.value
		case "SCTE35-CMD":
			a.hexadecimal(&r.Command)
		case "SCTE35-OUT":
			a.hexadecimal(&r.Out)
		case "SCTE35-IN":
			a.hexadecimal(&r.In)
		case DataAttribute:
			a.text(&r.Data)
		}
	}
	if err := a.need("ID", "START-DATE"); err != nil {
		return DateRange{}, err
	}
	if r.Start, err = parseDate(date); err != nil {
		return DateRange{}, fmt.Errorf("START-DATE: %w", err)
	}
	if end != "" {
		at, err := parseDate(end)
		if err != nil {
			return DateRange{}, fmt.Errorf("END-DATE: %w", err)
		}
		if length := at.Sub(r.Start); length < 0 || r.Known && length != r.Duration {
			return DateRange{}, errors.New("END-DATE lies before START-DATE, or DURATION says otherwise")
		}
		r.Duration, r.Known = at.Sub(r.Start), true
	}
	if next != "" && (next != "YES" || r.Class == "" || r.Known) {
		return DateRange{}, errors.New("END-ON-NEXT is YES, and comes with CLASS and without DURATION and END-DATE")
	}
	return r, nil
}

// hexadecimal reads a hexadecimal-sequence (section 4.2).
func (a *attrs) hexadecimal(dst *string) {
	digits, ok := strings.CutPrefix(a.value, "0x")
	if !ok {
		digits, ok = strings.CutPrefix(a.value, "0X")
	}
	for i := 0; ok && i < len(digits); i++ {
		c := digits[i]
		ok = '0' <= c && c <= '9' || 'A' <= c && c <= 'F'
	}
	if !ok || digits == "" || a.quoted {
		a.fail("attribute %s: %q, want 0x and digits 0-9, A-F", a.name, clip(a.value))
		return
	}
	*dst = a.value
}
