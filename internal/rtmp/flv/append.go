package flv

// Append appends v as a body of its own: in legacy framing where CodecID is set,
// else as Enhanced RTMP, for tracks other than 0 as OneTrack, as OBS does it.
// Composition keeps its low 24 bits. Packets that are not known panic.
func (v Video) Append(dst []byte) []byte {
	if v.CodecID != 0 {
		dst = append(dst, v.frameType()<<4|v.CodecID, byte(v.Packet))
		return append(append24(dst, uint32(v.Composition)), v.Data...)
	}
	dst = appendModEx(append(dst, 0x80|v.frameType()<<4), v.Nanos)
	if v.Track != 0 {
		dst[len(dst)-1] |= wireMultitrack
		dst = append(dst, oneTrack<<4|v.wire())
		dst = append(append(dst, v.FourCC[:]...), v.Track)
	} else {
		dst[len(dst)-1] |= v.wire()
		dst = append(dst, v.FourCC[:]...)
	}
	return v.appendData(dst, v.wire())
}

// AppendVideos appends one body that carries all of vs, which have the same
// Packet, Key and Nanos: as ManyTracks, or ManyTracksManyCodecs where their
// FourCCs differ. Each keeps its composition offset.
func AppendVideos(dst []byte, vs []Video) []byte {
	kind, wire := byte(manyTracks), vs[0].wire()
	for _, v := range vs {
		if v.FourCC != vs[0].FourCC {
			kind = manyTracksManyCodecs
		}
		if v.wire() != wire { // CodedFramesX and CodedFrames: both fit into the latter
			wire = wireCodedFrames
		}
	}
	dst = appendModEx(append(dst, 0x80|vs[0].frameType()<<4), vs[0].Nanos)
	dst[len(dst)-1] |= wireMultitrack
	dst = append(dst, kind<<4|wire)
	if kind == manyTracks {
		dst = append(dst, vs[0].FourCC[:]...)
	}
	for _, v := range vs {
		if kind == manyTracksManyCodecs {
			dst = append(dst, v.FourCC[:]...)
		}
		size := len(v.Data)
		if wire == wireCodedFrames && composes(v.FourCC) {
			size += 3
		}
		dst = append24(append(dst, v.Track), uint32(size))
		dst = v.appendData(dst, wire)
	}
	return dst
}

func (v Video) frameType() byte {
	switch {
	case v.Info:
		return frameInfo
	case v.Key:
		return frameKey
	}
	return frameInter
}

// wire is the packet type with which v is said.
func (v Video) wire() byte {
	switch v.Packet {
	case SequenceHeader:
		return wireSequenceStart
	case Coded:
		if composes(v.FourCC) && v.Composition == 0 {
			return wireCodedFramesX
		}
		return wireCodedFrames
	case EndOfSequence:
		return wireSequenceEnd
	case ColorInfo:
		return wireMetadata
	case MPEG2TSHeader:
		return wireMPEG2TS
	}
	panic("flv: packet that cannot be written")
}

func (v Video) appendData(dst []byte, wire byte) []byte {
	if wire == wireCodedFrames && composes(v.FourCC) {
		dst = append24(dst, uint32(v.Composition))
	}
	return append(dst, v.Data...)
}

// Append appends a as a body of its own, as Video.Append.
func (a Audio) Append(dst []byte) []byte {
	if a.Format == FormatAAC {
		dst = append(dst, FormatAAC<<4|3<<2|1<<1|1, byte(a.Packet))
		return append(dst, a.Data...)
	}
	dst = appendModEx(append(dst, FormatEnhanced<<4), a.Nanos)
	if a.Track != 0 {
		dst[len(dst)-1] |= wireMultitrackAudio
		dst = append(dst, oneTrack<<4|a.wire())
		dst = append(append(dst, a.FourCC[:]...), a.Track)
	} else {
		dst[len(dst)-1] |= a.wire()
		dst = append(dst, a.FourCC[:]...)
	}
	return append(dst, a.Data...)
}

// AppendAudios appends one body that carries all of as, as AppendVideos.
func AppendAudios(dst []byte, as []Audio) []byte {
	kind := byte(manyTracks)
	for _, a := range as {
		if a.FourCC != as[0].FourCC {
			kind = manyTracksManyCodecs
		}
	}
	dst = appendModEx(append(dst, FormatEnhanced<<4), as[0].Nanos)
	dst[len(dst)-1] |= wireMultitrackAudio
	dst = append(dst, kind<<4|as[0].wire())
	if kind == manyTracks {
		dst = append(dst, as[0].FourCC[:]...)
	}
	for _, a := range as {
		if kind == manyTracksManyCodecs {
			dst = append(dst, a.FourCC[:]...)
		}
		dst = append24(append(dst, a.Track), uint32(len(a.Data)))
		dst = append(dst, a.Data...)
	}
	return dst
}

func (a Audio) wire() byte {
	switch a.Packet {
	case SequenceHeader:
		return wireSequenceStart
	case Coded:
		return wireCodedFrames
	case EndOfSequence:
		return wireSequenceEnd
	case ChannelConfig:
		return wireChannelConfig
	}
	panic("flv: packet that cannot be written")
}

// appendModEx says nanos, if there are any, behind the first byte of a body,
// whose packet type is still open; it is then that of the last byte.
func appendModEx(dst []byte, nanos uint32) []byte {
	if nanos == 0 {
		return dst
	}
	dst[len(dst)-1] |= wireModEx
	dst = append24(append(dst, 3-1), nanos)
	return append(dst, modExNanos<<4)
}

func append24(dst []byte, v uint32) []byte { return append(dst, byte(v>>16), byte(v>>8), byte(v)) }
