package hls

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"tally/internal/blob"
	"tally/internal/hls/archive"
	"tally/internal/livestream"
	"tally/internal/media"
)

// Open opens a segment that has left memory, of which SizeBytes are to be served.
// archive.ErrNotFound when it is gone.
func (r *Rendition) Open(p *PastSegment) (blob.Object, error) {
	return r.stream.registry.config.Archive.Open(p.SessionID, r.laneName(), p.Epoch, p.MSN)
}

// OpenInit opens an initialization section that only segments on disk need.
// archive.ErrNotFound when there is none.
func (r *Rendition) OpenInit(epoch, n int64) (blob.Object, error) {
	v := r.window.Current().past
	if v == nil {
		return nil, archive.ErrNotFound
	}
	uri := archive.InitName(epoch, n)
	for msn := v.next - 1; msn >= v.keepFrom; msn-- {
		if s := v.at(msn); s.mapURI == uri {
			return r.stream.registry.config.Archive.OpenInit(s.SessionID, r.laneName(), epoch, n)
		}
	}
	return nil, archive.ErrNotFound
}

// The methods below are the writers' side: the caller holds Stream.mu.

// recall reads what the run has on disk from before the server was started anew.
// span is what is listed from memory.
func (s *Stream) recall(o OpenOptions, span time.Duration) {
	library := s.registry.config.Archive
	if library == nil || o.DVRWindow <= span || o.Run.MSNMark == 0 {
		return
	}
	s.dvr = o.DVRWindow
	past, err := library.Past(s.runID)
	if err != nil {
		s.registry.config.Log.Error("what was listed before the restart cannot be read", "run", s.runID, "err", err)
		return
	}
	s.pasts, s.pastMark = past, o.Run.MSNMark
	s.cues.recall(archive.CuesOf(past))
	for i := range past {
		s.several = s.several || past[i].Name != archive.Muxed
		for _, of := range past[i].Sessions {
			for _, g := range of.Segments {
				// Of the numbers between, at most each had a discontinuity.
				if most := g.Disc + s.pastMark - g.MSN; g.MSN <= s.pastMark && (s.pastDisc == 0 || most < s.pastDisc) {
					s.pastDisc = most
				}
			}
		}
	}
}

// firstPast is the track of the first rendition that the run has on disk; 0: the
// muxed one, or none.
func (s *Stream) firstPast() (first media.TrackID) {
	for i := range s.pasts {
		id, ok := trackOf(s.pasts[i].Name)
		if !ok {
			return 0
		}
		if first == 0 || order(id) < order(first) {
			first = id
		}
	}
	return first
}

// trackOf is the track of which that is the rendition's name.
func trackOf(name string) (media.TrackID, bool) {
	for n := range 256 {
		for _, id := range []media.TrackID{media.VideoID(uint8(n)), media.AudioID(uint8(n))} {
			if renditionName(id) == name {
				return id, true
			}
		}
	}
	return 0, false
}

// record puts to rest what the session makes, where that is wanted.
func (s *Stream) record(o OpenOptions) {
	library := s.registry.config.Archive
	if library == nil {
		return
	}
	s.cues.untold = nil // of the session before
	s.dvr = 0
	if o.DVRWindow > s.main.window.span {
		s.dvr = o.DVRWindow
	}
	for _, r := range s.all {
		r.past.listFor = s.dvr
	}
	on := s.dvr > 0 || o.Keep
	if on && s.recorder == nil {
		s.recorder = library.Record(s.runID)
		s.recorder.Resume(s.pasts)
	}
	switch {
	case on:
		s.recorder.Begin(archive.About{
			SessionID: o.SessionID, PlaybackID: s.playbackID, LivestreamID: o.LivestreamID, Keep: o.Keep,
			Target: int(s.main.ring.target / time.Second), Began: s.now().UTC(),
		})
	case s.recorder != nil:
		s.recorder.End()
	}
}

