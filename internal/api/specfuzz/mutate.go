package specfuzz

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// mutate makes at most one thing of a valid call wrong.
func (f *fuzzer) mutate(c *call) {
	switch n := f.IntN(100); {
	case n < 25:
		return
	case n < 50 && c.op.body != nil:
		f.wrongMember(c)
	case n < 60 && c.op.body != nil:
		f.wrongText(c)
	case n < 75:
		f.wrongQuery(c)
	case n < 87:
		f.wrongPath(c)
	case n < 91:
		f.wrongMethod(c)
	case n < 96:
		f.wrongToken(c)
	default:
		f.oddHeader(c)
	}
}

// place is a value in a body with the schema it must fit.
type place struct {
	pointer string
	schema  map[string]any
	set     func(v any)
	remove  func() // nil: nothing to remove
}

// places lists what is in a body. For a choice of schemas it lists nothing
// below: which one is meant is not known.
func (f *fuzzer) places(v any, schema map[string]any, pointer string) []place {
	schema = f.resolve(schema)
	var all []place
	switch v := v.(type) {
	case map[string]any:
		properties := object(schema["properties"])
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			inner := object(properties[name])
			p := place{pointer + "/" + name, inner, func(n any) { v[name] = n }, func() { delete(v, name) }}
			all = append(all, p)
			if had, ok := v[name]; ok {
				all = append(all, f.places(had, inner, p.pointer)...)
			}
		}
	case []any:
		for i := range v {
			all = append(all, place{fmt.Sprintf("%s/%d", pointer, i), object(schema["items"]), func(n any) { v[i] = n }, nil})
		}
	}
	return all
}

// wrongMember makes one member of the body one that its schema does not take.
func (f *fuzzer) wrongMember(c *call) {
	body := f.fitting(c.op.body)
	places := f.places(body, c.op.body.schema, "")
	if len(places) == 0 {
		return
	}
	p := pick(f.generator, places)
	if p.remove != nil && f.chance(15) {
		p.remove()
		c.fault = "no " + p.pointer
	} else {
		v := f.unfit(f.resolve(p.schema))
		p.set(v)
		c.fault = fmt.Sprintf("%s is %s", p.pointer, cut(fmt.Sprintf("%#v", v), 60))
	}
	c.setJSON(body)
	if c.op.body.compiled.Validate(body) != nil {
		c.want = want{pointer: p.pointer}
	} else {
		c.fault += " (which the schema takes)"
	}
}

// unfit is a value that a schema probably does not take.
func (f *fuzzer) unfit(schema map[string]any) any {
	numbers := []any{json.Number("-1"), json.Number("0.5"), json.Number("1e300"), json.Number("99999999999999999999"), json.Number("-9223372036854775808"), json.Number("1e-7")}
	if schema["minimum"] != nil {
		numbers = append(numbers, json.Number(fmt.Sprint(whole(schema["minimum"], 0)-1)))
	}
	if schema["maximum"] != nil {
		numbers = append(numbers, json.Number(fmt.Sprint(whole(schema["maximum"], 0)+1)))
	}
	texts := []any{"", " ", "NOPE", "null", "\u0001", "\u007f", "\u0085", "a\nb", "../../etc/passwd", "'; DROP TABLE livestreams; --", "\u202e\ufeff", "\U0010ffff", "%00", "${x}"}
	if most := whole(schema["maxLength"], 0); most > 0 {
		texts = append(texts, strings.Repeat("a", most+1), strings.Repeat("ä", most+1), strings.Repeat("😀", most+1))
	}
	if f.chance(3) {
		texts = []any{strings.Repeat("x", 1<<20-200), strings.Repeat("\u0001", 100_000)}
	}
	others := []any{nil, true, []any{}, []any{nil}, []any{"x", json.Number("1")}, map[string]any{}, map[string]any{"x": map[string]any{"y": nil}}}
	return pick(f.generator, pick(f.generator, [][]any{numbers, texts, others}))
}

