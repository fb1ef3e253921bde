package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
)

// A clip's measures. Its video is held to a constant 2 Mbit/s, its keyframes
// come every 2 s, as encoders for live are told to send them.
const (
	clipSeconds    = 10
	clipVideoBits  = 2_000_000
	clipFrameRate  = 30
	clipGOPSeconds = 2
)

// makeClip has ffmpeg encode 720p30 with AAC into dir and returns the FLV's
// path. The picture carries noise, so that the encoder needs its 2 Mbit/s.
func makeClip(ctx context.Context, dir string) (string, error) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		return "", fmt.Errorf("the bench's clip is made by ffmpeg, which is not installed: apt-get install ffmpeg")
	}
	path := filepath.Join(dir, "clip.flv")
	gop := strconv.Itoa(clipFrameRate * clipGOPSeconds)
	rate := strconv.Itoa(clipVideoBits)
	cmd := exec.CommandContext(ctx, ffmpeg, "-nostdin", "-v", "error",
		"-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=1280x720:rate=%d,noise=alls=8:allf=t", clipFrameRate),
		"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
		"-t", strconv.Itoa(clipSeconds), "-pix_fmt", "yuv420p",
		"-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-g", gop, "-keyint_min", gop, "-sc_threshold", "0",
		"-b:v", rate, "-minrate", rate, "-maxrate", rate, "-bufsize", strconv.Itoa(clipVideoBits/2), "-x264-params", "nal-hrd=cbr",
		"-c:a", "aac", "-b:a", "128k", "-f", "flv", path)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("ffmpeg: %w\n%s", err, out)
	}
	return path, nil
}
