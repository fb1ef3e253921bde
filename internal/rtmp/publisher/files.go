package publisher

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strconv"

	"tally/internal/rtmp/amf0"
	"tally/internal/rtmp/flv"
	"tally/internal/rtmp/mp4"
)

var (
	avc1 = [4]byte{'a', 'v', 'c', '1'}
	mp4a = [4]byte{'m', 'p', '4', 'a'}
)

// Files plays the tracks of MP4 files as one publication: pictures become video
// tracks 0, 1 …, sounds audio tracks 0, 1 …, in the order of the files and of the
// tracks in them. H.264 and AAC of track 0 are sent in the framing that every
// server reads, all else as Enhanced RTMP.
type Files struct {
	Files []*mp4.File
	Loop  bool // for ever, with times going on; headers are sent once
	// Together sends pictures, and sounds, of the same time as one message of many
	// tracks instead of one each.
	Together bool
}

// Source returns what [Options] wants. It fails when the files have no track that
// can be sent, or more than Enhanced RTMP can number.
func (o Files) Source() (Source, error) {
	s := &filesSource{Files: o, first: math.MaxInt64}
	end, next := int64(math.MinInt64), [2]int{}
	for _, f := range o.Files {
		for i := range f.Tracks {
			t := &f.Tracks[i]
			kind := 0
			if t.Video {
				kind = 1
			}
			if next[kind] > math.MaxUint8 {
				return nil, errors.New("more than 256 tracks of a kind")
			}
			one := &lane{file: f, Track: t, id: uint8(next[kind])}
			one.legacy = one.id == 0 && !o.Together && (t.FourCC == avc1 || t.FourCC == mp4a)
			s.lanes = append(s.lanes, one)
			next[kind]++
			s.first = min(s.first, t.Milliseconds(t.Samples[0].DTS))
			end = max(end, t.Milliseconds(t.End()))
		}
	}
	if len(s.lanes) == 0 {
		return nil, errors.New("no track that can be published")
	}
	s.length = max(1, end-s.first)
	s.headers = s.begin()
	return s, nil
}

// Clip reads a source to its end into memory, so that many publishers can share
// it. A source that loops has none.
func Clip(s Source) (*flv.Clip, error) {
	var c flv.Clip
	for {
		t, err := s.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		c.Tags = append(c.Tags, t)
		c.Duration = max(c.Duration, t.Time+1)
	}
	if f, ok := s.(*filesSource); ok {
		c.Duration = f.length
	}
	return &c, nil
}

// filesSource is the Source of Files.
type filesSource struct {
	Files
	lanes   []*lane
	headers []flv.Tag // not sent yet
	first   int64     // ms; the least decode time
	length  int64     // ms; of one loop
	round   int64     // loops done
}

// A lane is one track on its way.
type lane struct {
	file *mp4.File
	*mp4.Track
	id     uint8
	legacy bool // in the framing that every server reads
	at     int
}

// due is when the lane's next sample is to be decoded, in ms.
func (s *filesSource) due(l *lane) int64 {
	return l.Milliseconds(l.Samples[l.at].DTS) - s.first + s.round*s.length
}

// Next implements Source.
func (s *filesSource) Next() (flv.Tag, error) {
	if len(s.headers) > 0 {
		t := s.headers[0]
		s.headers = s.headers[1:]
		return t, nil
	}
	l := s.earliest()
	if l == nil {
		if !s.Loop {
			return flv.Tag{}, io.EOF
		}
		s.round++
		for _, l := range s.lanes {
			l.at = 0
		}
		l = s.earliest()
	}
	return s.tag(l)
}

// earliest is the lane whose sample comes next, pictures before sounds; nil at
// the end.
func (s *filesSource) earliest() *lane {
	var one *lane
	for _, l := range s.lanes {
		switch {
		case l.at == len(l.Samples):
		case one == nil, s.due(l) < s.due(one), s.due(l) == s.due(one) && l.Video && !one.Video:
			one = l
		}
	}
	return one
}

