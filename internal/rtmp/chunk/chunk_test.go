package chunk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// wire builds a chunk stream by hand: strings are payload, ints single bytes.
func wire(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		}
	}
	return b
}

// full is a type 0 header: time, length, type, message stream 1.
func full(id int, time uint32, length int, kind int) []byte {
	b := []byte{byte(id), byte(time >> 16), byte(time >> 8), byte(time), byte(length >> 16), byte(length >> 8), byte(length), byte(kind), 1, 0, 0, 0}
	return b
}

func ext(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

func readAll(r *Reader) (ms []Message, err error) {
	for {
		m, err := r.Next()
		if err != nil {
			return ms, err
		}
		ms = append(ms, m)
	}
}

func TestReader(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	msg := func(id, time uint32, kind uint8, body string) Message {
		return Message{ChunkStream: id, Type: kind, StreamID: 1, Time: time, Body: []byte(body)}
	}
	const late = 0x01234567
	tests := []struct {
		name string
		in   []byte
		want []Message
		err  error // io.EOF when nil
	}{
		{"one chunk", wire(full(4, 10, 3, 8), "abc"), []Message{msg(4, 10, 8, "abc")}, nil},
		{"three chunks", wire(full(4, 10, 300, 9), x(128), 0xC4, x(128), 0xC4, x(44)), []Message{msg(4, 10, 9, x(300))}, nil},
		{"interleaved", wire(full(4, 10, 130, 9), x(128), full(5, 11, 1, 8), "a", 0xC4, "xx"),
			[]Message{msg(5, 11, 8, "a"), msg(4, 10, 9, x(130))}, nil},
		{"delta headers", wire(full(4, 10, 1, 8), "a", 0x44, 0, 0, 5, 0, 0, 2, 9, "bb", 0x84, 0, 0, 7, "cc", 0xC4, "dd"),
			[]Message{msg(4, 10, 8, "a"), msg(4, 15, 9, "bb"), msg(4, 22, 9, "cc"), msg(4, 29, 9, "dd")}, nil},
		{"type 3 after type 0 adds its timestamp", wire(full(4, 10, 1, 8), "a", 0xC4, "b"),
			[]Message{msg(4, 10, 8, "a"), msg(4, 20, 8, "b")}, nil},
		{"2-byte id", wire(0, 0, full(0, 1, 1, 8)[1:], "a"), []Message{msg(64, 1, 8, "a")}, nil},
		{"3-byte id", wire(1, 0xFF, 0xFF, full(0, 1, 1, 8)[1:], "a"), []Message{msg(65599, 1, 8, "a")}, nil},
		{"type 1 first", wire(0x44, 0, 0, 5, 0, 0, 1, 9, "a"), []Message{{ChunkStream: 4, Type: 9, Time: 5, Body: []byte("a")}}, nil},
		{"extended timestamp", wire(full(4, extended, 1, 8), ext(late), "a"), []Message{msg(4, late, 8, "a")}, nil},
		{"extended timestamp repeated in type 3", wire(full(4, extended, 200, 8), ext(late), x(128), 0xC4, ext(late), x(72)),
			[]Message{msg(4, late, 8, x(200))}, nil},
		{"extended timestamp left out of type 3", wire(full(4, extended, 200, 8), ext(late), x(128), 0xC4, x(72)),
			[]Message{msg(4, late, 8, x(200))}, nil},
		{"left out, last chunk of one byte ends the stream", wire(full(4, extended, 129, 8), ext(late), x(128), 0xC4, "x"),
			[]Message{msg(4, late, 8, x(129))}, nil},
		{"left out twice, second time one byte", wire(full(4, extended, 200, 8), ext(late), x(128), 0xC4, x(72),
			full(4, extended, 129, 8), ext(late+1), x(128), 0xC4, "x", full(5, 1, 1, 8), "a"),
			[]Message{msg(4, late, 8, x(200)), msg(4, late+1, 8, x(129)), msg(5, 1, 8, "a")}, nil},
		{"repeated as message time after a delta", wire(full(4, extended, 1, 8), ext(late), "a",
			0x44, 0xFF, 0xFF, 0xFF, 0, 0, 200, 8, ext(extended), x(128), 0xC4, ext(late+extended), x(72)),
			[]Message{msg(4, late, 8, "a"), msg(4, late+extended, 8, x(200))}, nil},
		{"set chunk size", wire(full(2, 0, 4, 1), ext(300), full(4, 1, 300, 9), x(300)), []Message{msg(4, 1, 9, x(300))}, nil},
		{"huge chunk size is clamped", wire(full(2, 0, 4, 1), ext(1<<31-1), full(4, 1, 300, 9), x(300)), []Message{msg(4, 1, 9, x(300))}, nil},
		{"abort", wire(full(4, 1, 300, 9), x(128), full(2, 0, 4, 2), ext(4), full(4, 2, 1, 9), "a"), []Message{msg(4, 2, 9, "a")}, nil},
		{"full header amid a message drops it", wire(full(4, 1, 300, 9), x(128), full(4, 2, 1, 9), "a"), []Message{msg(4, 2, 9, "a")}, nil},
		{"empty messages are skipped", wire(full(4, 1, 0, 8), full(4, 2, 1, 8), "a"), []Message{msg(4, 2, 8, "a")}, nil},
		{"chunk size of 1", wire(full(2, 0, 4, 1), ext(1)), nil, ErrProtocol},
		{"chunk size with its top bit", wire(full(2, 0, 4, 1), ext(1<<31|4096)), nil, ErrProtocol},
		{"set chunk size cut short", wire(full(2, 0, 2, 1), "ab"), nil, ErrProtocol},
		{"type 3 first", wire(0xC4, "a"), nil, ErrProtocol},
		{"type 2 first", wire(0x84, 0, 0, 1, "a"), nil, ErrProtocol},
		{"64 KB + 1 before publish", wire(full(4, 1, 64<<10+1, 9)), nil, ErrProtocol},
		{"ends amid a chunk", wire(full(4, 10, 3, 8), "ab"), nil, io.ErrUnexpectedEOF},
		{"ends amid a header", wire(4, 0, 0), nil, io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for name, in := range map[string]io.Reader{"whole": bytes.NewReader(tt.in), "byte by byte": iotest.OneByteReader(bytes.NewReader(tt.in))} {
				got, err := readAll(NewReader(in))
				if tt.err == nil {
					tt.err = io.EOF
				}
				if !errors.Is(err, tt.err) {
					t.Errorf("%s: error %v, want %v", name, err, tt.err)
				}
				if d := cmp.Diff(tt.want, got); d != "" {
					t.Errorf("%s: %s", name, d)
				}
			}
		})
	}
}

