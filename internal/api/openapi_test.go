package api_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"tally/internal/api"
)

// Every route is in docs/openapi.yaml, and every operation of the file is a
// route, but for paths with servers of their own: those are not the API's.
func TestRoutesAreThoseOfTheContract(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "openapi.yaml"))
	must(t, err)
	doc, err := libopenapi.NewDocument(text)
	must(t, err)
	v, errs := validator.NewValidator(doc)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, faults := v.ValidateDocument(); !ok {
		t.Errorf("docs/openapi.yaml is no OpenAPI document: %v", faults)
	}
	model, err := doc.BuildV3Model()
	must(t, err)
	var inFile []string
	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		if len(item.Servers) > 0 {
			continue
		}
		if len(item.Servers) > 0 {
			continue
		}
		for method := range item.GetOperations().FromOldest() {
			inFile = append(inFile, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(inFile)
	served := slices.Sorted(slices.Values(api.Routes()))
	if diff := cmp.Diff(inFile, served); diff != "" {
		t.Errorf("routes (-docs/openapi.yaml +served):\n%s", diff)
	}
}
