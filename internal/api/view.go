package api

import (
	"cmp"
	"strconv"

	"tally/internal/api/input"
	"tally/internal/livestream"
)

// A view is how one request sees objects.
type view struct {
	origin
	upstream bool // the app's wire dialect: every boolean and number is bare
	masked   bool // stream keys are not shown
	tally    bool // asked for our own fields: ?include=tally
}

// view reads what of it the query says into p's faults; p may be nil.
func (s *server) view(rq *request, p *input.Query) view {
	return view{
		origin:   s.origin(rq.Request),
		upstream: rq.app.Wire == livestream.WireUpstream,
		masked:   rq.who.Masked(),
		tally:    p != nil && p.Includes("tally"),
	}
}

// viewOnly is view for a route that takes no other parameter.
func (s *server) viewOnly(rq *request) (view, error) {
	if rq.URL.RawQuery == "" {
		return s.view(rq, nil), nil
	}
	p := input.ParseQuery(rq.URL.RawQuery)
	v := s.view(rq, p)
	return v, p.Err()
}

// mask stands for a stream key that the token may not see.
const mask = "********"

// key is the livestream's stream key, for those who may publish.
func (v view) key(l *livestream.Livestream) string {
	if v.masked {
		return mask
	}
	return l.StreamKey.Reveal()
}

// A form is how an endpoint declares a boolean or a number (contract 6.2).
type form bool

const (
	bare   form = false // true, 60
	asText form = true  // "true", "60"
)

// form is what a declared form becomes in the app's dialect.
func (v view) form(declared form) form { return declared && form(!v.upstream) }

// A flag is a boolean on the wire.
type flag struct {
	on bool
	form
}

// MarshalJSON implements json.Marshaler.
func (f flag) MarshalJSON() ([]byte, error) { return appendFlag(nil, f.on, f.form), nil }

func appendFlag(b []byte, on bool, f form) []byte {
	if !f {
		return strconv.AppendBool(b, on)
	}
	b = append(b, '"')
	b = strconv.AppendBool(b, on)
	return append(b, '"')
}

// A figure is a whole number on the wire.
type figure struct {
	n int64
	form
}

// MarshalJSON implements json.Marshaler.
func (f figure) MarshalJSON() ([]byte, error) { return appendFigure(nil, f.n, f.form), nil }

func appendFigure(b []byte, n int64, f form) []byte {
	if !f {
		return strconv.AppendInt(b, n, 10)
	}
	b = append(b, '"')
	b = strconv.AppendInt(b, n, 10)
	return append(b, '"')
}

// livestreamTally is our own of a livestream.
type livestreamTally struct {
	Settings    settingsObject `json:"settings"`
	Epoch       int64          `json:"epoch"`        // publishes accepted so far
	RefuseUntil stamp          `json:"refuse_until"` // the key is refused until then; null: it never was
}

// settingsObject has the names of "tally" in bodies.
type settingsObject struct {
	ReconnectWindow int64 `json:"reconnect_window_seconds"`
	Damping         int64 `json:"damping_seconds"`
	AwaitEncoder    int64 `json:"await_encoder_seconds"`
	EndlistDelay    int64 `json:"endlist_delay_seconds"`
	DVRWindow       int64 `json:"dvr_window_seconds"`
	Keep            bool  `json:"keep"`

	PublisherPolicy livestream.Policy         `json:"publisher_policy"`
	PlaybackPolicy  livestream.PlaybackPolicy `json:"playback_policy"`
	AllowedOrigins  []string                  `json:"allowed_origins"` // empty: any
}

func (v view) livestreamTally(l *livestream.Livestream) *livestreamTally {
	if !v.tally {
		return nil
	}
	return &livestreamTally{
		Settings: settingsObject{
			ReconnectWindow: seconds(l.Settings.ReconnectWindow),
			Damping:         seconds(l.Settings.Damping),
			AwaitEncoder:    seconds(l.Settings.AwaitEncoder),
			EndlistDelay:    seconds(l.Settings.EndlistDelay),
			DVRWindow:       seconds(l.Settings.DVRWindow),
			Keep:            l.Settings.Keep,
			PublisherPolicy: cmp.Or(l.Settings.Publisher, livestream.ReplaceIfStale),
			PlaybackPolicy:  cmp.Or(l.Settings.Playback, livestream.PlaybackPublic),
			AllowedOrigins:  append([]string{}, l.Settings.Origins()...),
		},
		Epoch:       l.Epoch,
		RefuseUntil: stamp(l.RefuseUntil),
	}
}

// sessionTally is our own of a session.
type sessionTally struct {
	Health      *string  `json:"health"` // null once closed
	IngestMs    int64    `json:"ingest_ms"`
	ViewerMs    int64    `json:"viewer_ms"`
	Viewers     int      `json:"viewers"`
	PeakViewers int      `json:"peak_viewers"`
	Evidence    evidence `json:"evidence"`
	Epoch       int64    `json:"epoch"`
	Remote      *string  `json:"remote"`
	Encoder     *string  `json:"encoder"`
	LastMediaAt stamp    `json:"last_media_at"`
	Deadline    stamp    `json:"deadline"`

	Bytes      int64     `json:"bytes"` // of media received
	Media      *string   `json:"media"` // what the encoder sends, in words
	KeyframeMs *int64    `json:"keyframe_interval_ms"`
	Warnings   []warning `json:"warnings"`
}

// warning is what the encoder should change.
type warning struct {
	Code    livestream.WarningCode `json:"code"`
	Message string                 `json:"message"`
}

func warningsOf(s livestream.Session) []warning {
	all := []warning{}
	for _, w := range livestream.SplitWarnings(s.Warnings) {
		all = append(all, warning{w.Code, w.Detail})
	}
	return all
}

// evidence says what viewer_ms rests on (design section 4); its members add up to
// that.
type evidence struct {
	BeaconMs   int64 `json:"beacon_ms"`
	MediaMs    int64 `json:"media_ms"`
	PlaylistMs int64 `json:"playlist_ms"`
}

func (v view) sessionTally(s livestream.Session) *sessionTally {
	if !v.tally {
		return nil
	}
	health := s.Health()
	return &sessionTally{
		Health:      orNull(health, health != ""),
		IngestMs:    s.Ingest.Milliseconds(),
		ViewerMs:    s.Viewed.Milliseconds(),
		Viewers:     s.Viewers,
		PeakViewers: s.PeakViewers,
		Evidence:    evidenceOf(s),
		Epoch:       s.Epoch,
		Remote:      orNull(s.Remote, s.Remote != ""),
		Encoder:     orNull(s.Encoder, s.Encoder != ""),
		LastMediaAt: stamp(s.LastMediaAt),
		Deadline:    stamp(s.Deadline),

		Bytes:      s.Bytes,
		Media:      orNull(s.Media, s.Media != ""),
		KeyframeMs: orNull(s.Keyframe.Milliseconds(), s.Keyframe > 0),
		Warnings:   warningsOf(s),
	}
}

// evidenceOf rounds sums down, not parts, so that the parts add up.
func evidenceOf(s livestream.Session) evidence {
	told := s.ViewedByBeacon.Milliseconds()
	known := (s.ViewedByBeacon + s.ViewedByPlaylist).Milliseconds()
	return evidence{BeaconMs: told, PlaylistMs: known - told, MediaMs: s.Viewed.Milliseconds() - known}
}
