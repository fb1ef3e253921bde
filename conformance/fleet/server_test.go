package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"tally/internal/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// A server is the built tally.
type server struct{ *servertest.Server }

func serve(t *testing.T, flags ...string) *server {
	return &server{servertest.Start(t, flags...)}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// call asks the API; in may be nil. out, if not nil, receives the data. It may be
// called from any goroutine.
func (s *server) call(method, path string, in, out any) error {
	a := s.Call(method, path, in)
	if a.Status < 200 || a.Status >= 300 {
		return fmt.Errorf("%s %s: answered %d: %s", method, path, a.Status, a.Body)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(a.Data, out)
}

// until asks again and again until f is content.
func until(ctx context.Context, what string, f func() (bool, error)) error {
	deadline := time.Now().Add(slack)
	for {
		ok, err := f()
		if ok {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %v for %s: %w", slack, what, err)
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}
