package player

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
	"time"
)

// read reads one answer from bytes as a lean client does.
func readReply(text string, discard bool) (leanHead, answer, error) {
	f := &leanFetcher{in: bufio.NewReaderSize(strings.NewReader(text), leanBuffer)}
	h, err := f.readHead()
	if err != nil {
		return h, answer{}, err
	}
	var a answer
	err = f.readBody(&a, h, reading{discard: discard, limit: 1 << 20})
	return h, a, err
}

func TestLeanReplies(t *testing.T) {
	tests := []struct {
		name, text string
		status     int
		body       string
		keep       bool
		bad        bool
	}{
		{"length", "HTTP/1.1 200 OK\r\ncontent-LENGTH: 3\r\n\r\nabc", 200, "abc", true, false},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 200, "abc", true, false},
		{"until the end", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc", 200, "abc", false, false},
		{"empty", "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", 503, "", true, false},
		{"not HTTP", "SSH-2.0-OpenSSH\r\n", 0, "", true, true},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n", 0, "", true, true},
		{"no status", "HTTP/1.1 abc OK\r\n\r\n", 0, "", true, true},
		{"length that is none", "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n", 200, "", true, true},
		{"length beyond the limit", "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", 200, "", true, true},
		{"cut short", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", 200, "", true, true},
		{"head cut short", "HTTP/1.1 200 OK\r\nContent-", 200, "", true, true},
		{"endless head", "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 200) + "\r\n", 200, "", true, true},
		{"endless line", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("b", 2*leanBuffer) + "\r\n\r\n", 200, "", true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, a, err := readReply(tt.text, false)
			if (err != nil) != tt.bad || h.status != tt.status || h.keep != tt.keep || !tt.bad && string(a.body) != tt.body {
				t.Errorf("%+v, body %q, %v", h, a.body, err)
			}
			_, a, err = readReply(tt.text, true)
			if (err != nil) != tt.bad || a.body != nil || !tt.bad && a.size != int64(len(tt.body)) {
				t.Errorf("discarded: %+v, %v", a, err)
			}
		})
	}
	if h, _, _ := readReply(tests[3].text, false); h.retryAfter != 7*time.Second {
		t.Errorf("Retry-After %v", h.retryAfter)
	}
}

func FuzzLeanReply(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 404 Not Found\r\nConnection: close\r\nRetry-After: 99999999999\r\n\r\nabc"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, a, err := readReply(string(b), false)
		if err == nil && !bytes.Contains(b, []byte("hunked")) && !bytes.Contains(b, a.body) {
			t.Fatalf("a body that was not sent: %q", a.body)
		}
		if len(a.body) > len(b) {
			t.Fatalf("%d bytes from %d", len(a.body), len(b))
		}
		if _, d, derr := readReply(string(b), true); err == nil && (derr != nil || d.size != a.size) {
			t.Fatalf("discarded: %d bytes, %v; read: %d", d.size, derr, a.size)
		}
	})
}

func TestLocation(t *testing.T) {
	l, err := newLocation("http://h.test:8080/hls/a/1/v/index.m3u8?t=1#x")
	if err != nil {
		t.Fatal(err)
	}
	for uri, want := range map[string]string{
		"part-1-2.m4s":            "http://h.test:8080/hls/a/1/v/part-1-2.m4s",
		"x/y.m4s":                 "http://h.test:8080/hls/a/1/v/x/y.m4s",
		"../b/y.m4s":              "http://h.test:8080/hls/a/1/b/y.m4s",
		"x/../y.m4s":              "http://h.test:8080/hls/a/1/v/y.m4s",
		"/m/y.m4s?k=1":            "http://h.test:8080/m/y.m4s?k=1",
		"//other.test/y":          "http://other.test/y",
		"https://other.test/y":    "https://other.test/y",
		"y%20z.m4s":               "http://h.test:8080/hls/a/1/v/y%20z.m4s",
		"http://other.test:1/y?z": "http://other.test:1/y?z",
	} {
		if got, err := l.resolve(uri); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", uri, got, err, want)
		}
	}
	if got := l.withQuery([]byte("_HLS_msn=1")); got != "http://h.test:8080/hls/a/1/v/index.m3u8?t=1&_HLS_msn=1" {
		t.Error(got)
	}
	root, err := newLocation("http://h.test")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := root.resolve("a"); err != nil || got != "http://h.test/a" {
		t.Errorf("%s, %v", got, err)
	}
}

// The playout model by hand: media arrives, the buffer runs dry, media comes back.
func TestPlayout(t *testing.T) {
	var o playout
	at := func(ms int) time.Time { return time.Unix(0, 0).Add(time.Duration(ms) * time.Millisecond) }
	o.add(at(100), time.Second, time.Time{}, false)
	if p, stalled := o.at(at(600)); p != 500*time.Millisecond || stalled != 0 || o.buffered(at(600)) != 500*time.Millisecond {
		t.Errorf("playhead %v, stalled %v", p, stalled)
	}
	if p, stalled := o.at(at(1500)); p != time.Second || stalled != 400*time.Millisecond {
		t.Errorf("playhead %v, stalled %v", p, stalled)
	}
	o.add(at(1500), time.Second, time.Time{}, false)
	o.add(at(1600), time.Second, time.Time{}, false)
	if p, stalled := o.at(at(1700)); p != 1200*time.Millisecond || stalled != 0 || o.stalls != 1 || o.stalled != 400*time.Millisecond {
		t.Errorf("playhead %v, stalled %v, %d stalls of %v", p, stalled, o.stalls, o.stalled)
	}
	if got := o.buffered(at(1700)); got != 1800*time.Millisecond {
		t.Errorf("buffered %v", got)
	}
}
