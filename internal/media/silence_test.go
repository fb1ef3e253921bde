package media_test

import (
	"bytes"
	"os/exec"
	"testing"

	"tally/internal/media"
)

// Silence of every channel configuration is what ffmpeg decodes to zeros, in
// every channel, without a complaint.
func TestAACSilence(t *testing.T) {
	for layout, channels := range map[byte]int{1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 8} {
		asc := []byte{0x11, 0x80 | layout<<3} // AAC LC at 48 kHz
		unit := media.AACSilence(asc)
		if unit == nil {
			t.Errorf("channel configuration %d: no silence", layout)
			continue
		}
		var adts []byte
		for range 20 {
			n := len(unit) + 7 // ADTS frame (ISO/IEC 14496-3 section 1.A.2)
			adts = append(adts, 0xff, 0xf1, 1<<6|3<<2|layout>>2, layout<<6|byte(n>>11), byte(n>>3), byte(n<<5)|0x1f, 0xfc)
			adts = append(adts, unit...)
		}
		cmd := exec.Command("ffmpeg", "-v", "warning", "-xerror", "-err_detect", "explode", "-f", "aac", "-i", "pipe:0", "-f", "s16le", "pipe:1")
		cmd.Stdin = bytes.NewReader(adts)
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		pcm, err := cmd.Output()
		if err != nil || bytes.Contains(complaints.Bytes(), []byte("rror")) {
			t.Errorf("channel configuration %d: %v\n%s", layout, err, &complaints)
		}
		if want := 20 * 1024 * channels * 2; len(pcm) != want || !bytes.Equal(pcm, make([]byte, len(pcm))) {
			t.Errorf("channel configuration %d: %d bytes of sound, want %d of zeros", layout, len(pcm), want)
		}
	}
	for name, asc := range map[string][]byte{
		"own channels": {0x11, 0x80, 0x04, 0xc8, 0x04, 0x00, 0x00, 0x00},
		"nothing":      nil,
	} {
		if unit := media.AACSilence(asc); unit != nil {
			t.Errorf("%s: %x", name, unit)
		}
	}
}