// wrongText makes the body's text wrong, below what a schema sees.
func (f *fuzzer) wrongText(c *call) {
	text, err := json.Marshal(f.fitting(c.op.body))
	if err != nil {
		panic(err)
	}
	inside := func(member string) []byte { // one more member, at the end
		head := slices.Clone(bytes.TrimSuffix(text, []byte("}")))
		if len(head) > 1 {
			head = append(head, ',')
		}
		return append(append(head, member...), '}')
	}
	bad := []struct {
		what string
		text []byte
	}{
		{"a NUL escape", inside(`"x_nul":"a\u0000b"`)},
		{"a NUL byte", inside("\"x_nul\":\"a\x00b\"")},
		{"invalid UTF-8", inside("\"x_utf\":\"\xff\xfe\"")},
		{"an overlong encoding", inside("\"x_utf\":\"\xc0\xaf\"")},
		{"an encoded surrogate", inside("\"x_utf\":\"\xed\xa0\x80\"")},
		{"half of a surrogate pair", inside(`"x_half":"\ud800"`)},
		{"the other half", inside(`"x_half":"\udc00x"`)},
		{"halves in the wrong order", inside(`"x_half":"\udc00\ud800"`)},
		{"a name twice", inside(`"x_twice":1,"x_twice":1`)},
		{"a name twice, once escaped", inside(`"x_twice":1,"\u0078_twice":1`)},
		{"33 levels", inside(`"x_deep":` + strings.Repeat("[", 32) + strings.Repeat("]", 32))},
		{"100,000 levels", inside(`"x_deep":` + strings.Repeat(`[`, 100_000))},
		{"objects 5,000 deep", inside(`"x_deep":` + strings.Repeat(`{"a":`, 5_000) + "1" + strings.Repeat("}", 5_000))},
		{"an early end", text[:len(text)-1]},
		{"something after it", append(slices.Clone(text), " {}"...)},
		{"a comma too many", inside(`"x":1,`)},
		{"a comment", inside(`"x":1/* y */`)},
		{"single quotes", inside(`'x':1`)},
		{"NaN", inside(`"x":NaN`)},
		{"a byte order mark", append([]byte("\ufeff"), text...)},
		{"an array", []byte("[]")}, {"text", []byte(`"x"`)}, {"null", []byte("null")}, {"a number", []byte("7")},
		{"a form", []byte("name=x&y=z")}, {"XML", []byte("<name>x</name>")}, {"UTF-16", []byte("\xff\xfe{\x00}\x00")},
	}
	b := pick(f.generator, bad)
	c.fault, c.body, c.want = "the body has "+b.what, b.text, want{statuses: []int{http.StatusBadRequest}}
	if f.chance(2) {
		c.fault, c.body = "the body is larger than 1 MB", inside(`"x_large":"`+strings.Repeat("x", 1<<20)+`"`)
		c.want.statuses = []int{http.StatusRequestEntityTooLarge}
	}
	c.header.Set("Content-Type", "application/json")
}

