package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"tally/internal/hls/player"
)

// WatchCmd is `tally watch`.
type WatchCmd struct {
	URL      string        `name:"url" required:"" placeholder:"URL" help:"A playback address (.m3u8) or a watch page."`
	Duration time.Duration `placeholder:"TIME" help:"Watch this long, for example 30s (unset: until the end or Ctrl-C)."`
	Plain    bool          `help:"Play whole segments, without the low-latency parts."`
	Variant  int           `placeholder:"N" help:"Play the variant of that number, from 0, in the order that the multivariant playlist has (unset: the first)."`
	Audio    string        `placeholder:"NAME" help:"Play the audio of that name or language (unset: the default)."`
	Check    bool          `help:"Hold every playlist and part of all renditions against the rules of HLS as well."`
	JSON     bool          `name:"json" help:"Print the figures as JSON at the end, and nothing before."`
}

// Help implements kong.HelpProvider.
func (WatchCmd) Help() string {
	return `Fetches what a browser would and keeps the buffer a browser would have; it decodes
nothing. Ends with 1 when playback breaks. Latency needs this machine's clock and the
server's to agree.

Example:

  tally watch --url http://127.0.0.1:8080/hls/PLAYBACK_ID/index.m3u8 --duration 30s`
}

// Run implements the command.
func (c *WatchCmd) Run(ctx context.Context, s *Streams) error {
	if c.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Duration)
		defer cancel()
	}
	p := player.New(player.Options{URL: playlistURL(c.URL), LowLatency: !c.Plain, Check: c.Check, Discard: !c.Check, Variant: c.Variant, Audio: c.Audio})
	if c.JSON {
		stats, err := p.Run(ctx)
		return errors.Join(s.JSON(watchReport(stats)), explainWatch(err))
	}
	line := NewLiveLine(s)
	over := make(chan struct{})
	showing := make(chan struct{})
	go func() { // shows the figures each second; ended by over, awaited below
		defer close(showing)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				stats := p.Stats()
				line.Update(string(stats.Status), watchLine(stats))
			case <-over:
				return
			}
		}
	}()
	stats, err := p.Run(ctx)
	close(over)
	<-showing
	line.Update("over", watchLine(stats))
	line.End()
	for _, v := range stats.Violations {
		s.Printf("  ✗ %s\n", v)
	}
	return explainWatch(err)
}

// playlistURL turns the address of a watch page into that of its playlist, with
// the query, which may hold a token.
func playlistURL(address string) string {
	if base, id, ok := strings.Cut(address, "/watch/"); ok {
		id, query, queried := strings.Cut(id, "?")
		address = base + "/hls/" + strings.Trim(id, "/") + "/index.m3u8"
		if queried {
			address += "?" + query
		}
	}
	return address
}

// watchLine is the figures of a moment; of a player that waits for the first, why.
func watchLine(v player.Stats) string {
	if v.Unavailable > 0 && v.MediaBytes == 0 {
		return fmt.Sprintf("%s · the server answers 503: nothing to see yet, or it is full", v.Status)
	}
	text := join(
		fmt.Sprintf("%s %s", v.Status, Clock(v.Played)),
		latencyText(v),
		fmt.Sprintf("buffer %.1f s", v.Buffer.Seconds()),
		byteCount(v.MediaBytes),
		bitrate(v.MediaBytes, v.Played+v.Buffer),
		fmt.Sprintf("%d stalls", v.Stalls),
	)
	if v.StallTime > 0 {
		text += fmt.Sprintf(" (%.1f s)", v.StallTime.Seconds())
	}
	return text
}

func latencyText(v player.Stats) string {
	if v.Latency == 0 {
		return ""
	}
	return fmt.Sprintf("latency %.1f s", v.Latency.Seconds())
}

// watchReport is the JSON of the figures; seconds are decimal.
func watchReport(v player.Stats) map[string]any {
	violations := make([]string, 0, len(v.Violations))
	for _, x := range v.Violations {
		violations = append(violations, fmt.Sprint(x))
	}
	return map[string]any{
		"status": v.Status, "low_latency": v.LowLatency, "startup_seconds": v.Startup.Seconds(),
		"played_seconds": v.Played.Seconds(), "latency_seconds": v.Latency.Seconds(),
		"stalls": v.Stalls, "stall_seconds": v.StallTime.Seconds(), "held_seconds": v.Held.Seconds(),
		"parts": v.Parts, "segments": v.Segments, "media_bytes": v.MediaBytes, "playlist_bytes": v.PlaylistBytes,
		"reloads": v.Reloads, "deltas": v.Deltas, "discontinuities": v.Discontinuities,
		"errors": v.Errors, "last_error": v.LastError, "violations": violations, "beside": besideReport(v.Beside),
	}
}

// besideReport is the JSON of renditions that were followed beside the variant.
func besideReport(all []player.BesideStats) []map[string]any {
	reports := make([]map[string]any, 0, len(all))
	for _, b := range all {
		reports = append(reports, map[string]any{
			"url": b.URL, "name": b.Name, "played": b.Audio, "status": b.Status, "stalls": b.Stalls,
			"parts": b.Parts, "segments": b.Segments, "media_bytes": b.MediaBytes, "gaps": b.Gaps, "errors": b.Errors, "last_error": b.LastError,
		})
	}
	return reports
}

// explainWatch adds what to do where there is something.
func explainWatch(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, player.ErrNotFound):
		return fmt.Errorf("%w: nothing is on air there, or the address is wrong", err)
	case errors.Is(err, player.ErrViolations):
		return QuietError{} // they are printed one by one
	}
	return err
}
