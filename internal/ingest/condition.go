package ingest

import (
	"slices"
	"sync"

	"tally/internal/ingest/health"
	"tally/internal/livestream"
	"tally/internal/media"
)

// maxUntold bounds the lines for the timeline that wait for a checkpoint. The
// watcher makes some 140 in an hour at most; beyond that the oldest are lost.
const maxUntold = 256

// A condition is what the encoder sends and should change. The publisher's
// goroutine watches, and puts what changed, a few times in a session, where
// the others can read it.
type condition struct {
	watch health.Watcher // owned by the publisher's goroutine

	mu     sync.Mutex
	report health.Report
	untold []untold
	lost   int // of untold, since they were last taken
}

// untold is a line for the timeline, and what had been received at the time.
type untold struct {
	health.News
	received
	health.Report
}

// track watches a configuration that arrives.
func (p *Publication) watchTrack(t media.Track) {
	if p.condition.watch.Track(t, p.arrival()) {
		p.noteCondition()
	}
}

// frame watches a frame that arrives.
func (p *Publication) watchFrame(f media.Frame) {
	if p.condition.watch.Frame(f, len(f.Payload), p.arrival()) {
		p.noteCondition()
	}
}

func (p *Publication) noteCondition() {
	c := &p.condition
	report, news, r := c.watch.Report(), c.watch.News(), p.received()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report = report
	for _, n := range news {
		c.add(untold{n, r, report})
	}
}

// add has a line written with the next checkpoint. The caller holds mu.
func (c *condition) add(line untold) {
	if len(c.untold) == maxUntold {
		c.untold = slices.Delete(c.untold, 0, 1)
		c.lost++
	}
	c.untold = append(c.untold, line)
}

// now returns the report.
func (c *condition) now() health.Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.report
}

// take returns the report and the lines that wait. told drops the first n of
// them: they are written.
func (c *condition) take() (health.Report, []untold) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = 0
	return c.report, slices.Clone(c.untold)
}

func (c *condition) told(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.untold = slices.Delete(c.untold, 0, max(0, n-c.lost))
}

// describe puts the publication's condition into a checkpoint, and returns how
// many lines for the timeline that were.
func (s *session) describe(c *livestream.Checkpoint, p *Publication) int {
	report, lines := p.condition.take()
	c.Media, c.Keyframe, c.Warnings = report.Media, report.Keyframe, s.warnings(report)
	one, phase := &s.rec.Session, s.rec.Session.Phase.String()
	for _, l := range lines {
		c.Facts = append(c.Facts, livestream.Fact{
			SessionID: one.ID, At: s.labelOf(p, max(1, int64(l.At))), Kind: l.Kind, From: phase, To: phase, Epoch: p.epoch,
			Remote: one.Remote, Encoder: one.Encoder, Detail: l.Detail,
			Bytes: s.bytes + l.bytes, Ingest: s.ingest + l.ingest, Media: l.Media, Keyframe: l.Keyframe,
		})
	}
	return len(lines)
}

// stores takes note of why segments cannot be put to rest, "" when they are: that
// is a warning too, though no encoder's. The caller holds mu.
func (s *session) stores(p *Publication, trouble string) {
	if trouble == s.trouble {
		return
	}
	kind, of := livestream.FactWarning, trouble
	if trouble == "" {
		kind, of = livestream.FactWarningOver, s.trouble
	}
	s.trouble = trouble
	c := &p.condition
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(untold{health.News{Kind: kind, Detail: notStored(of).String(), At: p.arrival()}, p.received(), c.report})
}

func notStored(trouble string) livestream.Warning {
	return livestream.Warning{Code: livestream.NotStored,
		Detail: trouble + ": segments are missing from the DVR window and from the recording, live goes on"}
}

// warnings is the text of all that there are.
func (s *session) warnings(r health.Report) string {
	all := r.Warnings
	if s.trouble != "" {
		all = append(slices.Clone(all), notStored(s.trouble))
	}
	return livestream.JoinWarnings(all)
}
