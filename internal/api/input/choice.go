package input

import (
	"encoding/json"
	"slices"
	"strings"
)

// Choice reads an optional word, one of some; ok is false when there is none, or
// when it is another. null is none of them.
func (o Object) Choice(name string, words ...string) (word string, ok bool) {
	raw, ok := o.members[name]
	if !ok {
		return "", false
	}
	if string(raw) == "null" || json.Unmarshal(raw, &word) != nil || !slices.Contains(words, word) {
		o.Fault(name, "must be %s", oneOf(words))
		return "", false
	}
	return word, true
}

// Choice reads one of some words; "" when it is absent or empty.
func (p *Query) Choice(name string, words ...string) string {
	v := p.one(name)
	if v != "" && !slices.Contains(words, v) {
		p.fault("%q must be %s", name, oneOf(words))
		return ""
	}
	return v
}

// oneOf is a list of words for a sentence.
func oneOf(words []string) string {
	last := len(words) - 1
	return strings.TrimPrefix(strings.Join(words[:last], ", ")+" or "+words[last], " or ")
}
