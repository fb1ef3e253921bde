package servertest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"tally/docs"
)

// contract is docs/openapi.yaml, read once.
var contract = sync.OnceValues(func() (validator.Validator, error) {
	doc, err := libopenapi.NewDocument(docs.OpenAPI)
	if err != nil {
		return nil, err
	}
	v, errs := validator.NewValidator(doc)
	return v, errors.Join(errs...)
})

var validating sync.Mutex // the validator is not known to be safe for several

// conforms fails the test when an answer is not as docs/openapi.yaml says.
func conforms(t testing.TB, r *http.Request, a Answer, header http.Header) {
	t.Helper()
	v, err := contract()
	if err != nil {
		t.Fatal(err)
	}
	answer := &http.Response{StatusCode: a.Status, Header: header, Body: io.NopCloser(bytes.NewReader(a.Body)), Request: r}
	validating.Lock()
	defer validating.Unlock()
	if _, faults := v.ValidateHttpResponse(r, answer); len(faults) > 0 {
		for _, f := range faults {
			t.Errorf("%s %s: answer is not as docs/openapi.yaml says: %s: %s", r.Method, r.URL, f.Message, f.Reason)
			for _, s := range f.SchemaValidationErrors {
				t.Errorf("  %s at %s", s.Reason, s.FieldPath)
			}
		}
		t.Logf("the answer was %s", a.Body)
	}
}
