package docs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pb33f/jsonschema/v6"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"tally/docs"
	"tally/internal/web/apidocs"
)

// contract is openapi.yaml as JSON values.
func contract(t *testing.T) map[string]any {
	t.Helper()
	d, err := apidocs.Parse(docs.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(d.JSON))
	if err != nil {
		t.Fatal(err)
	}
	return v.(map[string]any)
}

func TestContractIsOpenAPI(t *testing.T) {
	doc, err := libopenapi.NewDocument(docs.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(doc)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, faults := v.ValidateDocument(); !ok {
		for _, f := range faults {
			t.Errorf("%s: %s %v", f.Message, f.Reason, f.SchemaValidationErrors)
		}
	}
}

// visit calls f with every operation of the file.
func visit(root map[string]any, f func(name, path string, item, op map[string]any)) {
	paths := root["paths"].(map[string]any)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		item := paths[path].(map[string]any)
		for _, method := range []string{"get", "put", "post", "delete", "patch"} {
			if op, ok := item[method].(map[string]any); ok {
				f(strings.ToUpper(method)+" "+path, path, item, op)
			}
		}
	}
}

// Every route is told whole: words for people, parameters, and every answer.
func TestContractIsComplete(t *testing.T) {
	root := contract(t)
	ids := map[string]string{}
	visit(root, func(name, path string, item, op map[string]any) {
		for _, word := range []string{"operationId", "summary", "description"} {
			if s, _ := op[word].(string); s == "" {
				t.Errorf("%s: no %s", name, word)
			}
		}
		id, _ := op["operationId"].(string)
		if other := ids[id]; other != "" {
			t.Errorf("%s has the operationId of %s", name, other)
		}
		ids[id] = name
		if summary, _ := op["summary"].(string); strings.HasSuffix(summary, ".") {
			t.Errorf("%s: the summary ends in a full stop", name)
		}
		checkParams(t, root, name, path, item, op)
		checkAnswers(t, root, name, path, op)
	})
}

func checkParams(t *testing.T, root map[string]any, name, path string, item, op map[string]any) {
	t.Helper()
	var inPath []string
	for _, owner := range []map[string]any{item, op} {
		all, _ := owner["parameters"].([]any)
		for _, p := range all {
			p := resolve(t, root, p.(map[string]any))
			if s, _ := p["description"].(string); s == "" {
				t.Errorf("%s: the parameter %s has no description", name, p["name"])
			}
			if p["in"] == "path" {
				inPath = append(inPath, "{"+p["name"].(string)+"}")
			}
		}
	}
	want := regexp.MustCompile(`{[a-z_]+}`).FindAllString(path, -1)
	slices.Sort(want)
	slices.Sort(inPath)
	if !slices.Equal(want, inPath) {
		t.Errorf("%s: parameters %v, want those of the path", name, inPath)
	}
}

func checkAnswers(t *testing.T, root map[string]any, name, path string, op map[string]any) {
	t.Helper()
	answers := op["responses"].(map[string]any)
	if security, ok := op["security"].([]any); !ok || len(security) > 0 {
		want := []string{"401", "403", "405", "429", "500", "503"}
		if strings.Contains(path, "{app_id}") {
			want = append(want, "404")
		}
		if op["requestBody"] != nil {
			want = append(want, "400", "413")
		}
		params, _ := op["parameters"].([]any)
		if slices.ContainsFunc(params, func(p any) bool { return resolve(t, root, p.(map[string]any))["x-ignored"] == nil }) {
			want = append(want, "400")
		}
		for _, status := range want {
			if answers[status] == nil {
				t.Errorf("%s: no answer %s", name, status)
			}
		}
	}
	for status, a := range answers {
		a := resolve(t, root, a.(map[string]any))
		if s, _ := a["description"].(string); s == "" {
			t.Errorf("%s: answer %s has no description", name, status)
		}
		content, _ := a["content"].(map[string]any)
		for kind, media := range content {
			if kind == "application/json" && len(examples(t, root, media.(map[string]any))) == 0 {
				t.Errorf("%s: answer %s has no example", name, status)
			}
		}
	}
	if body, ok := op["requestBody"].(map[string]any); ok {
		media := resolve(t, root, body)["content"].(map[string]any)["application/json"].(map[string]any)
		if len(examples(t, root, media)) == 0 {
			t.Errorf("%s: the body has no example", name)
		}
	}
}

// Every example is what its schema says, wherever it stands.
func TestExamplesAreValid(t *testing.T) {
	root := contract(t)
	c := jsonschema.NewCompiler()
	if err := c.AddResource("file:///openapi.json", root); err != nil {
		t.Fatal(err)
	}
	checked := 0
	var walk func(v any, pointer string)
	walk = func(v any, pointer string) {
		switch v := v.(type) {
		case []any:
			for i, item := range v {
				walk(item, fmt.Sprintf("%s/%d", pointer, i))
			}
		case map[string]any:
			if v["schema"] != nil {
				for name, example := range examples(t, root, v) {
					checked++
					s, err := c.Compile("file:///openapi.json#" + pointer + "/schema")
					if err == nil {
						err = s.Validate(example)
					}
					if err != nil {
						text, _ := json.Marshal(example)
						t.Errorf("%s: example %s: %v\n%s", pointer, name, err, text)
					}
				}
			}
			for name, member := range v {
				if name == "example" || name == "examples" || name == "value" {
					continue
				}
				step := strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
				walk(member, pointer+"/"+strings.NewReplacer("{", "%7B", "}", "%7D").Replace(step))
			}
		}
	}
	walk(root, "")
	if checked < 20 {
		t.Errorf("only %d examples", checked)
	}
}

// examples are those of a media type or a parameter, by name.
func examples(t *testing.T, root map[string]any, media map[string]any) map[string]any {
	t.Helper()
	all := map[string]any{}
	if one, ok := media["example"]; ok {
		all["example"] = one
	}
	named, _ := media["examples"].(map[string]any)
	for name, e := range named {
		all[name] = resolve(t, root, e.(map[string]any))["value"]
	}
	return all
}

func resolve(t *testing.T, root, v map[string]any) map[string]any {
	t.Helper()
	for v["$ref"] != nil {
		var at any = root
		for _, step := range strings.Split(strings.TrimPrefix(v["$ref"].(string), "#/"), "/") {
			at = at.(map[string]any)[strings.NewReplacer("~1", "/", "~0", "~").Replace(step)]
		}
		next, ok := at.(map[string]any)
		if !ok {
			t.Fatalf("%s leads nowhere", v["$ref"])
		}
		v = next
	}
	return v
}

// Every component is used: what nothing refers to is out of date.
func TestNothingIsLeftOver(t *testing.T) {
	for kind, all := range contract(t)["components"].(map[string]any) {
		for name := range all.(map[string]any) {
			if kind != "securitySchemes" && !bytes.Contains(docs.OpenAPI, fmt.Appendf(nil, "#/components/%s/%s\"", kind, name)) {
				t.Errorf("components/%s/%s is used nowhere", kind, name)
			}
		}
	}
}
