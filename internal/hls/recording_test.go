package hls_test

import (
	"testing"
	"time"

	"tally/internal/hls"
	"tally/internal/hls/archive"
)

// The multivariant playlist of a recording says what that of the broadcast said.
func TestRecordingOfSeveralRenditions(t *testing.T) {
	s := newShelf(t, t.TempDir())
	defer s.close()
	r := s.lib.Record("run")
	r.Begin(archive.About{SessionID: "s1", PlaybackID: "play", Keep: true, Target: 2, Began: time.Now()})
	for name, in := range map[string]archive.Init{
		"v0": {Codecs: "avc1.64001f", Width: 1280, Height: 720, FrameRate: 30, Captions: "CC1,CC3"},
		"v1": {Codecs: "avc1.64001e", Width: 640, Height: 360, FrameRate: 30, Captions: "CC1,CC3"},
		"a0": {Codecs: "mp4a.40.2", Language: "en", Channels: 2},
		"a1": {Codecs: "mp4a.40.2", Language: "de", Name: "Kommentar", Channels: 2},
	} {
		lane := r.Lane(name)
		size := map[string]int{"v0": 250_000, "v1": 100_000, "a0": 12_500, "a1": 12_500}[name]
		e := lane.Begin(archive.Head{MSN: 1, Epoch: 1, At: time.Now(), Init: in, InitData: []byte("init")})
		lane.Part(e, archive.Part{Counter: 1, Epoch: 1, Duration: time.Second, Data: make([]byte, size)})
		lane.End(e)
	}
	r.Close(true)
	s.lib.Close()
	rec, err := s.lib.Recording("s1")
	if err != nil {
		t.Fatal(err)
	}
	want := `#EXTM3U
#EXT-X-VERSION:9
#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="cc",NAME="CC1",INSTREAM-ID="CC1"
#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="cc",NAME="CC3",INSTREAM-ID="CC3"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="aac",NAME="en",LANGUAGE="en",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="id/a0/index.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="aac",NAME="Kommentar",LANGUAGE="de",AUTOSELECT=YES,CHANNELS="2",URI="id/a1/index.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=2100000,AVERAGE-BANDWIDTH=2100000,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=30.000,AUDIO="aac",CLOSED-CAPTIONS="cc"
id/v0/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=900000,AVERAGE-BANDWIDTH=900000,CODECS="avc1.64001e,mp4a.40.2",RESOLUTION=640x360,FRAME-RATE=30.000,AUDIO="aac",CLOSED-CAPTIONS="cc"
id/v1/index.m3u8
`
	if got := string(hls.AppendRecording(nil, rec, "id/")); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
