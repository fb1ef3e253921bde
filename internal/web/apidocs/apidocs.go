// Package apidocs reads an OpenAPI 3.1 file into what a page of documentation
// shows: routes by tag, each with its parameters, bodies, answers, examples and
// a curl line. It knows as much of OpenAPI as docs/openapi.yaml uses; what it
// does not know is an error, so that nothing of the file goes missing silently.
//
// It does no HTTP and no HTML but for descriptions and lit JSON; internal/web
// has the templates.
package apidocs

import (
	"bytes"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A Document is one OpenAPI file. It is immutable.
type Document struct {
	JSON []byte // the whole file, compact, members in the file's order

	Title, Summary, Version string
	Description             template.HTML
	Servers                 []Server
	Groups                  []Group  // by tag, in the file's order
	Errors                  []Answer // components.responses of status 400 and up, in order of status
}

// A Server is one base URL.
type Server struct{ URL, Description string }

// A Group is the routes of one tag.
type Group struct {
	Name, Slug  string
	Description template.HTML
	Operations  []*Operation
}

// An Operation is one method of one path.
type Operation struct {
	ID, Method, Path string
	Parts            []Part // of Path, for the page to break and mark
	Summary          string
	Description      template.HTML
	Own              bool // not upstream's: the summary says so in the file
	Open             bool // needs no token
	Params           []Param
	Body             *Body
	Answers          []Answer // its own
	Shared           []Answer // those that other operations give too, in order of status
	Curl             string
}

// A Part is a piece of a path: text, or the name of a parameter with its braces.
type Part struct {
	Text  string
	Param bool
}

// A Param is one parameter.
type Param struct {
	Name, In, Type string
	Required       bool
	Description    template.HTML
}

// A Body is what a request or an answer holds.
type Body struct {
	Required bool // of a request
	Type     string
	Fields   []Field
	Examples []Example
}

// A Field is one member of a body; members of members follow it, one deeper.
type Field struct {
	Name, Type  string
	Depth       int
	Required    bool // of requests; answers always have every member, null or not
	Description template.HTML
}

// An Example is one body, pretty-printed and lit.
type Example struct {
	Summary string
	HTML    template.HTML
	compact string
}

// An Answer is one status with what it means and holds.
type Answer struct {
	Status      string
	Title       string // of a shared answer: its name in the file, in words
	Description template.HTML
	Headers     []Field
	Body        *Body
}

// methods in the order in which a page shows them.
var methods = []string{"get", "post", "put", "patch", "delete"}

// A reader walks the file.
type reader struct {
	root *yaml.Node
}

// Parse reads a file. An error names the line.
func Parse(file []byte) (*Document, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(file, &root); err != nil {
		return nil, fmt.Errorf("openapi file: %w", err)
	}
	if len(root.Content) != 1 {
		return nil, fmt.Errorf("openapi file: empty")
	}
	r := &reader{root: root.Content[0]}
	d, err := r.document()
	if err != nil {
		return nil, fmt.Errorf("openapi file: %w", err)
	}
	return d, nil
}

func (r *reader) document() (*Document, error) {
	var b bytes.Buffer
	if err := appendJSON(&b, r.root, 0); err != nil {
		return nil, err
	}
	info := member(r.root, "info")
	d := &Document{
		JSON: b.Bytes(), Title: textOf(info, "title"), Summary: textOf(info, "summary"), Version: textOf(info, "version"),
		Description: prose(textOf(info, "description")),
	}
	for _, s := range items(member(r.root, "servers")) {
		d.Servers = append(d.Servers, Server{textOf(s, "url"), textOf(s, "description")})
	}
	for _, t := range items(member(r.root, "tags")) {
		name := textOf(t, "name")
		d.Groups = append(d.Groups, Group{Name: name, Slug: "tag-" + slug(name), Description: prose(textOf(t, "description"))})
	}
	for path, item := range members(member(r.root, "paths")) {
		for _, method := range methods {
			op := member(item, method)
			if op == nil {
				continue
			}
			if err := r.add(d, path, method, item, op); err != nil {
				return nil, fmt.Errorf("%s %s: %w", strings.ToUpper(method), path, err)
			}
		}
	}
	var err error
	d.Errors, err = r.errors(d)
	return d, err
}

// add puts an operation into the group of its tag.
func (r *reader) add(d *Document, path, method string, item, op *yaml.Node) error {
	o, err := r.operation(path, method, item, op)
	if err != nil {
		return err
	}
	tags := items(member(op, "tags"))
	if len(tags) != 1 {
		return fmt.Errorf("line %d: %d tags, want one", op.Line, len(tags))
	}
	i := slices.IndexFunc(d.Groups, func(g Group) bool { return g.Name == text(tags[0]) })
	if i < 0 {
		return fmt.Errorf("line %d: the tag %q is not among tags", tags[0].Line, text(tags[0]))
	}
	d.Groups[i].Operations = append(d.Groups[i].Operations, o)
	return nil
}

func (r *reader) operation(path, method string, item, op *yaml.Node) (*Operation, error) {
	o := &Operation{
		ID: textOf(op, "operationId"), Method: strings.ToUpper(method), Path: path, Parts: parts(path),
		Description: prose(textOf(op, "description")),
	}
	o.Summary, o.Own = strings.CutSuffix(textOf(op, "summary"), " (Tally's own)")
	security := member(op, "security")
	o.Open = security != nil && len(security.Content) == 0
	for _, p := range append(items(member(item, "parameters")), items(member(op, "parameters"))...) {
		param, err := r.param(p)
		if err != nil {
			return nil, err
		}
		o.Params = append(o.Params, param)
	}
	var err error
	if body := member(op, "requestBody"); body != nil {
		if body, err = r.resolve(body); err != nil {
			return nil, err
		}
		if o.Body, err = r.body(body, true); err != nil {
			return nil, err
		}
		o.Body.Required = textOf(body, "required") == "true"
	}
	for status, answer := range members(member(op, "responses")) {
		shared := strings.HasPrefix(textOf(answer, "$ref"), "#/components/responses/") && status >= "400"
		a, err := r.answer(status, answer)
		if err != nil {
			return nil, err
		}
		if shared {
			o.Shared = append(o.Shared, a)
		} else {
			o.Answers = append(o.Answers, a)
		}
	}
	o.Curl = curl(o)
	return o, nil
}

func (r *reader) param(n *yaml.Node) (Param, error) {
	n, err := r.resolve(n)
	if err != nil {
		return Param{}, err
	}
	kind, schema, err := r.typeOf(member(n, "schema"), 0)
	if err != nil {
		return Param{}, err
	}
	about := textOf(n, "description")
	if about == "" {
		about = textOf(schema, "description")
	}
	return Param{Name: textOf(n, "name"), In: textOf(n, "in"), Type: kind,
		Required: textOf(n, "required") == "true", Description: prose(about)}, nil
}

func (r *reader) answer(status string, n *yaml.Node) (Answer, error) {
	ref := textOf(n, "$ref")
	n, err := r.resolve(n)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Status: status, Title: words(ref[strings.LastIndexByte(ref, '/')+1:]), Description: prose(textOf(n, "description"))}
	for name, h := range members(member(n, "headers")) {
		if name == "X-Request-Id" {
			continue // every answer has it; the introduction says so
		}
		if h, err = r.resolve(h); err != nil {
			return Answer{}, err
		}
		a.Headers = append(a.Headers, Field{Name: name, Description: prose(textOf(h, "description"))})
	}
	if member(n, "content") != nil {
		a.Body, err = r.body(n, false)
	}
	return a, err
}

