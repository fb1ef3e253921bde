// Command read points one of the official clients at a running server and
// prints what it decoded as JSON, one object of path to value.
//
//	TALLY_BASE=… TALLY_TOKEN=… TALLY_ACCOUNT=… TALLY_APP=… TALLY_LIVESTREAM=… read v7|v6|js-7.3.0|js-7.0.0|js-6.5.0 [read|write|wrong|create]
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"tally/conformance"
	v6 "tally/conformance/v6"
	v7 "tally/conformance/v7"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: read v7|v6|js-VERSION [read|write|wrong|create], with the target in TALLY_BASE and so on")
		os.Exit(2)
	}
	name, mode := os.Args[1], conformance.Read
	if len(os.Args) > 2 {
		mode = conformance.Mode(os.Args[2])
	}
	r, err := do(context.Background(), name, mode, conformance.FromEnv())
	if err == nil {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "read:", err)
		os.Exit(1)
	}
}

func do(ctx context.Context, name string, mode conformance.Mode, t conformance.Target) (conformance.Reading, error) {
	switch {
	case name == "v7":
		return v7.Do(ctx, mode, t)
	case name == "v6":
		return v6.Do(ctx, mode, t)
	case strings.HasPrefix(name, "js-"):
		return conformance.JS(ctx, strings.TrimPrefix(name, "js-"), mode, t)
	}
	return nil, fmt.Errorf("no client is called %q", name)
}
