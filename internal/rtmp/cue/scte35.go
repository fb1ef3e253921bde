package cue

import (
	"time"

	"tally/internal/media"
)

// A Section is what a splice_info_section means to a playlist (ANSI/SCTE 35 2023
// section 9.6, and rfc8216bis-22 section 4.4.5.1.1 for the mapping).
type Section struct {
	Splice   media.Splice
	Event    uint32
	Duration time.Duration // 0: it does not say
}

// Commands and descriptors of a section.
const (
	tableID            = 0xfc
	spliceInsert       = 0x05
	timeSignal         = 0x06
	segmentation       = 0x02
	cueIdentifier      = 0x43554549 // CUEI
	ticksPerSecond     = 90_000
	sectionHeaderBytes = 14 // up to and with the command's type
)

// ParseSection reads a section. It returns false for what is none; one that it
// does not understand, as an encrypted one, is a SpliceCommand.
func ParseSection(b []byte) (Section, bool) {
	r := reader{b: b}
	if r.uint(1) != tableID {
		return Section{}, false
	}
	if length := int(r.uint(2) & 0x0fff); length > len(b)-3 || length < sectionHeaderBytes {
		return Section{}, false
	}
	r.uint(1) // protocol_version
	encrypted := r.uint(1)&0x80 != 0
	r.uint(4) // the rest of pts_adjustment
	r.uint(1) // cw_index
	length := int(r.uint(3) & 0x0fff)
	command := Section{Splice: media.SpliceCommand}
	kind := r.uint(1)
	if encrypted {
		return command, !r.over
	}
	body := reader{b: r.b[r.at:]}
	if length == 0xfff { // the length is not given, as old encoders do
		length = len(body.b)
	}
	body = reader{b: body.b[:min(length, len(body.b))]}
	var s Section
	var ok bool
	switch kind {
	case spliceInsert:
		s, ok = parseInsert(&body)
	case timeSignal:
		splicetime(&body)
		r.at += body.at
		s, ok = parseDescriptors(&r)
	}
	if r.over {
		return Section{}, false
	}
	if !ok {
		return command, true
	}
	return s, true
}

// parseInsert reads a splice_insert (section 9.7.3).
func parseInsert(r *reader) (s Section, ok bool) {
	s.Event = uint32(r.uint(4))
	if r.uint(1)&0x80 != 0 { // splice_event_cancel_indicator
		return s, false
	}
	flags := r.uint(1)
	out, program, lasts, immediate := flags&0x80 != 0, flags&0x40 != 0, flags&0x20 != 0, flags&0x10 != 0
	s.Splice = media.SpliceIn
	if out {
		s.Splice = media.SpliceOut
	}
	if program && !immediate {
		splicetime(r)
	}
	if !program {
		for range r.uint(1) {
			r.uint(1)
			if !immediate {
				splicetime(r)
			}
		}
	}
	if lasts {
		s.Duration = ticks(r.uint(5) & 0x1_ffff_ffff)
	}
	return s, !r.over
}

// splicetime skips a splice_time (section 9.8.1).
func splicetime(r *reader) {
	if r.uint(1)&0x80 != 0 {
		r.uint(4)
	}
}

// parseDescriptors looks for a segmentation_descriptor (section 10.3.3) that
// begins or ends a break.
func parseDescriptors(r *reader) (s Section, ok bool) {
	end := int(r.uint(2))
	for end += r.at; r.at+2 <= end && !r.over; {
		tag, length := r.uint(1), int(r.uint(1))
		d := reader{b: r.bytes(length)}
		if tag != segmentation || d.uint(4) != cueIdentifier {
			continue
		}
		if s, ok = parseSegmentation(&d); ok {
			return s, true
		}
	}
	return Section{}, false
}

func parseSegmentation(r *reader) (s Section, ok bool) {
	s.Event = uint32(r.uint(4))
	if r.uint(1)&0x80 != 0 { // segmentation_event_cancel_indicator
		return s, false
	}
	flags := r.uint(1)
	if flags&0x80 == 0 { // of components
		r.bytes(6 * int(r.uint(1)))
	}
	if flags&0x40 != 0 {
		s.Duration = ticks(r.uint(5))
	}
	r.uint(1)               // segmentation_upid_type
	r.bytes(int(r.uint(1))) // segmentation_upid
	switch kind := r.uint(1); kind {
	case 0x22, 0x30, 0x32, 0x34, 0x36, 0x38, 0x3a, 0x44, 0x46: // break, advertisement, placement opportunity, block: start
		s.Splice = media.SpliceOut
	case 0x23, 0x31, 0x33, 0x35, 0x37, 0x39, 0x3b, 0x45, 0x47: // the same: end
		s.Splice = media.SpliceIn
	default:
		return s, false
	}
	return s, !r.over
}

func ticks(n uint64) time.Duration {
	return time.Duration(n/ticksPerSecond)*time.Second + time.Duration(n%ticksPerSecond)*time.Second/ticksPerSecond
}

// A reader reads big-endian numbers. Past the end it yields zeros and remembers
// that it did.
type reader struct {
	b    []byte
	at   int
	over bool
}

// uint reads a number of n <= 8 bytes.
func (r *reader) uint(n int) (v uint64) {
	for _, c := range r.bytes(n) {
		v = v<<8 | uint64(c)
	}
	return v
}

// bytes returns the next n bytes, or none where there are fewer.
func (r *reader) bytes(n int) []byte {
	if n > len(r.b)-r.at {
		r.over = true
		r.at = len(r.b)
		return nil
	}
	r.at += n
	return r.b[r.at-n : r.at]
}
