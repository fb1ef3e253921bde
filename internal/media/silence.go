package media

// Syntactic elements of a raw_data_block (ISO/IEC 14496-3 table 4.85).
const (
	elementSCE = 0 // one channel
	elementCPE = 1 // two
	elementLFE = 3 // low frequency effects
	elementEnd = 7
)

// aacElements are the elements of a raw_data_block by channelConfiguration
// (ISO/IEC 14496-3 table 1.19).
var aacElements = [16][]uint32{
	1:  {elementSCE},
	2:  {elementCPE},
	3:  {elementSCE, elementCPE},
	4:  {elementSCE, elementCPE, elementSCE},
	5:  {elementSCE, elementCPE, elementCPE},
	6:  {elementSCE, elementCPE, elementCPE, elementLFE},
	7:  {elementSCE, elementCPE, elementCPE, elementCPE, elementLFE},
	11: {elementSCE, elementCPE, elementCPE, elementSCE, elementLFE},
	12: {elementSCE, elementCPE, elementCPE, elementCPE, elementLFE},
	14: {elementSCE, elementCPE, elementCPE, elementLFE, elementCPE},
}

// AACSilence returns an access unit that decodes to silence under that
// AudioSpecificConfig, or nil where none is known: channels that the
// configuration defines by itself, or one that does not parse. With SBR or PS
// it holds the core coder's silence alone, which decoders extend.
func AACSilence(asc []byte) []byte {
	c, err := parseASC(asc)
	if err != nil || aacElements[c.layout] == nil {
		return nil
	}
	var w bitWriter
	var tags [elementEnd]uint32
	for _, e := range aacElements[c.layout] {
		w.put(3, e)
		w.put(4, tags[e]) // element_instance_tag
		tags[e]++
		if e == elementCPE {
			w.put(1, 0) // common_window
			w.silentChannel()
		}
		w.silentChannel()
	}
	w.put(3, elementEnd)
	return w.data // byte_alignment: the rest of the last byte is 0
}

// A bitWriter appends bits, the most significant first.
type bitWriter struct {
	data []byte
	used int // bits of data that are written
}

func (w *bitWriter) put(n int, v uint32) {
	for i := n - 1; i >= 0; i-- {
		if w.used%8 == 0 {
			w.data = append(w.data, 0)
		}
		w.data[w.used/8] |= byte(v>>i&1) << (7 - w.used%8)
		w.used++
	}
}

// silentChannel writes an individual_channel_stream without a single scale
// factor band (ISO/IEC 14496-3 table 4.50), so without spectral data.
func (w *bitWriter) silentChannel() {
	w.put(8, 100) // global_gain: a factor of 1; nothing is scaled by it
	w.put(1, 0)   // ics_reserved_bit
	w.put(2, 0)   // window_sequence: ONLY_LONG_SEQUENCE
	w.put(1, 0)   // window_shape: sine
	w.put(6, 0)   // max_sfb
	w.put(1, 0)   // predictor_data_present
	w.put(3, 0)   // pulse, tns and gain control data present
}