// endWindow ends the time in which the ended playlist can be fetched: at once
// where memory is all there is, else after the rest of the DVR window, which needs
// no memory.
func (s *Stream) endWindow() {
	if s.dvr == 0 {
		s.leave()
		return
	}
	s.putToRest()
	// Who has the list of before asks for parts (rfc8216bis-22 section 6.2.2).
	rest := s.dvr - s.main.ring.listFor
	parts := min(rest, 3*s.main.ring.target)
	s.set(&s.closing, parts, func() {
		s.letGo()
		s.set(&s.closing, rest-parts, s.leave)
	})
}

// leave ends the time in which the ended playlist can be fetched. Its media stays
// for as long as that playlist is, so that who was the last to load it plays to its
// end (rfc8216bis-22 section 6.2.1), and parts for three target durations (6.2.2).
func (s *Stream) leave() {
	s.retired.Store(true)
	length := time.Duration(0)
	for _, r := range s.all {
		length = max(length, r.listed())
	}
	s.lingering.Store(s.inMemory())
	s.registry.notify(s.playbackID)
	s.set(&s.closing, max(length, 3*s.main.ring.target), s.forget)
}

// listed is how much media the playlist has.
func (r *Rendition) listed() time.Duration {
	g := &r.ring
	switch i := g.listIndex(); {
	case r.past.listFrom < r.past.next:
		return g.edge - r.past.at(r.past.listFrom).start
	case i < len(g.segs):
		return g.edge - g.segs[i].start
	}
	return 0
}

// inMemory is how many bytes of media are held.
func (s *Stream) inMemory() (n int64) {
	for _, r := range s.all {
		n += r.ring.bytes
	}
	return n
}

// makeRoom takes the memory of the run that ended longest ago of those of s's
// playback id that still hold some: what of it is listed yet and on disk stays. It
// reports whether there was one.
func (s *Stream) makeRoom() bool {
	all := s.registry.Streams(s.playbackID)
	for i := len(all) - 1; i >= 0; i-- {
		if o := all[i]; o != s && o.lingering.Swap(0) > 0 {
			o.makeWay(o.retired.Load() || o.dvr == 0)
			return true
		}
	}
	return false
}

// maxRuns bounds the runs of one playback id in memory, with those that ended and
// are listed yet. A choice: within a DVR window that many broadcasts can be gone
// back to, and a publisher who begins one each moment takes no more than them.
const maxRuns = 64

// crowd forgets the run that ended longest ago of those of s's playback id, where
// they are too many.
func (s *Stream) crowd() {
	if all := s.registry.Streams(s.playbackID); len(all) > maxRuns {
		all[len(all)-1].makeWay(true)
	}
}

// makeWay gives up the memory of a run that has ended, and with forget the run, if
// no session has continued it. The caller holds another's mu: that of a later run.
func (s *Stream) makeWay(forget bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.Stage() != livestream.StageEnded:
	case forget:
		s.forget()
	default:
		s.putToRest()
		s.letGo()
	}
}

// forget takes the stream out of the registry, and what of it is not kept off the
// disk.
func (s *Stream) forget() {
	s.stop(&s.closing)
	s.closeRecorder(true)
	for _, r := range s.all {
		r.past = past{listFor: r.past.listFor}
	}
	s.registry.remove(s)
}

// closeRecorder ends the recording. With forget, what is not kept is deleted.
func (s *Stream) closeRecorder(forget bool) {
	if s.recorder != nil {
		s.recorder.Close(forget)
		s.recorder = nil
	}
}

// trouble is why segments cannot be put to rest.
func (s *Stream) trouble() string {
	if s.recorder == nil {
		return ""
	}
	return s.recorder.Trouble()
}

// laneName is the rendition's in names of files and of recordings.
func (r *Rendition) laneName() string {
	if r.name == "" {
		return archive.Muxed
	}
	return r.name
}

func (r *Rendition) lane() *archive.Lane { return r.stream.recorder.Lane(r.laneName()) }

