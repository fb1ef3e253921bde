//go:build browser

// Package e2e plays broadcasts on the watch page in a real browser: the built
// binary serves, ffmpeg publishes, Chromium watches. It needs ffmpeg, chromium,
// node and the packages of package-lock.json (make deps), and so has a build
// tag of its own: go test -tags browser ./internal/web/e2e
package e2e

import (
	"testing"

	"tally/internal/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// serve starts a server with one livestream.
func serve(t *testing.T) *servertest.Broadcast { return servertest.Start(t).Create(t, nil) }

// forAWhile is longer than any test here publishes, in seconds.
const forAWhile = 300
