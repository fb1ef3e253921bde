package web_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"tally/internal/livestream"
)

// Who shares a watch page gets a picture and a player; of a private livestream a
// stranger learns nothing.
func TestLinkPreviews(t *testing.T) {
	srv := serve(t, shelf{})
	_, page := get(t, srv.URL+"/watch/"+known)
	for _, want := range []string{
		`<meta property="og:title" content="Live broadcast">`,
		`<meta property="og:image" content="` + srv.URL + `/hls/` + known + `/thumbnail.jpg?width=1280">`,
		`<meta name="twitter:card" content="summary_large_image">`,
		`type="application/json&#43;oembed"`,
	} {
		if !strings.Contains(page, want) && !strings.Contains(page, strings.ReplaceAll(want, "&#43;", "+")) {
			t.Errorf("the page has no %s", want)
		}
	}
	about := srv.URL + "/oembed?url=" + url.QueryEscape(srv.URL+"/watch/"+known)
	resp, body := get(t, about+"&maxwidth=320")
	var o struct {
		Version, Type, Title, HTML string
		Width, Height              int
		Thumbnail                  string `json:"thumbnail_url"`
	}
	if err := json.Unmarshal([]byte(body), &o); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d %v: %s", resp.StatusCode, err, body)
	}
	if o.Version != "1.0" || o.Type != "video" || o.Width != 320 || o.Height != 180 || !strings.Contains(o.HTML, `src="`+srv.URL+`/embed/`+known+`"`) ||
		!strings.HasSuffix(o.Thumbnail, "/thumbnail.jpg?width=1280") {
		t.Errorf("%+v", o)
	}
	for query, code := range map[string]int{
		"": 404, "?url=" + srv.URL + "/docs": 404, "?url=javascript:/watch/" + known: 404, "?url=" + srv.URL + "/watch/unknown": 404,
		"?url=" + srv.URL + "/embed/" + known: 200, "?format=xml": 501, "?maxwidth=0&url=" + srv.URL + "/watch/" + known: 400,
		"?maxheight=90&url=" + srv.URL + "/watch/" + known: 200,
	} {
		if resp, body := get(t, srv.URL+"/oembed"+query); resp.StatusCode != code {
			t.Errorf("/oembed%s: %d, want %d: %s", query, resp.StatusCode, code, body)
		}
	}

	private := serve(t, shelf{settings: livestream.Settings{Playback: livestream.PlaybackSigned, AllowedOrigins: "https://a.example"}})
	_, page = get(t, private.URL+"/watch/"+known)
	if strings.Contains(page, "thumbnail.jpg") || strings.Contains(page, "oembed") {
		t.Error("a private page offers its picture to strangers")
	}
	if resp, _ := get(t, private.URL+"/oembed?url="+private.URL+"/watch/"+known); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("oEmbed of a private livestream: %d", resp.StatusCode)
	}
	resp, _ = get(t, private.URL+"/embed/"+known)
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'self' https://a.example") {
		t.Errorf("who may embed it: %s", csp)
	}
	resp, page = get(t, srv.URL+"/embed/"+known)
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors *") || !strings.Contains(page, "data-ask") {
		t.Errorf("an embedded player: %s", csp)
	}
	if _, page = get(t, srv.URL+"/embed/"+known+"?autoplay=1"); strings.Contains(page, "data-ask") {
		t.Error("with autoplay=1 it waits to be asked")
	}
}
