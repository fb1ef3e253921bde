package cmaf_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tally/internal/hls/cmaf"
	"tally/internal/hls/hlscheck"
	"tally/internal/hls/hlstest"
	"tally/internal/media"
)

// pack is a broadcast as one file: an initialization section, and a chunk for
// each second of it.
func pack(t *testing.T, items []hlstest.Item) []byte {
	t.Helper()
	var tracks []media.Track
	ends := map[media.TrackID]int64{}
	for _, it := range items {
		if it.Track != nil {
			tracks = append(tracks, *it.Track)
		}
	}
	b, err := cmaf.InitSegment(tracks)
	if err != nil {
		t.Fatal(err)
	}
	sequence, second := uint32(1), time.Duration(0)
	for len(items) > 0 {
		n := 0
		runs := make([]cmaf.Run, len(tracks))
		for ; n < len(items) && items[n].At < second+time.Second; n++ {
			if items[n].Track != nil {
				continue
			}
			f := &items[n].Frame
			i := slices.IndexFunc(tracks, func(t media.Track) bool { return t.ID == f.Track })
			r := &runs[i]
			if len(r.Samples) == 0 {
				*r = cmaf.Run{Track: f.Track, Time: f.DTS}
			}
			d := uint32(3600) // 25 frames per second
			if !tracks[i].Codec.Video() {
				d = uint32(media.Samples(&tracks[i], f.Payload))
				if end, ok := ends[f.Track]; ok && end != f.DTS {
					t.Fatalf("%v frame at %d, the one before says it ends at %d", tracks[i].Codec, f.DTS, end)
				}
				ends[f.Track] = f.DTS + int64(d)
			}
			r.Samples = append(r.Samples, cmaf.Sample{Duration: d, Offset: int32(f.PTS - f.DTS), Key: f.Key, Data: f.Payload})
		}
		b = append(b, cmaf.Chunk(sequence, runs)...)
		items, sequence, second = items[n:], sequence+1, second+time.Second
	}
	return b
}

// pictures are sums of everything that ffmpeg decodes of a file, without its
// timestamps. It must have nothing to say.
func pictures(t *testing.T, file string) []string {
	t.Helper()
	cmd := exec.Command("ffmpeg", "-v", "warning", "-nostdin", "-ignore_editlist", "1", "-i", file, "-map", "0",
		"-fps_mode", "passthrough", "-f", "framemd5", "-")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil || said.Len() > 0 {
		t.Fatalf("ffmpeg on %s: %v\n%s", file, err, &said)
	}
	var sums []string
	for line := range strings.Lines(string(out)) {
		if fields := strings.Split(line, ","); !strings.HasPrefix(line, "#") && len(fields) > 5 {
			sums = append(sums, fields[0]+fields[5])
		}
	}
	slices.Sort(sums)
	return sums
}

type probed struct {
	Codec    string `json:"codec_name"`
	Tag      string `json:"codec_tag_string"`
	Profile  string `json:"profile"`
	Width    int    `json:"width"`
	Height   int    `json:"height"`
	Aspect   string `json:"sample_aspect_ratio"`
	Pixels   string `json:"pix_fmt"`
	Transfer string `json:"color_transfer"`
	Rate     string `json:"sample_rate"`
	Channels int    `json:"channels"`
	Layout   string `json:"channel_layout"`
}

func probe(t *testing.T, file string) []probed {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "error", "-of", "json", "-show_streams", file).Output()
	if err != nil {
		t.Fatalf("ffprobe: %v", err)
	}
	var p struct {
		Streams []probed `json:"streams"`
	}
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatal(err)
	}
	for i := range p.Streams {
		if p.Streams[i].Aspect == "1:1" { // said or not, it is the same
			p.Streams[i].Aspect = ""
		}
	}
	return p.Streams
}

