package hls

import (
	"bytes"
	"math"
	"time"

	"tally/internal/hls/playlist"
	"tally/internal/livestream"
	"tally/internal/media"
)

// publish makes what the ring holds the current snapshot and wakes whoever
// waits for it. The caller holds mu.
func (r *Rendition) publish(ended bool) {
	old := r.window.Current()
	next := r.snapshot(ended)
	r.window.current.Store(next)
	close(old.next)
	s := r.stream
	s.published = time.Now()
	s.note()
	if s.progress.Load().Playable && s.fresh && !s.gone && !s.holding {
		s.setStage(livestream.StageLive)
	}
}

func (r *Rendition) snapshot(ended bool) *Snapshot {
	ring := &r.ring
	r.trimPast()
	segs := ring.segs[:ring.visible()]
	n := &Snapshot{
		Ended: ended, Epoch: ring.hinted, PartTarget: r.partTarget, NextPart: ring.nextPart,
		FirstMSN: ring.listFrom, LastMSN: ring.listFrom - 1,
		inits: ring.inits, variant: r.variant(), tracks: r.tracks, muxed: r.withSound(), next: make(chan struct{}),
		shared: r.mediaPrefix, past: r.past.view(), captions: r.stream.captions.ids,
	}
	if len(segs) < len(ring.segs) {
		next := ring.segs[len(segs)].parts[0]
		n.Epoch, n.NextPart = next.Epoch, next.Counter
	}
	count, parts := 0, 0
	for _, g := range segs {
		parts += len(g.parts)
		if g.done != nil {
			count++
		}
	}
	n.segments, n.parts = make([]*Segment, 0, count), make([]*Part, 0, parts)
	for _, g := range segs {
		n.parts = append(n.parts, g.parts...)
		if g.done != nil {
			n.segments = append(n.segments, g.done)
			n.LastMSN = g.msn
		} else {
			n.OpenParts = len(g.parts)
		}
	}
	switch from := ring.listIndex(); {
	case from < len(segs) && segs[from].done != nil:
		n.listed = true
		r.render(n, segs[from:])
	case ended && len(r.tracks) > 0 && r.atRest() && n.past.listed() > 0: // of a run that this process has had media of
		n.listed = true
		r.render(n, nil)
	}
	return n
}

// withSound reports whether there is sound with the rendition's pictures: in it, or
// in another.
func (r *Rendition) withSound() bool {
	tracks := r.tracks
	if r.stream.several {
		tracks = r.stream.tracks
	}
	return len(tracks) > 1 && tracks[0].Codec.Video() && !tracks[len(tracks)-1].Codec.Video()
}

// render writes the playlist texts of a snapshot that lists segs.
func (r *Rendition) render(n *Snapshot, segs []*segment) {
	r.version++
	m := &r.renderer
	target := r.ring.target
	*m = playlist.Media{
		TargetDuration:   int(target / time.Second),
		PartTarget:       r.partTarget,
		PartHoldBack:     3 * r.partTarget,
		HoldBack:         3 * target,
		CanSkipUntil:     6 * target,
		CanBlockReload:   true,
		Segments:         m.Segments[:0],
		DateRanges:       m.DateRanges[:0],
		RenditionReports: m.RenditionReports[:0],
		EndList:          n.Ended,
	}
	begins, edge := r.begins(n, segs), r.ring.edge
	if !n.Ended && !r.stream.complete {
		m.PreloadHint = partURI(n.Epoch, n.NextPart)
	}
	if r == r.stream.main {
		if r.stream.several { // another one may begin a little earlier
			begins = begins.Add(-target)
		}
		r.stream.cues.expire(begins)
	}
	if len(n.parts) > 0 {
		r.cued = n.parts[len(n.parts)-1].cues
	}
	m.DateRanges = r.stream.cues.upTo(r.cued, m.DateRanges)
	if !n.Ended {
		m.RenditionReports = r.reports(m.RenditionReports)
	}
	if len(segs) > 0 {
		edge = segs[len(segs)-1].end()
	}
	skip := 0
	for _, g := range segs {
		line := playlist.Segment{
			URI: g.uri, ProgramDateTime: g.at, Discontinuity: g.discontinuity, Map: g.mapURI, Gap: g.gap,
		}
		if g.done != nil {
			line.Duration = g.length
			if g.stand != standNone {
				line.Title = playlist.TitleHeld
			}
		}
		if g.end() > edge-3*target || g.done == nil {
			line.Parts = g.lines
		}
		if edge-g.end() >= 6*target {
			skip++
		}
		m.Segments = append(m.Segments, line)
	}
	tag := r.stream.runID + "-" + number(n.Epoch) + "-" + number(r.version)
	if n.past.listed() > 0 {
		r.renderLong(n, tag, edge, skip)
		return
	}
	r.text = m.AppendText(r.text[:0])
	n.full = newText(bytes.Clone(r.text), tag)
	n.delta = n.full
	if skip > 0 && !n.Ended {
		m.SkippedSegments = skip
		m.Segments = m.Segments[skip:]
		r.text = m.AppendText(r.text[:0])
		n.delta = newText(bytes.Clone(r.text), tag+"-d")
	}
	clear(m.Segments) // hold on to no media
}

// reports appends how far the other renditions are, of those that list something.
// What is told was published before, so nobody is sent to what is not there yet.
// A muxed rendition beside them is no alternative to any.
func (r *Rendition) reports(dst []playlist.RenditionReport) []playlist.RenditionReport {
	if r.id == 0 {
		return dst
	}
	for _, o := range r.stream.all {
		if n := o.window.Current(); o != r && o.id != 0 && n.listed {
			msn, part := n.last()
			dst = append(dst, playlist.RenditionReport{URI: "../" + o.name + "/index.m3u8", LastMSN: msn, LastPart: part})
		}
	}
	return dst
}

// variant describes the rendition as the multivariant playlist's only variant.
// Bandwidths are measured: the peak is that of the busiest segment so far.
func (r *Rendition) variant() playlist.Variant {
	v := playlist.Variant{NoClosedCaptions: true}
	if len(r.stream.captions.ids) > 0 {
		v.NoClosedCaptions, v.CaptionGroup = false, playlist.CaptionGroup
	}
	for i := range r.tracks {
		t := &r.tracks[i]
		if v.Codecs != "" {
			v.Codecs += ","
		}
		v.Codecs += t.CodecString
		if t.Codec.Video() {
			v.Width, v.Height, v.FrameRate = t.Width, t.Height, r.frameRate(t)
			v.VideoRange = t.Color.Range()
		}
	}
	average := bitrate(r.ring.allBytes, r.ring.allTime)
	v.AverageBandwidth = roundUp(average)
	v.Bandwidth = roundUp(max(r.ring.peakBps, average, 1))
	return v
}

// frameRate is the announced one where frames agree with it, else as measured.
func (r *Rendition) frameRate(t *media.Track) float64 {
	if r.cut == nil || r.cut.pace.frame() == 0 {
		return t.FrameRate
	}
	measured := float64(t.Timescale) / float64(r.cut.pace.frame())
	if math.Abs(measured-t.FrameRate) < 0.01*measured {
		return t.FrameRate
	}
	return measured
}

// roundUp keeps figures that are only measured from looking exact.
func roundUp(bps int64) int64 { return (bps + 999) / 1000 * 1000 }
