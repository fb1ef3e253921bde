package thumbnail

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"strconv"
	"time"
)

// arguments decode the first picture of an MP4 on standard input to a JPEG on
// standard output that fits a square of MaxWidth, its pixels square. Nothing but
// pipes may be opened, whatever the file says.
var arguments = []string{
	"-nostdin", "-hide_banner", "-v", "error", "-threads", "1",
	"-protocol_whitelist", "pipe", "-max_pixels", strconv.Itoa(8192 * 8192), "-f", "mp4", "-i", "pipe:0",
	"-map", "0:v:0", "-frames:v", "1",
	"-vf", "scale=trunc(iw*sar/2)*2:ih,setsar=1,scale='min(" + strconv.Itoa(MaxWidth) + ",iw)':'min(" + strconv.Itoa(MaxWidth) +
		",ih)':force_original_aspect_ratio=decrease:force_divisible_by=2,format=yuvj420p",
	"-c:v", "mjpeg", "-q:v", "4", "-f", "image2pipe", "pipe:1",
}

// errTooMuch ends a process that answers without end.
var errTooMuch = errors.New("the picture is too large")

// run runs ffmpeg. It returns ErrPicture when that cannot decode the picture, or
// not before ctx ends.
func run(ctx context.Context, program string, pieces [][]byte) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, arguments...)
	cmd.Env = []string{"LC_ALL=C"} // nothing of ours
	cmd.WaitDelay = time.Second
	readers := make([]io.Reader, len(pieces))
	for i, p := range pieces {
		readers[i] = bytes.NewReader(p)
	}
	cmd.Stdin = io.MultiReader(readers...)
	out := &limited{most: maxJPEG}
	cmd.Stdout = out
	apart(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lower(cmd.Process.Pid)
	if err := cmd.Wait(); err != nil && out.b.Len() == 0 || out.over || out.b.Len() == 0 {
		return nil, ErrPicture
	}
	return out.b.Bytes(), nil
}

// limited takes so much and no more.
type limited struct {
	b    bytes.Buffer
	most int
	over bool
}

func (l *limited) Write(p []byte) (int, error) {
	if l.b.Len()+len(p) > l.most {
		l.over = true
		return 0, errTooMuch
	}
	return l.b.Write(p)
}
