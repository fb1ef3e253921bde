package main

import (
	"runtime"
	"runtime/debug"

	"tally/internal/cli"
)

// version is set by the Makefile with -ldflags -X; a plain go build says devel.
var version = "devel"

// buildInfo is what `tally version` and the metric tally_build_info tell.
type buildInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision"` // of the source; "" when the build did not record it
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func readBuildInfo() buildInfo {
	b := buildInfo{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Revision = s.Value
		}
	}
	return b
}

type versionCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help implements kong.HelpProvider.
func (versionCmd) Help() string { return "Example:\n\n  tally version --json" }

// Run implements the command.
func (c versionCmd) Run(s *cli.Streams) error {
	b := readBuildInfo()
	if c.JSON {
		return s.JSON(b)
	}
	s.Printf("tally %s (%s, %s)\n", b.Version, b.Go, b.Platform)
	return nil
}
