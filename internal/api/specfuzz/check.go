package specfuzz

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"

	"github.com/pb33f/jsonschema/v6"
)

// An entry is one error of an answer.
type entry struct {
	Code    int
	Message string
	Source  struct{ Pointer string }
}

// check says what is wrong with an answer; nil is nothing.
func (f *fuzzer) check(c *call, rec *httptest.ResponseRecorder) error {
	if rec.Code >= 500 {
		return fmt.Errorf("a fault of the server")
	}
	if here := f.Spec.match(c.path); here == nil {
		return f.noRoute(c, rec)
	} else if op := servedBy(here, c.method); op == nil {
		return noMethod(here, c.method, rec)
	} else {
		return f.answer(c, op, rec)
	}
}

func servedBy(here []*operation, method string) *operation {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for _, o := range here {
		if o.method == method {
			return o
		}
	}
	return nil
}

// noRoute wants 404 in both dialects. Outside of the API's prefixes the answer
// is a page, and not ours to judge.
func (f *fuzzer) noRoute(c *call, rec *httptest.ResponseRecorder) error {
	if !slices.ContainsFunc(f.Below, func(p string) bool { return strings.HasPrefix(c.path, p) }) {
		if rec.Code < 300 {
			return nil // a page, such as the one at /
		}
		return expect(rec.Code, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusPermanentRedirect)
	}
	_, err := both(rec)
	if err != nil {
		return err
	}
	return expect(rec.Code, http.StatusNotFound)
}

// noMethod wants 405 with the path's methods, or their list for OPTIONS.
func noMethod(here []*operation, method string, rec *httptest.ResponseRecorder) error {
	if here[0].root {
		return expect(rec.Code, http.StatusMethodNotAllowed)
	}
	want := []string{"OPTIONS"}
	for _, o := range here {
		if want = append(want, o.method); o.method == "GET" {
			want = append(want, "HEAD")
		}
	}
	slices.Sort(want)
	if have := rec.Header().Get("Allow"); have != strings.Join(want, ", ") {
		return fmt.Errorf("the header Allow is %q, want %q", have, strings.Join(want, ", "))
	}
	if method == http.MethodOptions {
		return expect(rec.Code, http.StatusNoContent)
	}
	if _, err := both(rec); err != nil {
		return err
	}
	return expect(rec.Code, http.StatusMethodNotAllowed)
}

func expect(have int, want ...int) error {
	if slices.Contains(want, have) {
		return nil
	}
	return fmt.Errorf("status %d, want one of %d", have, want)
}

// answer holds an operation's answer against the file and against what the call
// must come to.
func (f *fuzzer) answer(c *call, op *operation, rec *httptest.ResponseRecorder) error {
	schema, ok := op.answers[fmt.Sprint(rec.Code)]
	if !ok {
		return fmt.Errorf("status %d is not among the answers of %s: %v", rec.Code, op.id, slices.Sorted(maps.Keys(op.answers)))
	}
	if rec.Code < 300 {
		f.done[op.id]++
	}
	if schema == nil { // such as a page, or nothing at all
		return nil
	}
	if op.csv[fmt.Sprint(rec.Code)] && strings.HasPrefix(rec.Header().Get("Content-Type"), "text/csv") {
		return f.table(c, rec)
	}
	if err := headers(rec, op); err != nil {
		return err
	}
	if c.method == http.MethodHead && rec.Body.Len() == 0 {
		return nil
	}
	text, err := plain(rec)
	if err != nil {
		return err
	}
	body, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("the answer is no JSON: %w", err)
	}
	if err := schema.Validate(body); err != nil {
		return fmt.Errorf("not as the file says: %w", err)
	}
	if rec.Code < 300 {
		f.learn(op, body)
		if op.method == http.MethodDelete {
			f.forget(c.path)
		}
		if c.want.statuses != nil || c.want.pointer != "" || c.want.names != "" {
			return fmt.Errorf("the server took it")
		}
		return nil
	}
	entries, err := both(rec)
	if err != nil {
		return err
	}
	return f.judge(c, rec.Code, entries)
}

// table wants a table in CSV, whose lines all have the same fields.
func (f *fuzzer) table(c *call, rec *httptest.ResponseRecorder) error {
	if c.want.statuses != nil || c.want.names != "" {
		return fmt.Errorf("the server took it")
	}
	text, err := plain(rec)
	if err != nil || c.method == http.MethodHead && len(text) == 0 {
		return err
	}
	lines, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err == nil && len(lines) == 0 {
		return fmt.Errorf("the table is empty")
	}
	return err
}

