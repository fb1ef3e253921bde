package specfuzz_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"tally/internal/api/specfuzz"
)

// small is an API of two routes.
const small = `{
"servers": [{"url": "/v1"}, {"url": "/"}],
"paths": {
  "/things": {"post": {"operationId": "make",
    "requestBody": {"required": true, "content": {"application/json": {"schema": {"type": "object", "additionalProperties": false, "required": ["name"], "properties": {
      "name": {"type": "string", "maxLength": 5, "pattern": "^[^\\x00-\\x1f\\x7f-\\x9f]*$"}, "n": {"type": "integer", "minimum": 1, "maximum": 9}}}}}},
    "responses": {
      "201": {"links": {"read": {"parameters": {"thing_id": "$response.body#/data/id"}}}, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Made"}}}},
      "400": {"$ref": "#/components/responses/Fault"}, "401": {"$ref": "#/components/responses/Fault"}, "413": {"$ref": "#/components/responses/Fault"}}}},
  "/things/{thing_id}": {"parameters": [{"name": "thing_id", "in": "path", "required": true, "schema": {"type": "string"}}],
    "get": {"operationId": "read", "parameters": [{"name": "page", "in": "query", "schema": {"type": "integer", "minimum": 0}}],
    "responses": {
      "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Made"}}}},
      "400": {"$ref": "#/components/responses/Fault"}, "401": {"$ref": "#/components/responses/Fault"}, "404": {"$ref": "#/components/responses/Fault"}}}}},
"components": {
  "responses": {"Fault": {"content": {"application/json": {"schema": {"type": "object"}}}}},
  "schemas": {"Made": {"type": "object", "additionalProperties": false, "required": ["success", "data"], "properties": {"success": {"const": true},
    "data": {"type": "object", "additionalProperties": false, "required": ["id", "name"], "properties": {"id": {"type": "string"}, "name": {"type": "string"}}}}}}}
}`

const token = "secret-token"

// things is a server of the two routes. fault makes it a wrong one.
type things struct{ fault string }

func (s things) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Request-Id", "1")
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/v1")
	id, isThing := strings.CutPrefix(path, "/things/")
	isThing = isThing && id != "" && id != "." && id != ".." && !strings.Contains(id, "/") && !strings.Contains(strings.ToLower(id), "%2")
	switch {
	case path != "/things" && !isThing:
		fail(w, 404, "no route", "")
	case path == "/things" && r.Method != "POST", isThing && r.Method != "GET" && r.Method != "HEAD":
		w.Header().Set("Allow", map[bool]string{true: "GET, HEAD, OPTIONS", false: "OPTIONS, POST"}[isThing])
		if r.Method == "OPTIONS" {
			w.WriteHeader(204)
		} else {
			fail(w, 405, "method", "")
		}
	case r.Header.Get("Authorization") != "Bearer "+token && s.fault != "no token asked for":
		fail(w, 401, "token", "")
	case isThing:
		s.read(w, r, id)
	default:
		s.make(w, r)
	}
}

func (s things) read(w http.ResponseWriter, r *http.Request, id string) {
	q := r.URL.Query()
	if page, ok := q["page"]; s.fault != "query unread" && (ok && (len(page) > 1 || strings.Trim(page[0], "0123456789") != "") || strings.ContainsAny(r.URL.RawQuery, ";%")) {
		fail(w, 400, `"page" is wrong`, "")
	} else if id != "t1" {
		fail(w, 404, "no such thing", "")
	} else {
		s.answer(w, 200, "x")
	}
}

func (s things) make(w http.ResponseWriter, r *http.Request) {
	data, _ := io.ReadAll(r.Body)
	var body struct {
		Name *string
		N    *int
	}
	err := json.Unmarshal(data, &body)
	bad := strings.Contains(string(data), "x_") || len(data) > 0 && data[0] != '{' || strings.Count(string(data), "{") > 1000
	switch {
	case s.fault == "panic" && body.N != nil && *body.N == 9:
		panic("nine")
	case s.fault == "500" && err != nil:
		fail(w, 500, "fault", "")
	case len(data) > 1<<20:
		fail(w, 413, "large", "")
	case s.fault == "bound unchecked" && body.Name != nil && len([]rune(*body.Name)) == 6:
		s.answer(w, 201, *body.Name)
	case s.fault == "no pointer" && (body.Name == nil || len(*body.Name) > 5):
		fail(w, 400, "name", "")
	case err != nil, bad, body.Name == nil, len([]rune(*body.Name)) > 5, strings.ContainsFunc(*body.Name, func(c rune) bool { return c < 32 || c >= 127 && c < 160 }),
		body.N != nil && (*body.N < 1 || *body.N > 9), strings.Contains(string(data), `"n":null`):
		fail(w, 400, "name or n", "/name", "/n")
	case s.fault == "too strict" && body.N != nil && *body.N == 1:
		fail(w, 400, "n", "/n")
	default:
		s.answer(w, 201, *body.Name)
	}
}

func (s things) answer(w http.ResponseWriter, status int, name string) {
	w.WriteHeader(status)
	data := map[string]any{"id": "t1", "name": name}
	if s.fault == "undeclared member" {
		data["more"] = 1
	}
	json.NewEncoder(w).Encode(map[string]any{"success": true, "data": data})
}

// fail answers in both dialects, with an entry for each pointer.
func fail(w http.ResponseWriter, status int, text string, pointers ...string) {
	var entries []map[string]any
	for _, p := range pointers {
		entry := map[string]any{"code": status, "message": text}
		if p != "" {
			entry["source"] = map[string]any{"pointer": p}
		}
		entries = append(entries, entry)
	}
	if entries == nil {
		entries = []map[string]any{{"code": status, "message": text}}
	}
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"success": false, "errors": entries, "messages": []any{}, "result": nil, "error": map[string]any{"code": status, "message": text}})
}

func run(t *testing.T, h http.Handler, n int) specfuzz.Report {
	t.Helper()
	spec, err := specfuzz.Load([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	return specfuzz.Run(specfuzz.Config{Spec: spec, Handler: h, Token: token, Seed: 1, Below: []string{"/"}}, n)
}

func TestRightServerHasNoFindings(t *testing.T) {
	report := run(t, things{}, 5000)
	for _, f := range report.Findings {
		t.Error(f)
	}
	if len(report.Unproven) > 0 || report.Requests < 4500 {
		t.Errorf("%s; never 2xx: %q", report.Table(), report.Unproven)
	}
}

func TestWrongServersAreFound(t *testing.T) {
	for fault, problem := range map[string]string{
		"panic":              "panic: nine",
		"500":                "a fault of the server",
		"undeclared member":  "not as the file says",
		"bound unchecked":    "the server took it",
		"no pointer":         "no error points at /name",
		"too strict":         "the file allows this request",
		"query unread":       "the server took it",
		"no token asked for": "the server took it",
	} {
		t.Run(fault, func(t *testing.T) {
			report := run(t, things{fault}, 3000)
			for _, f := range report.Findings {
				if strings.Contains(f.Problem, problem) {
					return
				}
			}
			t.Errorf("not found: %v", report.Findings)
		})
	}
}

func TestSeedRepeats(t *testing.T) {
	var seen [2][]string
	for i := range seen {
		run(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			seen[i] = append(seen[i], fmt.Sprint(r.Method, r.URL, len(body), r.Header))
			things{}.ServeHTTP(w, r.Clone(r.Context()))
		}), 500)
	}
	if len(seen[0]) == 0 || strings.Join(seen[0], "\n") != strings.Join(seen[1], "\n") {
		t.Error("the same seed made other requests")
	}
}
