package main

import (
	"strings"
	"testing"

	"tally/internal/playback"
)

func TestDeliveryFlags(t *testing.T) {
	for _, c := range []struct {
		name     string
		delivery playback.Mode
		url      string
		mode     playback.Mode
		base     string
	}{
		{"nothing said", "auto", "", "auto", ""},
		{"shared without a base", "shared", "", "shared", ""},
		{"a base", "auto", "https://cdn.example.com", "shared", "https://cdn.example.com"},
		{"a slash at its end", "auto", "https://cdn.example.com/", "shared", "https://cdn.example.com"},
		{"a path", "shared", "http://10.0.0.7:6081/live//", "shared", "http://10.0.0.7:6081/live"},
		{"what a playlist cannot hold", "auto", `https://cdn.example.com/a"b c`, "shared", "https://cdn.example.com/a%22b%20c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &serverFlags{Delivery: c.delivery, MediaBaseURL: c.url}
			if err := f.checkDelivery(); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(c.base, f.mediaOrigin()) || (f.mediaOrigin() == "") != (c.base == "") || strings.Count(f.mediaOrigin(), "/") > 2 {
				t.Errorf("media come from %q", f.mediaOrigin())
			}
			if f.delivery() != c.mode || f.mediaBase() != c.base {
				t.Errorf("%q below %q, want %q below %q", f.delivery(), f.mediaBase(), c.mode, c.base)
			}
		})
	}
	for _, text := range []string{"cdn.example.com", "ftp://x", "https://", "https://u:p@x", "https://x?a=b", "https://x?", "https://x#", "https://x:65536", "https://x#y", "https://x\n", "https://x\"y/", "https://x;y", "https://x,y"} {
		f := &serverFlags{MediaBaseURL: text}
		if err := f.checkDelivery(); err == nil {
			t.Errorf("%q is taken as %q", text, f.mediaBase())
		}
	}
}
