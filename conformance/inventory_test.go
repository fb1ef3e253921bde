package conformance_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"tally/conformance"
)

// Family has every method of every client whose path is in the family, and no
// client sends one of them elsewhere.
func TestFamilyIsWhatTheClientsHave(t *testing.T) {
	var routes []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/client/v4/accounts/ACCOUNT/realtime/kit/")
		path = strings.Replace("K/"+path, "K/APP/", "A/", 1)
		routes = append(routes, r.Method+" "+path)
		http.Error(w, `{"success":false,"errors":[]}`, http.StatusNotFound)
	}))
	defer srv.Close()
	target := conformance.Target{Base: srv.URL + "/client/v4", Token: "token", Account: "ACCOUNT", App: "APP"}
	for _, c := range clients {
		t.Run(c.Name(), func(t *testing.T) {
			methods, err := c.Methods()
			must(t, err)
			has := map[string]bool{}
			for _, m := range methods {
				routes = nil
				must(t, c.Probe(t.Context(), target, m.Name))
				has[m.Name] = true
				if len(routes) != 1 {
					t.Errorf("%s sent %q", m.Name, routes)
					continue
				}
				e, known := conformance.EndpointOf(routes[0])
				if !known || e.Name != "" && !slices.Contains(e.Method, m.Name) {
					t.Errorf("%s is %s, which nobody calls", m.Name, routes[0])
				}
			}
			for _, e := range conformance.Family {
				for _, name := range e.Method {
					if has[name] == slices.Contains(e.Lack, c.Name()) {
						t.Errorf("%s (%s): has it: %v, Family says %v", name, e.Name, has[name], !has[name])
					}
				}
			}
		})
	}
}
