package main

import (
	"net"
	"testing"
)

func TestPlainOnPublic(t *testing.T) {
	for _, c := range []struct {
		name, url, listen string
		tls               bool
		warns             bool
	}{
		{"every interface, nothing said", "", "[::]:8080", false, false},
		{"loopback", "", "127.0.0.1:8080", false, false},
		{"private network", "", "192.168.1.2:8080", false, false},
		{"public address", "", "203.0.113.7:8080", false, true},
		{"public address, and TLS beside", "", "203.0.113.7:8080", true, false},
		{"public name without TLS", "http://live.example.com", "127.0.0.1:8080", false, true},
		{"public name with TLS", "https://live.example.com", "203.0.113.7:8080", false, false},
		{"local name", "http://studio.local:8080", "[::]:8080", false, false},
		{"host name alone", "http://studio:8080", "[::]:8080", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr, err := net.ResolveTCPAddr("tcp", c.listen)
			if err != nil {
				t.Fatal(err)
			}
			if got := plainOnPublic(c.url, addr, c.tls); (got != "") != c.warns {
				t.Errorf("%q", got)
			}
		})
	}
}

func TestMixedContent(t *testing.T) {
	for _, c := range []struct {
		public, media string
		warns         bool
	}{
		{"https://live.example.com", "http://cdn.example.com", true},
		{"https://live.example.com", "https://cdn.example.com", false},
		{"https://live.example.com", "", false},
		{"http://studio.local", "http://cache.local", false},
		{"", "http://cache.local", false},
	} {
		if got := mixedContent(c.public, c.media); (got != "") != c.warns {
			t.Errorf("%s with media at %q: %q", c.public, c.media, got)
		}
	}
}
