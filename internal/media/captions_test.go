package media_test

import (
	"fmt"
	"slices"
	"testing"

	"tally/internal/media"
	"tally/internal/media/captest"
)

// A picture's slice, and a parameter set, each with its length.
var (
	slice264  = []byte{0, 0, 0, 4, 0x41, 1, 2, 3}
	slice265  = []byte{0, 0, 0, 4, 1 << 1, 1, 2, 3}
	delimiter = []byte{0, 0, 0, 2, 9, 0x10}
)

func TestCaptions(t *testing.T) {
	first := func(all []captest.Triplet) captest.Triplet { return all[0] }
	zero := captest.Triplet{0xf8, 0, 0} // not valid: it brings emulation prevention
	for _, c := range []struct {
		name  string
		codec media.Codec
		frame []byte
		want  []string
	}{
		{"none", media.H264, slice264, nil},
		{"CC1", media.H264, slices.Concat(delimiter, captest.SEI(false, first(captest.RollUp(1, "a"))), slice264), []string{"CC1"}},
		{"CC2 and CC4", media.H264, slices.Concat(captest.SEI(false, first(captest.RollUp(2, "a")), first(captest.RollUp(4, "a"))), slice264), []string{"CC2", "CC4"}},
		{"CC3 in H.265", media.HEVC, slices.Concat(captest.SEI(true, zero, zero, first(captest.RollUp(3, "a"))), slice265), []string{"CC3"}},
		{"services", media.H264, slices.Concat(captest.SEI(false, append(captest.Service(1, "hello"), captest.Service(9, "x")...)...), slice264), []string{"SERVICE1", "SERVICE9"}},
		{"padding", media.H264, slices.Concat(captest.SEI(false, captest.Padding(), zero), slice264), nil},
		{"text alone", media.H264, slices.Concat(captest.SEI(false, captest.RollUp(1, "abcd")[6]), slice264), nil},
		{"wrong parity", media.H264, slices.Concat(captest.SEI(false, captest.Triplet{0xfc, 0x14, 0x25}), slice264), nil},
		{"behind the picture", media.H264, slices.Concat(slice264, captest.SEI(false, first(captest.RollUp(1, "a")))), nil},
		{"AV1", media.AV1, captest.SEI(false, first(captest.RollUp(1, "a"))), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s media.CaptionServices
			before := slices.Clone(c.frame)
			s.See(c.codec, c.frame)
			if got := s.IDs(); !slices.Equal(got, c.want) || s.None() != (c.want == nil) {
				t.Errorf("%v, want %v", got, c.want)
			}
			if !slices.Equal(before, c.frame) {
				t.Error("the frame is changed")
			}
			for n := range c.frame {
				s.See(c.codec, c.frame[:n]) // cut short: no panic
			}
		})
	}
}

func TestCaptionsCostNothing(t *testing.T) {
	frame := slices.Concat(delimiter, captest.SEI(false, captest.RollUp(1, "hello")[:8]...), slice264)
	var s media.CaptionServices
	if n := testing.AllocsPerRun(100, func() { s.See(media.H264, frame) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCaptions(b *testing.B) {
	for _, with := range []bool{false, true} {
		b.Run(fmt.Sprint(with), func(b *testing.B) {
			frame := slices.Concat(delimiter, slice264)
			if with {
				frame = slices.Concat(delimiter, captest.SEI(false, captest.RollUp(1, "hello")[:8]...), slice264)
			}
			var s media.CaptionServices
			for b.Loop() {
				s.See(media.H264, frame)
			}
		})
	}
}

func FuzzCaptions(f *testing.F) {
	f.Add(slices.Concat(delimiter, captest.SEI(false, captest.RollUp(1, "hello")...), slice264))
	f.Add(slices.Concat(captest.SEI(false, captest.Service(9, "hello")...), slice264))
	f.Add(captest.SEI(true, captest.Padding()))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s media.CaptionServices
		s.See(media.H264, b)
		s.See(media.HEVC, b)
		if len(s.IDs()) > 67 {
			t.Error("more than there are")
		}
	})
}
