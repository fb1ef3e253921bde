// Package specfuzz sends an API what its OpenAPI file allows and what it does
// not allow, and holds every answer against the file. It knows nothing of Tally
// but its two error dialects: operations, parameters, bodies, ids (by the
// file's links) and answers all come from the file, so a new route is fuzzed as
// soon as it is documented.
//
// One request is a valid one with at most one thing made wrong. Because the
// thing is known, so is what must come of it: see check.go. Everything follows
// from a seed.
//
// It is a tool of tests; no part of the product imports it.
package specfuzz

import (
	"bytes"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/pb33f/jsonschema/v6"
)

// A Spec is an OpenAPI 3.1 file, ready to generate from and to validate with.
type Spec struct {
	root       map[string]any
	prefixes   []string // of every path, such as /client/v4 and ""
	operations []*operation
}

// An operation is one method of one path.
type operation struct {
	id, method, path string
	params           []param
	body             *bodySpec
	answers          map[string]*jsonschema.Schema // by status; nil: no body
	csv              map[string]bool               // statuses that may be answered in CSV too
	links            []link
	open             bool // needs no token
	root             bool // served without a prefix
}

type param struct {
	name, in string
	schema   map[string]any
	compiled *jsonschema.Schema
	ignored  bool // x-ignored: whatever it says, nothing comes of it
}

type bodySpec struct {
	schema   map[string]any
	compiled *jsonschema.Schema
	required bool
}

// A link says that an answer of one operation holds what another's path names.
type link struct {
	to      string   // that operation's id
	param   string   // such as livestream_id
	pointer []string // into the answer's body
}

// methods that OpenAPI knows and the file may use.
var methods = []string{"get", "put", "post", "delete", "patch"}

// Load reads a file in JSON. Any schema that cannot be compiled is an error.
func Load(file []byte) (*Spec, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	root, ok := doc.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the file is no object")
	}
	l := &loader{root: root, compiler: jsonschema.NewCompiler()}
	if err := l.compiler.AddResource(fileURL, doc); err != nil {
		return nil, err
	}
	s := &Spec{root: root}
	for _, server := range list(root["servers"]) {
		s.prefixes = append(s.prefixes, strings.TrimRight(str(object(server)["url"]), "/"))
	}
	paths := object(root["paths"])
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		item := object(paths[path])
		for _, method := range methods {
			if item[method] == nil {
				continue
			}
			o, err := l.operation(path, method, item)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", strings.ToUpper(method), path, err)
			}
			s.operations = append(s.operations, o)
		}
	}
	return s, nil
}

// fileURL names the file inside the schema compiler.
const fileURL = "file:///openapi.json"

type loader struct {
	root     map[string]any
	compiler *jsonschema.Compiler
}

// at is a value of the file and the JSON pointer to it.
type at struct {
	value   map[string]any
	pointer string
}

func (a at) member(name string) at {
	return at{object(a.value[name]), a.pointer + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)}
}

func (a at) item(name string, i int) at {
	return at{object(list(a.value[name])[i]), fmt.Sprintf("%s/%s/%d", a.pointer, name, i)}
}

// resolve follows a $ref.
func (l *loader) resolve(a at) (at, error) {
	for range 16 {
		ref := str(a.value["$ref"])
		if ref == "" {
			return a, nil
		}
		to := at{value: l.root}
		for _, step := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
			to = to.member(strings.NewReplacer("~1", "/", "~0", "~").Replace(step))
		}
		if to.value == nil {
			return a, fmt.Errorf("%s leads nowhere", ref)
		}
		a = to
	}
	return a, fmt.Errorf("%s: $ref leads in a circle", a.pointer)
}

func (l *loader) compile(a at) (*jsonschema.Schema, error) {
	if a.value == nil {
		return nil, nil
	}
	return l.compiler.Compile(fileURL + "#" + strings.NewReplacer("{", "%7B", "}", "%7D").Replace(a.pointer))
}

