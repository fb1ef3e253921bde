// Command read points one of the official clients at a running server and
// prints what it decoded as JSON, one object of path to value: every read of the
// target, or one call.
//
//	TALLY_BASE=http://127.0.0.1:8080/client/v4 TALLY_TOKEN=… TALLY_ACCOUNT=… TALLY_APP=… TALLY_LIVESTREAM=… \
//	go run ./conformance/cmd/read v7|v6|6.0.0|6.5.0|7.0.0|7.3.0 [METHOD [PARAMS-AS-JSON [ID...]]]
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"tally/conformance"
	v6 "tally/conformance/v6"
	v7 "tally/conformance/v7"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: read v7|v6|JS-VERSION [METHOD [PARAMS-AS-JSON [ID...]]], with the target in TALLY_BASE and so on")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "read:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, name string, args []string) error {
	c := conformance.NewJS(name)
	switch name {
	case "v7":
		c = v7.New()
	case "v6":
		c = v6.New()
	}
	defer c.Close()
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	if len(args) == 0 {
		r, err := conformance.ReadAll(ctx, c, conformance.FromEnv())
		if err != nil {
			return err
		}
		return enc.Encode(r)
	}
	call := conformance.Call{Method: args[0]}
	if len(args) > 1 {
		if err := json.Unmarshal([]byte(args[1]), &call.Params); err != nil {
			return fmt.Errorf("PARAMS-AS-JSON: %w", err)
		}
		call.IDs = args[2:]
	}
	a, err := c.Call(ctx, conformance.FromEnv(), call)
	if err != nil {
		return err
	}
	a.Raw = nil // it is in the reading
	return enc.Encode(a)
}
