package playback

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

const (
	testPlaybackID = "pPbVBHSlwWUqmyGrCjoT"
	testRun        = "r-4Kz_9"
	testViewer     = "abcdefghijklmnopqrstuvwxyzABCD_-"
	belowRun       = "/hls/" + testPlaybackID + "/" + testRun + "/"
	below          = belowRun + testViewer + "/"
)

func TestPaths(t *testing.T) {
	run := path{playbackID: testPlaybackID, run: testRun, viewer: testViewer}
	at := func(f file, epoch, number int64) path {
		p := run
		p.file, p.epoch, p.number = f, epoch, number
		return p
	}
	for in, want := range map[string]path{
		"/hls/" + testPlaybackID + "/index.m3u8": {file: fileMultivariant, playbackID: testPlaybackID},
		"/hls/" + testPlaybackID + "/state":      {file: fileState, playbackID: testPlaybackID},
		below + "index.m3u8":                     at(fileMedia, 0, 0),
		below + "beacon":                         at(fileBeacon, 0, 0),
		below + "init-3-0.mp4":                   at(fileInit, 3, 0),
		below + "part-3-1207.m4s":                at(filePart, 3, 1207),
		below + "seg-12-999999999999999999.m4s":  at(fileSegment, 12, 999999999999999999),
	} {
		if got, ok := parsePath(in); !ok || got != want {
			t.Errorf("%s: %+v, %v; want %+v", in, got, ok, want)
		}
		if want.file < fileMedia {
			continue
		}
		for _, name := range []string{"v0", "v255", "a0", "a17"} {
			of := want
			of.rendition = name
			if got, ok := parsePath(strings.Replace(in, testViewer, testViewer+"/"+name, 1)); !ok || got != of {
				t.Errorf("%s in %s: %+v, %v; want %+v", in, name, got, ok, of)
			}
			if of.viewer = ""; want.file < fileInit {
				continue
			}
			if got, ok := parsePath(strings.Replace(in, testViewer, name, 1)); !ok || got != of {
				t.Errorf("%s in %s, shared: %+v, %v; want %+v", in, name, got, ok, of)
			}
		}
		if want.file < fileInit {
			continue
		}
		shared := strings.Replace(in, "/"+testViewer, "", 1)
		want.viewer = ""
		if got, ok := parsePath(shared); !ok || got != want {
			t.Errorf("%s: %+v, %v; want %+v", shared, got, ok, want)
		}
	}
}

func TestPathsThatAreNoFile(t *testing.T) {
	for _, in := range []string{
		"", "/", "/hls", "/hls/", "/hls//index.m3u8", "/hls/" + testPlaybackID, "/hls/" + testPlaybackID + "/",
		"/hls/" + testPlaybackID + "/index.m3u8/", "/hls/a.b/index.m3u8", "/hls/ä/state",
		"/hls/" + strings.Repeat("a", 65) + "/state",
		"/hls/../" + testPlaybackID + "/state",
		below, below + "/index.m3u8", below + "../index.m3u8", below + "Index.m3u8",
		below + "part-3-1207.mp4", below + "part-3.m4s", below + "part--1.m4s", below + "part-3-1-2.m4s",
		below + "part-03-1.m4s", below + "part-3-01.m4s", below + "part-3-+1.m4s", below + "part-3-0x1.m4s",
		below + "part-3-1207.m4s ", below + "part-3-1207.m4s\x00", below + "part-3-9999999999999999999.m4s",
		belowRun + "index.m3u8", belowRun + "beacon", belowRun + "part-3-01.m4s", belowRun + "seg-1-0.mp4", belowRun + "/seg-1-0.m4s",
		below + "beacon/", below + "Beacon", below + "beacon.json",
		below + "init-1-0.m4s", below + "seg-1-0.mp4", below + "index.m3u8.gz",
		below + "v0", below + "v0/", below + "v0/v0/index.m3u8", below + "v00/index.m3u8", below + "v01/index.m3u8", below + "v256/index.m3u8",
		below + "V0/index.m3u8", below + "s0/index.m3u8", below + "v/index.m3u8", below + "v-1/index.m3u8", below + "a0/../index.m3u8",
		belowRun + "v0/index.m3u8", belowRun + "v0/beacon", belowRun + "v0/" + testViewer + "/index.m3u8", below + "v0/state", below + "v0//index.m3u8",
		"/hls/" + testPlaybackID + "/" + testRun + "/" + testViewer[1:] + "/index.m3u8",
		"/hls/" + testPlaybackID + "/" + testRun + "/" + testViewer + "=/index.m3u8",
	} {
		if p, ok := parsePath(in); ok {
			t.Errorf("%q is accepted as %+v", in, p)
		}
	}
}

