package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxBody  = 1 << 20 // bytes (design section 7)
	maxDepth = 32      // objects and arrays inside each other; the deepest real body has 5
	maxName  = 255     // characters of a name or title (contract 7.2)

	bodyTimeout = 15 * time.Second // for 1 MB to arrive
)

// An object is the members of a JSON object, not yet decoded. It collects what
// is wrong with them, so that one answer tells all of it.
type object struct {
	members map[string]json.RawMessage
	path    string // JSON pointer to this object
	faults  *faults
}

// readBody reads a request's body, which is one JSON object or nothing at all:
// clients send none, none with a content type, and {} (contract 3.5).
func readBody(w http.ResponseWriter, r *http.Request) (object, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return parseObject(nil)
	}
	// Not every ResponseWriter has deadlines; then the server's own must do.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return object{}, errTooLarge
	case err != nil:
		return object{}, invalid("", "the body ended early")
	}
	return parseObject(data)
}

// parseObject reads one JSON object as RFC 8259 writes it, with no freedom:
// duplicate names, NUL, lone surrogates, bytes that are not UTF-8, deep nesting
// and anything after the object are refused. Nothing at all is the empty object.
func parseObject(data []byte) (object, error) {
	o := object{members: map[string]json.RawMessage{}, faults: new(faults)}
	data = bytes.Trim(data, " \t\r\n")
	if len(data) == 0 {
		return o, nil
	}
	if !utf8.Valid(data) {
		return o, invalid("", "the body is not UTF-8")
	}
	if err := checkJSON(data); err != nil {
		return o, invalid("", "the body is not valid JSON: %s", err)
	}
	if data[0] != '{' {
		return o, invalid("", "the body must be a JSON object")
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
					return fmt.Errorf("the name %q appears twice in one object", clip(v))
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

// err is nil, or every fault found so far.
func (o object) err() error {
	if len(*o.faults) == 0 {
		return nil
	}
	return *o.faults
}

func (o object) fault(name, format string, args ...any) {
	pointer := o.path + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
	*o.faults = append(*o.faults, fault{pointer, fmt.Sprintf("%q ", name) + fmt.Sprintf(format, args...)})
}

// get returns a member's JSON; ok is false when it is absent or null.
func (o object) get(name string) (raw json.RawMessage, ok bool) {
	raw, ok = o.members[name]
	return raw, ok && string(raw) != "null"
}

// text reads an optional, nullable line of text of at most maxName characters.
func (o object) text(name string) (s string, has bool) {
	raw, ok := o.get(name)
	if !ok {
		return "", false
	}
	if json.Unmarshal(raw, &s) != nil {
		o.fault(name, "must be a string")
		return "", false
	}
	if n := utf8.RuneCountInString(s); n > maxName {
		o.fault(name, "has %d characters, the limit is %d", n, maxName)
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		o.fault(name, "must not hold control characters")
	}
	return s, true
}

// flag reads an optional boolean; absent and, where nullable, null are false.
func (o object) flag(name string, nullable bool) (v bool) {
	raw, ok := o.members[name]
	if !ok || nullable && string(raw) == "null" {
		return false
	}
	if string(raw) == "null" || json.Unmarshal(raw, &v) != nil {
		o.fault(name, "must be true or false")
	}
	return v
}

// whole reads an optional whole number from low to high; without says what
// absence means. 60 may be spelt 60.0, as some clients do.
func (o object) whole(name string, low, high, without int) int {
	raw, ok := o.members[name]
	if !ok {
		return without
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f != float64(int64(f)) || f < float64(low) || f > float64(high) {
		o.fault(name, "must be a whole number from %d to %d", low, high)
		return without
	}
	return int(f)
}

// object reads an optional, nullable object; ok is false when there is none.
func (o object) object(name string) (inner object, ok bool) {
	raw, ok := o.get(name)
	if !ok {
		return object{}, false
	}
	inner = object{path: o.path + "/" + name, faults: o.faults}
	if json.Unmarshal(raw, &inner.members) != nil {
		o.fault(name, "must be an object")
		return object{}, false
	}
	return inner, true
}
