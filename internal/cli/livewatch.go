package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

// LivestreamWatchCmd is `tally livestream watch`.
type LivestreamWatchCmd struct {
	APIFlags
	ID       string        `arg:"" help:"The livestream's id."`
	Duration time.Duration `placeholder:"TIME" help:"Watch this long, for example 30s (unset: until Ctrl-C)."`
	JSON     bool          `name:"json" help:"Print one line of JSON for each change."`
}

// Help implements kong.HelpProvider.
func (LivestreamWatchCmd) Help() string {
	return `Status and health, seconds, viewers, what the encoder sends and what it should change,
and what happens, as it happens: in place on a terminal, a line for each change in a
pipe. It waits for a first broadcast, stays for the next one, and goes on when the server
comes back after a restart. Ctrl-C ends it.

Example:

  tally livestream watch 5c1c2d3e-0000-4000-8000-000000000000`
}

const (
	watchEvery = time.Second
	// watchWithin bounds one look, so that a server that hangs is told of soon.
	watchWithin = 5 * time.Second
)

// A liveView shows looks; end puts the screen back as it was.
type liveView interface {
	show(now time.Time, l *liveLook)
	end()
}

// Run implements the command.
func (c *LivestreamWatchCmd) Run(ctx context.Context, s *Streams) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	if c.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Duration)
		defer cancel()
	}
	feed := &liveFeed{api: api, id: c.ID}
	look := &liveLook{}
	if err := feed.next(ctx, look); err != nil { // nothing was seen yet: a wrong address is no outage
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	view := c.view(s)
	defer view.end()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		view.show(time.Now(), look)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		switch err := feed.next(ctx, look); {
		case ctx.Err() != nil:
			return nil
		case err != nil && !passing(err):
			return err
		}
	}
}

// view chooses how to show.
func (c *LivestreamWatchCmd) view(s *Streams) liveView {
	switch {
	case c.JSON:
		return &liveJSON{s: s}
	case s.Terminal() && os.Getenv("TERM") != "dumb":
		return newLiveScreen(s)
	}
	return &liveLines{s: s}
}

// passing reports whether an error may go away by itself.
func passing(err error) bool {
	var refused *StatusError
	if !errors.As(err, &refused) {
		return true // nobody answered, or something in between did
	}
	return refused.Status >= 500 || refused.Status == http.StatusTooManyRequests || refused.Status == http.StatusRequestTimeout
}

// A liveLook is what is known at one moment. It is kept from look to look: what
// the server did not answer stays as it was.
type liveLook struct {
	Livestream Livestream
	Session    *Session // the open one or else the newest; nil: never on air
	session    json.RawMessage

	Away  time.Time     // since when the server does not answer; zero: it does
	Why   error         // of that
	Skew  time.Duration // the server's clock minus ours, where they clearly differ
	Fresh []transition  // of the timeline, new with this look
	fresh []json.RawMessage
	Past  []transition // the newest before those, at most keepEvents
	Rates []liveRate   // the last minute, oldest first, one each look
}

// A liveRate is what one look adds to the charts.
type liveRate struct {
	Known   bool
	Bps     float64
	Viewers int
}

const (
	keepEvents = 50
	keepRates  = 60
)

// A liveFeed asks the API.
type liveFeed struct {
	api *Client
	id  string

	begun   bool   // a look succeeded
	session string // whose timeline is followed
	seen    int    // events of it that were read
	mark    string // of the session when its timeline was last read
	asked   time.Time

	bytes int64 // with at, what Bps is measured from
	at    time.Time
}

// timelineEvery is how often the timeline is read when nothing else has changed.
const timelineEvery = 2 * time.Second

// next takes another look. An error leaves what was known, and says since when.
func (f *liveFeed) next(ctx context.Context, l *liveLook) error {
	ctx, cancel := context.WithTimeout(ctx, watchWithin)
	defer cancel()
	l.Past = lastOf(append(l.Past, l.Fresh...), keepEvents)
	l.Fresh, l.fresh = nil, nil
	err := f.look(ctx, l)
	if err == nil && l.Session != nil {
		err = f.timeline(ctx, l)
	}
	if err != nil {
		if l.Away.IsZero() {
			l.Away = time.Now()
		}
		l.Why = err
		l.Rates = lastOf(append(l.Rates, liveRate{}), keepRates)
		f.at = time.Time{}
		return err
	}
	l.Away, l.Why, f.begun = time.Time{}, nil, true
	l.Rates = lastOf(append(l.Rates, f.rate(l.Session)), keepRates)
	return nil
}

