package player

import (
	"time"

	"tally/internal/hls/hlscheck"
)

// Status says what the viewer would see.
type Status string

const (
	Starting Status = "starting" // nothing to show yet
	Playing  Status = "playing"
	// Reconnecting: what plays is a picture that the server holds while no media
	// comes from the encoder.
	Reconnecting Status = "reconnecting"
	Stalled      Status = "stalled" // the buffer is empty and the stream has not ended
	Ended        Status = "ended"
	Broken       Status = "broken" // Run returned an error
	Stopped      Status = "stopped"
)

// Stats is how playback went. Durations are zero until they are known.
type Stats struct {
	Status     Status
	LowLatency bool // parts are played; false in plain mode, or where the playlist has none
	Ended      bool // EXT-X-ENDLIST was reached

	Started time.Time     // when Run was called
	Startup time.Duration // from there to the first media fetched
	Played  time.Duration // what the playhead has passed
	Buffer  time.Duration // what it has still before it
	Held    time.Duration // of the media fetched, a held picture

	// A stall begins when the buffer is empty and ends when the next media
	// arrives. One that is still under way counts.
	Stalls    int
	StallTime time.Duration

	// Latency is wall time minus the PROGRAM-DATE-TIME at the playhead, and
	// ArrivalLatency that of the last part's end when its last byte was read.
	// Both need this machine's clock and the server's to agree. A part is whole
	// when its last frame has come, which is when that frame begins: with
	// nothing in between, ArrivalLatency is minus one frame. A held picture has
	// no latency: Latency is 0 while one plays, and the others are without them.
	Latency, ArrivalLatency, MaxArrivalLatency time.Duration

	LastMSN  int64 // of the last media fetched; -1: none
	LastPart int   // -1: a whole segment, or none

	Parts, Segments, Inits int64 // fetched; Segments also counts one whose parts were all fetched
	MediaBytes             int64 // bodies of the above
	PlaylistBytes          int64
	Reloads, Deltas        int64 // playlists read after the first; of them delta updates
	HintHits               int64 // parts that a preload hint had fetched
	Discontinuities, Gaps  int64
	Jumps                  int64 // media left out because it fell out of the playlist before it was fetched
	Unavailable            int64 // answers 503
	Errors                 int64 // failures that a retry got over, and the one that ended playback
	LastError              string

	Violations []hlscheck.Violation // with Options.Check

	// Beside are the renditions that were followed beside the variant. Of one that
	// is played with it MediaBytes and stalls are in those above.
	Beside []BesideStats
}

// playout models the buffer: media played in real time from the moment the
// first of it is there, standing still while there is none.
type playout struct {
	begun     bool
	since     time.Time     // when the playhead was at from
	from      time.Duration // media time
	end       time.Duration // media time up to which there is media
	stalls    int
	stalled   time.Duration // stalls that are over
	dateAtEnd time.Time     // PROGRAM-DATE-TIME at end; zero: not known
	heldFrom  time.Duration // the newest held picture in media time, from
	heldTo    time.Duration // to; 0: none
}

// add appends media that arrived at now.
func (o *playout) add(now time.Time, d time.Duration, dateAtEnd time.Time, held bool) {
	if !o.begun {
		o.begun, o.since = true, now
	} else if at, stalled := o.at(now); stalled > 0 {
		o.stalls++
		o.stalled += stalled
		o.since, o.from = now, at
	}
	if held {
		if o.heldTo != o.end {
			o.heldFrom = o.end
		}
		o.heldTo = o.end + d
	}
	o.end += d
	o.dateAtEnd = dateAtEnd
}

// at returns the playhead at now, and how long it has stood still by then for
// want of media.
func (o *playout) at(now time.Time) (at, stalled time.Duration) {
	if !o.begun {
		return 0, 0
	}
	at = o.from + now.Sub(o.since)
	if at > o.end {
		return o.end, at - o.end
	}
	return at, 0
}

// holds reports whether the playhead at that media time shows a held picture.
func (o *playout) holds(at time.Duration) bool {
	return o.heldTo > 0 && at >= o.heldFrom && (at < o.heldTo || o.heldTo == o.end)
}

func (o *playout) buffered(now time.Time) time.Duration {
	at, _ := o.at(now)
	return o.end - at
}

// read fills in what depends on the time of reading.
func (s *Stats) read(o *playout, now time.Time) {
	if s.Status == "" {
		s.Status = Starting
	}
	if s.over() || !o.begun {
		return
	}
	at, stalled := o.at(now)
	s.Status, s.Played, s.Buffer = Playing, at, o.end-at
	s.Stalls, s.StallTime = o.stalls, o.stalled
	if stalled > 0 && !s.Ended {
		s.Status = Stalled
		s.Stalls++
		s.StallTime += stalled
	}
	s.Latency = 0
	if o.holds(at) && !s.Ended {
		s.Status = Reconnecting
	} else if !o.dateAtEnd.IsZero() {
		s.Latency = now.Sub(o.dateAtEnd.Add(-s.Buffer))
	}
}

func (s *Stats) over() bool { return s.Status == Ended || s.Status == Broken || s.Status == Stopped }

// finish freezes the statistics.
func (s *Stats) finish(o *playout, now time.Time, err error) {
	s.read(o, now)
	switch {
	case err != nil:
		s.Status = Broken
		s.Errors++
		s.LastError = err.Error()
	case s.Ended:
		s.Status = Ended
	default:
		s.Status = Stopped
	}
}