func TestLimits(t *testing.T) {
	var in []byte
	for id := 2; id < 10; id++ {
		in = append(in, wire(full(id, 0, 1, 20), "a")...)
	}
	if ms, err := readAll(NewReader(bytes.NewReader(in))); err != io.EOF || len(ms) != 8 {
		t.Errorf("8 chunk streams: %d messages, %v", len(ms), err)
	}
	in = append(in, full(10, 0, 1, 20)...)
	if _, err := readAll(NewReader(bytes.NewReader(in))); !errors.Is(err, ErrProtocol) {
		t.Errorf("9 chunk streams before publish: %v", err)
	}
	r := NewReader(bytes.NewReader(append(in, 'a')))
	r.SetLimits(WhilePublishing)
	if ms, err := readAll(r); err != io.EOF || len(ms) != 9 {
		t.Errorf("9 chunk streams while publishing: %d messages, %v", len(ms), err)
	}
	r = NewReader(bytes.NewReader(full(4, 0, 1<<20+1, 8)))
	r.SetLimits(WhilePublishing)
	if _, err := r.Next(); !errors.Is(err, ErrProtocol) {
		t.Errorf("audio of more than 1 MB: %v", err)
	}
}

func TestReadsBackWhatWasWritten(t *testing.T) {
	message := rapid.Custom(func(t *rapid.T) Message {
		return Message{
			ChunkStream: rapid.OneOf(rapid.Uint32Range(2, 5), rapid.SampledFrom([]uint32{63, 64, 319, 320, MaxStreamID})).Draw(t, "chunk stream"),
			Type:        rapid.SampledFrom([]uint8{8, 9, 18, 20}).Draw(t, "type"),
			StreamID:    rapid.Uint32Range(0, 2).Draw(t, "stream"),
			Time:        rapid.OneOf(rapid.Uint32Range(0, 100), rapid.Uint32(), rapid.Uint32Range(extended-2, extended+2)).Draw(t, "time"),
			Body:        bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, rapid.IntRange(1, 6000).Draw(t, "length")),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		var wire bytes.Buffer
		w := NewWriter(&wire)
		want := rapid.SliceOfN(message, 1, 20).Draw(t, "messages")
		for _, m := range want {
			if rapid.IntRange(0, 4).Draw(t, "resize") == 0 {
				w.SetChunkSize(rapid.SampledFrom([]int{1, 128, 129, 1000, 1 << 30}).Draw(t, "size"))
			}
			if err := w.Write(m); err != nil {
				t.Fatal(err)
			}
		}
		r := NewReader(&wire)
		r.SetLimits(WhilePublishing)
		got, err := readAll(r)
		if err != io.EOF {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("%d messages, want %d", len(got), len(want))
		}
		for i, w := range want {
			g := got[i]
			if g.ChunkStream != w.ChunkStream || g.Type != w.Type || g.StreamID != w.StreamID || g.Time != w.Time || !bytes.Equal(g.Body, w.Body) {
				t.Errorf("message %d differs", i)
			}
		}
	})
}

