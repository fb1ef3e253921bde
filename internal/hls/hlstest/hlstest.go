// Package hlstest is for tests: it has ffmpeg encode small broadcasts in each
// codec, and reads them as an ingest edge would hand them on.
package hlstest

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tally/internal/hls/hlscheck"
	"tally/internal/media"
)

// An Item is what a publisher sends at one moment of its own time: a track's
// configuration, or a frame.
type Item struct {
	At    time.Duration
	Track *media.Track
	Frame media.Frame
}

// Codecs names the video and audio encoders of [Args] with what they need to be
// quick; small pictures are understood.
var Codecs = map[media.Codec][]string{
	media.H264: {"-c:v", "libx264", "-preset", "ultrafast", "-sc_threshold", "0"},
	media.HEVC: {"-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params", "log-level=error:scenecut=0"},
	media.AV1:  {"-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8"},
	media.VP9:  {"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"},
	media.AAC:  {"-c:a", "aac"},
	media.Opus: {"-c:a", "libopus"},
	media.FLAC: {"-c:a", "flac", "-strict", "-2"},
}

// Args are the arguments of ffmpeg for a broadcast of a test picture of 160x120
// at 25 frames per second with a keyframe each second, and of stereo sound at 48
// kHz. Either codec may be CodecNone. What more says comes last.
func Args(video, audio media.Codec, length time.Duration, more ...string) []string {
	var args, out []string
	if video != media.CodecNone {
		args = append(args, "-f", "lavfi", "-i", fmt.Sprintf("testsrc=size=160x120:rate=25:duration=%g", length.Seconds()))
		out = append(append(out, "-pix_fmt", "yuv420p", "-b:v", "200k", "-g", "25", "-keyint_min", "25"), Codecs[video]...)
	}
	if audio != media.CodecNone {
		args = append(args, "-f", "lavfi", "-i", fmt.Sprintf("sine=frequency=440:sample_rate=48000:duration=%g", length.Seconds()))
		out = append(append(out, "-ac", "2"), Codecs[audio]...)
	}
	return append(append(args, out...), more...)
}

// File has ffmpeg encode into a fragmented MP4 and returns its name.
func File(t testing.TB, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "in.mp4")
	args = append(append([]string{"-v", "error", "-nostdin", "-y", "-threads", "1"}, args...),
		"-threads", "1", "-fflags", "+bitexact", "-flags", "+bitexact", "-movflags", "+frag_keyframe+delay_moov+default_base_moof",
		"-video_track_timescale", fmt.Sprint(media.VideoTimescale), "-f", "mp4", file)
	cmd := exec.Command("ffmpeg", args...)
	cmd.Env = append(os.Environ(), "SVT_LOG=1") // errors
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg %v: %v\n%s", args, err, out)
	}
	return file
}

// Read turns a fragmented MP4 into what an ingest edge would hand on, in the
// order of decoding. Edit lists are not applied.
func Read(t testing.TB, file string) []Item {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte("moof"))
	if at < 4 {
		t.Fatal("no moof")
	}
	in, err := hlscheck.ParseInit(b[:at-4])
	if err != nil {
		t.Fatal(err)
	}
	frags, err := in.ParseMedia(b[at-4:])
	if err != nil {
		t.Fatal(err)
	}
	var tracks, items []Item
	configs := map[uint32]*media.Track{}
	for i := range frags {
		f := &frags[i]
		if configs[f.Track.ID] == nil {
			m, err := Track(f.Track)
			if err != nil {
				t.Fatal(err)
			}
			for j := range f.Samples { // as an edge does: what a key frame says counts
				if f.Samples[j].Sync {
					m, _ = media.Refine(&m, f.Samples[j].Data)
					break
				}
			}
			configs[f.Track.ID] = &m
			tracks = append(tracks, Item{Track: &m})
		}
		m, dts := configs[f.Track.ID], f.Time
		for j := range f.Samples {
			s := &f.Samples[j]
			payload := media.Payload(m, s.Data)
			items = append(items, Item{
				At: time.Duration(dts * int64(time.Second) / int64(m.Timescale)),
				Frame: media.Frame{Track: m.ID, DTS: dts, PTS: dts + int64(s.Offset), Payload: payload,
					Key: media.Key(m, payload)},
			})
			if s.Sync != media.Key(m, payload) {
				t.Fatalf("%v frame %d of the fragment at %d: the file says key %v, its bytes differ", m.Codec, j, f.Time, s.Sync)
			}
			dts += int64(s.Duration)
		}
	}
	slices.SortStableFunc(items, func(a, b Item) int { return cmp.Compare(a.At, b.At) })
	slices.SortStableFunc(tracks, func(a, b Item) int { return cmp.Compare(a.Track.ID, b.Track.ID) })
	return append(tracks, items...)
}

// Track is the track that a sample entry describes.
func Track(t *hlscheck.Track) (media.Track, error) {
	var m media.Track
	var err error
	switch c := t.Config; t.Codec {
	case "avc1":
		m, err = media.H264Track(c)
	case "hvc1", "hev1":
		m, err = media.HEVCTrack(c)
	case "av01":
		m, err = media.AV1Track(c)
	case "vp09":
		m, err = media.VP9Track(c)
	case "mp4a":
		m, err = media.AACTrack(specificConfig(c))
	case "Opus":
		m, err = media.OpusTrack(opusHead(c))
	case "fLaC":
		m, err = media.FLACTrack(c[4:])
	default:
		err = fmt.Errorf("sample entry %s", t.Codec)
	}
	if err == nil && t.Timescale != m.Timescale {
		err = fmt.Errorf("%s of timescale %d, want %d", t.Codec, t.Timescale, m.Timescale)
	}
	return m, err
}

// opusHead is the identification header of which dOps has the fields.
func opusHead(b []byte) []byte {
	head := []byte{1, b[1]}
	head = binary.LittleEndian.AppendUint16(head, binary.BigEndian.Uint16(b[2:]))
	head = binary.LittleEndian.AppendUint32(head, binary.BigEndian.Uint32(b[4:]))
	head = binary.LittleEndian.AppendUint16(head, binary.BigEndian.Uint16(b[8:]))
	return append(head, b[10:]...)
}

// specificConfig finds the AudioSpecificConfig in an esds.
func specificConfig(b []byte) []byte {
	for at := 0; at+6 <= len(b); at++ { // DecoderSpecificInfo, with a length of four bytes
		if b[at] == 5 && b[at+1]&b[at+2]&b[at+3]&0x80 != 0 && at+5+int(b[at+4]) <= len(b) {
			return b[at+5 : at+5+int(b[at+4])]
		}
	}
	return nil
}
