package rtmpserver

import (
	"strings"
	"testing"

	"tally/internal/livestream"
	"tally/internal/rtmp"
	"tally/internal/rtmp/amf0"
)

// TestViolationIsNamed: a peer that breaks the protocol amid a publish is told
// so, and err_message does not blame its network.
func TestViolationIsNamed(t *testing.T) {
	h := start(t, nil)
	c := dialRaw(t, h)
	c.publish()
	c.write([]byte{3<<6 | 5}) // type 3 on a chunk stream that never had a header (section 5.3.1.2.4)
	cmd := c.answer()
	if cmd.Name != "onStatus" || amf0.Text(cmd.Arg(0), "level") != rtmp.LevelError || !strings.Contains(amf0.Text(cmd.Arg(0), "description"), "chunk stream broken") {
		t.Errorf("the peer is told %+v", cmd)
	}
	c.closed()
	p := h.pub(t, 0)
	p.wait(t, "fail")
	if p.reason.Code != livestream.BadMedia {
		t.Errorf("err_message is %q, want %s", p.reason, livestream.BadMedia)
	}
}
