// Package obs answers OBS Studio when it asks how to encode a broadcast of several
// video tracks ("Multitrack Video", "Enhanced Broadcasting"): which renditions, by
// which encoders, sent where. The ladder that viewers then choose from is made by
// the encoder's machine, and nothing is transcoded here.
//
// Requests and answers have the form that OBS' source gives them (obs-studio:
// frontend/utility/GoLiveAPI_PostData.cpp, models/multitrack-video.hpp,
// MultitrackVideoOutput.cpp; schema 2025-01-25 and the older one of 2024-06-04).
package obs

import (
	"math"
	"slices"
)

// A Request is what OBS tells of itself and of its user's wishes. Fields that OBS
// sends and nothing here depends on are left out.
type Request struct {
	SchemaVersion  string `json:"schema_version"`
	Authentication string `json:"authentication"` // the stream key
	Client         struct {
		Codecs   []string `json:"supported_codecs"`
		Encoders []string `json:"supported_encoders"` // ids; OBS 31.1 and later
	} `json:"client"`
	Preferences struct {
		MaximumKbps   *uint64  `json:"maximum_aggregate_bitrate"` // of all tracks; nil: no limit
		MaximumTracks *uint32  `json:"maximum_video_tracks"`      // nil: no limit
		Canvases      []Canvas `json:"canvases"`
		Canvas                 // schemas before 2025 have one canvas, in place
		Channels      uint32   `json:"audio_channels"`
		VODTrack      bool     `json:"vod_track_audio"` // a second sound, for recordings
	} `json:"preferences"`
}

// A Canvas is the picture that OBS composes.
type Canvas struct {
	Width     uint32    `json:"width"` // of the output; 0: not told
	Height    uint32    `json:"height"`
	Framerate Framerate `json:"framerate"`
}

// A Framerate is in frames per second.
type Framerate struct {
	Numerator   uint32 `json:"numerator"`
	Denominator uint32 `json:"denominator"`
}

func (f Framerate) fps() float64 {
	if f.Denominator == 0 {
		return 0
	}
	return float64(f.Numerator) / float64(f.Denominator)
}

// A Config is what OBS does then. It is also what can be pasted as a "Config
// Override".
type Config struct {
	Meta struct {
		Service       string `json:"service"`
		SchemaVersion string `json:"schema_version"`
		ConfigID      string `json:"config_id"` // OBS puts it behind the stream key
	} `json:"meta"`
	Status    Status     `json:"status"`
	Endpoints []Endpoint `json:"ingest_endpoints"`
	Video     []Video    `json:"encoder_configurations"`
	Audio     struct {
		Live []Audio `json:"live"`
		VOD  []Audio `json:"vod,omitempty"`
	} `json:"audio_configurations"`
}

// A Status says whether OBS may go on; HTML is shown to its user if not.
type Status struct {
	Result string `json:"result"` // "success", "warning", "error"
	HTML   string `json:"html_en_us,omitempty"`
}

// An Endpoint is where to publish.
type Endpoint struct {
	Protocol string `json:"protocol"` // "RTMP", "RTMPS"
	URL      string `json:"url_template"`
	// Authentication is the stream key; "": the one that the user entered.
	Authentication string `json:"authentication,omitempty"`
}

// A Video is one rendition.
type Video struct {
	Encoder   string         `json:"type"` // OBS' id of the encoder
	Width     uint32         `json:"width"`
	Height    uint32         `json:"height"`
	Framerate Framerate      `json:"framerate"`
	Scale     string         `json:"gpu_scale_type"`
	Space     string         `json:"colorspace"`
	Range     string         `json:"range"`
	Format    string         `json:"format"`
	Settings  map[string]any `json:"settings"`
}

// An Audio is one sound. Its codec is the one that is set in OBS.
type Audio struct {
	Codec    string         `json:"codec"`
	TrackID  uint32         `json:"track_id"`
	Channels uint32         `json:"channels"`
	Settings map[string]any `json:"settings"`
}

const (
	// SchemaVersion is the newest schema that was read.
	SchemaVersion = "2025-01-25"
	// keyframes is how far apart keyframes are on every rendition, in seconds: all at
	// the same times, because OBS encodes the renditions of a group in step.
	keyframes = 2
	audioKbps = 160
	// leastKbps is what a single rendition is lowered to where a limit demands it.
	leastKbps = 300
)

// A rung is one rendition of the default ladder. Bitrates are what services ask
// for H.264 of that size (YouTube, Twitch), in kbit/s: at up to 30 and at up to 60
// frames per second.
type rung struct {
	lines        uint32
	kbps, kbps60 uint64
}

// ladder is 1080p60, 720p, 480p, 360p: all but the largest have at most 30 frames
// per second. Together 10.4 Mbit/s.
var ladder = []rung{{1080, 4500, 6000}, {720, 2500, 0}, {480, 1200, 0}, {360, 700, 0}}

// assumed is the canvas where OBS does not tell: its default.
var assumed = Canvas{1920, 1080, Framerate{60, 1}}

