// Package doctor looks at a machine with the eyes of a server that is about to
// start on it. Each check is a plain function that measures and returns what it
// found with what to do about it; nothing is changed, except for files written
// to the data directory and removed again.
package doctor

import (
	"context"
	"fmt"
)

// A Verdict is how bad a finding is.
type Verdict string

const (
	OK   Verdict = "ok"
	Note Verdict = "note" // works; worth knowing
	Warn Verdict = "warn" // works; quality may suffer
	Fail Verdict = "fail" // the server would not start, or would lose data
)

// A Finding is one thing that was looked at.
type Finding struct {
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	Found   string  `json:"found"`         // what was measured
	Fix     string  `json:"fix,omitempty"` // what to do; "" when there is nothing
}

// Config names what to look at, as the server's flags do.
type Config struct {
	DataDir   string
	Ports     []Port
	PublicURL string // "" when unset

	MediaBaseURL string // "" when unset
}

// A Port is an address the server would listen on, and the flag that moves it.
type Port struct{ Flag, Addr string }

// Run makes every check, in the order of a start. It takes a second or two.
func Run(ctx context.Context, c Config) []Finding {
	var all []Finding
	for _, p := range c.Ports {
		all = append(all, checkPort(ctx, p))
	}
	all = append(all, checkPublicURL(ctx, c.PublicURL)...)
	all = append(all, checkMediaBase(ctx, c.PublicURL, c.MediaBaseURL)...)
	all = append(all, checkDisk(c.DataDir)...)
	all = append(all, checkClock()...)
	all = append(all, checkOpenFiles(), checkMemory(), checkFFmpeg(ctx))
	return all
}

// Failed reports whether the server would fail.
func Failed(all []Finding) bool {
	for _, f := range all {
		if f.Verdict == Fail {
			return true
		}
	}
	return false
}

func found(check string, v Verdict, format string, args ...any) Finding {
	return Finding{Check: check, Verdict: v, Found: fmt.Sprintf(format, args...)}
}

func (f Finding) fix(format string, args ...any) Finding {
	f.Fix = fmt.Sprintf(format, args...)
	return f
}
