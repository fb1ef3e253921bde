package cue

import (
	"encoding/json"
	"math"
	"strconv"

	"tally/internal/media"
	"tally/internal/rtmp/amf0"
)

// appendJSON appends a value of AMF0 as JSON, properties in their order. What
// becomes longer than a cue may be is broken off, and so no longer JSON: the
// length tells. Values that JSON lacks are null; a date is in ms since 1970.
func appendJSON(dst []byte, v any) []byte {
	if len(dst) > media.MaxCueData {
		return dst
	}
	switch v := v.(type) {
	case bool:
		return strconv.AppendBool(dst, v)
	case float64:
		return appendNumber(dst, v)
	case amf0.Date:
		return appendNumber(dst, float64(v))
	case string:
		return appendString(dst, v)
	case amf0.XML:
		return appendString(dst, string(v))
	case amf0.Object:
		return appendProperties(dst, v)
	case amf0.ECMAArray:
		return appendProperties(dst, v)
	case amf0.Array:
		dst = append(dst, '[')
		for i := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSON(dst, v[i])
		}
		return append(dst, ']')
	}
	return append(dst, "null"...)
}

func appendProperties(dst []byte, ps []amf0.Property) []byte {
	dst = append(dst, '{')
	for i := range ps {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, ps[i].Name), ':')
		dst = appendJSON(dst, ps[i].Value)
		if len(dst) > media.MaxCueData {
			break
		}
	}
	return append(dst, '}')
}

func appendNumber(dst []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(dst, "null"...)
	}
	b, _ := json.Marshal(v) // a finite number always has a form
	return append(dst, b...)
}

// appendString: a text that is far too long is not looked at to its end.
func appendString(dst []byte, s string) []byte {
	if len(s) > 2*media.MaxCueData {
		s = s[:2*media.MaxCueData]
	}
	b, _ := json.Marshal(s) // bytes that are not UTF-8 become U+FFFD
	return append(dst, b...)
}