// look reads the livestream and its newest session.
func (f *liveFeed) look(ctx context.Context, l *liveLook) error {
	raw, err := f.api.send(ctx, call{http.MethodGet, f.api.url(livestreamPath(f.id) + withTally + "&per_page=1"), nil})
	if err != nil {
		return err
	}
	var data struct {
		Livestream Livestream      `json:"livestream"`
		Session    json.RawMessage `json:"session"`
	}
	if _, err := raw.decode(&data); err != nil {
		return err
	}
	var session *Session
	if err := json.Unmarshal(data.Session, &session); len(data.Session) > 0 && err != nil {
		return err
	}
	l.Livestream, l.Session, l.session, l.Skew = data.Livestream, session, data.Session, 0
	if at, err := http.ParseTime(raw.header.Get("Date")); err == nil {
		if skew := time.Until(at); skew.Abs() > 3*time.Second { // the header has whole seconds
			l.Skew = skew
		}
	}
	return nil
}

// timeline reads what is new of the session's timeline, when something changed
// or it was not read for a while.
func (f *liveFeed) timeline(ctx context.Context, l *liveLook) error {
	const size = 100
	first := f.session != l.Session.ID
	mark := l.mark()
	if !first && mark == f.mark && time.Since(f.asked) < timelineEvery {
		return nil
	}
	if first {
		f.session, f.seen = l.Session.ID, 0
	}
	for {
		var events []json.RawMessage
		at := call{http.MethodGet, f.api.url(eventsPath(f.session, f.seen/size+1)), nil}
		reply, err := f.api.call(ctx, at, &events)
		if err != nil {
			return err
		}
		if first && reply.Paging.TotalCount > f.seen+size { // only what fits on a screen
			f.seen = reply.Paging.TotalCount - size
			first = false
			continue
		}
		first = false
		fresh := events[min(f.seen%size, len(events)):]
		if err := l.add(fresh); err != nil {
			return err
		}
		f.seen += len(fresh)
		if len(events) == size && len(fresh) > 0 {
			continue
		}
		if !f.begun { // what was before anybody watched is no news
			l.Past, l.Fresh, l.fresh = lastOf(l.Fresh, keepEvents), nil, nil
		}
		f.mark, f.asked = mark, time.Now()
		return nil
	}
}

// add takes new lines of the timeline.
func (l *liveLook) add(events []json.RawMessage) error {
	for _, raw := range events {
		var e transition
		if err := json.Unmarshal(raw, &e); err != nil {
			return fmt.Errorf("read timeline: %w", err)
		}
		l.Fresh, l.fresh = append(l.Fresh, e), append(l.fresh, raw)
	}
	return nil
}

// rate is what came since the look before.
func (f *liveFeed) rate(s *Session) liveRate {
	if s == nil || s.Tally == nil || s.UpdatedAt == nil || s.StoppedTime != nil {
		f.at = time.Time{}
		return liveRate{}
	}
	r := liveRate{Known: true, Viewers: s.Tally.Viewers}
	passed := s.UpdatedAt.Sub(f.at)
	switch {
	case f.at.IsZero() || s.Tally.Bytes < f.bytes: // the first look at it
		r.Known = false
	case passed > 0:
		r.Bps = float64(s.Tally.Bytes-f.bytes) * 8 / passed.Seconds()
	}
	f.bytes, f.at = s.Tally.Bytes, *s.UpdatedAt
	return r
}

// mark is equal for two looks between which nothing changed but figures.
func (l *liveLook) mark() string {
	parts := []string{l.Livestream.Status, l.Livestream.Name}
	if l.Livestream.Disabled {
		parts = append(parts, "disabled")
	}
	if v := l.Session; v != nil {
		code, _, _ := strings.Cut(v.ErrMessage, ":")
		parts = append(parts, v.ID, code, whenExactly(v.StoppedTime))
		if t := v.Tally; t != nil {
			parts = append(parts, t.Health, t.Media, t.Encoder, t.Remote, l.codes())
		}
	}
	return strings.Join(parts, "\x00")
}

// codes are those of the warnings.
func (l *liveLook) codes() string {
	var codes []string
	if l.Session != nil && l.Session.Tally != nil {
		for _, w := range l.Session.Tally.Warnings {
			codes = append(codes, w.Code)
		}
	}
	return strings.Join(codes, " ")
}

// lastOf is at most the last n of a list.
func lastOf[T any](list []T, n int) []T { return list[max(0, len(list)-n):] }
