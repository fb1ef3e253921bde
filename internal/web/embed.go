package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"tally/internal/livestream"
)

// The size of an embedded player where nobody says another.
const (
	embedWidth  = 640
	embedHeight = 360
)

// title is what every broadcast is called here: its livestream's name is for who
// runs it.
const title = "Live broadcast"

// A preview is what link unfurlers show of a page: absolute addresses. Whoever
// fetches them is no viewer.
type preview struct {
	Title  string
	Watch  string
	Embed  string
	Image  string // "" where a stranger may not see it
	OEmbed string
}

// previewOf is the preview of a livestream. That of a private one has no picture.
func (h *Handler) previewOf(r *http.Request, l livestream.Livestream) preview {
	base := h.public(r)
	p := preview{Title: title, Watch: base + "/watch/" + l.PlaybackID, Embed: base + "/embed/" + l.PlaybackID}
	p.OEmbed = base + "/oembed?url=" + url.QueryEscape(p.Watch)
	if l.Settings.Signed() {
		return p
	}
	p.Image = base + "/hls/" + l.PlaybackID + "/thumbnail.jpg?width=1280"
	return p
}

// asked is the scheme and host that a request names.
func asked(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// code is what embeds the player. watch.js makes the same for people to copy.
func (p preview) code(width, height int) string {
	return fmt.Sprintf(`<iframe src="%s" title="%s" width="%d" height="%d" style="border:0;max-width:100%%" allow="autoplay; fullscreen; picture-in-picture" allowfullscreen></iframe>`,
		html.EscapeString(p.Embed), title, width, height)
}

// An oEmbed is an answer of type video (oembed.com, section 2.3.4).
type oEmbed struct {
	Version         string `json:"version"`
	Type            string `json:"type"`
	Title           string `json:"title"`
	ProviderName    string `json:"provider_name"`
	CacheAge        int    `json:"cache_age"`
	HTML            string `json:"html"`
	Width           int    `json:"width"`
	Height          int    `json:"height"`
	ThumbnailURL    string `json:"thumbnail_url,omitempty"`
	ThumbnailWidth  int    `json:"thumbnail_width,omitempty"`
	ThumbnailHeight int    `json:"thumbnail_height,omitempty"`
}

// oembed answers what embeds a watch page: GET /oembed?url=…. A private livestream
// is 401, as oembed.com says.
func (h *Handler) oembed(w http.ResponseWriter, r *http.Request) {
	hdr := w.Header()
	hdr.Set("Access-Control-Allow-Origin", "*")
	hdr.Set("Cache-Control", "no-store")
	q := r.URL.Query()
	refuse := func(code int, text string) { http.Error(w, text, code) }
	if f := q.Get("format"); f != "" && f != "json" {
		refuse(http.StatusNotImplemented, "format=json is all there is")
		return
	}
	width, height, ok := fit(q.Get("maxwidth"), q.Get("maxheight"))
	if !ok {
		refuse(http.StatusBadRequest, "maxwidth and maxheight are pixels, from 1 on")
		return
	}
	id, ok := pageOf(q.Get("url"))
	if !ok {
		refuse(http.StatusNotFound, "url must be the address of a watch page of this server")
		return
	}
	rec, err := h.records.RecordByPlaybackID(r.Context(), id)
	switch {
	case errors.Is(err, livestream.ErrNotFound):
		refuse(http.StatusNotFound, "no livestream has this address")
		return
	case err != nil:
		h.fault(w, r, err)
		return
	case rec.Livestream.Settings.Signed():
		refuse(http.StatusUnauthorized, "this livestream is private")
		return
	}
	p := h.previewOf(r, rec.Livestream)
	body, err := json.Marshal(oEmbed{
		Version: "1.0", Type: "video", Title: p.Title, ProviderName: "Tally", CacheAge: 3600,
		HTML: p.code(width, height), Width: width, Height: height,
		ThumbnailURL: p.Image, ThumbnailWidth: 1280, ThumbnailHeight: 720,
	})
	if err != nil {
		h.fault(w, r, err)
		return
	}
	hdr.Set("Content-Type", "application/json; charset=utf-8")
	hdr.Set("Cache-Control", "public, max-age=3600")
	hdr.Set("Content-Length", strconv.Itoa(len(body)))
	write(w, r, body)
}

// fit is the largest 16:9 that is no larger than the usual size and than asked
// for; ok is false for what is no size.
func fit(maxWidth, maxHeight string) (width, height int, ok bool) {
	width = embedWidth
	for _, m := range [...]struct {
		text string
		unit int // of width, in ninths
	}{{maxWidth, 9}, {maxHeight, 16}} {
		if m.text == "" {
			continue
		}
		n, err := strconv.Atoi(m.text)
		if err != nil || n < 1 {
			return 0, 0, false
		}
		width = min(width, min(n, embedWidth)*m.unit/9)
	}
	return max(width, 1), max(width*9/16, 1), true
}

// pageOf is the playback id in the address of a watch page or of an embedded
// player. Whose server it names is not looked at: the id is enough.
func pageOf(address string) (id string, ok bool) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return "", false
	}
	for _, kind := range [...]string{"/watch/", "/embed/"} {
		if _, id, found := strings.Cut(u.Path, kind); found && isPlaybackID(id) {
			return id, true
		}
	}
	return "", false
}
