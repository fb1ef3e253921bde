package playlist_test

import (
	"fmt"
	"time"

	"tally/internal/hls/playlist"
)

// Renders the live edge after a part, as the packager does.
func ExampleMedia_AppendText() {
	m := playlist.Media{
		TargetDuration: 2, PartTarget: 335 * time.Millisecond, PartHoldBack: 1005 * time.Millisecond,
		HoldBack: 6 * time.Second, CanBlockReload: true, MediaSequence: 7,
		Segments: []playlist.Segment{{
			Map: "init-1-0.mp4",
			Parts: []playlist.Part{
				{URI: "part-1-0.m4s", Duration: playlist.Span(0, 30030, 90000), Independent: true},
				{URI: "part-1-1.m4s", Duration: playlist.Span(30030, 60060, 90000)},
			},
		}},
		PreloadHint: "part-1-2.m4s",
	}
	fmt.Print(string(m.AppendText(nil)))
	// Output:
	// #EXTM3U
	// #EXT-X-VERSION:9
	// #EXT-X-TARGETDURATION:2
	// #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.005,HOLD-BACK=6.0
	// #EXT-X-PART-INF:PART-TARGET=0.335
	// #EXT-X-MEDIA-SEQUENCE:7
	// #EXT-X-DISCONTINUITY-SEQUENCE:0
	// #EXT-X-MAP:URI="init-1-0.mp4"
	// #EXT-X-PART:DURATION=0.333667,URI="part-1-0.m4s",INDEPENDENT=YES
	// #EXT-X-PART:DURATION=0.333666,URI="part-1-1.m4s"
	// #EXT-X-PRELOAD-HINT:TYPE=PART,URI="part-1-2.m4s"
}
