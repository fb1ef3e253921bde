package cli

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"tally/internal/rtmp"
	"tally/internal/rtmp/flv"
	"tally/internal/rtmp/publisher"
)

// clip is eight seconds that loop without a seam: 854x480 at 30 fps with a
// keyframe each second, AAC. scripts/make-demo-clip.sh makes it.
//
//go:embed clip.flv
var clip []byte

// BuiltInClip is the clip that is in the binary.
func BuiltInClip() (*flv.Clip, error) { return flv.Load(bytes.NewReader(clip)) }

// PublishCmd is `tally publish`.
type PublishCmd struct {
	URL      string        `name:"url" required:"" placeholder:"URL" help:"Server and stream key: rtmp://HOST/live/KEY."`
	File     string        `placeholder:"FILE" help:"An FLV file (unset: the built-in clip, looped)."`
	Loop     bool          `help:"Start over at the end of the file, with timestamps going on."`
	Duration time.Duration `placeholder:"TIME" help:"End after this long, for example 30s."`
	JSON     bool          `name:"json" help:"Print what was sent as JSON at the end, and nothing before."`
}

// Help implements kong.HelpProvider.
func (PublishCmd) Help() string {
	return `Sends in real time and ends cleanly, on Ctrl-C too. Other files become FLV with
ffmpeg -i FILE -c:v libx264 -g 60 -c:a aac clip.flv

Example:

  tally publish --url rtmp://127.0.0.1/live/KEY --file clip.flv --loop`
}

// Run implements the command.
func (c *PublishCmd) Run(ctx context.Context, s *Streams) error {
	source, done, err := c.source()
	if err != nil {
		return err
	}
	defer done()
	if c.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Duration)
		defer cancel()
	}
	line := NewLiveLine(s)
	var last publisher.Progress
	err = publisher.Run(ctx, publisher.Options{
		URL: c.URL, Source: source, Speed: 1,
		OnProgress: func(p publisher.Progress) {
			last = p
			if !c.JSON {
				line.Update("sending", join("sending "+Clock(p.Elapsed), byteCount(p.Bytes), bitrate(p.Bytes, p.Elapsed), lagging(p.Lag)))
			}
		},
	})
	line.End()
	if err != nil {
		return explainPublish(c.URL, err)
	}
	if c.JSON {
		return s.JSON(map[string]any{
			"seconds": last.Elapsed.Seconds(), "media_seconds": last.Media.Seconds(),
			"bytes": last.Bytes, "messages": last.Tags, "frames": last.Frames,
		})
	}
	return nil
}

// lagging says when the network or this machine does not keep up.
func lagging(lag time.Duration) string {
	if lag < time.Second {
		return ""
	}
	return fmt.Sprintf("%.0f s behind: the network is too slow for this clip", lag.Seconds())
}

// source opens what is to be sent; done lets go of it.
func (c *PublishCmd) source() (publisher.Source, func(), error) {
	if c.File == "" {
		built, err := BuiltInClip()
		if err != nil {
			return nil, nil, fmt.Errorf("built-in clip: %w", err)
		}
		return publisher.FromClip(built, true), func() {}, nil
	}
	f, err := os.Open(c.File)
	if err != nil {
		return nil, nil, fmt.Errorf("--file: %w", err)
	}
	if !c.Loop {
		source, err := publisher.FromReader(f)
		if err != nil {
			f.Close()
			return nil, nil, notFLV(c.File, err)
		}
		return source, func() { f.Close() }, nil
	}
	defer f.Close()
	loaded, err := flv.Load(f)
	if err != nil {
		return nil, nil, notFLV(c.File, err)
	}
	return publisher.FromClip(loaded, true), func() {}, nil
}

func notFLV(file string, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = errors.New("it ends too early")
	}
	return fmt.Errorf("--file %s is no FLV file (%v): convert it with ffmpeg -i FILE -c:v libx264 -g 60 -c:a aac clip.flv", file, err)
}

// explainPublish turns a refusal or a failed connection into advice. The stream
// key stays out of it.
func explainPublish(address string, err error) error {
	var status *rtmp.StatusError
	if errors.As(err, &status) {
		return fmt.Errorf("the server refused: %w", status)
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("no RTMP server at %s (%v): check --url", op.Addr, op.Err)
	}
	key := address[strings.LastIndexByte(address, '/')+1:]
	text := err.Error()
	if key != "" {
		text = strings.ReplaceAll(text, key, "KEY")
	}
	return errors.New(text)
}
