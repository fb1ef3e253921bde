package hls

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"sync"

	"tally/internal/hls/playlist"
)

// A long is the full playlist of a long window, made when somebody asks for it:
// of the past nothing is rendered, and hardly anything compressed, anew.
type long struct {
	past  *pastView
	start []byte // what stands before the segments, with the first map
	tail  []byte // behind the past
}

// raw returns the text with prefix before its URIs.
func (l *long) raw(prefix string) []byte {
	size := len(l.start) + len(l.tail)
	l.past.pieces(l.past.listFrom, func(text []byte, whole *block) { size += len(text) })
	dst := make([]byte, 0, size+size/2*min(1, len(prefix)))
	dst = appendPrefixed(dst, l.start, prefix)
	l.past.pieces(l.past.listFrom, func(text []byte, whole *block) {
		if whole != nil && prefix != "" {
			dst = append(dst, whole.zip.get(prefix, text).text...)
			return
		}
		dst = appendPrefixed(dst, text, prefix)
	})
	return appendPrefixed(dst, l.tail, prefix)
}

func appendPrefixed(dst, text []byte, prefix string) []byte {
	if prefix == "" {
		return append(dst, text...)
	}
	return playlist.AppendPrefixed(dst, text, prefix)
}

// gzip returns the text in gzip (RFC 1952): one deflate stream whose blocks (RFC
// 1951 section 3.2.3) were compressed one by one, none of which refers to another.
func (l *long) gzip(prefix string) []byte {
	dst := make([]byte, 0, 64<<10)
	dst = append(dst, 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255)
	sum, size := uint32(0), 0
	var buf []byte
	add := func(text []byte, final bool) {
		buf = appendPrefixed(buf[:0], text, prefix)
		sum, size = crc32.Update(sum, crc32.IEEETable, buf), size+len(buf)
		dst = appendDeflate(dst, buf, final)
	}
	add(l.start, false)
	l.past.pieces(l.past.listFrom, func(text []byte, whole *block) {
		if whole == nil {
			add(text, false)
			return
		}
		z := whole.zip.get(prefix, text)
		sum, size = crc32.Update(sum, crc32.IEEETable, z.text), size+len(z.text)
		dst = append(dst, z.deflated...)
	})
	add(l.tail, true)
	dst = binary.LittleEndian.AppendUint32(dst, sum)
	return binary.LittleEndian.AppendUint32(dst, uint32(size))
}

// A blockZip is a whole block as it is sent, direct and shared; each made when
// it is asked for first.
type blockZip struct {
	direct, shared zipped
}

type zipped struct {
	once     sync.Once
	text     []byte // with the prefix
	deflated []byte
}

// get returns the block's text with prefix, which is always the same but for "".
func (z *blockZip) get(prefix string, text []byte) *zipped {
	form := &z.direct
	if prefix != "" {
		form = &z.shared
	}
	form.once.Do(func() {
		form.text = text
		if prefix != "" {
			form.text = bytes.Clone(appendPrefixed(nil, text, prefix))
		}
		form.deflated = bytes.Clone(appendDeflate(nil, form.text, false))
	})
	return form
}

// deflaters are shared: one holds about 800 KB.
var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(nil, flate.DefaultCompression) // the level is valid
	return w
}}

// appendDeflate appends text as blocks of a deflate stream: the last of it, or
// ended at a byte (by an empty stored block), so that others can follow.
func appendDeflate(dst, text []byte, final bool) []byte {
	b := bytes.NewBuffer(dst)
	w := deflaters.Get().(*flate.Writer)
	w.Reset(b)
	w.Write(text) // into memory: cannot fail
	if final {
		w.Close()
	} else {
		w.Flush()
	}
	deflaters.Put(w)
	return b.Bytes()
}
