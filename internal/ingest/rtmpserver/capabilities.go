package rtmpserver

import (
	"tally/internal/rtmp/amf0"
)

// Flags of connect's capsEx (Enhanced RTMP v2, section "Enhancing NetConnection
// connect Command").
const (
	capsReconnect  = 0x01
	capsMultitrack = 0x02
	capsModEx      = 0x04
	capsNanos      = 0x08
)

// canForward is the flag of a codec that is passed on as it came. Nothing is
// decoded or encoded here.
const canForward = 0x04

// enhanced reports whether a client's connect says anything of Enhanced RTMP.
// Only such clients are told what the server can: old ones may stumble over
// objects within the answer.
func enhanced(connect any) bool {
	for _, property := range []string{"fourCcList", "capsEx", "videoFourCcInfoMap", "audioFourCcInfoMap"} {
		if amf0.Lookup(connect, property) != nil {
			return true
		}
	}
	return false
}

// reconnects reports whether the client understands a request to reconnect.
func reconnects(connect any) bool {
	caps, _ := amf0.Lookup(connect, "capsEx").(float64)
	return caps >= 0 && caps < 1<<32 && uint32(caps)&capsReconnect != 0
}

// capabilities is what the server says of itself. videoFunction 0: pictures are
// passed on with the colours that they describe themselves; HDR metadata beside
// them is skipped.
func capabilities() amf0.Object {
	list := amf0.Array{}
	infos := func(codes []code) amf0.Object {
		var o amf0.Object
		for _, c := range codes {
			list = append(list, c.fourCC)
			o = append(o, amf0.Property{Name: c.fourCC, Value: float64(canForward)})
		}
		return o
	}
	video, audio := infos(videoCodes), infos(audioCodes)
	return amf0.Object{
		{Name: "fourCcList", Value: list},
		{Name: "videoFourCcInfoMap", Value: video},
		{Name: "audioFourCcInfoMap", Value: audio},
		{Name: "capsEx", Value: float64(capsReconnect | capsMultitrack | capsModEx | capsNanos)},
		{Name: "videoFunction", Value: 0.0},
	}
}
