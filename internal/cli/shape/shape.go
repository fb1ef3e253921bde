// Package shape compares two JSON values: first how they are built, then what
// is in them.
//
// The shape of a value is the set of paths that occur in it, with the types
// found at each; all items of an array share one path, "[]". So two lists of
// different lengths have one shape when their items do. What one side cannot
// tell is no difference of shape: null says nothing about a type, and an empty
// array nothing about items.
package shape

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A Kind says in which way two values differ at a path.
type Kind string

const (
	Missing Kind = "missing here" // there has it, here has not
	Extra   Kind = "only here"
	Type    Kind = "type"
	Value   Kind = "value" // of the same shape, or null on one side
)

// A Difference is one path where two values differ. There and Here are what
// stands there: types for Type, else values as JSON, shortened.
type Difference struct {
	Path  string `json:"path"` // "data.sessions[].id"; items are numbered for Value; "" is the value itself
	Kind  Kind   `json:"kind"`
	There string `json:"there,omitempty"`
	Here  string `json:"here,omitempty"`
}

// Parse decodes one JSON value, numbers as they are written.
func Parse(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("more than one JSON value")
	}
	return v, nil
}

// Shapes returns the differences of shape between two values as Parse returns
// them, by path.
func Shapes(there, here any) []Difference {
	a, b := paths{}, paths{}
	a.add("", there, 0)
	b.add("", here, 0)
	var out []Difference
	for _, path := range slices.Sorted(maps.Keys(a)) {
		switch at, both := b[path]; {
		case both:
			if t, h := a[path].types(), at.types(); t != "" && h != "" && t != h {
				out = append(out, Difference{path, Type, t, h})
			}
		case b.couldHave(path):
			out = append(out, Difference{path, Missing, a[path].text(), ""})
		}
	}
	for _, path := range slices.Sorted(maps.Keys(b)) {
		if _, both := a[path]; !both && a.couldHave(path) {
			out = append(out, Difference{path, Extra, "", b[path].text()})
		}
	}
	slices.SortStableFunc(out, func(x, y Difference) int { return strings.Compare(x.Path, y.Path) })
	return out
}

// paths is a value's shape: what occurs at each path.
type paths map[string]place

// A place is the types found at one path: "object", "array", "string",
// "number", "boolean", "null".
type place map[string]bool

// deepest bounds the nesting that is looked into: what is deeper counts as one
// value. Answers of this family have six levels.
const deepest = 64

func (p paths) add(path string, v any, depth int) {
	if p[path] == nil {
		p[path] = place{}
	}
	p[path][typeOf(v)] = true
	if depth == deepest {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		for name, child := range v {
			p.add(member(path, name), child, depth+1)
		}
	case []any:
		for _, item := range v {
			p.add(path+"[]", item, depth+1)
		}
	}
}

// couldHave reports whether the shape has the object in which path would be a
// member. Items are never missing: an array may be empty.
func (p paths) couldHave(path string) bool {
	if path == "" || strings.HasSuffix(path, "[]") {
		return false
	}
	return p[path[:max(0, strings.LastIndex(path, "."))]]["object"]
}

// types are the types of a place but null: "string", "number or string".
func (p place) types() string {
	var names []string
	for _, k := range slices.Sorted(maps.Keys(p)) {
		if k != "null" {
			names = append(names, k)
		}
	}
	return strings.Join(names, " or ")
}

func (p place) text() string {
	if t := p.types(); t != "" {
		return t
	}
	return "null"
}

// Values returns where two values of like shape hold something else, by path:
// leaves, null against something, and arrays of different lengths. Paths that
// one side lacks and types that differ are the business of Shapes.
func Values(there, here any) []Difference {
	var out []Difference
	compare("", there, here, 0, &out)
	return out
}

func compare(path string, there, here any, depth int, out *[]Difference) {
	if depth > deepest {
		return
	}
	differ := func(t, h string) { *out = append(*out, Difference{path, Value, t, h}) }
	switch t := there.(type) {
	case map[string]any:
		if h, ok := here.(map[string]any); ok {
			for _, name := range slices.Sorted(maps.Keys(t)) {
				if child, both := h[name]; both {
					compare(member(path, name), t[name], child, depth+1, out)
				}
			}
			return
		}
	case []any:
		if h, ok := here.([]any); ok {
			if len(t) != len(h) {
				differ(count(t), count(h))
			}
			for i := range min(len(t), len(h)) {
				compare(path+"["+strconv.Itoa(i)+"]", t[i], h[i], depth+1, out)
			}
			return
		}
	}
	sameType := typeOf(there) == typeOf(here)
	oneNull := (there == nil) != (here == nil)
	if oneNull || sameType && there != here {
		differ(show(path, there), show(path, here))
	}
}

func count(items []any) string {
	if len(items) == 1 {
		return "1 item"
	}
	return strconv.Itoa(len(items)) + " items"
}

func member(path, name string) string {
	if name == "" {
		name = `""`
	}
	name = strings.NewReplacer(".", `\u002e`, "[", `\u005b`).Replace(name) // a path has one meaning
	if path == "" {
		return name
	}
	return path + "." + name
}

func typeOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case json.Number:
		return "number"
	case string:
		return "string"
	case []any:
		return "array"
	}
	return "object"
}

// secrets are members whose values are not shown: a comparison is pasted into
// reports.
var secrets = []string{"stream_key", "streamKey", "token", "secret"}

const longest = 60 // characters of a value that are shown

func show(path string, v any) string {
	name := path[strings.LastIndex(path, ".")+1:]
	if _, text := v.(string); text && slices.Contains(secrets, name) {
		return "(secret)"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return typeOf(v)
	}
	if runes := []rune(string(text)); len(runes) > longest {
		return string(runes[:longest-1]) + "…"
	}
	return string(text)
}