// Configure makes the answer for what OBS told. ingest is where to publish, such
// as "rtmp://host/live/".
func Configure(rq *Request, ingest string) *Config {
	c := &Config{Status: Status{Result: "success"}, Endpoints: []Endpoint{endpoint(ingest)}}
	c.Meta.Service, c.Meta.SchemaVersion, c.Meta.ConfigID = "Tally", SchemaVersion, "tally"
	if v := rq.SchemaVersion; v != "" && len(v) <= 32 {
		c.Meta.SchemaVersion = v
	}
	encoder := choose(rq.Client.Encoders)
	for _, r := range rq.renditions() {
		c.Video = append(c.Video, Video{
			Encoder: encoder.id, Width: r.width, Height: r.height, Framerate: r.rate,
			Scale: "OBS_SCALE_BICUBIC", Space: "VIDEO_CS_709", Range: "VIDEO_RANGE_PARTIAL", Format: "VIDEO_FORMAT_NV12",
			Settings: encoder.with(r.kbps),
		})
	}
	channels := rq.Preferences.Channels
	if channels == 0 || channels > 8 {
		channels = 2
	}
	one := Audio{Codec: "aac", TrackID: 1, Channels: channels, Settings: map[string]any{"bitrate": audioKbps}}
	c.Audio.Live = []Audio{one}
	if rq.Preferences.VODTrack {
		one.TrackID = 2
		c.Audio.VOD = []Audio{one}
	}
	return c
}

func endpoint(ingest string) Endpoint {
	e := Endpoint{Protocol: "RTMP", URL: ingest + "{stream_key}"}
	if len(ingest) > 6 && ingest[:6] == "rtmps:" {
		e.Protocol = "RTMPS"
	}
	return e
}

// A rendition is a rung on a canvas.
type rendition struct {
	width, height uint32
	rate          Framerate
	kbps          uint64
}

// renditions are the ladder's rungs that fit the canvas and the user's limits,
// largest first. There is always one.
func (rq *Request) renditions() []rendition {
	canvas := assumed
	for _, c := range append(slices.Clone(rq.Preferences.Canvases), rq.Preferences.Canvas) {
		if c.Width > 0 && c.Height > 0 && c.Width <= 16384 && c.Height <= 16384 {
			canvas = c
			break
		}
	}
	if fps := canvas.Framerate.fps(); fps < 1 || fps > 240 {
		canvas.Framerate = assumed.Framerate
	}
	var rs []rendition
	for _, r := range ladder {
		if r.lines <= min(canvas.Width, canvas.Height) {
			rs = append(rs, r.on(canvas, len(rs) == 0))
		}
	}
	if len(rs) == 0 { // smaller than the lowest
		lowest := ladder[len(ladder)-1]
		lowest.lines = min(canvas.Width, canvas.Height)
		rs = append(rs, lowest.on(canvas, true))
	}
	return rq.limit(rs)
}

// on scales a canvas to the rung, by its shorter side, to even sizes. Only the
// first rendition has more than 30 frames per second.
func (r rung) on(c Canvas, first bool) rendition {
	scale := float64(r.lines) / float64(min(c.Width, c.Height))
	even := func(n uint32) uint32 { return max(2, 2*uint32(math.Round(float64(n)*scale/2))) }
	one := rendition{even(c.Width), even(c.Height), c.Framerate, r.kbps}
	switch fps := c.Framerate.fps(); {
	case fps <= 30:
	case first && r.kbps60 > 0:
		one.kbps = r.kbps60
	case first:
		one.kbps = r.kbps * 3 / 2
	default:
		one.rate.Denominator *= uint32(math.Ceil(fps/30 - 0.01)) // OBS divides frame rates by whole numbers
	}
	return one
}

// limit takes renditions out until the user's limits are kept: those between the
// largest and the smallest first, so that what is left spans as much as it can,
// then the largest, so that more than one is left. A single one is the largest that
// fits, or the smallest at less than it should have.
func (rq *Request) limit(rs []rendition) []rendition {
	tracks, kbps := len(rs), uint64(math.MaxUint64)
	if n := rq.Preferences.MaximumTracks; n != nil && *n > 0 {
		tracks = min(tracks, int(*n))
	}
	if n := rq.Preferences.MaximumKbps; n != nil && *n > 0 {
		kbps = max(*n, audioKbps) - audioKbps
	}
	for top := range rs {
		some := slices.Clone(rs[top:])
		for len(some) > 2 && (len(some) > tracks || sum(some) > kbps) {
			some = slices.Delete(some, 1, 2)
		}
		if len(some) <= tracks && sum(some) <= kbps && (len(some) > 1 || len(rs) == 1) {
			return some
		}
	}
	for _, r := range rs {
		if r.kbps <= kbps {
			return []rendition{r}
		}
	}
	last := rs[len(rs)-1]
	last.kbps = max(kbps, leastKbps)
	return []rendition{last}
}

func sum(rs []rendition) (kbps uint64) {
	for _, r := range rs {
		kbps += r.kbps
	}
	return kbps
}