func TestParsePathAllocatesNothing(t *testing.T) {
	for _, in := range []string{below + "part-3-1207.m4s", belowRun + "part-3-1207.m4s", below + "v1/part-3-1207.m4s", belowRun + "a1/part-3-1207.m4s"} {
		if n := testing.AllocsPerRun(100, func() { parsePath(in) }); n != 0 {
			t.Errorf("%s: %v allocations", in, n)
		}
	}
}

// build spells a path from its parts.
func (p path) build() string {
	dir := "/hls/" + p.playbackID + "/"
	run := dir + p.run + "/"
	if p.viewer != "" {
		run += p.viewer + "/"
	}
	if p.rendition != "" {
		run += p.rendition + "/"
	}
	switch p.file {
	case fileMultivariant:
		return dir + "index.m3u8"
	case fileState:
		return dir + "state"
	case fileMedia:
		return run + "index.m3u8"
	case fileBeacon:
		return run + "beacon"
	case fileInit:
		return fmt.Sprintf("%sinit-%d-%d.mp4", run, p.epoch, p.number)
	case filePart:
		return fmt.Sprintf("%spart-%d-%d.m4s", run, p.epoch, p.number)
	default:
		return fmt.Sprintf("%sseg-%d-%d.m4s", run, p.epoch, p.number)
	}
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{
		"/hls/" + testPlaybackID + "/index.m3u8", "/hls/" + testPlaybackID + "/state", below + "index.m3u8",
		below + "init-1-0.mp4", below + "part-1-0.m4s", below + "seg-1-7.m4s", below + "part-01-0.m4s",
		belowRun + "part-1-0.m4s", below + "beacon", below + "v1/index.m3u8", below + "a0/part-1-7.m4s", belowRun + "v12/seg-1-7.m4s", below + "v01/index.m3u8", "/hls/../../etc/passwd", "/hls/%2e/state", below + "part-1-18446744073709551616.m4s",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := parsePath(s)
		if !ok {
			return
		}
		if got := p.build(); got != s {
			t.Fatalf("%q is accepted, but is spelled %q", s, got)
		}
	})
}

// A path of a recording that is accepted has one spelling too, and names nothing
// outside of the session.
func FuzzVODPath(f *testing.F) {
	const session = "/vod/0b4b3d7c-3b7e-4a75-9c3d-0d0a6f5d5a11/"
	for _, s := range []string{
		session + "index.m3u8", session + "main/index.m3u8", session + "v0/init-1-0.mp4", session + "a1/seg-1-7.m4s",
		session + testViewer + "/main/index.m3u8", session + testViewer + "/main/seg-1-7.m4s", session + "main/part-1-7.m4s",
		session + "main/seg-01-7.m4s", session + "../index.m3u8", session + "main/../index.m3u8", "/vod//index.m3u8", session,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := parseVOD(s)
		if !ok {
			return
		}
		got := "/vod/" + p.session + "/"
		if p.viewer != "" {
			got += p.viewer + "/"
		}
		if p.rendition != "" {
			got += p.rendition + "/"
		}
		switch p.file {
		case fileVOD, fileVODMedia:
			got += "index.m3u8"
		case fileVODInit:
			got += "init-" + strconv.FormatInt(p.epoch, 10) + "-" + strconv.FormatInt(p.number, 10) + ".mp4"
		case fileVODSegment:
			got += "seg-" + strconv.FormatInt(p.epoch, 10) + "-" + strconv.FormatInt(p.number, 10) + ".m4s"
		}
		if got != s || (p.file == fileVOD) != (p.run == "") {
			t.Fatalf("%q is accepted, but is spelled %q: %+v", s, got, p)
		}
	})
}

func TestAcceptsGzip(t *testing.T) {
	for in, want := range map[string]bool{
		"": false, "identity": false, "gzip": true, "br, gzip": true, "gzip;q=0": false, "gzip; q=0.000": false,
		"gzip;q=0.001": true, "*": true, "deflate,gzip;q=0.5": true, "*;q=0": false, "xgzip": false, ",,": false,
	} {
		r := &http.Request{Header: http.Header{"Accept-Encoding": {in}}}
		if got := acceptsGzip(r); got != want {
			t.Errorf("Accept-Encoding %q: %v", in, got)
		}
	}
}

func TestIfNoneMatch(t *testing.T) {
	etag := []string{`"abc"`}
	for in, want := range map[string]bool{
		"": false, `"abc"`: true, `W/"abc"`: true, `"x", "abc"`: true, "*": true, `"abcd"`: false, "abc": false,
	} {
		r := &http.Request{Header: http.Header{"If-None-Match": {in}}}
		if got := matches(r, etag); got != want {
			t.Errorf("If-None-Match %q: %v", in, got)
		}
	}
}