// wrongQuery makes one parameter of the query wrong, or the whole.
func (f *fuzzer) wrongQuery(c *call) {
	var declared []param
	for _, p := range c.op.params {
		if p.in == "query" {
			declared = append(declared, p)
		}
	}
	if len(declared) == 0 || f.chance(10) {
		odd := pick(f.generator, []string{"x_unknown=1", "x=" + strings.Repeat("y", 5000), "=", "&&", "a[]=1", "a[b]=1", "%F0%9F%98%80=1", "x=%00", "x=%ff"})
		c.query = append(c.query, odd)
		c.fault = "a query that nobody asked for: " + cut(odd, 60)
		return
	}
	p := pick(f.generator, declared)
	c.query = slices.DeleteFunc(c.query, func(q string) bool { return strings.HasPrefix(q, p.name+"=") })
	if f.chance(8) {
		c.query = append(c.query, p.name+pick(f.generator, []string{"=%zz", "=%", ";x=1", "=1;2"}))
		c.fault, c.want = "a query that cannot be read", want{statuses: []int{http.StatusBadRequest}}
		if p.ignored {
			c.want = want{}
		}
		return
	}
	if array := slices.Contains(types(f.resolve(p.schema)), "array"); f.chance(12) && !array {
		one := f.parameter(p)
		c.query = append(c.query, one, one)
		c.fault, c.want = p.name+" twice", want{names: p.name}
		if p.ignored {
			c.want = want{}
		}
		return
	}
	v := pick(f.generator, []string{"-1", "1.5", "1e3", "abc", "+1", "0x10", "٣", "99999999999999999999999", "true", "TRUE", "yes", "NOPE", "null", "\x00", "\xff\xfe",
		"2026-13-45", "2026-01-01T25:00:00Z", "-9999999999999", "1969-12-31", "{}", "a,b", strings.Repeat("9", 4000), strings.Repeat("z", 9000), "' OR 1=1", "\u0085", "💥"})
	c.query = append(c.query, p.name+"="+url.QueryEscape(v))
	c.fault, c.want = fmt.Sprintf("%s is %q", p.name, cut(v, 40)), want{}
	if f.surelyWrong(p, v) {
		c.want = want{names: p.name}
	}
}

// surelyWrong reports whether no reading of a query's text fits a parameter. A
// query has no types, so only what is a number or one of a few words can be
// judged.
func (f *fuzzer) surelyWrong(p param, v string) bool {
	schema := f.resolve(p.schema)
	if enum := list(schema["enum"]); enum != nil {
		return !slices.ContainsFunc(enum, func(e any) bool { return strings.EqualFold(fmt.Sprint(e), v) })
	}
	kinds := types(schema)
	if len(kinds) != 1 {
		return false
	}
	if kinds[0] == "array" {
		return f.surelyWrong(param{name: p.name, schema: object(schema["items"])}, v)
	}
	switch kinds[0] {
	case "integer":
		var n json.Number
		if json.Unmarshal([]byte(v), &n) != nil || strings.ContainsAny(v, ".eE\"") {
			return true
		}
		return p.compiled != nil && p.compiled.Validate(n) != nil
	case "boolean":
		return v != "true" && v != "false"
	}
	return false
}

// wrongPath makes one parameter of the path wrong, or the path itself.
func (f *fuzzer) wrongPath(c *call) {
	segments := strings.Split(c.path, "/")
	var ids []int
	offset := len(segments) - len(strings.Split(c.op.path, "/"))
	for i, s := range strings.Split(c.op.path, "/") {
		if strings.HasPrefix(s, "{") {
			ids = append(ids, i+offset)
		}
	}
	c.want = want{}
	if len(ids) == 0 || f.chance(25) {
		c.path = pick(f.generator, []string{c.path + "/", c.path + "/x", "/" + c.path, strings.Replace(c.path, "/", "//", 3), c.path + "/..", c.path + "/.", c.path + "/../x",
			c.path + "%2f", c.path + "%00", c.path + ";x", strings.ToUpper(c.path), "/client/v4" + c.path, c.path + "/%2e%2e/x", "/client/v4/../v4" + c.path, strings.Replace(c.path, "/realtime/", "/%72ealtime/", 1)})
		c.fault = "the path"
		return
	}
	i := pick(f.generator, ids)
	old := segments[i]
	odd := pick(f.generator, []string{f.uuid(), "x", "sessions", "all", "apps", "..", ".", "%2e%2e", "%2e", "a%2fb", "..%2f..%2fapps", "%00", "%ff%fe", "%F0%9F%98%80", "0", "-1", "null", "undefined", "{id}",
		"%20", old + "%20", old + "%00", old + "%2f", old + "%0a", strings.ToUpper(old), old + "x", strings.Repeat("a", 8000), "%25", "%25%30%30", "'", "%22%3E%3Cscript%3E", "*", old + ";a=b", "+"})
	segments[i] = odd
	c.path = strings.Join(segments, "/")
	c.fault = "an id in the path is " + cut(odd, 60)
}

