package specfuzz

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A call is one request, what was made wrong in it, and what must come of it.
type call struct {
	op     *operation
	method string
	path   string   // escaped
	query  []string // name=value, escaped
	header http.Header
	body   []byte

	fault string // what was made wrong; "" is nothing
	want  want
}

// A want is what must come of a call beside what must come of each.
type want struct {
	valid    bool   // no complaint about form
	statuses []int  // one of these; nil: any that the file has
	pointer  string // a fault of the body here, or around it, or within it
	names    string // a fault that names this parameter
}

// valid makes a call that the file allows.
func (f *fuzzer) valid(o *operation) *call {
	c := &call{op: o, method: o.method, header: http.Header{}, want: want{valid: true}}
	prefix := ""
	if !o.root {
		prefix = pick(f.generator, f.Spec.prefixes)
	}
	path := o.path
	for _, p := range o.params {
		switch p.in {
		case "path":
			path = strings.Replace(path, "{"+p.name+"}", url.PathEscape(f.id(p.name)), 1)
		case "query":
			if f.chance(30) {
				c.query = append(c.query, f.parameter(p))
			}
		}
	}
	c.path = prefix + path
	if !o.open {
		c.header.Set("Authorization", "Bearer "+f.Token)
	}
	c.header.Set("Accept", "application/json")
	if o.body != nil && (o.body.required || f.chance(90)) {
		c.setJSON(f.fitting(o.body))
	}
	return c
}

// id is one that exists, mostly.
func (f *fuzzer) id(name string) string {
	if known := f.pools[name]; len(known) > 0 {
		if f.chance(50) {
			return known[len(known)-1] // most likely what an operation before left in the state that this one needs
		}
		return pick(f.generator, known)
	}
	return f.uuid()
}

// fitting makes a body that the schema takes.
func (f *fuzzer) fitting(b *bodySpec) any {
	for range 20 {
		v := f.value(b.schema, "", 0)
		if b.compiled.Validate(v) == nil {
			return v
		}
	}
	panic(fmt.Sprintf("specfuzz: no value found for the schema %v", b.schema))
}

// parameter is a fitting name=value.
func (f *fuzzer) parameter(p param) string {
	for range 20 {
		v := f.value(p.schema, p.name, 0)
		if all, ok := v.([]any); ok {
			var pairs []string
			for _, one := range all {
				pairs = append(pairs, p.name+"="+url.QueryEscape(fmt.Sprint(one)))
			}
			return strings.Join(pairs, "&")
		}
		if p.compiled.Validate(v) == nil {
			return p.name + "=" + url.QueryEscape(fmt.Sprint(v))
		}
	}
	panic(fmt.Sprintf("specfuzz: no value found for the parameter %s", p.name))
}

func (c *call) setJSON(v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	c.body = text
	c.header.Set("Content-Type", "application/json")
}

// request is the call as net/http would hand it to a handler; nil when
// net/http would refuse the request line itself.
func (c *call) request() *http.Request {
	target := c.path
	if len(c.query) > 0 {
		target += "?" + strings.Join(c.query, "&")
	}
	u, err := url.ParseRequestURI(target)
	if err != nil || strings.ContainsAny(target, " \t\r\n\x7f") {
		return nil
	}
	r := &http.Request{
		Method: c.method, URL: u, RequestURI: target, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: c.header, Body: http.NoBody, Host: "tally.example:8080", RemoteAddr: "192.0.2.1:4000",
	}
	if len(c.body) > 0 {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(c.body)), int64(len(c.body))
	}
	return r
}

// String is the call for a report. Long things are cut.
func (c *call) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", c.method, cut(c.path, 300))
	if len(c.query) > 0 {
		fmt.Fprintf(&b, "?%s", cut(strings.Join(c.query, "&"), 300))
	}
	for _, name := range slices.Sorted(maps.Keys(c.header)) {
		if name != "Accept" && (name != "Authorization" || c.want.statuses != nil) {
			fmt.Fprintf(&b, "\n  %s: %q", name, cut(strings.Join(c.header[name], ", "), 100))
		}
	}
	if len(c.body) > 0 {
		fmt.Fprintf(&b, "\n  %s", cut(fmt.Sprintf("%q", c.body), 1500))
	}
	if c.fault != "" {
		fmt.Fprintf(&b, "\n  made wrong: %s", c.fault)
	}
	return b.String()
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
