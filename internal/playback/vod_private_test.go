package playback_test

import (
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/livestream"
	"tally/internal/playtoken"
	"tally/internal/viewer"
)

const vodIndex = "/vod/" + sessionOnDisk + "/index.m3u8"

// recorded airs a session of 20 s that is kept, and ends it.
func (w *world) recorded() {
	w.t.Helper()
	w.phase(livestream.None, func(s *livestream.Session) { s.ID = sessionOnDisk })
	w.air(20 * time.Second)
	w.packager.End(false)
	w.phase(livestream.Ended, func(s *livestream.Session) { s.StoppedAt = time.Now() })
	synctest.Wait()
	time.Sleep(time.Minute) // the run is gone
}

// inPrivateVOD runs f with the recording of a private livestream.
func inPrivateVOD(t *testing.T, f func(t *testing.T, w *private)) {
	t.Helper()
	onDisk(t, options{keep: true}, func(t *testing.T, made *world) {
		w := &private{world: made, changed: make(chan string, 16)}
		w.sign(made.made)
		w.recorded()
		f(t, w)
	})
}

// enterVOD returns the viewer's directory, its playlist, init section and a segment.
func (w *private) enterVOD(query string) (dir string, files []string) {
	w.t.Helper()
	text := want(w.t, w.get(vodIndex+"?"+query), 200, "private, no-store")
	m := regexp.MustCompile(`(?m)^([A-Za-z0-9_-]{48}/)main/index\.m3u8$`).FindStringSubmatch(text)
	if m == nil {
		w.t.Fatalf("no media playlist of a viewer with a grant in %q", text)
	}
	dir = "/vod/" + sessionOnDisk + "/" + m[1] + "main/"
	list := want(w.t, w.get(dir+"index.m3u8"), 200, "private, no-cache")
	if strings.Contains(list, "../") {
		w.t.Errorf("shared media are named:\n%s", list)
	}
	files = []string{dir + "index.m3u8", dir + uris(list, initSection)[0], dir + uris(list, `(seg-\d+-\d+\.m4s)`)[2]}
	for _, url := range files[1:] {
		want(w.t, w.get(url), 200, "private, max-age=31536000, immutable")
		want(w.t, w.get(url, "Range", "bytes=0-9"), 206, "private, max-age=31536000, immutable")
	}
	return dir, files
}

// TestPrivateVOD: a recording of a private livestream is for who has a token of this
// livestream, as long as that lasts; nothing of it can be had without.
func TestPrivateVOD(t *testing.T) {
	inPrivateVOD(t, func(t *testing.T, w *private) {
		short := w.token("alice", func(g *playtoken.Grant) { g.Expires = time.Now().Add(5 * time.Minute) })
		dir, files := w.enterVOD("token=" + short)
		if again, _ := w.enterVOD("viewer=" + strings.Split(dir, "/")[3]); again != dir {
			t.Errorf("a viewer that asks again is at %s, was at %s", again, dir)
		}
		grant := viewer.Grant{Until: uint32(time.Now().Add(time.Hour).Unix())}
		foreign := string(w.signer.AppendMintGranted(nil, "another", false, time.Now(), grant))
		for what, query := range map[string]string{
			"nothing":            "",
			"no JWT":             "token=hello",
			"another livestream": "token=" + w.token("", func(g *playtoken.Grant) { g.Subject = "other" }),
			"its session":        "token=" + w.token("", func(g *playtoken.Grant) { g.Subject = sessionOnDisk }),
			"expired":            "token=" + w.token("", func(g *playtoken.Grant) { g.IssuedAt, g.Expires = time.Now().Add(-time.Hour), time.Now() }),
			"an id of another":   "viewer=" + foreign,
			"an id alone":        "viewer=" + w.signer.Mint(id),
		} {
			refusedWith(t, what, w.get(vodIndex+"?"+query), "t")
			refusedWith(t, what+" HEAD", w.ask("HEAD", vodIndex+"?"+query), "")
		}
		below := "/vod/" + sessionOnDisk + "/"
		for _, url := range files {
			name := url[len(dir):]
			refusedWith(t, "without a viewer: "+name, w.get(below+"main/"+name), "private")
			refusedWith(t, "without a viewer, with a token: "+name, w.get(below+"main/"+name+"?token="+short), "private")
			for what, v := range map[string]string{"another livestream's": foreign, "one without a grant": w.signer.Mint(id), "zeros": strings.Repeat("A", 48)} {
				refusedWith(t, what+" viewer: "+name, w.get(below+v+"/main/"+name), "private")
			}
		}
		if d := w.viewed(); d != 0 {
			t.Errorf("who watches a recording is counted %v", d)
		}
		time.Sleep(5 * time.Minute)
		refusedWith(t, "after exp", w.get(vodIndex+"?token="+short), "expired")
		for _, url := range files {
			refusedWith(t, "after exp: "+url, w.get(url), "is over")
		}
	})
}

