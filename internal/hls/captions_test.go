package hls_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"tally/internal/hls"
	"tally/internal/media"
	"tally/internal/media/captest"
)

// Captions are announced from the picture on in which somebody speaks, stay so
// over a reconnect, and pass untouched. The next session has its own.
func TestCaptions(t *testing.T) {
	onStage(t, hls.Config{}, run(2), func(s *stage) {
		multivariant := func() string {
			text := string(s.v.window.Current().AppendMultivariant(nil, "x"))
			s.v.check.Multivariant(time.Now(), text)
			return text
		}
		want := func(when string, ids ...string) {
			s.t.Helper()
			text := multivariant()
			if len(ids) == 0 {
				if strings.Contains(text, "EXT-X-MEDIA") || !strings.Contains(text, ",CLOSED-CAPTIONS=NONE\n") {
					t.Errorf("%s:\n%s", when, text)
				}
				return
			}
			for _, id := range ids {
				line := `#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="cc",NAME="` + id + `",INSTREAM-ID="` + id + `"` + "\n"
				if strings.Count(text, line) != 1 || !strings.Contains(text, `,CLOSED-CAPTIONS="cc"`+"\n") {
					t.Errorf("%s: no %s:\n%s", when, id, text)
				}
			}
			if strings.Count(text, "EXT-X-MEDIA") != len(ids) {
				t.Errorf("%s: more than %v:\n%s", when, ids, text)
			}
		}
		spoken := func(epoch int64, from time.Duration, pairs []captest.Triplet) (seis [][]byte) {
			src := av
			src.start, src.length = from, 2*time.Second
			items := src.items(t)
			n := 0
			for i := range items {
				if f := &items[i].frame; items[i].track == nil && f.Track == media.VideoTrack {
					sei := captest.SEI(false, pairs[n%len(pairs)])
					f.Payload = slices.Concat(sei, f.Payload)
					seis = append(seis, sei)
					n++
				}
			}
			s.send(epoch, items)
			return seis
		}
		s.begin(1)
		spoken(1, 0, []captest.Triplet{captest.Padding()})
		want("nobody speaks")
		seis := spoken(1, 2*time.Second, captest.RollUp(1, "hello"))
		want("CC1", "CC1")
		var all []byte
		for _, p := range s.v.media.Segments {
			all = append(all, s.v.files[p.URI]...)
		}
		for _, sei := range seis[:30] {
			if !bytes.Contains(all, sei) {
				t.Fatal("captions were changed on their way")
			}
		}
		spoken(1, 4*time.Second, captest.Service(3, "hello"))
		want("CEA-708 too", "CC1", "SERVICE3")
		s.p.Lost(1)
		s.wait(5 * time.Second)
		s.begin(2)
		s.sendFrom(2, 0, 2*time.Second)
		want("over a reconnect", "CC1", "SERVICE3")
		s.p.End(true)
		again := run(2)
		again.SessionID = "another"
		s.p = s.registry.Open(again)
		s.begin(3)
		s.sendFrom(3, 0, 2*time.Second)
		want("the next session")
		end(s.p)
	})
}
