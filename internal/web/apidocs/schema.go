package apidocs

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFields is how deep members of members are listed; what is deeper is in the
// file. It also ends a schema that holds itself.
const maxFields = 6

// typeOf says a schema in a few words, such as "integer, 0 to 1800, default
// 60", and returns it with its $ref followed.
func (r *reader) typeOf(n *yaml.Node, depth int) (string, *yaml.Node, error) {
	if n == nil || depth > maxFields {
		return "any", n, nil
	}
	d := member(n, "default") // beside a $ref it goes before the schema's own
	n, err := r.resolve(n)
	if err != nil {
		return "", nil, err
	}
	kind, err := r.kind(n, depth)
	if err != nil {
		return "", nil, err
	}
	if bounds := bounds(n); bounds != "" {
		kind += ", " + bounds
	}
	if d == nil {
		d = member(n, "default")
	}
	if d != nil {
		e, err := example("", d)
		if err != nil {
			return "", nil, err
		}
		kind += ", default " + e.compact
	}
	return kind, n, nil
}

// kind is a schema's type without its bounds.
func (r *reader) kind(n *yaml.Node, depth int) (string, error) {
	if c := member(n, "const"); c != nil {
		return literal(c)
	}
	if values := items(member(n, "enum")); values != nil {
		words := make([]string, len(values))
		for i, v := range values {
			var err error
			if words[i], err = literal(v); err != nil {
				return "", err
			}
		}
		return strings.Join(words, " | "), nil
	}
	if choices := alternatives(n); choices != nil {
		return r.either(choices, depth)
	}
	if all := items(member(n, "allOf")); len(all) > 0 {
		kind, _, err := r.typeOf(all[0], depth+1)
		return kind, err
	}
	types := member(n, "type")
	var names []string
	if types == nil {
		names = []string{"any"}
	} else if types.Kind == yaml.ScalarNode {
		names = []string{types.Value}
	} else {
		for _, t := range types.Content {
			names = append(names, t.Value)
		}
	}
	for i, name := range names {
		switch format := textOf(n, "format"); {
		case name == "array":
			of, _, err := r.typeOf(member(n, "items"), depth+1)
			if err != nil {
				return "", err
			}
			names[i] = "array of " + of
		case name == "string" && format != "":
			names[i] = format
		}
	}
	return strings.Join(names, " or "), nil
}

func (r *reader) either(choices []*yaml.Node, depth int) (string, error) {
	var kinds []string
	for _, c := range choices {
		kind, c, err := r.typeOf(c, depth+1)
		if err != nil {
			return "", err
		}
		if title := textOf(c, "title"); title != "" && kind == "object" {
			kind = title
		}
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return strings.Join(kinds, " or "), nil
}

// alternatives is what oneOf or anyOf lists.
func alternatives(n *yaml.Node) []*yaml.Node {
	if all := items(member(n, "oneOf")); all != nil {
		return all
	}
	return items(member(n, "anyOf"))
}

func literal(n *yaml.Node) (string, error) {
	e, err := example("", n)
	return e.compact, err
}

// bounds says a schema's limits.
func bounds(n *yaml.Node) string {
	low, high := textOf(n, "minimum"), textOf(n, "maximum")
	var all []string
	switch {
	case low != "" && high != "":
		all = append(all, low+" to "+high)
	case low != "":
		all = append(all, "at least "+low)
	case high != "":
		all = append(all, "at most "+high)
	}
	if least := textOf(n, "minLength"); least != "" && least != "0" {
		all = append(all, "at least "+count(least, "character"))
	}
	if most := textOf(n, "maxLength"); most != "" {
		all = append(all, "at most "+count(most, "character"))
	}
	if least := textOf(n, "minItems"); least != "" && least != "0" {
		all = append(all, "at least "+count(least, "item"))
	}
	if most := textOf(n, "maxItems"); most != "" && most != "0" {
		all = append(all, "at most "+count(most, "item"))
	}
	return strings.Join(all, ", ")
}

func count(n, what string) string {
	if n == "1" {
		return n + " " + what
	}
	return n + " " + what + "s"
}

// fields lists the members of a schema and of what is in it, depth first.
func (r *reader) fields(n *yaml.Node, depth int, request bool) ([]Field, error) {
	if n == nil || depth > maxFields {
		return nil, nil
	}
	n, err := r.resolve(n)
	if err != nil {
		return nil, err
	}
	var all []Field
	parts := append([]*yaml.Node{member(n, "items")}, items(member(n, "allOf"))...)
	for _, part := range parts {
		more, err := r.fields(part, depth, request)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	for _, choice := range alternatives(n) {
		more, err := r.choice(choice, depth, request)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	var required []string
	for _, name := range items(member(n, "required")) {
		required = append(required, name.Value)
	}
	for name, property := range members(member(n, "properties")) {
		more, err := r.property(name, property, depth, request)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		more[0].Required = request && slices.Contains(required, name)
		all = append(all, more...)
	}
	return all, nil
}

// property is a member followed by its own members.
func (r *reader) property(name string, n *yaml.Node, depth int, request bool) ([]Field, error) {
	kind, schema, err := r.typeOf(n, 0)
	if err != nil {
		return nil, err
	}
	about := textOf(n, "description") // beside a $ref it goes before the schema's own
	if about == "" {
		about = textOf(schema, "description")
	}
	about = strings.TrimSpace(about + " " + also(n, schema))
	inner, err := r.fields(n, depth+1, request)
	return append([]Field{{Name: name, Type: kind, Depth: depth, Description: prose(about)}}, inner...), err
}

// also is what must hold beyond the schema, which the file says by x-also.
func also(n, schema *yaml.Node) string {
	if s := textOf(n, "x-also"); s != "" {
		return s
	}
	return textOf(schema, "x-also")
}

// choice lists one of several schemas below its title; one without a title is
// listed as if it were the only one.
func (r *reader) choice(n *yaml.Node, depth int, request bool) ([]Field, error) {
	schema, err := r.resolve(n)
	if err != nil {
		return nil, err
	}
	title := textOf(schema, "title")
	if title == "" {
		return r.fields(schema, depth, request)
	}
	inner, err := r.fields(schema, depth+1, request)
	return append([]Field{{Type: title, Depth: depth, Description: prose(textOf(schema, "description"))}}, inner...), err
}
