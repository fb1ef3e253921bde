package playback

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tally/internal/hls"
	"tally/internal/livestream"
	"tally/internal/thumbnail"
)

const (
	// thumbnailHold is how long the first picture of a broadcast is waited for:
	// the decoder has 5 s, and may have to wait for others.
	thumbnailHold = 7 * time.Second

	thumbnailWidth = 640 // without ?width=
)

var (
	errWidth     = errors.New("width is a number of pixels from 64 to 1280")
	errNoPicture = errors.New("this broadcast has no picture")
)

// thumbnail answers a picture of what is on air. Whoever fetches it is no viewer.
func (h *Handler) thumbnail(w http.ResponseWriter, r *http.Request, p *path) error {
	width, err := widthOf(r.URL.RawQuery)
	if err != nil {
		return err
	}
	st := h.registry.Stream(p.playbackID)
	ctx, cancel := h.held(r, p, thumbnailHold, thumbnail.ErrBusy)
	defer cancel()
	pic, err := h.thumbnails.Get(ctx, p.playbackID, thumbnail.Width(width), stillOf(st))
	switch {
	case errors.Is(err, thumbnail.ErrNone) && st == nil:
		if err = h.invoked(ctx, p.playbackID); err == nil {
			err = errNotYet
		}
		return err
	case errors.Is(err, thumbnail.ErrNone) && st.Window().Current().Listed():
		return errNoPicture
	case errors.Is(err, thumbnail.ErrNone) && st.Stage() == livestream.StageEnded:
		return errNeverLive
	case errors.Is(err, thumbnail.ErrNone):
		return errNotYet
	case err != nil:
		return err
	}
	hdr := w.Header()
	hdr["Cache-Control"] = fiveSeconds
	if p.private() {
		hdr["Cache-Control"] = privateFiveSeconds
	}
	tag := []string{pic.ETag}
	hdr["Etag"] = tag
	if matches(r, tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	hdr["Content-Type"] = typeJPEG
	hdr["Content-Length"] = []string{strconv.Itoa(len(pic.Data))}
	extendDeadline(w)
	if r.Method != http.MethodHead {
		n, _ := w.Write(pic.Data)
		h.gate.out.add(n)
	}
	return nil
}

// stillOf is the newest keyframe of a run, or nil.
func stillOf(st *hls.Stream) *thumbnail.Source {
	if st == nil {
		return nil
	}
	init, part := st.Window().Current().Still()
	if part == nil {
		return nil
	}
	return &thumbnail.Source{
		Name:   st.RunID() + "-" + strconv.FormatInt(part.Counter, 10),
		Pieces: [][]byte{init.Data, part.Data, part.Tail},
	}
}

// widthOf reads width of a query. Whatever else is there is for others.
func widthOf(rawQuery string) (int, error) {
	for rest := rawQuery; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if name, value, _ := strings.Cut(pair, "="); name == "width" {
			n, ok := parseNumber(value)
			if !ok || n < thumbnail.MinWidth || n > thumbnail.MaxWidth {
				return 0, errWidth
			}
			return int(n), nil
		}
	}
	return thumbnailWidth, nil
}