// What encoders made of each codec is decoded to the same pictures and sound
// once it is packed, and described alike.
func TestCodecs(t *testing.T) {
	const length = 400 * time.Millisecond
	pq := []string{"-pix_fmt", "yuv420p10le", "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc"}
	for name, args := range map[string][]string{
		"HEVC with B-frames, AAC":                        hlstest.Args(media.HEVC, media.AAC, length, "-x265-params", "log-level=error:bframes=3"),
		"HEVC of 10 bit in PQ, Opus of 60 ms":            hlstest.Args(media.HEVC, media.Opus, length, append(pq, "-frame_duration", "60")...),
		"HEVC 4:4:4 of wide pixels, FLAC of 1152":        hlstest.Args(media.HEVC, media.FLAC, length, "-vf", "setsar=4/3,format=yuv444p", "-frame_size", "1152"),
		"AV1 of libaom, Opus":                            hlstest.Args(media.AV1, media.Opus, length),
		"AV1 of SVT, Opus of 2.5 ms, mono":               hlstest.Args(media.AV1, media.Opus, length, "-c:v", "libsvtav1", "-preset", "12", "-frame_duration", "2.5", "-ac", "1"),
		"AV1 of 10 bit in PQ, FLAC of 96 kHz and 24 bit": hlstest.Args(media.AV1, media.FLAC, length, append(pq, "-ar", "96000", "-sample_fmt", "s32")...),
		"VP9 with superframes, Opus":                     hlstest.Args(media.VP9, media.Opus, length, "-deadline", "good", "-auto-alt-ref", "1", "-lag-in-frames", "16"),
		"VP9 4:2:2 of 10 bit, Opus 5.1":                  hlstest.Args(media.VP9, media.Opus, length, "-pix_fmt", "yuv422p10le", "-profile:v", "3", "-ac", "6", "-mapping_family", "1"),
		"H.264 of narrow pixels, FLAC":                   hlstest.Args(media.H264, media.FLAC, length, "-vf", "setsar=8/9", "-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := hlstest.File(t, args...)
			packed := filepath.Join(t.TempDir(), "packed.mp4")
			if err := os.WriteFile(packed, pack(t, hlstest.Read(t, source)), 0o600); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(probe(t, source), probe(t, packed)); diff != "" {
				t.Errorf("described differently (-source +packed):\n%s", diff)
			}
			want, got := pictures(t, source), pictures(t, packed)
			if len(want) < 4 || !slices.Equal(want, got) {
				t.Errorf("%d and %d frames decoded, which differ", len(want), len(got))
			}
		})
	}
}

