package amf0

import (
	"bytes"
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

var everything = []any{
	"connect", 1.0, nil, true, false, Undefined{}, Date(1.7e12), XML("<a/>"), "",
	Object{{"app", "live"}, {"", 2.5}, {"deep", Object{{"x", Array{1.0, "two", nil}}}}},
	ECMAArray{{"width", 1280.0}, {"encoder", "obs"}}, Array{}, Object{}, ECMAArray{},
	strings.Repeat("l", 70000),
}

func TestReadsBackWhatWasWritten(t *testing.T) {
	got, err := Decode(Append(nil, everything...))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(everything, got); d != "" {
		t.Error(d)
	}
}

func TestReadsBackRandomValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vs := rapid.SliceOfN(value(4), 0, 8).Draw(t, "values")
		got, err := Decode(Append(nil, vs...))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(vs, got, cmpopts.EquateEmpty()); d != "" {
			t.Error(d)
		}
	})
}

// value generates values of at most that many levels.
func value(depth int) *rapid.Generator[any] {
	flat := rapid.OneOf(
		rapid.Just[any](nil), rapid.Just[any](Undefined{}),
		rapid.Bool().AsAny(), rapid.Float64().AsAny(), rapid.String().AsAny(),
		rapid.Map(rapid.Float64(), func(f float64) any { return Date(f) }),
		rapid.Map(rapid.String(), func(s string) any { return XML(s) }),
	)
	if depth == 0 {
		return flat
	}
	inner := rapid.Deferred(func() *rapid.Generator[any] { return value(depth - 1) })
	property := rapid.Custom(func(t *rapid.T) Property {
		return Property{rapid.String().Draw(t, "name"), inner.Draw(t, "value")}
	})
	return rapid.OneOf(flat,
		rapid.Map(rapid.SliceOfN(property, 0, 4), func(p []Property) any { return Object(p) }),
		rapid.Map(rapid.SliceOfN(property, 0, 4), func(p []Property) any { return ECMAArray(p) }),
		rapid.Map(rapid.SliceOfN(inner, 0, 4), func(v []any) any { return Array(v) }),
	)
}

func TestDecode(t *testing.T) {
	number := Append(nil, 7.0)
	tests := []struct {
		name string
		in   []byte
		want []any
		err  error
	}{
		{"nothing", nil, nil, nil},
		{"typed object keeps its properties", append([]byte{markTypedObject, 0, 1, 'C'}, Append(nil, Object{{"a", 1.0}})[1:]...), []any{Object{{"a", 1.0}}}, nil},
		{"ECMA array without its end marker", append([]byte{markECMAArray, 0, 0, 0, 1, 0, 1, 'a'}, number...), []any{ECMAArray{{"a", 7.0}}}, nil},
		{"unsupported is undefined", []byte{markUnsupported}, []any{Undefined{}}, nil},
		{"number cut short", number[:5], nil, ErrTruncated},
		{"string longer than the message", []byte{markString, 0xFF, 0xFF, 'a'}, nil, ErrTruncated},
		{"long string of 4 GB", []byte{markLongString, 0xFF, 0xFF, 0xFF, 0xFF, 'a'}, nil, ErrTruncated},
		{"strict array of 4 billion", append([]byte{markStrictArray, 0xFF, 0xFF, 0xFF, 0xFF}, number...), nil, ErrTruncated},
		{"movie clip", []byte{0x04}, nil, ErrMarker},
		{"AMF3 switch", []byte{0x11, 1}, nil, ErrMarker},
		{"values before the fault are kept", append(append([]byte{}, number...), 0x04), []any{7.0}, ErrMarker},
		{"16 levels", nested(MaxDepth), nil, nil},
		{"17 levels", nested(MaxDepth + 1), nil, ErrDepth},
		{"1000 values", bytes.Repeat([]byte{markNull}, MaxValues), make([]any, MaxValues), nil},
		{"1001 values", bytes.Repeat([]byte{markNull}, MaxValues+1), make([]any, MaxValues), ErrValues},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Decode(tt.in)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if tt.want != nil || err != nil {
				if d := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

func nested(levels int) []byte {
	b := []byte{}
	for range levels {
		b = append(b, markStrictArray, 0, 0, 0, 1)
	}
	return append(b, markNull)
}

func TestLookup(t *testing.T) {
	o := Object{{"app", "live"}, {"n", 1.0}}
	if Text(o, "app") != "live" || Text(o, "n") != "" || Text(nil, "app") != "" || Lookup(ECMAArray(o), "n") != 1.0 {
		t.Error("wrong property")
	}
}

// FuzzDecode: no panic, and what was decoded whole reads back the same.
func FuzzDecode(f *testing.F) {
	f.Add(Append(nil, everything[:13]...))
	f.Add(nested(MaxDepth + 1))
	for _, name := range []string{"testdata/obs-metadata.amf0"} {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		vs, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Decode(Append(nil, vs...))
		if err != nil {
			t.Fatal(err)
		}
		nan := cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })
		date := cmp.Comparer(func(a, b Date) bool { return math.Float64bits(float64(a)) == math.Float64bits(float64(b)) })
		if d := cmp.Diff(vs, again, nan, date); d != "" {
			t.Error(d)
		}
	})
}

func BenchmarkDecodeConnect(b *testing.B) {
	msg := Append(nil, "connect", 1.0, Object{{"app", "live"}, {"type", "nonprivate"},
		{"flashVer", "FMLE/3.0 (compatible; FMSc/1.0)"}, {"tcUrl", "rtmp://localhost/live"}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(msg); err != nil {
			b.Fatal(err)
		}
	}
}