// TestVectoredWrite: over TCP large bodies are not copied; the bytes must be
// the same as in memory.
func TestVectoredWrite(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	body := make([]byte, 100_000)
	for i := range body {
		body[i] = byte(i * 7)
	}
	go func() {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		w := NewWriter(nc)
		for i, size := range []int{128, 4096, 1 << 20} {
			w.SetChunkSize(size)
			for j := range uint32(3) {
				if err := w.Write(Message{ChunkStream: 6, Type: TypeVideo, StreamID: 1, Time: extended + uint32(i)*10 + j, Body: body}); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	r := NewReader(nc)
	r.SetLimits(WhilePublishing)
	ms, err := readAll(r)
	if err != io.EOF || len(ms) != 9 {
		t.Fatalf("%d messages, %v", len(ms), err)
	}
	for i, m := range ms {
		if !bytes.Equal(m.Body, body) || m.Time != extended+uint32(i/3*10+i%3) {
			t.Errorf("message %d at %d differs", i, m.Time)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	w := NewWriter(io.Discard)
	for _, m := range []Message{{ChunkStream: 1}, {ChunkStream: MaxStreamID + 1}, {ChunkStream: 4, Body: make([]byte, 1<<24)}} {
		if err := w.Write(m); !errors.Is(err, ErrProtocol) {
			t.Errorf("chunk stream %d, %d bytes: %v", m.ChunkStream, len(m.Body), err)
		}
	}
}

// allocated runs a reader over in and returns what that allocated.
func allocated(in []byte, l Limits) uint64 {
	var before, after runtime.MemStats
	src := bytes.NewReader(in)
	runtime.ReadMemStats(&before)
	r := NewReader(src)
	r.SetLimits(l)
	for {
		if _, err := r.Next(); err != nil {
			break
		}
	}
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// allowed is the bound the package promises.
func allowed(n int) uint64 { return uint64(4*n + 64<<10) }

// TestAllocation: the worst that was thought of.
func TestAllocation(t *testing.T) {
	var declared, grown []byte
	for id := 2; id < 64; id++ {
		declared = append(declared, full(id, 0, 16<<20-1, 9)...) // 16 MB each, and one byte
		declared = append(declared, 'x')
	}
	grown = append(grown, wire(full(2, 0, 4, 1), ext(1<<24))...)
	grown = append(grown, full(3, 0, 16<<20-1, 9)...)
	grown = append(grown, make([]byte, 1<<20+1)...)
	var funded []byte // messages that earn credit, then declarations that spend it
	for range 100 {
		funded = append(funded, wire(full(3, 0, 100, 8), make([]byte, 100))...)
	}
	funded = append(funded, declared...)
	for name, in := range map[string][]byte{"declared, not sent": declared, "one byte past a doubling": grown, "earned credit": funded} {
		l := WhilePublishing
		if got := allocated(in, l); got > allowed(len(in)) {
			t.Errorf("%s: %d bytes allocated for %d received, at most %d are allowed", name, got, len(in), allowed(len(in)))
		}
	}
}

func FuzzReader(f *testing.F) {
	x := strings.Repeat("x", 128)
	f.Add(wire(full(4, 10, 300, 9), x, 0xC4, x, 0xC4, x[:44]))
	f.Add(wire(full(4, extended, 200, 8), ext(0x01234567), x, 0xC4, ext(0x01234567), x[:72]))
	f.Add(wire(full(4, extended, 200, 8), ext(0x01234567), x, 0xC4, x[:72]))
	f.Add(wire(full(2, 0, 4, 1), ext(4096), full(2, 0, 4, 2), ext(4), 0, 0, full(0, 1, 1, 8)[1:], "a"))
	f.Add(wire(full(4, 1, 1<<24-1, 9), "a", 0x44, 0, 0, 5, 0, 0, 1, 9, "a", 0xC4, "b", 0x84, 0, 0, 1, "c"))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, l := range []Limits{BeforePublish, WhilePublishing} {
			if got := allocated(in, l); got > allowed(len(in)) {
				t.Errorf("%d bytes allocated for %d received, at most %d are allowed", got, len(in), allowed(len(in)))
			}
		}
	})
}

// BenchmarkReader reads 720p30 at 2 Mbit/s: 8 KB pictures and 300-byte audio.
func BenchmarkReader(b *testing.B) {
	for name, size := range map[string]int{"chunks of 128": 128, "chunks of 4096": 4096, "chunks of 64K": 64 << 10} {
		b.Run(name, func(b *testing.B) {
			var one bytes.Buffer
			w := NewWriter(&one)
			w.SetChunkSize(size)
			start := one.Len()
			w.Write(Message{ChunkStream: 6, Type: TypeVideo, StreamID: 1, Body: make([]byte, 8<<10)})
			w.Write(Message{ChunkStream: 4, Type: TypeAudio, StreamID: 1, Body: make([]byte, 300)})
			r := NewReader(io.MultiReader(bytes.NewReader(one.Bytes()[:start]), &repeat{b: one.Bytes()[start:]}))
			r.SetLimits(WhilePublishing)
			b.SetBytes(int64(one.Len() - start))
			b.ReportAllocs()
			for b.Loop() {
				for range 2 {
					if _, err := r.Next(); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// repeat yields b again and again.
type repeat struct {
	b  []byte
	at int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.b[r.at:])
	r.at = (r.at + n) % len(r.b)
	return n, nil
}

func BenchmarkWriter(b *testing.B) {
	w := NewWriter(io.Discard)
	w.SetChunkSize(64 << 10)
	body := make([]byte, 8<<10)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Write(Message{ChunkStream: 6, Type: TypeVideo, StreamID: 1, Body: body}); err != nil {
			b.Fatal(err)
		}
	}
}