// tag makes the message of a lane's next sample, and of those of the same time
// where they go together.
func (s *filesSource) tag(l *lane) (flv.Tag, error) {
	tag := flv.Tag{Type: flv.TypeAudio, Time: s.due(l)}
	with := []*lane{l}
	if s.Together {
		for _, o := range s.lanes {
			if o != l && o.Video == l.Video && o.at < len(o.Samples) && s.due(o) == tag.Time && o.Samples[o.at].Key == l.Samples[l.at].Key {
				with = append(with, o)
			}
		}
	}
	var pictures []flv.Video
	var sounds []flv.Audio
	for _, l := range with {
		b, err := l.file.Read(nil, l.Samples[l.at])
		if err != nil {
			return flv.Tag{}, err
		}
		if l.Video {
			pictures = append(pictures, l.picture(flv.Coded, b))
		} else {
			sounds = append(sounds, l.sound(flv.Coded, b))
		}
		l.at++
	}
	switch {
	case len(pictures) > 1:
		tag.Type, tag.Body = flv.TypeVideo, flv.AppendVideos(nil, pictures)
	case len(pictures) == 1:
		tag.Type, tag.Body = flv.TypeVideo, pictures[0].Append(nil)
	case len(sounds) > 1:
		tag.Body = flv.AppendAudios(nil, sounds)
	default:
		tag.Body = sounds[0].Append(nil)
	}
	return tag, nil
}

func (l *lane) picture(p flv.Packet, data []byte) flv.Video {
	v := flv.Video{FourCC: l.FourCC, Track: l.id, Packet: p, Key: true, Data: data}
	if l.legacy {
		v.CodecID, v.FourCC = flv.CodecAVC, [4]byte{}
	}
	if p == flv.Coded {
		one := l.Samples[l.at]
		v.Key = one.Key
		v.Composition = int32(l.Milliseconds(one.DTS+int64(one.Shift)) - l.Milliseconds(one.DTS))
	}
	return v
}

func (l *lane) sound(p flv.Packet, data []byte) flv.Audio {
	if l.legacy {
		return flv.Audio{Format: flv.FormatAAC, Packet: p, Data: data}
	}
	return flv.Audio{Format: flv.FormatEnhanced, FourCC: l.FourCC, Track: l.id, Packet: p, Data: data}
}

// codec is how onMetaData names the lane's codec.
func (l *lane) codec() float64 {
	switch {
	case l.legacy && l.Video:
		return flv.CodecAVC
	case l.legacy:
		return flv.FormatAAC
	}
	return float64(binary.BigEndian.Uint32(l.FourCC[:]))
}

// begin makes what comes before the first frame: onMetaData and the sequence headers.
func (s *filesSource) begin() []flv.Tag {
	meta := amf0.ECMAArray{{Name: "encoder", Value: "Tally"}}
	maps := [2]amf0.Object{}
	var tags []flv.Tag
	for _, l := range s.lanes {
		codec := l.codec()
		tag := flv.Tag{Type: flv.TypeAudio, Body: l.sound(flv.SequenceHeader, l.Config).Append(nil)}
		kind, about := 0, amf0.Object{{Name: "audiocodecid", Value: codec}}
		if l.Video {
			kind, about = 1, amf0.Object{{Name: "videocodecid", Value: codec}, {Name: "width", Value: float64(l.Width)}, {Name: "height", Value: float64(l.Height)}}
			tag = flv.Tag{Type: flv.TypeVideo, Body: l.picture(flv.SequenceHeader, l.Config).Append(nil)}
		}
		tags = append(tags, tag)
		if l.id == 0 {
			meta = append(meta, about...)
		}
		if l.Language != "" {
			about = append(about, amf0.Property{Name: "language", Value: l.Language})
		}
		if l.Name != "" {
			about = append(about, amf0.Property{Name: "name", Value: l.Name})
		}
		if l.id > 0 || l.Language != "" || l.Name != "" {
			maps[kind] = append(maps[kind], amf0.Property{Name: strconv.Itoa(int(l.id)), Value: about})
		}
	}
	for kind, name := range []string{"audioTrackIdInfoMap", "videoTrackIdInfoMap"} {
		if maps[kind] != nil {
			meta = append(meta, amf0.Property{Name: name, Value: maps[kind]})
		}
	}
	script := flv.Tag{Type: flv.TypeScript, Body: amf0.Append(nil, "@setDataFrame", "onMetaData", meta)}
	return append([]flv.Tag{script}, tags...)
}
