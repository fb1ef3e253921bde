package specfuzz

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A generator makes values that fit schemas.
type generator struct {
	*rand.Rand
	spec  *Spec
	pools map[string][]string // ids by parameter name, such as livestream_id
	url   string              // what members that end in url begin with
}

// chance is true in p of 100 cases.
func (g *generator) chance(p int) bool { return g.IntN(100) < p }

func pick[T any](g *generator, all []T) T { return all[g.IntN(len(all))] }

// resolve follows a schema's $ref, and makes one schema of the parts of an
// allOf and what stands beside it. Load has followed each $ref once.
func (g *generator) resolve(schema map[string]any) map[string]any {
	ref, parts := str(schema["$ref"]), list(schema["allOf"])
	if ref != "" {
		var to any = g.spec.root
		for _, step := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
			to = object(to)[strings.NewReplacer("~1", "/", "~0", "~").Replace(step)]
		}
		if len(schema) == 1 {
			return g.resolve(object(to))
		}
		parts = append([]any{to}, parts...)
	}
	if parts == nil {
		return schema
	}
	flat := map[string]any{}
	for _, part := range parts {
		merge(flat, g.resolve(object(part)))
	}
	merge(flat, schema)
	return flat
}

// merge adds the words of a schema to those of another.
func merge(flat, schema map[string]any) {
	for word, v := range schema {
		switch word {
		case "$ref", "allOf":
		case "properties":
			all := maps.Clone(object(flat[word]))
			if all == nil {
				all = map[string]any{}
			}
			maps.Copy(all, object(v))
			flat[word] = all
		case "required":
			flat[word] = append(slices.Clone(list(flat[word])), list(v)...)
		default:
			flat[word] = v
		}
	}
}

// types lists what a schema's value may be.
func types(schema map[string]any) []string {
	if one := str(schema["type"]); one != "" {
		return []string{one}
	}
	var all []string
	for _, t := range list(schema["type"]) {
		all = append(all, str(t))
	}
	return all
}

// value makes a value for a schema; name is that of the member it is for.
func (g *generator) value(schema map[string]any, name string, depth int) any {
	schema = g.resolve(schema)
	if c, ok := schema["const"]; ok {
		return c
	}
	if enum := list(schema["enum"]); enum != nil {
		return pick(g, enum)
	}
	if d, ok := schema["default"]; ok && g.chance(10) {
		return d
	}
	for _, word := range []string{"oneOf", "anyOf"} {
		if choices := list(schema[word]); choices != nil {
			return g.value(object(pick(g, choices)), name, depth)
		}
	}
	kinds := types(schema)
	if len(kinds) == 0 {
		return pick(g, []any{"x", true, nil, json.Number("7"), []any{}, map[string]any{}})
	}
	kind := pick(g, kinds)
	if kind == "null" && !g.chance(30) {
		kind = kinds[0]
	}
	switch kind {
	case "string":
		return g.text(schema, name)
	case "integer", "number":
		return g.number(schema, kind == "integer")
	case "boolean":
		return g.chance(50)
	case "array":
		return g.array(schema, name, depth)
	case "object":
		return g.object(schema, depth)
	}
	return nil
}

// maxDepth is how deep optional members are filled in.
const maxDepth = 5

func (g *generator) object(schema map[string]any, depth int) any {
	made := map[string]any{}
	required := list(schema["required"])
	properties := object(schema["properties"])
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if slices.Contains(required, any(name)) || depth < maxDepth && g.chance(55) {
			made[name] = g.value(object(properties[name]), name, depth+1)
		}
	}
	if open, ok := schema["additionalProperties"]; (!ok || open == true) && g.chance(10) {
		made["x_unknown"] = pick(g, []any{json.Number("1"), "y", nil, []any{map[string]any{"z": nil}}})
	}
	return made
}

func (g *generator) array(schema map[string]any, name string, depth int) any {
	least, most := whole(schema["minItems"], 0), whole(schema["maxItems"], 4)
	n := least
	if most > least {
		n += g.IntN(min(most-least, 3) + 1)
	}
	made := []any{}
	for range n {
		v := g.value(object(schema["items"]), strings.TrimSuffix(name, "s"), depth+1)
		if schema["uniqueItems"] == true && slices.ContainsFunc(made, func(o any) bool { return fmt.Sprint(o) == fmt.Sprint(v) }) {
			continue
		}
		made = append(made, v)
	}
	return made
}

func (g *generator) number(schema map[string]any, integer bool) any {
	low, high := whole(schema["minimum"], -1000), whole(schema["maximum"], 100_000)
	n := pick(g, []int{low, high, min(low+1, high), low + g.IntN(max(high-low, 0)+1)})
	if !integer && g.chance(30) && n < high {
		return json.Number(strconv.Itoa(n) + ".5")
	}
	return json.Number(strconv.Itoa(n))
}

func whole(v any, without int) int {
	n, ok := v.(json.Number)
	if !ok {
		return without
	}
	f, err := n.Float64()
	if err != nil || math.Abs(f) > math.MaxInt32 {
		return without
	}
	return int(f)
}

// text makes a string. A name that ends in _id is taken from what is known.
func (g *generator) text(schema map[string]any, name string) string {
	if known := g.pools[name]; len(known) > 0 && g.chance(80) {
		return pick(g, known)
	}
	switch str(schema["format"]) {
	case "uuid":
		return g.uuid()
	case "date-time":
		return time.Unix(g.Int64N(4e9), 0).UTC().Format(time.RFC3339)
	case "date":
		return time.Unix(g.Int64N(2e9), 0).UTC().Format(time.DateOnly)
	}
	if strings.HasSuffix(name, "url") {
		return g.url + "/" + strconv.Itoa(g.IntN(1000))
	}
	if pattern := str(schema["pattern"]); pattern != "" && g.chance(60) {
		if re, err := syntax.Parse(pattern, syntax.Perl); err == nil {
			var b strings.Builder
			g.matching(&b, re.Simplify())
			return b.String()
		}
	}
	least, most := whole(schema["minLength"], 0), whole(schema["maxLength"], 300)
	n := pick(g, []int{least, min(least+1, most), min(most, least+g.IntN(12)), most})
	letters := []rune("abcXYZ 019-_.äß漢😀\"\\/<>&'{}%")
	var b strings.Builder
	for range n {
		b.WriteRune(pick(g, letters))
	}
	return b.String()
}

// matching writes a text that a regular expression takes.
func (g *generator) matching(b *strings.Builder, re *syntax.Regexp) {
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			b.WriteRune(r)
		}
	case syntax.OpCharClass:
		i := g.IntN(len(re.Rune)/2) * 2
		low, high := re.Rune[i], re.Rune[i+1]
		if low < 'A' && high > 'z' && g.chance(80) {
			low, high = 'A', 'Z' // of a class that is nearly everything, what is common
		}
		b.WriteRune(low + g.Int32N(min(high-low, 200)+1))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte('a' + byte(g.IntN(26)))
	case syntax.OpConcat, syntax.OpCapture:
		for _, sub := range re.Sub {
			g.matching(b, sub)
		}
	case syntax.OpAlternate:
		g.matching(b, pick(g, re.Sub))
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest:
		least, most := map[syntax.Op]int{syntax.OpPlus: 1}[re.Op], 3
		if re.Op == syntax.OpQuest {
			most = 1
		}
		for range least + g.IntN(most-least+1) {
			g.matching(b, re.Sub[0])
		}
	}
}

func (g *generator) uuid() string {
	var b [16]byte
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