func (l *loader) operation(path, method string, item map[string]any) (*operation, error) {
	here := at{l.root, ""}.member("paths").member(path)
	op := here.member(method)
	o := &operation{id: str(op.value["operationId"]), method: strings.ToUpper(method), path: path, answers: map[string]*jsonschema.Schema{}, csv: map[string]bool{}}
	if security, ok := op.value["security"].([]any); ok {
		o.open = len(security) == 0
	}
	o.root = item["servers"] != nil || op.value["servers"] != nil
	for _, owner := range []at{here, op} {
		for i := range list(owner.value["parameters"]) {
			p, err := l.param(owner.item("parameters", i))
			if err != nil {
				return nil, err
			}
			o.params = append(o.params, p)
		}
	}
	if op.value["requestBody"] != nil {
		body, err := l.resolve(op.member("requestBody"))
		if err != nil {
			return nil, err
		}
		schema := body.member("content").member("application/json").member("schema")
		compiled, err := l.compile(schema)
		if err != nil {
			return nil, err
		}
		o.body = &bodySpec{schema.value, compiled, body.value["required"] == true}
	}
	return o, l.answers(o, op.member("responses"))
}

func (l *loader) param(a at) (param, error) {
	a, err := l.resolve(a)
	if err != nil {
		return param{}, err
	}
	schema := a.member("schema")
	compiled, err := l.compile(schema)
	return param{str(a.value["name"]), str(a.value["in"]), schema.value, compiled, a.value["x-ignored"] == true}, err
}

func (l *loader) answers(o *operation, responses at) error {
	for _, status := range slices.Sorted(maps.Keys(responses.value)) {
		a, err := l.resolve(responses.member(status))
		if err != nil {
			return err
		}
		o.csv[status] = a.member("content").member("text/csv").value != nil
		if o.answers[status], err = l.compile(a.member("content").member("application/json").member("schema")); err != nil {
			return err
		}
		links := object(a.value["links"])
		for _, title := range slices.Sorted(maps.Keys(links)) {
			params := object(object(links[title])["parameters"])
			for _, name := range slices.Sorted(maps.Keys(params)) {
				expr := params[name]
				pointer, ok := strings.CutPrefix(str(expr), "$response.body#/")
				if !ok {
					return fmt.Errorf("link %v: want $response.body#/ and a pointer", expr)
				}
				o.links = append(o.links, link{str(object(links[title])["operationId"]), name, strings.Split(pointer, "/")})
			}
		}
	}
	return nil
}

// match finds the operations of the path that a request's path means; nil when
// there is none. A word beats a parameter in the same place for good, so that
// "sessions" is no livestream, whatever follows.
func (s *Spec) match(escaped string) []*operation {
	for _, prefix := range s.prefixes {
		rest, ok := strings.CutPrefix(escaped, prefix+"/")
		if !ok {
			continue
		}
		left := slices.Clone(s.operations)
		left = slices.DeleteFunc(left, func(o *operation) bool { return o.root && prefix != "" })
		segments := strings.Split(rest, "/")
		for i, segment := range segments {
			if segment, ok = unescape(segment); !ok {
				return nil
			}
			left = narrow(left, i+1, segment)
		}
		left = slices.DeleteFunc(left, func(o *operation) bool { return strings.Count(o.path, "/") != len(segments) })
		if len(left) > 0 {
			return left
		}
	}
	return nil
}

// narrow keeps the operations that have the segment at i of their path: as a
// word, or where none has it so, as a parameter.
func narrow(all []*operation, i int, segment string) []*operation {
	var words, params []*operation
	for _, o := range all {
		switch steps := strings.Split(o.path, "/"); {
		case i >= len(steps):
		case steps[i] == segment:
			words = append(words, o)
		case strings.HasPrefix(steps[i], "{"):
			params = append(params, o)
		}
	}
	if words != nil {
		return words
	}
	return params
}

// unescape takes a segment of a path; what moves within a path, or hides a
// slash, is in no route.
func unescape(segment string) (string, bool) {
	s, err := url.PathUnescape(segment)
	return s, err == nil && s != "" && s != "." && s != ".." && !strings.Contains(s, "/")
}

func object(v any) map[string]any { m, _ := v.(map[string]any); return m }
func list(v any) []any            { l, _ := v.([]any); return l }
func str(v any) string            { s, _ := v.(string); return s }
