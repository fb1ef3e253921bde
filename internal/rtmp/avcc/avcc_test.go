package avcc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// frame joins NAL units behind lengths of size bytes.
func frame(size int, units ...string) []byte {
	var b []byte
	for _, u := range units {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(u)))
		b = append(append(b, n[4-size:]...), u...)
	}
	return b
}

func TestCheck(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		want Info
		err  error
	}{
		{"parameter sets and an IDR slice", frame(4, "\x67a", "\x68b", "\x65slice"), Info{Key: true, Pictures: true}, nil},
		{"other slice", frame(4, "\x41slice"), Info{Pictures: true}, nil},
		{"SEI alone", frame(4, "\x06s"), Info{}, nil},
		{"empty units", frame(4, "", "\x41s", ""), Info{Pictures: true, Empty: 2}, nil},
		{"nothing", nil, Info{}, nil},
		{"length past the end", []byte{0, 0, 0, 9, 0x41}, Info{}, ErrLengths},
		{"length of 4 GB", []byte{0xFF, 0xFF, 0xFF, 0xFF, 0x41}, Info{}, ErrLengths},
		{"rest too short for a length", append(frame(4, "\x41s"), 0, 0), Info{Pictures: true}, ErrLengths},
		{"Annex B", []byte("\x00\x00\x00\x01\x67abc\x00\x00\x01\x65"), Info{}, ErrStartCodes},
		{"Annex B with short start code", []byte("\x00\x00\x01\x65abc"), Info{}, ErrStartCodes},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Check(tt.in)
			if !errors.Is(err, tt.err) || err == nil && got != tt.want {
				t.Errorf("%+v, %v; want %+v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestDropEmpty(t *testing.T) {
	got := DropEmpty(frame(4, "", "\x41s", "", "\x42t", ""))
	if want := frame(4, "\x41s", "\x42t"); !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

func TestWiden(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		units := rapid.SliceOfN(rapid.StringN(0, 60, 255), 0, 5).Draw(t, "units")
		for size := 1; size <= 3; size++ {
			got, err := Widen(frame(size, units...), size)
			if err != nil || !bytes.Equal(got, frame(4, units...)) {
				t.Errorf("size %d: %x, %v", size, got, err)
			}
		}
	})
	for _, b := range [][]byte{{0, 5, 1}, {0}} {
		if _, err := Widen(b, 2); !errors.Is(err, ErrLengths) {
			t.Errorf("%x: %v", b, err)
		}
	}
}

func TestFirstPicture(t *testing.T) {
	b := frame(4, "\x09\xf0", "\x67sps", "\x65slice")
	if at, ok := FirstPicture(b); !ok || at != 6+8 {
		t.Errorf("at %d, %v", at, ok)
	}
	for _, b := range [][]byte{nil, frame(4, "\x67sps"), {0, 0, 0, 9, 0x41}} {
		if at, ok := FirstPicture(b); ok {
			t.Errorf("found at %d in %x", at, b)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(frame(4, "\x67a", "", "\x65slice"))
	f.Add(frame(2, "\x67a", "\x65slice"))
	f.Add([]byte("\x00\x00\x00\x01\x67abc\x00\x00\x01\x65"))
	f.Fuzz(func(t *testing.T, b []byte) {
		FirstPicture(b)
		for size := 1; size <= 3; size++ {
			wide, err := Widen(b, size)
			if err != nil {
				continue
			}
			if _, err := Check(wide); err != nil {
				t.Errorf("widened from %d: %v", size, err)
			}
		}
		in, err := Check(b)
		if err != nil {
			return
		}
		if rest, err := Check(DropEmpty(bytes.Clone(b))); err != nil || rest.Empty != 0 || rest.Pictures != in.Pictures {
			t.Errorf("without empty units: %+v, %v", rest, err)
		}
	})
}
