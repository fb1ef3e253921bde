package specfuzz

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"slices"
	"strings"
)

// Config is what a run needs. Spec, Handler, Token and Seed are required.
type Config struct {
	Spec    *Spec
	Handler http.Handler
	Token   string // may do everything
	Seed    uint64
	IDs     map[string]string // of what exists from the start, by parameter: account_id, app_id

	URL       string // what a webhook may call; empty: a name that does not resolve
	Strangers []Stranger
	Below     []string // paths that the API answers also where it has no route, such as /accounts/
}

// A Stranger is a token that may not do what Token may.
type Stranger struct {
	Name, Token string
	Status      int  // what it is answered
	WritesOnly  bool // it may read
	AppsOnly    bool // judged only where the path has an app
}

// A Finding is a request whose answer is wrong.
type Finding struct {
	Number  int // of the request within the run, from 0
	Request string
	Answer  string
	Problem string
}

func (f Finding) String() string {
	return fmt.Sprintf("request %d: %s\n%s\n→ %s", f.Number, f.Problem, f.Request, f.Answer)
}

// A Report is what a run saw.
type Report struct {
	Requests int
	Statuses map[int]int
	Findings []Finding
	Unproven []string // operations that never answered 2xx
}

// fuzzer is one run. It belongs to one goroutine.
type fuzzer struct {
	Config
	*generator
	done   map[string]int // 2xx by operation
	follow []string       // operations that the links of the last answer lead to
}

// maxFindings ends a run: the first few say it all.
const maxFindings = 20

// Run sends n requests, one after the other, and stops early at twenty
// findings; the same one of the same operation is told once. The same seed over the same file and an equal server gives the same
// requests.
func Run(c Config, n int) Report {
	f := &fuzzer{Config: c, done: map[string]int{}, generator: &generator{
		Rand: rand.New(rand.NewPCG(c.Seed, 0)), spec: c.Spec, pools: map[string][]string{}, url: cmp.Or(c.URL, "https://hooks.invalid"),
	}}
	for name, id := range c.IDs {
		f.pools[name] = []string{id}
	}
	report, seen := Report{Statuses: map[int]int{}}, map[string]bool{}
	for i := range n {
		call := f.valid(f.operation())
		f.mutate(call)
		r := call.request()
		if r == nil {
			continue
		}
		rec, err := f.send(r)
		if err == nil {
			err = f.check(call, rec)
		}
		report.Requests++
		report.Statuses[rec.Code]++
		for name, id := range c.IDs {
			f.pools[name] = []string{id} // an app that was created is not where everything is
		}
		if err == nil || seen[call.op.id+cut(err.Error(), 200)] {
			continue
		}
		seen[call.op.id+cut(err.Error(), 200)] = true
		answer := fmt.Sprintf("%d %s", rec.Code, cut(strings.TrimSpace(rec.Body.String()), 1200))
		report.Findings = append(report.Findings, Finding{i, call.String(), answer, err.Error()})
		if len(report.Findings) >= maxFindings {
			break
		}
	}
	for _, o := range c.Spec.operations {
		if f.done[o.id] == 0 {
			report.Unproven = append(report.Unproven, o.id)
		}
	}
	return report
}

// operation picks what to ask next: often where the last answer leads, since
// what it left behind may not last.
func (f *fuzzer) operation() *operation {
	next := f.follow
	f.follow = nil
	if len(next) > 0 && f.chance(50) {
		id := pick(f.generator, next)
		for _, o := range f.Spec.operations {
			if o.id == id {
				return o
			}
		}
	}
	return pick(f.generator, f.Spec.operations)
}

// send calls the handler. A panic is an error with its stack.
func (f *fuzzer) send(r *http.Request) (rec *httptest.ResponseRecorder, err error) {
	rec = httptest.NewRecorder()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	f.Handler.ServeHTTP(rec, r)
	return rec, nil
}

// Table says how often each status was answered.
func (r Report) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d requests:", r.Requests)
	for _, status := range slices.Sorted(maps.Keys(r.Statuses)) {
		fmt.Fprintf(&b, " %d x %d", r.Statuses[status], status)
	}
	return b.String()
}
