// Package amf0 encodes and decodes Action Message Format 0 (AMF 0
// specification, Adobe 2007), the values in RTMP's command and data messages.
//
// A value is one of: nil, bool, float64, string, Undefined, Date, XML, Object,
// ECMAArray, Array. Decoding is bounded: MaxDepth levels, MaxValues values and
// no allocation that the bytes at hand do not pay for.
package amf0

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

const (
	// MaxDepth is how many objects and arrays may lie inside each other.
	MaxDepth = 16
	// MaxValues is how many values one Decode yields, nested ones included.
	MaxValues = 1000
)

// Errors of decoding, wrapped with the place.
var (
	ErrTruncated = errors.New("truncated")
	ErrDepth     = fmt.Errorf("nested deeper than %d", MaxDepth)
	ErrValues    = fmt.Errorf("more than %d values", MaxValues)
	ErrMarker    = errors.New("type marker not supported")
)

type (
	// Undefined is the undefined value, as opposed to null, which is nil.
	Undefined struct{}
	// A Date is in ms since 1970 UTC; the zone is always written as 0.
	Date float64
	// XML is the text of an XML document.
	XML string
	// A Property is a named value of an Object or ECMAArray.
	Property struct {
		Name  string
		Value any
	}
	// An Object is an anonymous object, in wire order. Typed objects are
	// decoded as Objects; their class is dropped.
	Object []Property
	// An ECMAArray is an associative array, in wire order.
	ECMAArray []Property
	// An Array is a strict array.
	Array []any
)

// Type markers, section 2.1.
const (
	markNumber      = 0x00
	markBoolean     = 0x01
	markString      = 0x02
	markObject      = 0x03
	markNull        = 0x05
	markUndefined   = 0x06
	markECMAArray   = 0x08
	markObjectEnd   = 0x09
	markStrictArray = 0x0A
	markDate        = 0x0B
	markLongString  = 0x0C
	markUnsupported = 0x0D
	markXML         = 0x0F
	markTypedObject = 0x10
)

// Properties returns the properties of an Object or ECMAArray, and nil of
// anything else.
func Properties(v any) []Property {
	switch v := v.(type) {
	case Object:
		return v
	case ECMAArray:
		return v
	}
	return nil
}

// Lookup returns the value of the first property of that name in an Object or
// ECMAArray, and nil in anything else.
func Lookup(v any, name string) any {
	for _, p := range Properties(v) {
		if p.Name == name {
			return p.Value
		}
	}
	return nil
}

// Text is Lookup for strings: "" when the property is absent or no string.
func Text(v any, name string) string {
	s, _ := Lookup(v, name).(string)
	return s
}

// Append appends the encoding of vs. It panics on a type that is not a value
// (see the package comment), which is a bug in the caller.
func Append(dst []byte, vs ...any) []byte {
	for _, v := range vs {
		dst = appendValue(dst, v)
	}
	return dst
}

func appendValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, markNull)
	case Undefined:
		return append(dst, markUndefined)
	case bool:
		if v {
			return append(dst, markBoolean, 1)
		}
		return append(dst, markBoolean, 0)
	case float64:
		return binary.BigEndian.AppendUint64(append(dst, markNumber), math.Float64bits(v))
	case string:
		if len(v) <= math.MaxUint16 {
			return appendName(append(dst, markString), v)
		}
		dst = binary.BigEndian.AppendUint32(append(dst, markLongString), uint32(len(v)))
		return append(dst, v...)
	case XML:
		dst = binary.BigEndian.AppendUint32(append(dst, markXML), uint32(len(v)))
		return append(dst, v...)
	case Date:
		dst = binary.BigEndian.AppendUint64(append(dst, markDate), math.Float64bits(float64(v)))
		return append(dst, 0, 0)
	case Object:
		return appendProperties(append(dst, markObject), v)
	case ECMAArray:
		dst = binary.BigEndian.AppendUint32(append(dst, markECMAArray), uint32(len(v)))
		return appendProperties(dst, v)
	case Array:
		dst = binary.BigEndian.AppendUint32(append(dst, markStrictArray), uint32(len(v)))
		return Append(dst, v...)
	}
	panic(fmt.Sprintf("amf0: %T is not an AMF0 value", v))
}

