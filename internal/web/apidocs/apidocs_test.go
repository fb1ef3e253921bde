package apidocs_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tally/docs"
	"tally/internal/web/apidocs"
)

// small is a file with one of everything that the reader knows.
const small = `
openapi: 3.1.0
info: {title: T, version: "1", summary: S, description: "One <p>.\n\nTwo, of ` + "`a && b`" + `.\n\n- x\n- y"}
tags: [{name: Odd Things, description: D}, {name: Unused}]
paths:
  /a/{a_id}/b:
    parameters:
      - {$ref: "#/components/parameters/a_id"}
    post:
      operationId: makeB
      tags: [Odd Things]
      summary: Make
      requestBody:
        content:
          application/json:
            schema: {$ref: "#/components/schemas/B"}
            example: {when: 2026-01-02, it: "it's", n: [1, -2.5, true, null]}
      responses:
        "201":
          description: Made.
          content:
            application/json:
              schema:
                oneOf:
                  - {title: a B, type: object, properties: {deep: {type: array, items: {$ref: "#/components/schemas/B"}}}}
                  - {type: "null"}
              examples:
                first: {summary: the first, value: {deep: []}}
        "400": {$ref: "#/components/responses/BadRequest"}
components:
  parameters:
    a_id: {name: a_id, in: path, required: true, description: An id., schema: {type: string, format: uuid}}
  responses:
    BadRequest: {description: No., headers: {X: {description: Why.}}}
  schemas:
    B:
      type: object
      required: [it]
      properties:
        it: {type: [string, "null"], minLength: 1, maxLength: 255, description: The thing.}
        n: {type: integer, minimum: 0, maximum: 9, default: 3}
        e: {enum: [A, "b", null]}
        many: {type: array, minItems: 1, items: {type: string}}
        none: {const: false}
        m: {$ref: "#/components/schemas/B/properties/n", default: 4}
`

func TestEverythingTheReaderKnows(t *testing.T) {
	d, err := apidocs.Parse([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	if want := "<p>One &lt;p&gt;.</p><p>Two, of <code>a &amp;&amp; b</code>.</p><ul><li>x</li><li>y</li></ul>"; string(d.Description) != want {
		t.Errorf("description %s", d.Description)
	}
	if len(d.Groups) != 2 || d.Groups[0].Slug != "tag-odd-things" || len(d.Groups[0].Operations) != 1 {
		t.Fatalf("groups %+v", d.Groups)
	}
	o := d.Groups[0].Operations[0]
	if want := []apidocs.Param{{Name: "a_id", In: "path", Type: "uuid", Required: true, Description: "<p>An id.</p>"}}; !cmp.Equal(want, o.Params) {
		t.Errorf("parameters %+v", o.Params)
	}
	var fields []string
	for _, f := range o.Body.Fields {
		fields = append(fields, strings.TrimSpace(f.Name+" "+f.Type))
	}
	want := []string{"it string or null, at least 1 character, at most 255 characters", "n integer, 0 to 9, default 3", `e "A" | "b" | null`, "many array of string, at least 1 item", "none false", "m integer, 0 to 9, default 4"}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	if !o.Body.Fields[0].Required || o.Body.Fields[1].Required || o.Body.Required {
		t.Error("what is required is not told")
	}
	curl := `curl -H "Authorization: Bearer $TOKEN" -X POST "$API/a/$A/b" -H "Content-Type: application/json" -d '{"when":"2026-01-02","it":"it'\''s","n":[1,-2.5,true,null]}'`
	if o.Curl != curl {
		t.Errorf("curl is\n%s\nwant\n%s", o.Curl, curl)
	}
	answer := o.Answers[0].Body
	if answer.Type != "a B or null" || answer.Fields[0].Type != "a B" || answer.Fields[1].Depth != 1 || answer.Fields[2].Depth != 2 || answer.Fields[2].Name != "it" {
		t.Errorf("answer %+v", answer)
	}
	if e := answer.Examples[0]; e.Summary != "the first" || string(e.HTML) != "{\n  <b>&#34;deep&#34;</b>: []\n}" {
		t.Errorf("example %+v", e)
	}
	if len(d.Errors) != 1 || d.Errors[0].Title != "Bad request" || d.Errors[0].Headers[0].Name != "X" || len(o.Shared) != 1 {
		t.Errorf("errors %+v", d.Errors)
	}
}

func TestFaultsOfAFileAreNamed(t *testing.T) {
	for what, change := range map[string][2]string{
		"leads nowhere":     {"#/components/schemas/B", "#/components/schemas/C"},
		"is not among tags": {"tags: [Odd Things]", "tags: [Even Things]"},
		"2 tags":            {"tags: [Odd Things]", "tags: [Odd Things, Unused]"},
		"without a value":   {"value: {deep: []}", "valu: 1"},
		"circle":            {"    B:\n      type: object", "    B:\n      $ref: \"#/components/schemas/B\""},
		"yaml:":             {"openapi: 3.1.0", "openapi: {"},
	} {
		_, err := apidocs.Parse([]byte(strings.Replace(small, change[0], change[1], 1)))
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestJSONKeepsTheFilesOrder(t *testing.T) {
	d, err := apidocs.Parse(docs.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(d.JSON) || !strings.HasPrefix(string(d.JSON), `{"openapi":"3.1.0","info":{"title":"Tally","version":"1"`) {
		t.Errorf("%.100s", d.JSON)
	}
	for _, g := range d.Groups {
		for _, o := range g.Operations {
			if len(o.Answers) == 0 || o.Curl == "" {
				t.Errorf("%s: no answer of its own", o.ID)
			}
		}
	}
}
