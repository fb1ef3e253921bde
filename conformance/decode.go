package conformance

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// meta is apijson.Field, of which each major has its own.
type meta interface {
	IsMissing() bool
	IsNull() bool
}

// writeOnly are declared in answers, and must not be there (contract 7.11).
var writeOnly = []string{"access_key", "secret", "password", "private_key"}

// decode reads every field that a cloudflare-go struct declares into the
// answer, and notes those that the server left out: the client would show a
// zero value as if it were so.
func (a *Answer) decode(path string, v reflect.Value) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if at, ok := v.Interface().(time.Time); ok {
		a.Reading[path] = at.UTC()
		return
	}
	switch v.Kind() {
	case reflect.String:
		a.Reading[path] = v.String()
		if enum, ok := v.Interface().(interface{ IsKnown() bool }); ok && !enum.IsKnown() {
			a.Problems = append(a.Problems, fmt.Sprintf("%s: the client does not know %q", path, v.String()))
		}
	case reflect.Slice:
		a.Reading[join(path, "#")] = v.Len()
		for i := range v.Len() {
			a.decode(join(path, fmt.Sprint(i)), v.Index(i))
		}
	case reflect.Struct:
		a.decodeStruct(path, v)
	default:
		a.Reading[path] = v.Interface()
	}
}

func (a *Answer) decodeStruct(path string, v reflect.Value) {
	fields := v.FieldByName("JSON")
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		below := join(path, name)
		switch m := field(fields, f.Name); {
		case slices.Contains(writeOnly, name):
			if m != nil && !m.IsMissing() {
				a.Problems = append(a.Problems, below+": a secret is shown")
			}
			continue
		case m != nil && m.IsMissing():
			a.Problems = append(a.Problems, below+": the server left it out")
			continue
		case m != nil && m.IsNull():
			if f.Tag.Get("api") != "nullable" {
				a.Nulls = append(a.Nulls, below)
			}
			if kind := v.Field(i).Kind(); kind == reflect.Slice || kind == reflect.Struct && f.Type != reflect.TypeFor[time.Time]() {
				continue // an object that is null has no fields
			}
			if v.Field(i).Kind() == reflect.String {
				a.Reading[below] = v.Field(i).String() // no enum knows ""
				continue
			}
		}
		a.decode(below, v.Field(i))
	}
	if extra := fields.FieldByName("ExtraFields"); extra.IsValid() {
		for _, name := range extra.MapKeys() {
			a.Extra = append(a.Extra, join(path, name.String()))
		}
	}
}

// field is what a struct's JSON says of one of its fields; nil where it says nothing.
func field(fields reflect.Value, name string) meta {
	if !fields.IsValid() {
		return nil
	}
	f := fields.FieldByName(name)
	if !f.IsValid() {
		return nil
	}
	m, _ := f.Interface().(meta)
	return m
}

func join(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }

// lift moves what is below data to the top, where Answer.Reading says it is.
func (a *Answer) lift() {
	lifted := Reading{}
	for path, v := range a.Reading {
		lifted[strings.TrimPrefix(path, "data.")] = v
	}
	a.Reading = lifted
	for _, list := range []*[]string{&a.Extra, &a.Nulls, &a.Problems} {
		for i, path := range *list {
			(*list)[i] = strings.TrimPrefix(path, "data.")
		}
		slices.Sort(*list)
	}
	if success, ok := a.Reading["success"].(bool); !ok || !success {
		a.Problems = append(a.Problems, "success is not true")
	}
	delete(a.Reading, "success")
}

// flatten reads plain JSON: what a client shows of an answer that it declares
// no type for.
func flatten(text []byte) (Reading, error) {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	r := Reading{}
	flattenInto(r, "", v)
	return r, nil
}

func flattenInto(r Reading, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			flattenInto(r, join(path, name), inner)
		}
	case []any:
		r[join(path, "#")] = len(v)
		for i, inner := range v {
			flattenInto(r, join(path, fmt.Sprint(i)), inner)
		}
	default:
		r[path] = v
	}
}
