package hlscheck

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"tally/internal/hls/hlscheck/origin"
)

func TestReadsMedia(t *testing.T) {
	o := origin.New(4)
	in, err := ParseInit(o.File("init-0-0.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	if len(in.Tracks) != 2 || in.Tracks[0].Codec != "avc1" || in.Tracks[0].LengthSize != 4 || in.Tracks[0].Timescale != 90000 ||
		in.Tracks[0].Handler != "vide" || in.Tracks[1].Codec != "mp4a" || in.Tracks[1].Handler != "soun" {
		t.Errorf("tracks %+v", in.Tracks)
	}
	frags, err := in.ParseMedia(o.File("seg-0-10.m4s"))
	if err != nil {
		t.Fatal(err)
	}
	var video int64
	for _, f := range frags {
		if f.Track.ID != 1 {
			continue
		}
		if f.Time != video {
			t.Errorf("fragment at %d, want %d", f.Time, video)
		}
		video += f.Duration()
		for i, s := range f.Samples {
			if want := f.Time == 0 && i == 0; s.Sync != want || f.Track.Starts(s.Data) != want {
				t.Errorf("sample %d at %d: sync %v, IDR %v", i, f.Time, s.Sync, f.Track.Starts(s.Data))
			}
		}
	}
	if video != 90000 {
		t.Errorf("a segment of %d ticks", video)
	}
}

func TestRefusesInits(t *testing.T) {
	good := origin.New(1).File("init-0-0.mp4")
	for name, b := range map[string][]byte{
		"empty": {}, "cut short": good[:len(good)-1], "no ftyp": good[20:], "two words": []byte("not mp4"),
		"timescale 0":       bytes.Replace(good, []byte{0, 1, 0x5f, 0x90}, make([]byte, 4), 1),
		"track twice":       bytes.Replace(good, []byte{0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}, []byte{0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 1),
		"no sample entry":   bytes.Replace(good, []byte("stsd"), []byte("free"), 1),
		"media after moov":  append(bytes.Clone(good), origin.New(1).File("part-0-0.m4s")...),
		"box past the end":  append(binary.BigEndian.AppendUint32(nil, 1<<31), good[4:]...),
		"64-bit box length": append([]byte("\x00\x00\x00\x01ftyp\xff\xff\xff\xff\xff\xff\xff\xff"), good...),
	} {
		if in, err := ParseInit(b); err == nil {
			t.Errorf("%s: no error, %+v", name, in)
		}
	}
}

func TestRefusesMedia(t *testing.T) {
	o := origin.New(1)
	in, err := ParseInit(o.File("init-0-0.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	good := string(o.File("part-0-0.m4s"))
	moof := binary.BigEndian.Uint32([]byte(good))
	replace := func(from, to string) string { return strings.Replace(good, from, to, 1) }
	for name, b := range map[string]string{
		"empty": "", "moof alone": good[:moof], "mdat alone": good[moof:], "two moof": good[:moof] + good,
		"an init section": string(o.File("init-0-0.mp4")), "no mfhd": replace("mfhd", "free"), "no tfdt": replace("tfdt", "free"),
		"no trun": replace("trun", "free"), "samples past mdat": replace("\x00\x00\x00\x18", "\x00\xff\xff\xff"),
		"a billion samples": replace("\x00\x00\x00\x0a", "\x3f\xff\xff\xff"),
		"no data offset":    replace("trun\x01\x00\x07\x01", "trun\x01\x00\x07\x00"),
		"time past 2^62":    replace("tfdt\x01\x00\x00\x00\x00", "tfdt\x01\x00\x00\x00\xff"),
	} {
		if frags, err := in.ParseMedia([]byte(b)); err == nil {
			t.Errorf("%s: no error, %d fragments", name, len(frags))
		}
	}
}

// No bytes make the reader panic, or hold more than a multiple of them.
func FuzzBoxes(f *testing.F) {
	o := origin.New(3)
	for _, media := range []string{"part-0-0.m4s", "part-0-1.m4s", "seg-0-10.m4s"} {
		f.Add(o.File("init-0-0.mp4"), o.File(media))
	}
	f.Fuzz(func(t *testing.T, initBytes, media []byte) {
		in, err := ParseInit(initBytes)
		if err != nil {
			if in, err = ParseInit(o.File("init-0-0.mp4")); err != nil {
				t.Fatal(err)
			}
		}
		frags, err := in.ParseMedia(media)
		samples := 0
		for i := range frags {
			samples += len(frags[i].Samples)
			frags[i].Duration()
		}
		// A trun whose samples take no byte of their own holds 1,024 at most.
		if samples > len(media)/4+1024*(len(media)/16+1) {
			t.Fatalf("%d samples from %d bytes", samples, len(media))
		}
		if err == nil {
			for i := range frags {
				for _, s := range frags[i].Samples {
					for kind := range entries {
						(&Track{Codec: kind, LengthSize: 4}).Starts(s.Data)
					}
				}
			}
		}
	})
}
