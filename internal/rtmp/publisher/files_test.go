package publisher

import (
	"bytes"
	"io"
	"os"
	"testing"

	"tally/internal/rtmp/flv"
	"tally/internal/rtmp/mp4"
)

// openFiles opens files of ../testdata, which ffmpeg wrote.
func openFiles(t testing.TB, names ...string) (files []*mp4.File) {
	t.Helper()
	for _, name := range names {
		b, err := os.ReadFile("../testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := mp4.Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}

// TestFiles: two files become one publication, in the order of decoding, each
// sample once, whether tracks go together or one by one.
func TestFiles(t *testing.T) {
	for _, together := range []bool{false, true} {
		files := openFiles(t, "ladder.mp4", "hevc-opus.mp4")
		source, err := Files{Files: files, Together: together}.Source()
		if err != nil {
			t.Fatal(err)
		}
		clip, err := Clip(source)
		if err != nil {
			t.Fatal(err)
		}
		var video, audio, headers [8]int
		shared, last := 0, int64(0)
		for i, tag := range clip.Tags {
			if tag.Time < last {
				t.Fatalf("tag %d at %d ms after %d", i, tag.Time, last)
			}
			last = tag.Time
			switch tag.Type {
			case flv.TypeVideo:
				v, err := flv.ParseVideo(tag.Body)
				for more := true; more && err == nil; more, err = v.Next() {
					if v.Packet == flv.SequenceHeader {
						headers[v.Track]++
						continue
					}
					video[v.Track]++
					if v.Shared {
						shared++
					}
					if v.Composition < 0 || v.Composition > 200 {
						t.Errorf("tag %d: composition of %d ms", i, v.Composition)
					}
				}
				if err != nil {
					t.Fatal(err)
				}
			case flv.TypeAudio:
				a, err := flv.ParseAudio(tag.Body)
				for more := true; more && err == nil; more, err = a.Next() {
					if a.Packet == flv.Coded {
						audio[a.Track]++
					}
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		var wantVideo, wantAudio [8]int
		v, a := 0, 0
		for _, f := range files {
			for _, tr := range f.Tracks {
				if tr.Video {
					wantVideo[v] = len(tr.Samples)
					v++
				} else {
					wantAudio[a] = len(tr.Samples)
					a++
				}
			}
		}
		if video != wantVideo || audio != wantAudio || headers != [8]int{1, 1, 1, 1} {
			t.Errorf("together %v: video %v of %v, audio %v of %v, headers %v", together, video, wantVideo, audio, wantAudio, headers)
		}
		if (shared > 0) != together {
			t.Errorf("together %v: %d pictures shared a message", together, shared)
		}
		if clip.Duration < 2000 || clip.Duration > 2100 {
			t.Errorf("duration %d ms", clip.Duration)
		}
	}
}

// TestFilesLoop: times go on over the seam, and headers come once.
func TestFilesLoop(t *testing.T) {
	source, err := Files{Files: openFiles(t, "av1-aac.mp4"), Loop: true}.Source()
	if err != nil {
		t.Fatal(err)
	}
	headers, last := 0, int64(-1)
	for last < 7000 {
		tag, err := source.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !flv.IsFrame(tag) {
			headers++
		} else if tag.Time < last || tag.Time > last+100 {
			t.Fatalf("at %d ms after %d", tag.Time, last)
		}
		last = max(last, tag.Time)
	}
	if headers != 3 {
		t.Errorf("%d headers, want metadata and two configurations", headers)
	}
}

func TestFilesRefuses(t *testing.T) {
	if _, err := (Files{}).Source(); err == nil {
		t.Error("nothing was taken for something")
	}
	if _, err := Clip(&player{clip: &flv.Clip{}}); err != nil && err != io.EOF {
		t.Error(err)
	}
}
