package shape

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func parse(t *testing.T, text string) any {
	t.Helper()
	v, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestShapes(t *testing.T) {
	for _, c := range []struct {
		name, there, here string
		want              []Difference
	}{
		{"the same", `{"a":1,"b":[{"c":"x"}]}`, `{"b":[{"c":"y"},{"c":"z"}],"a":2}`, nil},
		{"missing", `{"a":1,"b":"x"}`, `{"a":1}`, []Difference{{"b", Missing, "string", ""}}},
		{"only here", `{"a":1}`, `{"a":1,"b":{"c":1}}`, []Difference{{"b", Extra, "", "object"}}},
		{"type", `{"a":60}`, `{"a":"60"}`, []Difference{{"a", Type, "number", "string"}}},
		{"array against object", `{"data":[{"id":"x"}]}`, `{"data":{"id":"x"}}`, []Difference{{"data", Type, "array", "object"}}},
		{"null tells no type", `{"a":null,"b":"x"}`, `{"a":"x","b":null}`, nil},
		{"null tells nothing of members", `{"session":null}`, `{"session":{"id":"x"}}`, nil},
		{"an empty array tells nothing of items", `{"a":[]}`, `{"a":[{"b":1}]}`, nil},
		{"a member that some items lack", `[{"a":1},{"a":1,"b":2}]`, `[{"a":1}]`, []Difference{{"[].b", Missing, "number", ""}}},
		{"items of several types", `[1,"x"]`, `[1]`, []Difference{{"[]", Type, "number or string", "number"}}},
		{"a whole object is named once", `{"a":{"b":1,"c":{"d":2}}}`, `{}`, []Difference{{"a", Missing, "object", ""}}},
		{"a dot in a name", `{"a.b":1}`, `{"a":{"b":1}}`, []Difference{{"a", Extra, "", "object"}, {`a\u002eb`, Missing, "number", ""}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, Shapes(parse(t, c.there), parse(t, c.here))); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestValues(t *testing.T) {
	for _, c := range []struct {
		name, there, here string
		want              []Difference
	}{
		{"the same", `{"a":[1,{"b":null}]}`, `{"a":[1,{"b":null}]}`, nil},
		{"a leaf", `{"a":[{"b":"x"}]}`, `{"a":[{"b":"y"}]}`, []Difference{{"a[0].b", Value, `"x"`, `"y"`}}},
		{"null against an object", `{"a":null}`, `{"a":{"b":1}}`, []Difference{{"a", Value, "null", `{"b":1}`}}},
		{"lengths", `[1]`, `[1,2]`, []Difference{{"", Value, "1 item", "2 items"}}},
		{"types are shape", `{"a":1}`, `{"a":"1"}`, nil},
		{"keys are not shown", `{"stream_key":"one"}`, `{"stream_key":"two"}`, []Difference{{"stream_key", Value, "(secret)", "(secret)"}}},
		{"a large number is not rounded", `9007199254740993`, `9007199254740992`, []Difference{{"", Value, "9007199254740993", "9007199254740992"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, Values(parse(t, c.there), parse(t, c.here))); d != "" {
				t.Error(d)
			}
		})
	}
	long := Values(parse(t, `"`+strings.Repeat("ä", 200)+`"`), "x")
	if n := len([]rune(long[0].There)); n != longest {
		t.Errorf("a long value shows as %d characters", n)
	}
}

// TestItself: a value never differs from itself.
func TestItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := value(3).Draw(t, "value")
		if d := append(Shapes(v, v), Values(v, v)...); len(d) > 0 {
			t.Fatalf("%v", d)
		}
	})
}

// value generates JSON values up to a depth.
func value(depth int) *rapid.Generator[any] {
	leaves := rapid.OneOf(rapid.Just[any](nil), rapid.Just[any](true), rapid.Just[any]("x"))
	if depth == 0 {
		return leaves
	}
	inner := value(depth - 1)
	return rapid.OneOf(leaves,
		rapid.Custom(func(t *rapid.T) any { return rapid.SliceOfN(inner, 0, 3).Draw(t, "items") }),
		rapid.Custom(func(t *rapid.T) any {
			return rapid.MapOfN(rapid.SampledFrom([]string{"a", "b.c", "[]", ""}), inner, 0, 3).Draw(t, "members")
		}))
}

// TestDeep: what nests without end costs no more than what is looked into.
func TestDeep(t *testing.T) {
	deep := parse(t, strings.Repeat(`{"a":[`, 4000)+strings.Repeat(`]}`, 4000))
	if d := append(Shapes(deep, parse(t, `{"a":[]}`)), Values(deep, deep)...); len(d) > 0 {
		t.Errorf("%v", d)
	}
}

func TestParse(t *testing.T) {
	for _, text := range []string{``, `{`, `{} {}`, `<html>`} {
		if v, err := Parse([]byte(text)); err == nil {
			t.Errorf("%q: %v", text, v)
		}
	}
}
