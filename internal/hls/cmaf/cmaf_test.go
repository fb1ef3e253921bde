package cmaf

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tally/internal/media"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs:\n%s", name, cmp.Diff(hex.Dump(want), hex.Dump(got)))
	}
}

// 720p30 High and 48 kHz stereo LC, as ffmpeg 5.1 configures them.
func tracks(t testing.TB) (video, audio media.Track) {
	t.Helper()
	avcC, err := hex.DecodeString("0164001fffe1001a6764001facd9405005bb0110000003001000000303c0f183196001000468ef8fcbfdf8f800")
	if err != nil {
		t.Fatal(err)
	}
	if video, err = media.H264Track(avcC); err != nil {
		t.Fatal(err)
	}
	if audio, err = media.AACTrack([]byte{0x11, 0x90}); err != nil {
		t.Fatal(err)
	}
	return video, audio
}

func TestInitSegment(t *testing.T) {
	video, audio := tracks(t)
	for name, ts := range map[string][]media.Track{
		"init-av.mp4":    {video, audio},
		"init-video.mp4": {video},
		"init-audio.mp4": {audio},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := InitSegment(ts)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, got)
			checkBoxes(t, got)
		})
	}
}

func TestInitSegmentRefuses(t *testing.T) {
	video, _ := tracks(t)
	bare := video
	bare.Config = nil
	for name, ts := range map[string][]media.Track{
		"no tracks":     nil,
		"no codec":      {{ID: 1, Config: []byte{1}}},
		"no config":     {bare},
		"endless bytes": {{ID: 1, Codec: media.H264, Config: make([]byte, maxConfig+1)}},
	} {
		if _, err := InitSegment(ts); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func payload(n int, fill byte) []byte { return bytes.Repeat([]byte{fill}, n) }

// runs has everything that changes a box's shape: B-frames, uneven durations, a
// keyframe first, audio that is all alike, and a run without samples.
func runs() []Run {
	return []Run{
		{Track: media.VideoTrack, Time: 1 << 33, Samples: []Sample{
			{Duration: 3000, Offset: 6000, Key: true, Data: payload(50, 1)},
			{Duration: 2970, Offset: 9000, Data: payload(20, 2)},
			{Duration: 3030, Offset: -90, Data: payload(10, 3)},
		}},
		{Track: 3},
		{Track: media.AudioTrack, Time: 4581298449, Samples: []Sample{
			{Duration: 1024, Key: true, Data: payload(7, 4)},
			{Duration: 1024, Key: true, Data: payload(8, 5)},
		}},
	}
}

func TestChunk(t *testing.T) {
	got := Chunk(7, runs())
	golden(t, "chunk-av.m4s", got)
	checkBoxes(t, got)
	if len(got) != cap(got) {
		t.Errorf("%d bytes in a slice of %d: it is to be exactly sized", len(got), cap(got))
	}
	rs := runs()
	if n := testing.AllocsPerRun(100, func() { Chunk(7, rs) }); n > 1 {
		t.Errorf("%v allocations, want the chunk alone", n)
	}
}

// A split chunk is its two pieces: the picture last and not copied.
func TestSplitChunk(t *testing.T) {
	picture := payload(1000, 7)
	rs := []Run{
		{Track: 1, Time: 90000, Samples: []Sample{{Duration: 30150, Offset: 6000, Key: true, Data: picture}}},
		{Track: 2, Time: 48000, Samples: []Sample{{Duration: 1024, Key: true, Data: payload(7, 1)}, {Duration: 1024, Key: true, Data: payload(7, 2)}}},
	}
	head, tail := SplitChunk(9, rs)
	if &tail[0] != &picture[0] || len(head) != cap(head) {
		t.Errorf("the picture was copied, or the head has %d bytes of %d", len(head), cap(head))
	}
	whole := append(head, tail...)
	if plain := Chunk(9, rs); len(plain) != len(whole) {
		t.Errorf("%d bytes, want %d", len(whole), len(plain))
	}
	golden(t, "split.m4s", whole)
	checkBoxes(t, whole)
}

// checkBoxes walks the box tree: sizes must add up exactly.
func checkBoxes(t *testing.T, b []byte) {
	t.Helper()
	containers := map[string]bool{"moov": true, "trak": true, "mdia": true, "minf": true, "stbl": true, "dinf": true,
		"mvex": true, "moof": true, "traf": true}
	for len(b) > 0 {
		if len(b) < 8 {
			t.Fatalf("%d bytes left over", len(b))
		}
		size := int(b[0])<<24 | int(b[1])<<16 | int(b[2])<<8 | int(b[3])
		kind := string(b[4:8])
		if size < 8 || size > len(b) {
			t.Fatalf("%s of %d bytes where %d are left", kind, size, len(b))
		}
		if containers[kind] {
			checkBoxes(t, b[8:size])
		}
		b = b[size:]
	}
}

type packet struct {
	CodecType string `json:"codec_type"`
	PTS       int64  `json:"pts"`
	DTS       int64  `json:"dts"`
	Size      string `json:"size"`
	Flags     string `json:"flags"`
}

// What ffprobe reads is what was written: times, sizes, keyframes.
func TestFFProbeReadsChunk(t *testing.T) {
	video, audio := tracks(t)
	init, err := InitSegment([]media.Track{video, audio})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "chunk.mp4")
	if err := os.WriteFile(file, append(init, Chunk(1, runs())...), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ffprobe", "-v", "quiet", "-fflags", "+noparse", "-of", "json", "-show_packets", "-show_streams", file).Output()
	if err != nil {
		t.Fatalf("ffprobe: %v", err)
	}
	var read struct {
		Packets []packet `json:"packets"`
		Streams []struct {
			CodecName string `json:"codec_name"`
			Width     int    `json:"width"`
			Height    int    `json:"height"`
			Rate      string `json:"sample_rate"`
			Channels  int    `json:"channels"`
			TimeBase  string `json:"time_base"`
		} `json:"streams"`
	}
	if err := json.Unmarshal(out, &read); err != nil {
		t.Fatal(err)
	}
	if len(read.Streams) != 2 || read.Streams[0].CodecName != "h264" || read.Streams[0].Width != 1280 ||
		read.Streams[0].Height != 720 || read.Streams[0].TimeBase != "1/90000" ||
		read.Streams[1].CodecName != "aac" || read.Streams[1].Rate != "48000" || read.Streams[1].Channels != 2 {
		t.Errorf("streams %+v", read.Streams)
	}
	byKind := map[string][]packet{}
	for _, p := range read.Packets {
		byKind[p.CodecType] = append(byKind[p.CodecType], p)
	}
	const at, audioAt = 1 << 33, 4581298449
	const shift = 90 // ffmpeg moves a track so that its most negative offset is 0
	want := map[string][]packet{
		"video": {
			{"video", at + 6000 + shift, at, "50", "K_"},
			{"video", at + 3000 + 9000 + shift, at + 3000, "20", "__"},
			{"video", at + 5970 - 90 + shift, at + 5970, "10", "__"},
		},
		"audio": {
			{"audio", audioAt, audioAt, "7", "K_"},
			{"audio", audioAt + 1024, audioAt + 1024, "8", "K_"},
		},
	}
	if diff := cmp.Diff(want, byKind); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
}

func BenchmarkChunk(b *testing.B) {
	video := make([]Sample, 10)
	for i := range video {
		video[i] = Sample{Duration: 3000, Offset: int32(3000 * (i % 3)), Key: i == 0, Data: make([]byte, 8000)}
	}
	audio := make([]Sample, 15)
	for i := range audio {
		audio[i] = Sample{Duration: 1024, Key: true, Data: make([]byte, 340)}
	}
	runs := []Run{{Track: media.VideoTrack, Samples: video}, {Track: media.AudioTrack, Samples: audio}}
	b.ReportAllocs()
	for b.Loop() {
		b.SetBytes(int64(len(Chunk(1, runs))))
	}
}