// TestPrivateVODRevoked: what is taken back is taken back of recordings too.
func TestPrivateVODRevoked(t *testing.T) {
	for name, take := range map[string]func(w *private, viewerID string){
		"name":   func(w *private, _ string) { w.revoke(livestream.RevokeName, "alice") },
		"all":    func(w *private, _ string) { w.revoke(livestream.RevokeAll, "") },
		"viewer": func(w *private, v string) { r, _ := viewer.ReadRandom(v); w.revoke(livestream.RevokeViewer, r) },
	} {
		t.Run(name, func(t *testing.T) {
			inPrivateVOD(t, func(t *testing.T, w *private) {
				alice := w.token("alice")
				dir, files := w.enterVOD("token=" + alice)
				_, bobs := w.enterVOD("token=" + w.token("bob"))
				take(w, strings.Split(dir, "/")[3])
				for _, url := range files {
					refusedWith(t, url, w.get(url), "taken back")
				}
				refusedWith(t, "the token", w.get(vodIndex+"?token="+alice), "taken back")
				if r := w.get(bobs[2]); (r.StatusCode == 403) != (name == "all") {
					t.Errorf("bob: %d", r.StatusCode)
				}
				time.Sleep(time.Millisecond)
				w.enterVOD("token=" + w.token("alice")) // a later one
			})
		})
	}
}

// TestVODOrigins: a recording plays on the pages that the broadcast played on.
func TestVODOrigins(t *testing.T) {
	inPrivateVOD(t, func(t *testing.T, w *private) {
		query := "token=" + w.token("")
		_, files := w.enterVOD(query)
		w.configure(func(s *livestream.Settings) { s.AllowedOrigins = "https://example.org" })
		for _, url := range append(files, vodIndex+"?"+query) {
			refusedWith(t, url, w.get(url, "Origin", "https://evil.example"), "allowed_origins")
			r := w.get(url, "Origin", "https://example.org")
			if r.StatusCode != 200 || r.Header.Get("Access-Control-Allow-Origin") != "https://example.org" {
				t.Errorf("%s: %d, CORS %q", url, r.StatusCode, r.Header.Get("Access-Control-Allow-Origin"))
			}
		}
	})
}

// TestVODIsAdmitted: recordings go out over the same link as broadcasts. Their bytes
// are counted, and at a limit newcomers are refused; whoever is in goes on.
func TestVODIsAdmitted(t *testing.T) {
	onDisk(t, options{keep: true, maxBps: 6000 * 8 * 40}, func(t *testing.T, w *world) {
		w.recorded()
		text := want(t, w.get(vodIndex), 200, "private, no-store")
		at := "/vod/" + sessionOnDisk + "/main/"
		list := want(t, w.get(at+"index.m3u8"), 200, "no-cache")
		sent := w.handler.Stats().EgressBytes
		if sent != int64(len(text)+len(list)) {
			t.Errorf("%d bytes counted of playlists of %d", sent, len(text)+len(list))
		}
		seg := at + uris(list, `(seg-\d+-\d+\.m4s)`)[1]
		size := int64(len(want(t, w.get(seg), 200, immutable)))
		want(t, w.get(seg, "Range", "bytes=10-19"), 206, immutable)
		if got := w.handler.Stats().EgressBytes - sent; got != size+10 {
			t.Errorf("%d bytes counted, %d went out", got, size+10)
		}
		for range 80 { // in two seconds twice what may go out
			want(t, w.get(seg), 200, immutable)
			want(t, w.get(seg), 200, immutable)
			time.Sleep(time.Second / 40)
		}
		synctest.Wait()
		if r := w.get(vodIndex); r.StatusCode != 503 || r.Header.Get("Retry-After") != "10" || r.Header.Get("Cache-Control") != noStore {
			t.Errorf("at the limit: %d %v", r.StatusCode, r.Header)
		}
		want(t, w.get(at+"index.m3u8"), 200, "no-cache")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		want(t, w.get(vodIndex), 200, "private, no-store")
	})
}

// TestVODTakesNoPlace: a recording is not begun where all places are taken, and
// takes none itself.
func TestVODTakesNoPlace(t *testing.T) {
	onDisk(t, options{keep: true, maxViewers: 1}, func(t *testing.T, w *world) {
		w.recorded()
		for range 5 {
			want(t, w.get(vodIndex), 200, "private, no-store")
		}
		w.made.archive, w.made.keep = nil, false // of what is on air now
		w.open("run2AAAAAAAA")
		w.feed(3 * time.Second)
		want(t, w.get(multivariant), 200, "private, no-store")
		if r := w.get(vodIndex); r.StatusCode != 503 {
			t.Errorf("full, and a recording is begun: %d", r.StatusCode)
		}
	})
}

// TestVODOfALivestreamDeletedMeanwhile: nobody goes on with a recording whose
// livestream was deleted.
func TestVODOfALivestreamDeletedMeanwhile(t *testing.T) {
	inPrivateVOD(t, func(t *testing.T, w *private) {
		_, files := w.enterVOD("token=" + w.token("alice"))
		w.store.Lock()
		w.deleted = true
		w.store.Unlock()
		w.tell()
		for _, at := range append(files, vodIndex) {
			want(t, w.get(at), 404, noStore)
		}
	})
}