// appendProperties ends with an empty name and the end marker. An empty name
// is legal elsewhere; only the marker behind it makes it an end.
func appendProperties(dst []byte, ps []Property) []byte {
	for _, p := range ps {
		dst = appendValue(appendName(dst, p.Name), p.Value)
	}
	return append(dst, 0, 0, markObjectEnd)
}

// appendName writes a UTF-8 string of at most 65535 bytes; what is longer is cut.
func appendName(dst []byte, s string) []byte {
	s = s[:min(len(s), math.MaxUint16)]
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

// Decode returns all values in b. On an error it returns those before it.
func Decode(b []byte) ([]any, error) {
	d := decoder{rest: b}
	var vs []any
	for len(d.rest) > 0 {
		v, err := d.value(0)
		if err != nil {
			return vs, fmt.Errorf("value %d: %w", len(vs), err)
		}
		vs = append(vs, v)
	}
	return vs, nil
}

// A decoder holds what is left to decode of one message.
type decoder struct {
	rest  []byte
	count int
}

// value decodes one value at nesting depth (0: top level).
func (d *decoder) value(depth int) (any, error) {
	if d.count++; d.count > MaxValues {
		return nil, ErrValues
	}
	m, err := d.take(1)
	if err != nil {
		return nil, err
	}
	switch m[0] {
	case markNull:
		return nil, nil
	case markUndefined, markUnsupported:
		return Undefined{}, nil
	case markNumber:
		b, err := d.take(8)
		if err != nil {
			return nil, err
		}
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	case markBoolean:
		b, err := d.take(1)
		if err != nil {
			return nil, err
		}
		return b[0] != 0, nil
	case markDate:
		b, err := d.take(10)
		if err != nil {
			return nil, err
		}
		return Date(math.Float64frombits(binary.BigEndian.Uint64(b))), nil
	case markString:
		return d.text(2)
	case markLongString:
		return d.text(4)
	case markXML:
		s, err := d.text(4)
		return XML(s), err
	}
	if depth == MaxDepth {
		return nil, ErrDepth
	}
	switch m[0] {
	case markObject:
		ps, err := d.properties(depth + 1)
		return Object(ps), err
	case markTypedObject:
		if _, err := d.text(2); err != nil {
			return nil, err
		}
		ps, err := d.properties(depth + 1)
		return Object(ps), err
	case markECMAArray:
		if _, err := d.take(4); err != nil { // the count is advisory, section 2.10
			return nil, err
		}
		ps, err := d.properties(depth + 1)
		return ECMAArray(ps), err
	case markStrictArray:
		return d.array(depth + 1)
	}
	return nil, fmt.Errorf("0x%02x: %w", m[0], ErrMarker)
}

// properties reads up to the end marker. Some old encoders leave the marker
// out at the end of a message: then the end of the bytes counts as one.
func (d *decoder) properties(depth int) ([]Property, error) {
	ps := []Property{}
	for len(d.rest) > 0 {
		name, err := d.text(2)
		if err != nil {
			return ps, err
		}
		if name == "" && len(d.rest) > 0 && d.rest[0] == markObjectEnd {
			d.rest = d.rest[1:]
			return ps, nil
		}
		v, err := d.value(depth)
		if err != nil {
			return ps, err
		}
		ps = append(ps, Property{name, v})
	}
	return ps, nil
}

func (d *decoder) array(depth int) (Array, error) {
	b, err := d.take(4)
	if err != nil {
		return nil, err
	}
	vs := Array{} // grows as values come, whatever the count says
	for range binary.BigEndian.Uint32(b) {
		v, err := d.value(depth)
		if err != nil {
			return vs, err
		}
		vs = append(vs, v)
	}
	return vs, nil
}

// text reads a string behind a length of size bytes.
func (d *decoder) text(size int) (string, error) {
	b, err := d.take(size)
	if err != nil {
		return "", err
	}
	n := uint64(0)
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	if n > uint64(len(d.rest)) {
		return "", ErrTruncated
	}
	b, err = d.take(int(n))
	return string(b), err
}

func (d *decoder) take(n int) ([]byte, error) {
	if n > len(d.rest) {
		return nil, ErrTruncated
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b, nil
}
