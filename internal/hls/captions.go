package hls

import "tally/internal/media"

// captions are what closed captions a session's pictures have had so far. They
// stay announced when nobody speaks, over a reconnect too.
type captions struct {
	seen media.CaptionServices
	ids  []string // as the multivariant playlist names them; replaced, never changed
}

// see looks at a picture.
func (c *captions) see(f *media.Frame, t *media.Track) {
	before := c.seen
	if c.seen.See(t.Codec, f.Payload); c.seen != before {
		c.ids = c.seen.IDs()
	}
}