// judge compares an error with what was made wrong. An object that is gone may
// be said first, and so may a state that forbids the whole.
func (f *fuzzer) judge(c *call, status int, entries []entry) error {
	has := func(ok func(entry) bool) bool { return slices.ContainsFunc(entries, ok) }
	if c.want.statuses != nil {
		if first := c.want.statuses[0]; first == http.StatusBadRequest || first == http.StatusRequestEntityTooLarge {
			return expect(status, first, http.StatusNotFound)
		}
		return expect(status, c.want.statuses...)
	}
	if status == http.StatusNotFound || status == http.StatusRequestEntityTooLarge && len(c.body) > maxBody {
		return nil
	}
	switch {
	case c.want.pointer != "":
		if !has(func(e entry) bool { return related(e.Source.Pointer, c.want.pointer) }) {
			return fmt.Errorf("no error points at %s", c.want.pointer)
		}
	case c.want.names != "":
		if !has(func(e entry) bool { return strings.Contains(e.Message, c.want.names) }) {
			return fmt.Errorf("no error names %q", c.want.names)
		}
	case c.want.valid && status == http.StatusBadRequest:
		if has(func(e entry) bool { return e.Source.Pointer != "" && !f.further(c.op.body, e.Source.Pointer) }) {
			return fmt.Errorf("the file allows this request")
		}
	}
	return nil
}

// further reports whether the file says, by x-also at a member or around it,
// that more must hold of it than a schema can say: that it is free, or exists,
// or lies ahead.
func (f *fuzzer) further(b *bodySpec, pointer string) bool {
	if b == nil {
		return false
	}
	schema := f.resolve(b.schema)
	for _, step := range strings.Split(pointer, "/")[1:] {
		if items := object(schema["items"]); items != nil {
			schema = f.resolve(items)
		} else {
			schema = f.resolve(object(object(schema["properties"])[step]))
		}
		if schema["x-also"] != nil {
			return true
		}
	}
	return false
}

// maxBody is what the file says of 413.
const maxBody = 1 << 20

// related reports whether one pointer is the other, or leads through it.
func related(a, b string) bool {
	return a != "" && (a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/"))
}

// plain is an answer's body, uncompressed.
func plain(rec *httptest.ResponseRecorder) ([]byte, error) {
	if rec.Header().Get("Content-Encoding") != "gzip" {
		return rec.Body.Bytes(), nil
	}
	zr, err := gzip.NewReader(rec.Body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(zr)
}

// headers checks what every answer of the API has.
func headers(rec *httptest.ResponseRecorder, op *operation) error {
	if have := rec.Header().Get("Content-Type"); have != "application/json" {
		return fmt.Errorf("the header Content-Type is %q", have)
	}
	if op.root {
		return nil
	}
	if rec.Header().Get("X-Request-Id") == "" {
		return fmt.Errorf("no X-Request-Id")
	}
	for name := range rec.Header() {
		if strings.HasPrefix(name, "Access-Control-") {
			return fmt.Errorf("the API has no CORS, yet answers %s", name)
		}
	}
	return nil
}

// maxError is how large an error may be, whatever was sent: it must not send
// back what it got.
const maxError = 64 << 10

// both reads an error that must be in both dialects (contract 3.2).
func both(rec *httptest.ResponseRecorder) ([]entry, error) {
	var body struct {
		Success  *bool
		Errors   []entry
		Messages []any
		Result   *json.RawMessage
		Error    entry
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
		return nil, fmt.Errorf("the error is no JSON: %w", err)
	}
	switch {
	case rec.Body.Len() > maxError:
		return nil, fmt.Errorf("an error of %d bytes", rec.Body.Len())
	case body.Success == nil || *body.Success || body.Messages == nil || body.Result != nil:
		return nil, fmt.Errorf("the error lacks success, messages or result")
	case len(body.Errors) == 0 || body.Errors[0].Message == "" || body.Error.Message != body.Errors[0].Message || body.Error.Code != body.Errors[0].Code:
		return nil, fmt.Errorf("the error is not in both dialects")
	}
	for _, e := range body.Errors {
		for _, trace := range []string{"goroutine ", ".go:", "runtime error", "sqlite", "SQL", "json:", "strconv", "sql:"} {
			if strings.Contains(e.Message, trace) && !strings.Contains(e.Message, "DROP TABLE") {
				return nil, fmt.Errorf("the error tells of the server's inside: %q", trace)
			}
		}
	}
	return body.Errors, nil
}

// learn keeps the ids that an answer's links name.
func (f *fuzzer) learn(op *operation, body any) {
	for _, l := range op.links {
		v := body
		for _, step := range l.pointer {
			if all, ok := v.([]any); ok && len(all) > 0 {
				v = all[0] // whatever the index says: the newest
				continue
			}
			v = object(v)[step]
		}
		if id := str(v); id != "" {
			f.keep(l.param, id)
			f.follow = append(f.follow, l.to)
		}
	}
}

// forget drops what a path names from what is known: it was deleted.
func (f *fuzzer) forget(path string) {
	for name, pool := range f.pools {
		if f.IDs[name] == "" {
			f.pools[name] = slices.DeleteFunc(pool, func(id string) bool { return strings.Contains(path, id) })
		}
	}
}

// poolSize is how many ids of a kind are remembered; the newest push out the
// oldest, so what was deleted is forgotten.
const poolSize = 12

func (f *fuzzer) keep(name, id string) {
	pool := slices.DeleteFunc(f.pools[name], func(known string) bool { return known == id })
	if len(pool) >= poolSize {
		pool = slices.Delete(pool, 0, 1)
	}
	f.pools[name] = append(pool, id)
}
