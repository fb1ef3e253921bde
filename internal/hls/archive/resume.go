package archive

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"tally/internal/hls/playlist"
)

// A Past is what a run has at rest of one rendition, from before a restart: by its
// sessions, in the order of their segments.
type Past struct {
	Name     string
	Sessions []PastSession
}

// A PastSession is the part of a Past that belongs to one session.
type PastSession struct {
	SessionID string
	Keep      bool
	Rendition
	Cues []playlist.DateRange // of the session, of whichever rendition
}

// CuesOf are the cues of all sessions of a run, in the order of their dates.
func CuesOf(past []Past) (all []playlist.DateRange) {
	seen := map[string]bool{}
	for _, p := range past {
		for _, s := range p.Sessions {
			if !seen[s.SessionID] {
				seen[s.SessionID] = true
				all = append(all, s.Cues...)
			}
		}
	}
	sortCues(all)
	return all
}

// Past reads what there is of a run. The Recorder that goes on with it must be told
// with [Recorder.Resume].
func (l *Library) Past(run string) ([]Past, error) {
	markers, err := l.blobs.List(runDir(run))
	if err != nil {
		return nil, err
	}
	var all []Past
	for _, m := range markers {
		a, err := l.about(strings.TrimPrefix(m.Name, runDir(run)+"/"))
		if err == nil && a.Run != run {
			err = ErrNotFound
		}
		if err == nil {
			var rec *Recording
			if rec, err = l.read(a); err == nil {
				for _, r := range rec.Renditions {
					i := slices.IndexFunc(all, func(p Past) bool { return p.Name == r.Name })
					if i < 0 {
						i, all = len(all), append(all, Past{Name: r.Name})
					}
					all[i].Sessions = append(all[i].Sessions, PastSession{a.SessionID, a.Keep, r, rec.Cues})
				}
			}
		}
		if err != nil {
			l.log.Warn("segments of a run cannot be read", "name", m.Name, "err", err)
		}
	}
	for _, p := range all {
		slices.SortFunc(p.Sessions, func(a, b PastSession) int { return cmp.Compare(a.Segments[0].MSN, b.Segments[0].MSN) })
	}
	return all, nil
}

// Resume makes the recorder delete what there was before it as it leaves the
// window. It is called before anything is recorded.
func (r *Recorder) Resume(past []Past) {
	for _, p := range past {
		lane := r.Lane(p.Name)
		for _, s := range p.Sessions {
			if s.Keep {
				continue
			}
			if !slices.Contains(r.passing, s.SessionID) {
				r.passing = append(r.passing, s.SessionID)
			}
			dir := s.SessionID + "/" + p.Name + "/"
			for i := range s.Segments {
				if g := &s.Segments[i]; g.Size > 0 {
					lane.passing = append(lane.passing, passing{dir + SegmentName(g.Epoch, g.MSN), g.MSN})
				}
			}
		}
	}
}

// A Keeper says what a [Library.Sweep] leaves.
type Keeper struct {
	// Runs are those that may go on: their segments stay.
	Runs func(ctx context.Context) (map[string]bool, error)
	// Exists reports whether the livestream of that playback id still exists:
	// recordings of one that was deleted are.
	Exists func(ctx context.Context, playbackID string) (bool, error)
	// For is how long a recording is kept from its begin on; 0: for ever.
	For time.Duration
}

// Sweep deletes what is of no use: segments of sessions that are not kept, whose
// run is over and that no recorder is open for, as a crash leaves them, and
// recordings that are too old or whose livestream is gone. It goes on after an
// error.
func (l *Library) Sweep(ctx context.Context, k Keeper, now time.Time) error {
	runs, err := k.Runs(ctx)
	if err != nil {
		return err
	}
	sessions, err := l.blobs.Dirs("")
	if err != nil {
		return err
	}
	var first error
	for _, id := range sessions {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if id == runsDir || l.isWriting(id) {
			continue
		}
		if err := l.sweep(ctx, k, id, runs, now); err != nil {
			first = errors.Join(first, err)
		}
	}
	return first
}

func (l *Library) sweep(ctx context.Context, k Keeper, id string, runs map[string]bool, now time.Time) error {
	a, err := l.about(id)
	switch {
	case errors.Is(err, ErrNotFound): // a kill came before it was described
		return l.blobs.DeleteAll(id)
	case err != nil:
		return err
	case runs[a.Run], l.isListed(a.Run):
		return nil
	case a.Keep && (k.For == 0 || now.Sub(a.Began) < k.For):
		if ok, err := k.Exists(ctx, a.PlaybackID); ok || err != nil {
			return err
		}
	}
	if l.isWriting(id) {
		return nil // it began meanwhile
	}
	l.log.Info("segments are deleted", "session", id, "kept", a.Keep)
	return l.remove(a)
}