// wrongMethod uses a method that the file does not have for this path, HEAD, or
// OPTIONS.
func (f *fuzzer) wrongMethod(c *call) {
	c.method = pick(f.generator, []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "get", "FOO", "PROPFIND", "QUERY"})
	c.fault, c.want = "the method", want{}
}

// wrongToken calls as somebody else, or as nobody.
func (f *fuzzer) wrongToken(c *call) {
	if c.op.open {
		c.header.Set("Authorization", "Bearer x")
		c.fault = "a token where none is needed"
		return
	}
	unauthorized := want{statuses: []int{http.StatusUnauthorized}}
	if len(f.Strangers) > 0 && f.chance(60) {
		s := pick(f.generator, f.Strangers)
		c.header.Set("Authorization", "Bearer "+s.Token)
		c.fault, c.want = "the token is "+s.Name, want{}
		if (!s.WritesOnly || c.method != "GET") && (!s.AppsOnly || strings.Contains(c.op.path, "{app_id}")) {
			c.want.statuses = []int{s.Status}
		}
		return
	}
	odd := pick(f.generator, []string{"", "Bearer", "Bearer ", "Bearer x", "Basic " + f.Token, f.Token, "Bearer " + f.Token + "x", "Bearer " + f.Token[:len(f.Token)-1], "Bearer \x00", "Bearer " + strings.Repeat("x", 20_000), "Bearer \xff", "Bearer a b"})
	c.header["Authorization"] = []string{odd}
	if odd == "" && f.chance(50) {
		delete(c.header, "Authorization")
	}
	c.fault, c.want = fmt.Sprintf("Authorization: %q", cut(strings.ReplaceAll(odd, f.Token, "TOKEN"), 60)), unauthorized
}

// oddHeader sets one header that changes nothing, or makes the body unreadable.
func (f *fuzzer) oddHeader(c *call) {
	odd := pick(f.generator, [][2]string{
		{"Content-Type", "text/plain"}, {"Content-Type", "application/xml"}, {"Content-Type", "multipart/form-data; boundary=x"}, {"Content-Type", ""}, {"Content-Type", "application/json; charset=utf-16"},
		{"Content-Type", "application/json;;;"}, {"Content-Type", "\x00"}, {"Content-Type", "application/json; charset=UTF-8"}, {"Content-Type", "application/x-www-form-urlencoded"}, {"Content-Encoding", "gzip"}, {"Content-Encoding", "br"},
		{"X-Stainless-Retry-Count", "1"}, {"X-Stainless-Retry-Count", "2"}, {"X-Stainless-Retry-Count", "-1"}, {"X-Stainless-Retry-Count", "x"}, {"X-Stainless-Retry-Count", "99999999999999999999"},
		{"Accept", "text/html"}, {"Accept", "\xff"}, {"Accept-Encoding", "gzip"}, {"If-None-Match", "*"}, {"Range", "bytes=0-1"}, {"Expect", "200-ok"}, {"X-HTTP-Method-Override", "DELETE"},
		{"X-Forwarded-For", "127.0.0.1"}, {"X-Forwarded-Host", "evil.example\""}, {"X-Forwarded-Proto", "javascript"}, {"Forwarded", "for=x;host=y"}, {"Origin", "https://evil.example"}, {"Cookie", strings.Repeat("a=b;", 2000)},
		{"X-Auth-Key", "x"}, {"X-Request-Id", "mine\x00"},
	})
	c.header.Set(odd[0], odd[1])
	c.fault, c.want = fmt.Sprintf("%s: %q", odd[0], cut(odd[1], 40)), want{}
}
