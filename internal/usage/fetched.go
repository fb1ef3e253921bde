package usage

import "time"

// A Span is a stretch of media time, counted since the run began: the same for
// what all renditions of a programme show at once. Of a held picture To is From.
type Span struct{ From, To time.Duration }

const (
	// spansAtHand is how many separate stretches of media a record has room for.
	// Who watches has one, who jumps one more for each jump.
	spansAtHand = 4
	// maxSpans bounds them, at 1 KB: enough for every second part of 40 s. Beyond
	// that what lies between the two oldest counts as fetched, so that a sum loses
	// seconds and never invents any.
	maxSpans = 64
)

// A fetched remembers which media a viewer was given, in whatever rendition and
// form. It must not be copied.
type fetched struct {
	spans  []Span // sorted, apart from one another
	atHand [spansAtHand]Span
}

// high is the end of the newest media given; -1 before any.
func (f *fetched) high() time.Duration {
	if n := len(f.spans); n > 0 {
		return f.spans[n-1].To
	}
	return -1
}

// fetch marks spans and returns the media time that is new.
func (f *fetched) fetch(spans []Span) (fresh time.Duration) {
	for _, s := range spans {
		if s.To > s.From {
			fresh += f.add(s)
		}
	}
	return fresh
}

// add marks a span and returns what of it is new.
func (f *fetched) add(s Span) time.Duration {
	n := len(f.spans)
	// Those from i up to before j touch it.
	j := n
	for j > 0 && f.spans[j-1].From > s.To {
		j--
	}
	i := j
	fresh := s.To - s.From
	for i > 0 && f.spans[i-1].To >= s.From {
		i--
		o := f.spans[i]
		fresh -= max(0, min(o.To, s.To)-max(o.From, s.From))
	}
	if i < j {
		s.From, s.To = min(s.From, f.spans[i].From), max(s.To, f.spans[j-1].To)
		f.spans[i] = s
		f.spans = append(f.spans[:i+1], f.spans[j:]...)
		return fresh
	}
	if n == 0 {
		f.spans = f.atHand[:0]
	}
	f.spans = append(f.spans, Span{})
	copy(f.spans[i+1:], f.spans[i:])
	f.spans[i] = s
	if len(f.spans) > maxSpans {
		f.spans[1].From = f.spans[0].From
		f.spans = append(f.spans[:0], f.spans[1:]...)
	}
	return fresh
}
