package playlist

import "bytes"

// AppendPrefixed appends text, a Media Playlist as [Media.AppendText] writes
// it, with prefix before the URI of each segment, part, map and hint, and
// returns the extended buffer. EXT-X-RENDITION-REPORT names playlists, not
// media, and stays as it is. It allocates only to grow dst.
//
// What AppendText says of URIs holds for prefix too.
func AppendPrefixed(dst, text []byte, prefix string) []byte {
	for len(text) > 0 {
		line := text
		if n := bytes.IndexByte(text, '\n'); n >= 0 {
			line = text[:n+1]
		}
		text = text[len(line):]
		at := 0 // where the URI begins
		switch {
		case line[0] != '#' && line[0] != '\n':
		case bytes.HasPrefix(line, mapTag), bytes.HasPrefix(line, partTag), bytes.HasPrefix(line, hintTag):
			if at = bytes.Index(line, uriAttribute); at >= 0 {
				at += len(uriAttribute)
				break
			}
			fallthrough
		default:
			dst = append(dst, line...)
			continue
		}
		dst = append(append(append(dst, line[:at]...), prefix...), line[at:]...)
	}
	return dst
}

var (
	mapTag       = []byte("#EXT-X-MAP:")
	partTag      = []byte("#EXT-X-PART:")
	hintTag      = []byte("#EXT-X-PRELOAD-HINT:")
	uriAttribute = []byte(`URI="`)
)
