package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"tally/internal/rtmp/flv"
)

// A clip's measures. Its video is held to a constant 2 Mbit/s, its keyframes
// come every 2 s, as encoders for live are told to send them. 8 s are 240
// pictures and 375 AAC frames exactly, so that the loop has no seam.
const (
	clipSeconds    = 8
	clipVideoBits  = 2_000_000
	clipFrameRate  = 30
	clipGOPSeconds = 2
	clipSampleRate = 48000
)

// makeClip has ffmpeg encode 720p30 with AAC into dir and returns the FLV's
// path. The picture carries noise, so that the encoder needs its 2 Mbit/s, and
// its number, which glassScript reads.
func makeClip(ctx context.Context, dir string) (string, error) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		return "", fmt.Errorf("the bench's clip is made by ffmpeg, which is not installed: apt-get install ffmpeg")
	}
	path := filepath.Join(dir, "clip.flv")
	gop := strconv.Itoa(clipFrameRate * clipGOPSeconds)
	rate := strconv.Itoa(clipVideoBits)
	// The encoder puts one frame of its own before the first.
	audio := clipSeconds - 1024/float64(clipSampleRate)
	cmd := exec.CommandContext(ctx, ffmpeg, "-nostdin", "-v", "error",
		"-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=1280x720:rate=%d,noise=alls=8:allf=t%s", clipFrameRate, burntNumber()),
		"-f", "lavfi", "-i", fmt.Sprintf("sine=frequency=440:sample_rate=%d:duration=%f", clipSampleRate, audio),
		"-t", strconv.Itoa(clipSeconds), "-pix_fmt", "yuv420p",
		"-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-g", gop, "-keyint_min", gop, "-sc_threshold", "0",
		"-b:v", rate, "-minrate", rate, "-maxrate", rate, "-bufsize", strconv.Itoa(clipVideoBits/2), "-x264-params", "nal-hrd=cbr",
		"-c:a", "aac", "-b:a", "128k", "-f", "flv", path)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("ffmpeg: %w\n%s", err, out)
	}
	return path, nil
}

// loadClip reads what is published. Other people's clips loop as they are.
func (b *bench) loadClip() (*flv.Clip, error) {
	f, err := os.Open(b.clip)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := flv.Load(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.clip, err)
	}
	if b.Clip == "" {
		// Pictures start one AAC frame after the sound, and that is all that the
		// clip's two ends differ by.
		c.Duration = clipSeconds * 1000
	}
	return c, nil
}
