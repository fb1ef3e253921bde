package playback

import (
	"strings"

	"tally/internal/hls/archive"
	"tally/internal/viewer"
)

// A file is what a path below /hls/ names.
type file uint8

const (
	fileNone         file = iota
	fileMultivariant      // {playback_id}/index.m3u8
	fileState             // {playback_id}/state
	fileThumbnail         // {playback_id}/thumbnail.jpg
	fileMedia             // {playback_id}/{run}/{viewer}[/{rendition}]/index.m3u8
	fileBeacon            // {playback_id}/{run}/{viewer}[/{rendition}]/beacon
	fileInit              // {playback_id}/{run}[/{viewer}][/{rendition}]/init-{epoch}-{number}.mp4
	filePart              // {playback_id}/{run}[/{viewer}][/{rendition}]/part-{epoch}-{counter}.m4s
	fileSegment           // {playback_id}/{run}[/{viewer}][/{rendition}]/seg-{epoch}-{msn}.m4s

	// below /vod/, see parseVOD
	fileVOD
	fileVODMedia
	fileVODInit
	fileVODSegment
)

// A path is a request's path, taken apart. Its texts point into the path.
type path struct {
	file       file
	playbackID string
	run        string
	viewer     string // shaped like a viewer id, not verified; "" in media URLs of shared delivery
	rendition  string // v0, a1 …; "" where sound and picture are muxed
	epoch      int64
	number     int64 // of an init section, part counter or media sequence number

	// of a recording, whose rendition may be archive.Muxed
	session   string
	recording *archive.Recording

	admission // why the request is answered
}

const prefix = "/hls/"

// maxName bounds playback and run ids; ours are 22 to 32 characters.
const maxName = 64

// parsePath takes a path apart. It allocates nothing. Every path that is
// accepted has one spelling only: whatever is doubled, dotted, padded or over
// long is refused.
func parsePath(s string) (path, bool) {
	rest, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return path{}, false
	}
	var p path
	if p.playbackID, rest, ok = strings.Cut(rest, "/"); !ok || !isName(p.playbackID) {
		return path{}, false
	}
	switch rest {
	case "index.m3u8":
		p.file = fileMultivariant
		return p, true
	case "state":
		p.file = fileState
		return p, true
	case "thumbnail.jpg":
		p.file = fileThumbnail
		return p, true
	}
	if p.run, rest, ok = strings.Cut(rest, "/"); !ok || !isName(p.run) {
		return path{}, false
	}
	head, below, ok := strings.Cut(rest, "/")
	switch {
	case !ok:
		return p, p.parseMedia(rest)
	case isRendition(head):
		p.rendition = head
		return p, p.parseMedia(below)
	case !viewer.Valid(head):
		return path{}, false
	}
	p.viewer, rest = head, below
	if head, below, ok = strings.Cut(rest, "/"); ok {
		if !isRendition(head) {
			return path{}, false
		}
		p.rendition, rest = head, below
	}
	switch rest {
	case "index.m3u8":
		p.file = fileMedia
		return p, true
	case "beacon":
		p.file = fileBeacon
		return p, true
	}
	return p, p.parseMedia(rest)
}

// parseMedia reads the file name of media, which a run's viewers share.
func (p *path) parseMedia(name string) bool {
	base, numbers := fileNone, name
	for _, k := range [...]struct {
		file           file
		prefix, suffix string
	}{
		{filePart, "part-", ".m4s"},
		{fileSegment, "seg-", ".m4s"},
		{fileInit, "init-", ".mp4"},
	} {
		if n, ok := strings.CutPrefix(name, k.prefix); ok {
			if n, ok = strings.CutSuffix(n, k.suffix); ok {
				base, numbers = k.file, n
			}
			break
		}
	}
	if base == fileNone {
		return false
	}
	epoch, number, _ := strings.Cut(numbers, "-")
	var ok1, ok2 bool
	p.epoch, ok1 = parseNumber(epoch)
	p.number, ok2 = parseNumber(number)
	p.file = base
	return ok1 && ok2
}

// isRendition accepts v or a and a number up to 255, in its one spelling.
func isRendition(s string) bool {
	if len(s) < 2 || len(s) > 4 || s[0] != 'v' && s[0] != 'a' {
		return false
	}
	n, ok := parseNumber(s[1:])
	return ok && n <= 255
}

// isName accepts what playback and run ids are made of.
func isName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// parseNumber reads a decimal of at most 18 digits in its only spelling:
// without sign, and without leading zeros.
func parseNumber(s string) (int64, bool) {
	if s == "" || len(s) > 18 || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}