// Silence of each codec and of every number of channels is what ffmpeg decodes
// to zeros, in every channel, without a complaint.
func TestSilence(t *testing.T) {
	const units = 10
	cases := map[string]media.Track{}
	for channels := 1; channels <= 8; channels++ {
		head := []byte{1, byte(channels), 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, 1}
		streams := [9][]byte{1: {1, 0}, {1, 1}, {2, 1}, {2, 2}, {3, 2}, {4, 2}, {4, 3}, {5, 3}}[channels]
		head = append(head, streams...)
		for i := range channels {
			head = append(head, byte(i))
		}
		opus, err := media.OpusTrack(head)
		if err != nil {
			t.Fatal(err)
		}
		cases[fmt.Sprintf("Opus, %d channels", channels)] = opus

		info := make([]byte, 34)
		binary.BigEndian.PutUint16(info, 1152)
		binary.BigEndian.PutUint16(info[2:], 1152+uint16(channels&1)*1000)
		binary.BigEndian.PutUint64(info[10:], 48000<<44|uint64(channels-1)<<41|15<<36)
		flac, err := media.FLACTrack(info)
		if err != nil {
			t.Fatal(err)
		}
		cases[fmt.Sprintf("FLAC, %d channels", channels)] = flac
	}
	stereo, err := media.OpusTrack([]byte{1, 2, 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, 0})
	if err != nil {
		t.Fatal(err)
	}
	cases["Opus, family 0"] = stereo
	aac, err := media.AACTrack([]byte{0x11, 0x94}) // 960 samples
	if err != nil {
		t.Fatal(err)
	}
	for name, track := range cases {
		unit, samples := media.Silence(&track)
		if unit == nil || media.Samples(&track, unit) != samples {
			t.Errorf("%s: a unit of %d bytes for %d samples, whose own bytes say %d", name, len(unit), samples, media.Samples(&track, unit))
			continue
		}
		b, err := cmaf.InitSegment([]media.Track{track})
		if err != nil {
			t.Fatal(err)
		}
		run := cmaf.Run{Track: track.ID}
		for range units {
			run.Samples = append(run.Samples, cmaf.Sample{Duration: uint32(samples), Key: true, Data: unit})
		}
		file := filepath.Join(t.TempDir(), "silence.mp4")
		if err := os.WriteFile(file, append(b, cmaf.Chunk(1, []cmaf.Run{run})...), 0o600); err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		cmd := exec.Command("ffmpeg", "-v", "warning", "-xerror", "-err_detect", "explode", "-i", file, "-f", "s16le", "-")
		cmd.Stderr = &said
		pcm, err := cmd.Output()
		if err != nil || said.Len() > 0 {
			t.Errorf("%s: %v\n%s", name, err, &said)
		}
		played := units * int(samples)
		if track.Codec == media.Opus { // ffmpeg takes the pre-skip of the header off
			played -= 312
		}
		if want := played * track.Channels * 2; len(pcm) != want || !bytes.Equal(pcm, make([]byte, len(pcm))) {
			t.Errorf("%s: %d bytes of sound, want %d of zeros", name, len(pcm), want)
		}
	}
	if unit, samples := media.Silence(&aac); unit == nil || samples != 960 {
		t.Errorf("AAC: %x for %d samples", unit, samples)
	}
	if unit, samples := media.Silence(&media.Track{Codec: media.HEVC}); unit != nil || samples != 0 {
		t.Errorf("a picture: %x for %d samples", unit, samples)
	}
}

// configs are what ffmpeg 5.1's encoders write.
var configs = []struct {
	parse  func([]byte) (media.Track, error)
	config string
}{
	{media.HEVCTrack, "0102200000009000000000003cf000fcfdfafa00000f03a00001001840010c01ffff02200000030090000003000003003cba0240a10001003142010102200000030090000003000003003ca01620207112365ba4a4c2fff00f400f36a122012080000003008000000c84a2000100064401c073c18927"},
	{media.AV1Track, "81004c000a0d00000002aff19b5f2a12201208"},
	{media.VP9Track, "01000000030aa50101010000"},
	{media.OpusTrack, "4f70757348656164010638018" + "0bb000000000104020004010203" + "05"},
	{media.FLACTrack, "200020000000000000001770037000000000" + "00000000000000000000000000000000"},
}

// The boxes of each codec, byte by byte.
func TestInitSegmentOfCodecs(t *testing.T) {
	for _, c := range configs {
		config, err := hex.DecodeString(c.config)
		if err != nil {
			t.Fatal(err)
		}
		track, err := c.parse(config)
		if err != nil {
			t.Fatal(err)
		}
		if track.Codec == media.VP9 {
			if _, err := cmaf.InitSegment([]media.Track{track}); err == nil {
				t.Error("a picture whose size is unknown is written")
			}
			track.Width, track.Height = 64, 36
		}
		got, err := cmaf.InitSegment([]media.Track{track})
		if err != nil {
			t.Fatal(err)
		}
		cmaf.Golden(t, "init-"+strings.ToLower(strings.ReplaceAll(track.Codec.String(), ".", ""))+".mp4", got)
		in, err := hlscheck.ParseInit(got)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := hlstest.Track(&in.Tracks[0]); err != nil || again.CodecString != track.CodecString || !bytes.Equal(again.Config, track.Config) {
			t.Errorf("%v is read as %+v, %v", track.Codec, again, err)
		}
	}
}
