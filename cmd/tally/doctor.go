package main

import (
	"context"
	"fmt"

	"tally/internal/cli"
	"tally/internal/cli/doctor"
)

// doctorCmd is `tally doctor`: it takes the server's flags, so that it looks at
// the same ports and directory as a start with them would.
type doctorCmd struct {
	serverFlags
	JSON bool `name:"json" help:"Print JSON."`
}

// Help implements kong.HelpProvider.
func (doctorCmd) Help() string {
	return `Ends with 1 when something would keep the server from starting. Give it the flags or
the --config of the server it is about.

Example:

  tally doctor --config tally.yaml`
}

// Run implements the command.
func (c *doctorCmd) Run(ctx context.Context, s *cli.Streams) error {
	if err := c.check(); err != nil {
		return err
	}
	findings := doctor.Run(ctx, doctor.Config{
		DataDir: c.DataDir, PublicURL: c.PublicURL, MediaBaseURL: c.MediaBaseURL, Ports: c.ports(),
	})
	if c.JSON {
		if err := s.JSON(findings); err != nil {
			return err
		}
	} else {
		printFindings(s, findings)
	}
	if doctor.Failed(findings) {
		return cli.QuietError{}
	}
	return nil
}

// ports lists the addresses that are not off.
func (f *serverFlags) ports() []doctor.Port {
	var out []doctor.Port
	for _, p := range []doctor.Port{
		{Flag: "--http-addr", Addr: f.HTTPAddr}, {Flag: "--rtmp-addr", Addr: f.RTMPAddr},
		{Flag: "--rtmps-addr", Addr: f.RTMPSAddr}, {Flag: "--admin-addr", Addr: f.AdminAddr},
	} {
		if p.Addr != "" {
			out = append(out, p)
		}
	}
	return out
}

var marks = map[doctor.Verdict]string{doctor.OK: "✓", doctor.Note: "·", doctor.Warn: "!", doctor.Fail: "✗"}

func printFindings(s *cli.Streams, findings []doctor.Finding) {
	var warned, failed int
	for _, f := range findings {
		switch f.Verdict {
		case doctor.Warn:
			warned++
		case doctor.Fail:
			failed++
		}
		s.Printf("%s %-22s %s\n", marks[f.Verdict], f.Check, f.Found)
		if f.Fix != "" {
			s.Printf("  %-22s → %s\n", "", f.Fix)
		}
	}
	verdict := "Ready to serve."
	if failed > 0 {
		verdict = fmt.Sprintf("%d would fail.", failed)
	} else if warned > 0 {
		verdict = fmt.Sprintf("Ready to serve; %d to look at.", warned)
	}
	s.Printf("%s\n", verdict)
}
