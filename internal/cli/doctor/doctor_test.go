package doctor

import (
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPort(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() { // answers as no HTTP server does; ended by Close
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	f := checkPort(t.Context(), Port{"--http-addr", ln.Addr().String()})
	if f.Verdict != Fail || !strings.Contains(f.Fix, "--http-addr 127.0.0.1:PORT") {
		t.Errorf("taken port: %+v", f)
	}
	if f := checkPort(t.Context(), Port{"--http-addr", "127.0.0.1:0"}); f.Verdict != OK {
		t.Errorf("free port: %+v", f)
	}
	// TEST-NET-3 (RFC 5737) is nobody's address.
	if f := checkPort(t.Context(), Port{"--rtmp-addr", "203.0.113.77:1935"}); f.Verdict != Fail || !strings.Contains(f.Fix, "--rtmp-addr :PORT") {
		t.Errorf("foreign address: %+v", f)
	}
}

func TestPublicAddress(t *testing.T) {
	for _, c := range []struct {
		name, url, addr string
		want            Verdict
	}{
		{"loopback", "http://localhost:8080", "127.0.0.1", Warn},
		{"private network", "http://live.lan", "10.1.2.3", Note},
		{"plain http on a public address", "http://live.example.com", "203.0.113.7", Warn},
		{"behind a proxy", "https://live.example.com", "203.0.113.7", Note},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, err := url.Parse(c.url)
			if err != nil {
				t.Fatal(err)
			}
			if f := judgeAddress(u, netip.MustParseAddr(c.addr)); f.Verdict != c.want {
				t.Errorf("%+v, want %s", f, c.want)
			}
		})
	}
	if f := checkPublicURL(t.Context(), "http://name.invalid"); f[0].Verdict != Fail { // RFC 2606: never resolves
		t.Errorf("name that does not resolve: %+v", f)
	}
}

func TestMediaBase(t *testing.T) {
	for _, c := range []struct {
		name, public, base string
		want               Verdict
	}{
		{"reachable", "https://live.example.com", "https://127.0.0.1/x", Note},
		{"mixed content", "https://live.example.com", "http://127.0.0.1", Warn},
		{"plain on both", "http://127.0.0.1", "http://127.0.0.1:6081", Note},
		{"name that does not resolve", "", "https://name.invalid", Fail}, // RFC 2606
		{"no address", "", "cdn", Fail},
	} {
		t.Run(c.name, func(t *testing.T) {
			if all := checkMediaBase(t.Context(), c.public, c.base); len(all) != 1 || all[0].Verdict != c.want || all[0].Fix == "" {
				t.Errorf("%+v, want %s", all, c.want)
			}
		})
	}
	if all := checkMediaBase(t.Context(), "", ""); all != nil {
		t.Errorf("%+v without a base", all)
	}
}

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	for _, f := range checkDisk(filepath.Join(dir, "not", "yet")) {
		if f.Verdict == Fail {
			t.Errorf("directory that can be made: %+v", f)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if all := checkDisk(filepath.Join(file, "below")); !Failed(all) {
		t.Errorf("directory below a file: %+v", all)
	}
}