// body reads the content of a request body or an answer: its fields in JSON,
// where it has several forms, and examples in all of them.
func (r *reader) body(n *yaml.Node, request bool) (*Body, error) {
	content := member(n, "content")
	if content == nil || len(content.Content) < 2 {
		return nil, fmt.Errorf("line %d: want a content type", n.Line)
	}
	b := &Body{}
	media := content.Content[1]
	if in := member(content, jsonType); in != nil {
		media = in
	}
	schema := member(media, "schema")
	var err error
	if b.Type, _, err = r.typeOf(schema, 0); err != nil {
		return nil, err
	}
	if b.Fields, err = r.fields(schema, 0, request); err != nil {
		return nil, err
	}
	if b.Examples, err = r.examples(media); err != nil {
		return nil, err
	}
	for name, other := range members(content) {
		if text := member(other, "example"); other != media && text != nil {
			b.Examples = append(b.Examples, Example{Summary: "In " + name, HTML: template.HTML(template.HTMLEscapeString(text.Value))})
		}
	}
	return b, nil
}

const jsonType = "application/json"

func (r *reader) examples(media *yaml.Node) ([]Example, error) {
	if one := member(media, "example"); one != nil {
		e, err := example("", one)
		return []Example{e}, err
	}
	var all []Example
	for _, n := range members(member(media, "examples")) {
		n, err := r.resolve(n)
		if err != nil {
			return nil, err
		}
		value := member(n, "value")
		if value == nil {
			return nil, fmt.Errorf("line %d: an example without a value", n.Line)
		}
		e, err := example(textOf(n, "summary"), value)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// errors collects the answers that operations share, by status.
func (r *reader) errors(d *Document) ([]Answer, error) {
	var all []Answer
	for _, g := range d.Groups {
		for _, o := range g.Operations {
			for _, a := range o.Shared {
				if !slices.ContainsFunc(all, func(b Answer) bool { return a.Status == b.Status && a.Title == b.Title }) {
					all = append(all, a)
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Answer) int { return strings.Compare(a.Status, b.Status) })
	return all, nil
}

// resolve follows $ref within the file. Description and summary beside a $ref
// are the caller's to read.
func (r *reader) resolve(n *yaml.Node) (*yaml.Node, error) {
	for range 16 {
		ref := member(n, "$ref")
		if ref == nil {
			return n, nil
		}
		at := r.root
		for _, step := range strings.Split(strings.TrimPrefix(ref.Value, "#/"), "/") {
			at = member(at, strings.NewReplacer("~1", "/", "~0", "~").Replace(step))
		}
		if at == nil {
			return nil, fmt.Errorf("line %d: %s leads nowhere", ref.Line, ref.Value)
		}
		n = at
	}
	return nil, fmt.Errorf("line %d: $ref leads in a circle", n.Line)
}