// putAway hands over the ring's newest part.
func (r *Rendition) putAway(p *Part) {
	g := r.ring.segs[len(r.ring.segs)-1]
	if r.stream.recorder == nil {
		r.stream.cues.untold = nil
		return
	}
	if p.Index == 0 {
		// A held picture is for those who wait: a recording has none.
		if g.stand != standNone && r.past.listFor == 0 {
			return
		}
		g.rest = r.lane().Begin(r.head(g))
	}
	if g.rest != nil {
		r.lane().Part(g.rest, archive.Part{Counter: p.Counter, Epoch: p.Epoch, Duration: p.Duration, Data: p.Data, Tail: p.Tail, Cues: r.stream.cues.untold})
		r.stream.cues.untold = nil
	}
}

// head describes a segment that begins.
func (r *Rendition) head(g *segment) archive.Head {
	h := archive.Head{
		MSN: g.msn, Epoch: g.epoch, At: g.at, Disc: g.disc, Discontinuity: g.discontinuity,
		Init: archive.Init{Number: g.init.Number, Epoch: g.init.Epoch}, InitData: g.init.Data,
	}
	switch g.stand {
	case standPicture, standSilence:
		h.Stand = archive.StandHeld
	}
	if g.gap {
		h.Stand = archive.StandGap
	}
	v := r.variant()
	h.Init.Codecs, h.Init.Width, h.Init.Height, h.Init.FrameRate = v.Codecs, v.Width, v.Height, v.FrameRate
	h.Init.VideoRange, h.Init.Captions = v.VideoRange, strings.Join(r.stream.captions.ids, ",")
	h.Init.Language, h.Init.Name, h.Init.Channels = r.tracks[0].Language, r.tracks[0].Name, r.tracks[0].Channels
	return h
}

// leave takes a segment that memory's list loses: it stays listed where it is at
// rest, and is a gap where it could not be put there.
func (r *Rendition) leave(g *segment) {
	if r.past.listFor == 0 || g.rest == nil {
		return
	}
	stored := g.rest.Settle()
	p := PastSegment{
		SessionID: g.rest.SessionID(), Epoch: g.epoch, MSN: g.msn, Start: g.parts[0].Start, Duration: g.length, SizeBytes: g.sizeBytes,
		FirstPart: g.parts[0].Counter, Parts: make([]uint32, len(g.parts)), Held: g.stand != standNone,
		Gap: g.gap || !stored,
		at:  g.at, start: g.start, disc: g.disc, discontinuity: g.discontinuity, mapURI: g.mapURI,
	}
	for i, part := range g.parts {
		p.Parts[i] = uint32(part.Duration / time.Microsecond)
	}
	r.past.add(p)
}

// trimPast lets the window move on.
func (r *Rendition) trimPast() {
	if r.past.next == r.past.keepFrom {
		return
	}
	r.past.trim(r.ring.edge, r.ring.target)
	if r.stream.recorder != nil {
		r.lane().Release(r.past.keepFrom)
	}
}

// atRest reports whether nothing of what is listed is in memory any more, but for
// those who have the list of before.
func (r *Rendition) atRest() bool {
	return len(r.ring.segs) == 0 || r.ring.listIndex() == len(r.ring.segs)
}

// putToRest lists from disk all that a run that has ended still lists.
func (s *Stream) putToRest() {
	for _, r := range s.all {
		for r.ring.listIndex() < len(r.ring.segs) && r.ring.segs[r.ring.listIndex()].done != nil {
			r.ring.unlist()
		}
		r.publish(true)
	}
}

// letGo frees the memory of a run that is at rest.
func (s *Stream) letGo() {
	for _, r := range s.all {
		for len(r.ring.segs) > 0 {
			r.ring.drop()
		}
		r.still = still{} // it is inside the bytes of a part
		r.publish(true)
		r.text = nil
	}
	s.lingering.Store(0)
}

// begins sets the numbers at which the playlist begins, and returns its first date.
func (r *Rendition) begins(n *Snapshot, segs []*segment) time.Time {
	m := &r.renderer
	var at time.Time
	var tag bool
	if n.past.listed() > 0 {
		first := n.past.at(n.past.listFrom)
		m.MediaSequence, m.LastMap = first.MSN, n.past.at(n.past.next-1).mapURI
		m.DiscontinuitySequence, tag, at = first.disc, first.discontinuity, first.at
	} else {
		m.MediaSequence, m.LastMap = segs[0].msn, ""
		m.DiscontinuitySequence, tag, at = segs[0].disc, segs[0].discontinuity, segs[0].at
	}
	if tag { // it is still there to be counted
		m.DiscontinuitySequence--
	}
	return at
}

