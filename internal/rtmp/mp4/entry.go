package mp4

import (
	"bytes"
	"encoding/binary"
)

// sampleEntry reads a sample description: the codec and its configuration. Of
// several entries the last counts; files that publish well have one.
func (t *track) sampleEntry(kind string, b []byte) error {
	t.entry = kind
	r := reader{b: b}
	r.skip(8) // reserved, data_reference_index
	switch kind {
	case "avc1", "avc3", "hvc1", "hev1", "av01", "vp09":
		t.Video = true
		r.skip(16)
		t.Width, t.Height = int(r.u16()), int(r.u16())
		r.skip(50)
	case "mp4a", "Opus", "fLaC":
		version := r.u16()
		r.skip(18)
		if version == 1 { // QuickTime's
			r.skip(16)
		}
	default:
		return nil
	}
	if err := r.err(); err != nil {
		return err
	}
	return each(r.b, t.config)
}

// config reads the box that holds a codec's configuration.
func (t *track) config(kind string, b []byte) error {
	set := func(fourCC string, config []byte) {
		t.FourCC, t.Config = [4]byte([]byte(fourCC)), bytes.Clone(config)
	}
	switch kind {
	case "avcC":
		set("avc1", b)
	case "hvcC":
		set("hvc1", b)
	case "av1C":
		set("av01", b)
	case "vpcC":
		set("vp09", b) // with version and flags, as ffmpeg sends it
	case "esds":
		if asc := specificInfo(b); asc != nil {
			set("mp4a", asc)
		}
	case "dOps":
		if head := opusHead(b); head != nil {
			set("Opus", head)
		}
	case "dfLa":
		if len(b) > 4 {
			set("fLaC", append([]byte("fLaC"), b[4:]...))
		}
	}
	return nil
}

// specificInfo finds the AudioSpecificConfig within an esds box (ISO/IEC 14496-1
// section 7.2.6); nil: it describes no AAC.
func specificInfo(b []byte) []byte {
	const esTag, decoderTag, infoTag, aac = 3, 4, 5, 0x40
	r := reader{b: b}
	r.full()
	if tag, es := descriptor(&r); tag == esTag {
		r = reader{b: es}
		r.skip(2)
		flags := r.u8()
		if flags&0x80 != 0 { // streamDependenceFlag
			r.skip(2)
		}
		if flags&0x40 != 0 { // URL_Flag
			r.skip(int(r.u8()))
		}
		if flags&0x20 != 0 { // OCRstreamFlag
			r.skip(2)
		}
	}
	tag, decoder := descriptor(&r)
	r = reader{b: decoder}
	if kind := r.u8(); tag != decoderTag || kind != aac {
		return nil
	}
	r.skip(12)
	if tag, info := descriptor(&r); tag == infoTag && len(info) > 0 {
		return info
	}
	return nil
}

// descriptor takes a descriptor off r; its length has 7 bits in each of up to 4 bytes.
func descriptor(r *reader) (tag uint8, content []byte) {
	tag = r.u8()
	n := 0
	for range 4 {
		c := r.u8()
		n = n<<7 | int(c&0x7F)
		if c&0x80 == 0 {
			break
		}
	}
	return tag, r.take(n)
}

// opusHead makes an identification header (RFC 7845 section 5.1) of a dOps box,
// whose fields are the same in the other byte order.
func opusHead(b []byte) []byte {
	if len(b) < 11 {
		return nil
	}
	head := append([]byte("OpusHead"), 1, b[1])
	head = binary.LittleEndian.AppendUint16(head, binary.BigEndian.Uint16(b[2:]))
	head = binary.LittleEndian.AppendUint32(head, binary.BigEndian.Uint32(b[4:]))
	head = binary.LittleEndian.AppendUint16(head, binary.BigEndian.Uint16(b[8:]))
	return append(head, b[10:]...)
}
