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
	"tally/internal/rtmp/mp4"
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
	File     []string      `placeholder:"FILE" sep:"none" help:"An FLV or MP4 file (unset: the built-in clip, looped). Several MP4 files become several tracks: a ladder, languages."`
	Together bool          `help:"Send pictures of the same time in one message (Enhanced RTMP's many tracks)."`
	Loop     bool          `help:"Start over at the end of the file, with timestamps going on."`
	Duration time.Duration `placeholder:"TIME" help:"End after this long, for example 30s."`
	JSON     bool          `name:"json" help:"Print what was sent as JSON at the end, and nothing before."`
}

// Help implements kong.HelpProvider.
func (PublishCmd) Help() string {
	return `Sends in real time and ends cleanly, on Ctrl-C too. A server that stops asks it to
reconnect; then it tries for a minute, and goes on with what is due. MP4 files may have H.264, HEVC,
AV1, VP9, AAC, Opus and FLAC, and several tracks of each kind, which go out as
Enhanced RTMP with their languages. Other files become MP4 with
ffmpeg -i FILE -c:v libx264 -g 60 -c:a aac clip.mp4

Examples:

  tally publish --url rtmp://127.0.0.1/live/KEY --file clip.mp4 --loop
  tally publish --url rtmp://127.0.0.1/live/KEY --file 1080p.mp4 --file 720p.mp4 --file french.m4a`
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
		URL: c.URL, Source: source, Speed: 1, Reconnect: reconnectFor,
		OnReconnect: func(why error) {
			if !c.JSON {
				line.Print("the server asks to reconnect: " + oneLine(why))
			}
		},
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

// reconnectFor is how long a server that asks for it is tried again: as long as a
// broadcast waits for its encoder by default.
const reconnectFor = 60 * time.Second

// lagging says when the network or this machine does not keep up.
func lagging(lag time.Duration) string {
	if lag < time.Second {
		return ""
	}
	return fmt.Sprintf("%.0f s behind: the network is too slow for this clip", lag.Seconds())
}

// source opens what is to be sent; done lets go of it.
func (c *PublishCmd) source() (source publisher.Source, done func(), err error) {
	if len(c.File) == 0 {
		built, err := BuiltInClip()
		if err != nil {
			return nil, nil, fmt.Errorf("built-in clip: %w", err)
		}
		return publisher.FromClip(built, true), func() {}, nil
	}
	var open []*os.File
	done = func() {
		for _, f := range open {
			f.Close()
		}
	}
	files := publisher.Files{Loop: c.Loop, Together: c.Together}
	for _, name := range c.File {
		f, err := os.Open(name)
		if err != nil {
			done()
			return nil, nil, fmt.Errorf("--file: %w", err)
		}
		open = append(open, f)
		movie, err := openMP4(f)
		if errors.Is(err, mp4.ErrNotMP4) && len(c.File) == 1 {
			return c.flv(f)
		}
		if err != nil {
			done()
			return nil, nil, c.unusable(name, err)
		}
		files.Files = append(files.Files, movie)
	}
	if source, err = files.Source(); err != nil {
		done()
		return nil, nil, c.unusable(strings.Join(c.File, ", "), err)
	}
	return source, done, nil
}

// openMP4 reads the tables of a file.
func openMP4(f *os.File) (*mp4.File, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, mp4.ErrNotMP4 // a pipe can be FLV
	}
	return mp4.Open(f, info.Size())
}

// flv is the source of a single file that is no MP4 file.
func (c *PublishCmd) flv(f *os.File) (publisher.Source, func(), error) {
	if !c.Loop {
		source, err := publisher.FromReader(f)
		if err != nil {
			f.Close()
			return nil, nil, c.unusable(f.Name(), err)
		}
		return source, func() { f.Close() }, nil
	}
	defer f.Close()
	loaded, err := flv.Load(f)
	if err != nil {
		return nil, nil, c.unusable(f.Name(), err)
	}
	return publisher.FromClip(loaded, true), func() {}, nil
}

// unusable says what is wrong with a file, and how to make one that can be sent.
func (c *PublishCmd) unusable(name string, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = errors.New("it ends too early")
	}
	kind := "is no FLV or MP4 file"
	if len(c.File) > 1 {
		kind = "is no MP4 file, as each of several must be"
	}
	return fmt.Errorf("--file %s %s that can be sent (%v): convert it with ffmpeg -i FILE -c:v libx264 -g 60 -c:a aac clip.mp4", name, kind, err)
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