// renderLong makes the texts of a playlist that begins with what has left memory.
// skip is how many of the segments in memory a delta update leaves out.
func (r *Rendition) renderLong(n *Snapshot, tag string, edge time.Duration, skip int) {
	m, v := &r.renderer, n.past
	r.text = m.AppendText(r.text[:0])
	var head [1 << 10]byte
	at := len(m.AppendStart(head[:0]))
	start := v.appendMap(slices.Clip(r.text[:at]), v.listFrom)
	tail := bytes.Clone(r.text[at:])
	n.full = newLongText(&long{past: v, start: bytes.Clone(start), tail: tail}, "", tag)
	n.delta = n.full
	from := v.next // where the delta update goes on
	for from > v.listFrom && edge-v.at(from-1).end() < 6*r.ring.target {
		from--
	}
	m.SkippedSegments = int(from-v.listFrom) + skip
	switch {
	case n.Ended || m.SkippedSegments == 0:
	case from == v.next: // it begins in memory
		m.LastMap, m.Segments = "", m.Segments[skip:]
		r.text = m.AppendText(r.text[:0])
		n.delta = newText(bytes.Clone(r.text), tag+"-d")
	default:
		r.text = v.appendFrom(m.AppendStart(r.text[:0]), from)
		r.text = append(r.text, tail...)
		n.delta = newText(bytes.Clone(r.text), tag+"-d")
	}
	clear(m.Segments)
}

// remember reads back what the run listed before the server was started anew, and
// lets the numbers of what follows go on behind it.
func (r *Rendition) remember(mark int64) {
	s := r.stream
	r.past.listFor = s.dvr
	i := slices.IndexFunc(s.pasts, func(p archive.Past) bool { return p.Name == r.laneName() })
	if i < 0 || s.dvr == 0 {
		return
	}
	var all []PastSegment
	for _, of := range s.pasts[i].Sessions {
		for j := range of.Segments {
			if g := &of.Segments[j]; g.MSN <= mark {
				p := pastOf(of.SessionID, &of.Rendition, g)
				p.Start = p.at.Sub(s.began)
				all = append(all, p)
			}
		}
	}
	first := len(all)
	for length := time.Duration(0); first > 0 && length < s.dvr; first-- {
		length += all[first-1].Duration
	}
	for _, g := range all[first:] {
		if last := r.past.last(); last != nil {
			tags := g.disc - last.disc
			if g.discontinuity {
				tags--
			}
			r.past.bridge(g.MSN, tags, g.at, r.ring.target)
			g.start = r.past.last().end()
		}
		r.past.add(g)
	}
	if last := r.past.last(); last != nil {
		r.ring.edge = last.end()
		r.resumed = true
	}
}

// resume lists what lies between the past of another process and the first part,
// which begins at that time.
func (r *Rendition) resume(at time.Time) {
	if !r.resumed {
		return
	}
	r.resumed = false
	last := r.past.last()
	r.past.bridge(r.ring.nextMSN, r.ring.disc-last.disc, at, r.ring.target)
	r.ring.edge = r.past.last().end()
}

// pastOf is a segment as it was found.
func pastOf(sessionID string, of *archive.Rendition, g *archive.Segment) PastSegment {
	p := PastSegment{
		SessionID: sessionID, Epoch: g.Epoch, MSN: g.MSN, Duration: g.Duration, SizeBytes: g.Size,
		FirstPart: g.FirstPart, Parts: g.Parts, Held: g.Stand != archive.StandNone, Gap: g.Gap(),
		at: g.At, disc: g.Disc, discontinuity: g.Discontinuity,
	}
	if in := of.Init(g); in != nil {
		p.mapURI = archive.InitName(in.Epoch, in.Number)
	}
	return p
}
