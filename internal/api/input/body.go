// Package input reads what a client sent: JSON bodies and query strings. It
// takes them strictly, collects everything that is wrong, and hands out values
// that can be stored and sent back. It is apart from the API so that its fuzz
// targets build without the store.
package input

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxBody is the most bytes a body may have (design section 7).
	MaxBody = 1 << 20

	maxDepth = 32  // objects and arrays inside each other; the deepest real body has 5
	maxName  = 255 // characters of a name or title (contract 7.2)

	bodyTimeout = 15 * time.Second // for 1 MB to arrive
)

// Errors of a whole request; a [Faults] wraps ErrInvalid.
var (
	ErrTooLarge = errors.New("body is larger than 1 MB")
	ErrInvalid  = errors.New("invalid request")
)

// A Fault is one thing wrong with a body or a query.
type Fault struct {
	Pointer string // JSON pointer into the body (RFC 6901); "" for a query or a body that is no object
	Text    string // for the client
}

// Faults is every fault found in one request. It is an error when not empty.
type Faults []Fault

func (fs Faults) Error() string { return fs[0].Text }

// Unwrap makes errors.Is find ErrInvalid.
func (fs Faults) Unwrap() error { return ErrInvalid }

func (fs Faults) err() error {
	if len(fs) == 0 {
		return nil
	}
	return fs
}

func invalid(format string, args ...any) error {
	return Faults{{Text: fmt.Sprintf(format, args...)}}
}

// Clip shortens what a client sent before it is sent back.
func Clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}

// An Object is the members of a JSON object, not yet decoded. It collects what
// is wrong with them, so that one answer tells all of it.
type Object struct {
	members map[string]json.RawMessage
	path    string // JSON pointer to this object
	faults  *Faults
}

// ReadBody reads a request's body, which is one JSON object or nothing at all:
// clients send none, none with a content type, and {} (contract 3.5).
func ReadBody(w http.ResponseWriter, r *http.Request) (Object, error) {
	data, err := ReadAll(w, r)
	if err == nil && len(data) > 0 {
		err = checkHeaders(r.Header)
	}
	if err != nil {
		return Object{}, err
	}
	return ParseObject(data)
}

// checkHeaders refuses a body that says it is not JSON in UTF-8, as it came.
// One without a type is read, and so is one with the type that curl -d gives
// to everything.
func checkHeaders(h http.Header) error {
	if coding := h.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return invalid("Content-Encoding is %q: send the body as it is", Clip(coding))
	}
	kind := h.Get("Content-Type")
	if kind == "" {
		return nil
	}
	media, params, err := mime.ParseMediaType(kind)
	charset, named := params["charset"]
	switch {
	case err != nil, media != "application/json" && media != "application/x-www-form-urlencoded" && !strings.HasSuffix(media, "+json"):
		return invalid("Content-Type is %q: send application/json", Clip(kind))
	case named && !strings.EqualFold(charset, "utf-8"):
		return invalid("Content-Type says charset %q: send UTF-8", Clip(charset))
	}
	return nil
}

// ReadAll reads a request's body as it is: ErrTooLarge, or Faults when it does
// not arrive whole. A body that yields one of these errors passes it on.
func ReadAll(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	// Not every ResponseWriter has deadlines; then the server's own must do.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	data, err := io.ReadAll(http.MaxBytesReader(inmost(w), r.Body, MaxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, ErrTooLarge
	case errors.Is(err, ErrTooLarge), errors.Is(err, ErrInvalid):
		return nil, err
	case err != nil:
		return nil, invalid("the body ended early")
	}
	return data, nil
}

// inmost is the server's own ResponseWriter: net/http closes the connection of
// a body that is too large only when it is told by that.
func inmost(w http.ResponseWriter) http.ResponseWriter {
	for {
		outer, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = outer.Unwrap()
	}
}

// ParseObject reads one JSON object as RFC 8259 writes it, with no freedom:
// duplicate names, NUL, lone surrogates, bytes that are not UTF-8, deep nesting
// and anything after the object are refused. Nothing at all is the empty object.
func ParseObject(data []byte) (Object, error) {
	o := Object{members: map[string]json.RawMessage{}, faults: new(Faults)}
	data = bytes.Trim(data, " \t\r\n")
	if len(data) == 0 {
		return o, nil
	}
	if !utf8.Valid(data) {
		return o, invalid("the body is not UTF-8")
	}
	if err := checkJSON(data); err != nil {
		return o, invalid("the body is not valid JSON: %s", err)
	}
	if data[0] != '{' {
		return o, invalid("the body must be a JSON object")
	}
	return o, json.Unmarshal(data, &o.members)
}

// checkJSON walks valid or invalid JSON once. It keeps the names of the
// objects that are open, so its memory is bounded by the body's.
func checkJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var open []map[string]bool // nil for an array
	name := false              // whether the next string is a member's name
	for {
		tok, err := dec.Token()
		if err != nil {
			return jsonError(err)
		}
		inObject := len(open) > 0 && open[len(open)-1] != nil
		switch v := tok.(type) {
		case json.Delim:
			switch v {
			case '{', '[':
				if len(open) == maxDepth {
					return fmt.Errorf("more than %d levels deep", maxDepth)
				}
				var names map[string]bool
				if v == '{' {
					names = map[string]bool{}
				}
				open, name = append(open, names), v == '{'
				continue
			}
			open = open[:len(open)-1]
			inObject = len(open) > 0 && open[len(open)-1] != nil
		case string:
			if inObject && name {
				if names := open[len(open)-1]; names[v] {
					return fmt.Errorf("the name %q appears twice in one object", Clip(v))
				} else {
					names[v] = true
				}
				name = false
				continue
			}
		}
		if len(open) == 0 {
			break
		}
		name = inObject
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("something follows the object")
	}
	return checkEscapes(data)
}

