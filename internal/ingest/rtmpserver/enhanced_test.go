package rtmpserver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"tally/internal/ingest"
	"tally/internal/livestream"
	"tally/internal/media"
	"tally/internal/rtmp"
	"tally/internal/rtmp/amf0"
	"tally/internal/rtmp/flv"
	"tally/internal/rtmp/mp4"
	"tally/internal/rtmp/publisher"
)

// openFile opens a file of ../../rtmp/testdata, which ffmpeg wrote: 2 s, 25
// pictures a second with a key frame each second.
func openFile(t testing.TB, name string) *mp4.File {
	t.Helper()
	b, err := os.ReadFile("../../rtmp/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := mp4.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// samples are the payloads of a file's track, as they must come out.
func samples(t testing.TB, f *mp4.File, tr *mp4.Track) (payloads [][]byte) {
	t.Helper()
	for _, s := range tr.Samples {
		b, err := f.Read(nil, s)
		if err != nil {
			t.Fatal(err)
		}
		payloads = append(payloads, b)
	}
	return payloads
}

// TestEnhancedPublish: what real encoders made comes through our publisher, the
// wire and the server with each track's codec, name, keys, times and bytes.
func TestEnhancedPublish(t *testing.T) {
	for _, tt := range []struct {
		files    []string
		together bool
		tracks   []string // codec, id, language, name
	}{
		{[]string{"hevc-opus.mp4"}, false, []string{"HEVC 1", "Opus 2 de"}},
		{[]string{"av1-aac.mp4"}, false, []string{"AV1 1", "AAC 2"}},
		{[]string{"vp9-flac.mp4"}, false, []string{"VP9 1", "FLAC 2"}},
		{[]string{"ladder.mp4"}, false, []string{"H.264 1", "H.264 3", "H.264 5", "AAC 2 en", "AAC 4 fr Director"}},
		{[]string{"ladder.mp4"}, true, []string{"H.264 1", "H.264 3", "H.264 5", "AAC 2 en", "AAC 4 fr Director"}},
		{[]string{"hevc-opus.mp4", "av1-aac.mp4", "vp9-flac.mp4"}, true, []string{"HEVC 1", "AV1 3", "VP9 5", "Opus 2 de", "AAC 4", "FLAC 6"}},
	} {
		t.Run(fmt.Sprint(tt.files, " together ", tt.together), func(t *testing.T) {
			var files []*mp4.File
			for _, name := range tt.files {
				files = append(files, openFile(t, name))
			}
			source, err := publisher.Files{Files: files, Together: tt.together}.Source()
			if err != nil {
				t.Fatal(err)
			}
			h := start(t, nil)
			if err := publishClip(t, publisher.Options{URL: h.url(), Source: source}); err != nil {
				t.Fatal(err)
			}
			p := h.pub(t, 0)
			p.wait(t, "unpublish")
			var got []string
			var ids []media.TrackID
			for _, one := range p.tracks {
				text := fmt.Sprint(one.Codec, " ", one.ID)
				for _, more := range []string{one.Language, one.Name} {
					if more != "" {
						text += " " + more
					}
				}
				if one.ID.Video() && (one.Width == 0 || one.Height == 0) {
					t.Errorf("track %s has no size", text)
				}
				got, ids = append(got, text), append(ids, one.ID)
			}
			slices.Sort(got)
			want := slices.Sorted(slices.Values(tt.tracks))
			if !slices.Equal(got, want) {
				t.Errorf("tracks %q, want %q", got, want)
			}
			expect := slices.Clone(p.expect)
			slices.Sort(ids)
			slices.Sort(expect)
			if !slices.Equal(expect, ids) {
				t.Errorf("announced %v, came %v", expect, ids)
			}
			v, a := uint8(0), uint8(0)
			for _, f := range files {
				for i := range f.Tracks {
					if tr := &f.Tracks[i]; tr.Video {
						checkPictures(t, p.track(media.VideoID(v)), samples(t, f, tr), tr)
						v++
					} else {
						checkSounds(t, p.track(media.AudioID(a)), samples(t, f, tr), tr)
						a++
					}
				}
			}
			if len(files) == 1 {
				checkGrid(t, p, v)
			}
		})
	}
}

func checkPictures(t *testing.T, fs []media.Frame, want [][]byte, tr *mp4.Track) {
	t.Helper()
	if len(fs) != len(want) {
		t.Fatalf("%d pictures, want %d", len(fs), len(want))
	}
	for i, f := range fs {
		if f.Key != tr.Samples[i].Key || f.Discontinuity || f.Stamp != media.StampGood {
			t.Errorf("picture %d of track %d: %+v", i, f.Track, f.Stamp)
		}
		if i > 0 && (f.DTS-fs[i-1].DTS < 3500 || f.DTS-fs[i-1].DTS > 3700) {
			t.Errorf("picture %d of track %d comes %d ticks after the one before", i, f.Track, f.DTS-fs[i-1].DTS)
		}
		// A temporal delimiter is what AV1 loses on the way.
		if w := bytes.TrimPrefix(want[i], []byte{0x12, 0}); !bytes.Equal(f.Payload, w) && !bytes.Equal(f.Payload, want[i]) {
			t.Fatalf("picture %d of track %d: %d bytes, want %d", i, f.Track, len(f.Payload), len(w))
		}
		if f.PTS < f.DTS {
			t.Errorf("picture %d of track %d is shown before it is decoded", i, f.Track)
		}
	}
}

func checkSounds(t *testing.T, fs []media.Frame, want [][]byte, tr *mp4.Track) {
	t.Helper()
	if len(fs) != len(want) {
		t.Fatalf("%d sounds, want %d", len(fs), len(want))
	}
	for i, f := range fs {
		if !bytes.Equal(f.Payload, want[i]) || !f.Key {
			t.Fatalf("sound %d of track %d: %d bytes, want %d", i, f.Track, len(f.Payload), len(want[i]))
		}
		if i > 0 && f.DTS-fs[i-1].DTS != int64(tr.Samples[i-1].Duration) {
			t.Errorf("sound %d of track %d lasts %d ticks, want %d", i-1, f.Track, f.DTS-fs[i-1].DTS, tr.Samples[i-1].Duration)
		}
	}
}

// checkGrid: pictures of one time have the same decode time on all renditions.
func checkGrid(t *testing.T, p *recording, renditions uint8) {
	t.Helper()
	first := p.track(media.VideoID(0))
	for n := uint8(1); n < renditions; n++ {
		for i, f := range p.track(media.VideoID(n)) {
			if f.DTS != first[i].DTS || f.Key != first[i].Key {
				t.Errorf("picture %d of rendition %d at %d, of the first at %d", i, n, f.DTS, first[i].DTS)
			}
		}
	}
}

// TestLegacyHEVC: codec id 12, with NAL unit lengths of 2 bytes.
func TestLegacyHEVC(t *testing.T) {
	f := openFile(t, "hevc-opus.mp4")
	record := bytes.Clone(f.Tracks[0].Config)
	record[21] = record[21]&^3 | 1
	in, p := newTestIntake()
	if err := in.video(0, flv.Video{CodecID: flv.CodecHEVC, Key: true, Data: record}.Append(nil)); err != nil {
		t.Fatal(err)
	}
	want := samples(t, f, &f.Tracks[0])[0]
	var narrow []byte
	for rest := want; len(rest) > 0; {
		n := 4 + int(binary.BigEndian.Uint32(rest))
		narrow = append(narrow, rest[2:n]...)
		rest = rest[n:]
	}
	if err := in.video(40, flv.Video{CodecID: flv.CodecHEVC, Packet: flv.Coded, Composition: 80, Data: narrow}.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if len(p.tracks) != 1 || p.tracks[0].Codec != media.HEVC || p.tracks[0].Config[21]&3 != 3 {
		t.Fatalf("tracks %+v", p.tracks)
	}
	// The encoder did not say that it is a key frame; its bytes do.
	if len(p.frames) != 1 || !bytes.Equal(p.frames[0].Payload, want) || !p.frames[0].Key || p.frames[0].PTS-p.frames[0].DTS != 80*90 {
		t.Errorf("frames %+v", p.frames)
	}
}

// TestNanoseconds: ModEx's offset counts for presentation.
func TestNanoseconds(t *testing.T) {
	f := openFile(t, "hevc-opus.mp4")
	in, p := newTestIntake()
	hvc1 := f.Tracks[0].FourCC
	in.video(0, flv.Video{FourCC: hvc1, Key: true, Data: f.Tracks[0].Config}.Append(nil))
	in.video(0, flv.Video{FourCC: hvc1, Key: true, Packet: flv.Coded, Composition: 16, Nanos: 666_667, Data: samples(t, f, &f.Tracks[0])[0]}.Append(nil))
	if len(p.frames) != 1 || p.frames[0].PTS != 1500 {
		t.Errorf("frames %+v, want PTS of 16.67 ms", p.frames)
	}
}

// TestKeysOfManyTracks: one message says that its tracks are key frames. What is
// in them decides.
func TestKeysOfManyTracks(t *testing.T) {
	clip := clipParts(t)
	in, p := newTestIntake()
	avc1 := [4]byte{'a', 'v', 'c', '1'}
	config, key, other := clip.avcHeader[5:], clip.pictures[0][5:], clip.pictures[1][5:]
	var headers, both []flv.Video
	for n := range uint8(2) {
		headers = append(headers, flv.Video{Key: true, FourCC: avc1, Track: n, Data: config})
	}
	both = append(both, flv.Video{Key: true, FourCC: avc1, Packet: flv.Coded, Data: key}, flv.Video{Key: true, FourCC: avc1, Track: 1, Packet: flv.Coded, Data: other})
	if err := errors.Join(in.video(0, flv.AppendVideos(nil, headers)), in.video(0, flv.AppendVideos(nil, both))); err != nil {
		t.Fatal(err)
	}
	if len(p.frames) != 2 || !p.frames[0].Key || p.frames[1].Key || p.frames[1].Track != media.VideoID(1) {
		t.Errorf("frames %+v", p.frames)
	}
}

// TestTooManyTracks: the ninth of a kind is refused, the eighth is not.
func TestTooManyTracks(t *testing.T) {
	clip := clipParts(t)
	in, p := newTestIntake()
	mp4a := [4]byte{'m', 'p', '4', 'a'}
	var err error
	for n := range uint8(8) {
		err = errors.Join(err,
			in.video(0, flv.Video{FourCC: [4]byte{'a', 'v', 'c', '1'}, Track: 30 * n, Data: clip.avcHeader[5:]}.Append(nil)),
			in.audio(0, flv.Audio{Format: flv.FormatEnhanced, FourCC: mp4a, Track: n, Data: clip.aacHeader[2:]}.Append(nil)))
	}
	if err != nil || len(p.tracks) != 16 {
		t.Fatalf("%d tracks, %v", len(p.tracks), err)
	}
	err = in.audio(0, flv.Audio{Format: flv.FormatEnhanced, FourCC: mp4a, Track: 8, Data: clip.aacHeader[2:]}.Append(nil))
	bad, ok := errors.AsType[*badMedia](err)
	if want := "UNSUPPORTED_CODEC: the encoder sends more than 8 audio tracks, which is not supported; send fewer of them"; !ok || bad.reason.String() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestMetadata: what onMetaData announces and says of tracks is bounded.
func TestMetadata(t *testing.T) {
	in, p := newTestIntake()
	text := func(name, value string) amf0.Property { return amf0.Property{Name: name, Value: value} }
	many := amf0.Object{}
	for n := range 300 {
		many = append(many, amf0.Property{Name: fmt.Sprint(n), Value: amf0.Object{}})
	}
	in.metadata(amf0.ECMAArray{
		{Name: "videocodecid", Value: 1752589105.0}, // 'hvc1', as OBS says it
		text("audiocodecid", "Opus"),
		{Name: "videoTrackIdInfoMap", Value: many},
		{Name: "audioTrackIdInfoMap", Value: amf0.ECMAArray{
			{Name: "0", Value: amf0.Object{text("language", "de-CH"), text("name", " Ton\x00\x1b[31m ")}},
			{Name: "1", Value: amf0.Object{text("lang", "<script>"), text("title", string(bytes.Repeat([]byte("ä"), 100)))}},
			{Name: "x", Value: amf0.Object{}}, {Name: "256", Value: 3.0}, {Name: "7", Value: "no object"},
		}},
	})
	want := []media.TrackID{1, 2, 3, 5, 7, 9, 11, 13, 15, 4, 16}
	if !slices.Equal(p.expect, want) {
		t.Errorf("expect %v, want %v", p.expect, want)
	}
	if got := in.about[2]; got != (about{"de-CH", "Ton[31m"}) {
		t.Errorf("track 0: %q", got)
	}
	if got := in.about[4]; got.language != "" || got.name != string(bytes.Repeat([]byte("ä"), 32)) {
		t.Errorf("track 1: %q", got)
	}
	in.metadata("no object")
	if len(in.about) != 0 || !slices.Equal(p.expect, want) {
		t.Error("what is no metadata says something")
	}
}

// TestCapabilities: connect is answered in the words of Enhanced RTMP to those who
// use them, and to nobody else.
func TestCapabilities(t *testing.T) {
	h := start(t, nil)
	c := dialRaw(t, h)
	c.command(0, "connect", 1.0, amf0.Object{{Name: "app", Value: "live"}, {Name: "fourCcList", Value: amf0.Array{"av01", "hvc1"}}})
	cmd := c.expect("_result", 1, rtmp.ConnectSuccess)
	for _, o := range []any{cmd.Object, cmd.Arg(0)} {
		list, _ := amf0.Lookup(o, "fourCcList").(amf0.Array)
		if !slices.Equal(list, amf0.Array{"avc1", "hvc1", "av01", "vp09", "mp4a", "Opus", "fLaC"}) {
			t.Errorf("fourCcList %v", list)
		}
		if caps := amf0.Lookup(o, "capsEx"); caps != 15.0 {
			t.Errorf("capsEx %v", caps)
		}
		if can := amf0.Lookup(amf0.Lookup(o, "videoFourCcInfoMap"), "hvc1"); can != 4.0 {
			t.Errorf("hvc1: %v, want CanForward", can)
		}
		if can := amf0.Lookup(amf0.Lookup(o, "audioFourCcInfoMap"), "Opus"); can != 4.0 {
			t.Errorf("Opus: %v, want CanForward", can)
		}
		if f := amf0.Lookup(o, "videoFunction"); f != 0.0 {
			t.Errorf("videoFunction %v", f)
		}
	}
	old := dialRaw(t, h)
	old.command(0, "connect", 1.0, amf0.Object{{Name: "app", Value: "live"}})
	if cmd := old.expect("_result", 1, rtmp.ConnectSuccess); amf0.Lookup(cmd.Object, "capsEx") != nil || amf0.Lookup(cmd.Arg(0), "fourCcList") != nil {
		t.Errorf("an old encoder gets %+v", cmd)
	}
}

// TestReconnectRequest: an encoder that can reconnect is asked to when the server
// stops. Whatever else ends a publish, and others, get an error.
func TestReconnectRequest(t *testing.T) {
	stopping := &ingest.CutError{Sentence: "the server is stopping; publish again in a moment", Err: livestream.ErrStopping}
	for _, tt := range []struct {
		name  string
		caps  any
		cause error
		level string
		code  string
	}{
		{"server stops", 1.0, stopping, rtmp.LevelStatus, rtmp.ReconnectRequest},
		{"server stops, encoder has other abilities", 14.0, stopping, rtmp.LevelError, rtmp.StreamFailed},
		{"server stops, old encoder", nil, stopping, rtmp.LevelError, rtmp.StreamFailed},
		{"nonsense for abilities", -1.0, stopping, rtmp.LevelError, rtmp.StreamFailed},
		{"taken over", 1.0, &ingest.CutError{Sentence: "another encoder took over"}, rtmp.LevelError, rtmp.StreamFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := start(t, nil)
			c := dialRaw(t, h)
			c.command(0, "connect", 1.0, amf0.Object{{Name: "app", Value: "live"}, {Name: "capsEx", Value: tt.caps}})
			c.expect("_result", 1, rtmp.ConnectSuccess)
			c.command(0, "createStream", 4.0, nil)
			c.answer()
			c.command(1, "publish", 5.0, nil, testKey, "live")
			c.expect("onStatus", 0, rtmp.PublishStart)
			h.pub(t, 0).cancel(tt.cause)
			cmd := c.expect("onStatus", 0, tt.code)
			if amf0.Text(cmd.Arg(0), "level") != tt.level || amf0.Text(cmd.Arg(0), "description") != tt.cause.Error() {
				t.Errorf("status %+v", cmd.Arg(0))
			}
			if amf0.Lookup(cmd.Arg(0), "tcUrl") != nil {
				t.Error("tcUrl is given; the encoder is to keep its own")
			}
			c.closed()
			h.pub(t, 0).wait(t, "lose")
		})
	}
}

// TestMessagesAllocateNothing: from a message's body to the frames that share it.
func TestMessagesAllocateNothing(t *testing.T) {
	f := openFile(t, "ladder.mp4")
	in := newIntake(&nowhere{}, &Stats{})
	var headers, both []flv.Video
	for n := range uint8(2) {
		one := flv.Video{Key: true, FourCC: f.Tracks[n].FourCC, Track: n, Data: f.Tracks[n].Config}
		headers = append(headers, one)
		one.Packet, one.Data = flv.Coded, samples(t, f, &f.Tracks[n])[0]
		both = append(both, one)
	}
	if err := in.video(0, flv.AppendVideos(nil, headers)); err != nil {
		t.Fatal(err)
	}
	ts := uint32(0)
	for name, body := range map[string][]byte{"one track": both[1].Append(nil), "two tracks": flv.AppendVideos(nil, both)} {
		if n := testing.AllocsPerRun(100, func() {
			ts += 40
			if err := in.video(ts, body); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations for each message", name, n)
		}
	}
}
