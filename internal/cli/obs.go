package cli

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"tally/internal/obs"
)

// LivestreamObsCmd is `tally livestream obs`.
type LivestreamObsCmd struct {
	APIFlags
	ID         string  `arg:"" help:"The livestream's id."`
	Width      uint32  `default:"1920" placeholder:"PIXELS" help:"Width of OBS' canvas (${default})."`
	Height     uint32  `default:"1080" placeholder:"PIXELS" help:"Height of OBS' canvas (${default})."`
	FPS        uint32  `name:"fps" default:"60" placeholder:"N" help:"OBS' frames per second (${default})."`
	MaxBitrate *uint64 `placeholder:"KBITS" help:"What the upload carries in kbit/s, sound included (unset: as much as the ladder takes, 10.6 Mbit/s)."`
	MaxTracks  *uint32 `placeholder:"N" help:"At most so many renditions (unset: 4)."`
	Encoder    string  `enum:"obs_x264,obs_nvenc_h264_tex,jim_nvenc,h264_texture_amf,obs_qsv11_v2,com.apple.videotoolbox.videoencoder.ave.avc" default:"obs_x264" placeholder:"ID" help:"OBS' id of the encoder: obs_x264 (unset), obs_nvenc_h264_tex, jim_nvenc (before OBS 31), h264_texture_amf, obs_qsv11_v2, com.apple.videotoolbox.videoencoder.ave.avc."`
}

// Help implements kong.HelpProvider.
func (LivestreamObsCmd) Help() string {
	return `Prints, as JSON, what makes OBS send several renditions at once, for Settings, Stream,
Multitrack Video, "Config Override (JSON)" of the service "Custom...". It holds the
stream key. docs/obs.md says where OBS shows that field, and how it can ask by itself.

Examples:

  tally livestream obs 5c1c2d3e-0000-4000-8000-000000000000
  tally livestream obs 5c1c2d3e-0000-4000-8000-000000000000 --encoder obs_nvenc_h264_tex --max-bitrate 8000`
}

// Run implements the command.
func (c *LivestreamObsCmd) Run(ctx context.Context, s *Streams) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	var d livestreamDetail
	if _, err := api.do(ctx, http.MethodGet, livestreamPath(c.ID), nil, &d); err != nil {
		return err
	}
	if key := d.Livestream.StreamKey; key == "" || strings.Trim(key, "*") == "" {
		return errors.New("this token may not see the stream key, which OBS needs; use one with the scope Realtime or Realtime Admin")
	}
	var rq obs.Request
	rq.Client.Encoders = []string{c.Encoder}
	rq.Preferences.MaximumKbps, rq.Preferences.MaximumTracks = c.MaxBitrate, c.MaxTracks
	rq.Preferences.Width, rq.Preferences.Height, rq.Preferences.Framerate = c.Width, c.Height, obs.Framerate{Numerator: c.FPS, Denominator: 1}
	config := obs.Configure(&rq, d.Livestream.IngestServer)
	config.Endpoints[0].Authentication = d.Livestream.StreamKey
	return s.JSON(config)
}