// jsonError says a decoder's error without Go's type names.
func jsonError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it ends early")
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("%s at byte %d", syntax.Error(), syntax.Offset)
	}
	return err
}

// checkEscapes refuses \u0000 and surrogates without a partner, which Go would
// replace silently. In valid JSON a backslash stands in strings only.
func checkEscapes(data []byte) error {
	high := false // the escape just before was a high surrogate
	for i := 0; i < len(data); i++ {
		unit := rune(0xFFFF) // what is no \u escape
		if data[i] == '\\' {
			i++
			if data[i] == 'u' {
				n, err := strconv.ParseUint(string(data[i+1:i+5]), 16, 16)
				if err != nil {
					return err
				}
				unit = rune(n)
				i += 4
			}
		}
		low := 0xDC00 <= unit && unit <= 0xDFFF
		if unit == 0 {
			return errors.New(`a string holds \u0000`)
		}
		if low != high {
			return errors.New("a string holds half of a surrogate pair")
		}
		high = 0xD800 <= unit && unit <= 0xDBFF
	}
	return nil
}

// Err is nil, or every fault found so far.
func (o Object) Err() error { return o.faults.err() }

// Names lists the members in the order of the alphabet.
func (o Object) Names() []string { return slices.Sorted(maps.Keys(o.members)) }

// Has reports whether there is a member of that name, null or not.
func (o Object) Has(name string) bool {
	_, ok := o.members[name]
	return ok
}

// Raw is a member's JSON as it came; nil when it is absent or null.
func (o Object) Raw(name string) json.RawMessage {
	raw, _ := o.get(name)
	return raw
}

// Fault notes that something is wrong with the member name.
func (o Object) Fault(name, format string, args ...any) {
	pointer := o.path + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
	*o.faults = append(*o.faults, Fault{pointer, fmt.Sprintf("%q ", name) + fmt.Sprintf(format, args...)})
}

// get returns a member's JSON; ok is false when it is absent or null.
func (o Object) get(name string) (raw json.RawMessage, ok bool) {
	raw, ok = o.members[name]
	if string(raw) == "null" {
		return nil, false
	}
	return raw, ok
}

// Text reads an optional, nullable line of text of at most maxName characters.
func (o Object) Text(name string) (s string, has bool) {
	raw, ok := o.get(name)
	if !ok {
		return "", false
	}
	if json.Unmarshal(raw, &s) != nil {
		o.Fault(name, "must be a string")
		return "", false
	}
	if n := utf8.RuneCountInString(s); n > maxName {
		o.Fault(name, "has %d characters, the limit is %d", n, maxName)
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		o.Fault(name, "must not hold control characters")
	}
	return s, true
}

// Flag reads an optional boolean; absent and, where nullable, null are false.
func (o Object) Flag(name string, nullable bool) (v bool) {
	raw, ok := o.members[name]
	if !ok || nullable && string(raw) == "null" {
		return false
	}
	if string(raw) == "null" || json.Unmarshal(raw, &v) != nil {
		o.Fault(name, "must be true or false")
	}
	return v
}

// Whole reads an optional whole number from low to high; without says what
// absence means. 60 may be spelt 60.0, as some clients do.
func (o Object) Whole(name string, low, high, without int) int {
	raw, ok := o.members[name]
	if !ok {
		return without
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f != float64(int64(f)) || f < float64(low) || f > float64(high) {
		o.Fault(name, "must be a whole number from %d to %d", low, high)
		return without
	}
	return int(f)
}

// Object reads an optional, nullable object; ok is false when there is none.
func (o Object) Object(name string) (inner Object, ok bool) {
	raw, ok := o.get(name)
	if !ok {
		return Object{}, false
	}
	inner = Object{path: o.path + "/" + name, faults: o.faults}
	if json.Unmarshal(raw, &inner.members) != nil {
		o.Fault(name, "must be an object")
		return Object{}, false
	}
	return inner, true
}

// Texts reads an optional, nullable array of at most most different texts, none
// of them empty; ok is false when there is none, or when it is not that.
func (o Object) Texts(name string, most int) (list []string, ok bool) {
	raw, ok := o.get(name)
	if !ok {
		return nil, false
	}
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		o.Fault(name, "must be an array of strings")
		return nil, false
	}
	if len(items) > most {
		o.Fault(name, "has %d items, the limit is %d", len(items), most)
		return nil, false
	}
	for _, item := range items {
		var s string
		if string(item) == "null" || json.Unmarshal(item, &s) != nil || s == "" {
			o.Fault(name, "must be an array of strings, none of them empty")
			return nil, false
		}
		if slices.Contains(list, s) {
			o.Fault(name, "holds %q twice", Clip(s))
			return nil, false
		}
		list = append(list, s)
	}
	return list, true
}

// Time reads an optional, nullable RFC 3339 time; ok is false when there is
// none, or when it is not that.
func (o Object) Time(name string) (t time.Time, ok bool) {
	raw, ok := o.get(name)
	if !ok {
		return time.Time{}, false
	}
	var text string
	err := json.Unmarshal(raw, &text)
	if err == nil {
		t, err = parseTime(text)
	}
	if err != nil {
		o.Fault(name, "must be an RFC 3339 time such as 2026-01-31T12:00:00Z")
		return time.Time{}, false
	}
	return t, true
}
