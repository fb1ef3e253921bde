package playback_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/livestream"
	"tally/internal/playback"
	"tally/internal/playtoken"
	"tally/internal/secret"
	"tally/internal/viewer"
)

const livestreamID = "5c1c2d3e-0000-4000-8000-000000000000"

var signingSecret = secret.New("tally_pk_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH")

// A private is a world whose livestream has settings, and a store of keys and
// revocations that says when they change.
type private struct {
	*world
	log strings.Builder // of the handler

	store      sync.Mutex // guards what follows
	revoked    []livestream.Revocation
	unreadable bool
	deleted    bool // the livestream
	changed    chan string
}

// inPrivate runs f with a private livestream that has been on air for a while.
func inPrivate(t *testing.T, f func(t *testing.T, w *private), o ...options) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(700 * time.Millisecond) // not at a whole second, as the world is not
		w := newPrivate(t, o...)
		defer w.close()
		w.air(6 * time.Second)
		f(t, w)
	})
}

func newPrivate(t testing.TB, o ...options) *private {
	w := &private{world: newWorld(t, o...), changed: make(chan string, 16)}
	w.sign(o...)
	return w
}

// sign makes the world's livestream a private one.
func (w *private) sign(o ...options) {
	w.record.Livestream.ID = livestreamID
	w.record.Livestream.Scope = livestream.Scope{AccountID: "acc", AppID: "app"}
	w.record.Livestream.Settings.Playback = livestream.PlaybackSigned
	w.serve(o...)
}

// serve begins a handler over what is stored: also one after a restart.
func (w *private) serve(o ...options) {
	w.handler.Close()
	c := playback.Config{
		Registry: w.registry, Signer: w.signer, Counter: w.counter, Records: w, Access: w, PublicURL: "https://live.example.org",
		Tokens: &playtoken.Keyring{Store: w}, Log: slog.New(slog.NewJSONHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if len(o) > 0 {
		c.Delivery = o[0].delivery
		c.Thumbnails.FFmpeg = o[0].ffmpeg
		c.Archive = o[0].archive
	}
	w.handler = playback.New(c)
}

func (w *private) PlaybackKeys(_ context.Context, s livestream.Scope) ([]livestream.PlaybackKey, error) {
	if s.AppID != "app" {
		return nil, nil
	}
	return []livestream.PlaybackKey{{KID: "k", Algorithm: playtoken.HS256, Secret: signingSecret}}, nil
}

func (w *private) Revocations(context.Context, string, time.Time) ([]livestream.Revocation, error) {
	w.store.Lock()
	defer w.store.Unlock()
	if w.unreadable {
		return nil, io.ErrUnexpectedEOF
	}
	return append([]livestream.Revocation{}, w.revoked...), nil
}

// RecordByPlaybackID knows no livestream that was deleted.
func (w *private) RecordByPlaybackID(ctx context.Context, playbackID string) (livestream.Record, error) {
	w.store.Lock()
	deleted := w.deleted
	w.store.Unlock()
	if deleted {
		return livestream.Record{}, livestream.ErrNotFound
	}
	return w.world.RecordByPlaybackID(ctx, playbackID)
}

func (w *private) AwaitAccess(ctx context.Context) ([]string, error) {
	select {
	case id := <-w.changed:
		return []string{id}, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// revoke takes back; who may watch is another within the call.
func (w *private) revoke(kind livestream.RevocationKind, subject string) {
	w.store.Lock()
	w.revoked = append(w.revoked, livestream.Revocation{LivestreamID: livestreamID, Kind: kind, Subject: subject, At: time.Now()})
	w.store.Unlock()
	w.tell()
}

// configure changes the livestream's settings.
func (w *private) configure(change func(*livestream.Settings)) {
	w.mu.Lock()
	change(&w.record.Livestream.Settings)
	w.mu.Unlock()
	w.tell()
}

func (w *private) tell() {
	w.changed <- id
	synctest.Wait()
}

// token is a good one, but for what change changes.
func (w *private) token(name string, change ...func(*playtoken.Grant)) string {
	g := playtoken.Grant{Subject: livestreamID, Viewer: name, IssuedAt: time.Now(), Expires: time.Now().Add(time.Hour)}
	for _, c := range change {
		c(&g)
	}
	return playtoken.Sign(playtoken.Secret("k", signingSecret), g).Reveal()
}

const multivariant = "/hls/" + id + "/index.m3u8"

var privateList = regexp.MustCompile(`(?m)^(` + runID + `/[A-Za-z0-9_-]{48}/)index\.m3u8$`)

// enter asks for the multivariant playlist with a query, and returns where the
// media are.
func (w *private) enter(query string) string {
	w.t.Helper()
	text := want(w.t, w.get(multivariant+"?"+query), 200, "private, no-store")
	m := privateList.FindStringSubmatch(text)
	if m == nil {
		w.t.Fatalf("no media playlist of a viewer with a grant in %q", text)
	}
	return "/hls/" + id + "/" + m[1]
}

// files are all that a viewer may ask for: playlist, init section, part, segment.
func (w *private) files(dir string) []string {
	w.t.Helper()
	text := want(w.t, w.get(dir+"index.m3u8"), 200, "private, no-cache")
	return []string{dir + "index.m3u8", dir + uris(text, initSection)[0], dir + uris(text, listedParts)[2], dir + uris(text, segments)[1]}
}

// refusedWith checks for a 403 that says why.
func refusedWith(t testing.TB, what string, r *http.Response, words string) {
	t.Helper()
	b := body(t, r)
	if r.StatusCode != 403 || !strings.Contains(b, words) || r.Header.Get("Cache-Control") != noStore || r.Header.Get("Set-Cookie") != "" {
		t.Errorf("%s: %d with Cache-Control %q, want 403 and %q: %s", what, r.StatusCode, r.Header.Get("Cache-Control"), words, b)
	}
	if strings.Contains(b, "ey") && strings.Contains(b, ".ey") {
		t.Errorf("%s: a refusal holds a token: %s", what, b)
	}
}

// TestPrivatePlayback: with a token everything plays, no cache may keep anything,
// and each part counts for its viewer; without one nothing is told.
func TestPrivatePlayback(t *testing.T) {
	for _, mode := range []playback.Mode{playback.Direct, playback.Shared, playback.Auto} {
		t.Run(string(mode), func(t *testing.T) {
			inPrivate(t, func(t *testing.T, w *private) {
				dir := w.enter("token=" + w.token("alice"))
				for i, url := range w.files(dir) {
					cache := "private, max-age=31536000, immutable"
					if i == 0 {
						cache = "private, no-cache"
					}
					for _, headers := range [][]string{nil, {"Via", "1.1 cache"}, {"Range", "bytes=0-"}} {
						r := w.get(url, headers...)
						if b := body(t, r); r.StatusCode/100 != 2 || r.Header.Get("Cache-Control") != cache || strings.Contains(b, `"../`) {
							t.Errorf("%s %v: %d, %q", url, headers, r.StatusCode, r.Header.Get("Cache-Control"))
						}
					}
				}
				viewerID := strings.Split(dir, "/")[4]
				st := want(t, w.get("/hls/"+id+"/state?viewer="+viewerID), 200, noStore)
				if !strings.Contains(st, `"live"`) {
					t.Errorf("state: %s", st)
				}
				want(t, w.get("/hls/"+id+"/state?token="+w.token("")), 200, noStore)
				if r := w.post(dir+"beacon", `{"seq":1,"played_ms":1000}`); r.StatusCode != 204 {
					t.Errorf("beacon: %d", r.StatusCode)
				}
				if windows, _ := w.counter.DrainAll(); len(windows) == 0 {
					t.Error("nothing was counted")
				}
			}, options{delivery: mode})
		})
	}
}

func (w *private) post(url, text string) *http.Response {
	r := httptest.NewRequest("POST", url, strings.NewReader(text))
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return rec.Result()
}

// TestPrivateAttacks: what lets nobody in.
func TestPrivateAttacks(t *testing.T) {
	inPrivate(t, func(t *testing.T, w *private) {
		good := w.token("alice")
		dir := w.enter("token=" + good)
		text := w.get(dir + "index.m3u8")
		names := named(body(t, text))
		grant := viewer.Grant{Until: uint32(time.Now().Add(time.Hour).Unix())}
		elsewhere := string(w.signer.AppendMintGranted(nil, "another", false, time.Now(), grant))
		foreign, err := viewer.NewSigner(make([]byte, viewer.SecretSize))
		if err != nil {
			t.Fatal(err)
		}
		forged := string(foreign.AppendMintGranted(nil, id, false, time.Now(), grant))
		past := string(w.signer.AppendMintGranted(nil, id, false, time.Now(), viewer.Grant{Until: uint32(time.Now().Unix())}))
		mine := strings.Split(dir, "/")[4]
		for what, v := range map[string]string{
			"an id without a grant": w.signer.Mint(id), "of another livestream": elsewhere, "of another secret": forged,
			"one bit": mine[:7] + flip(mine[7]) + mine[8:], "another end": mine[:47] + flip(mine[47]), "zeros": strings.Repeat("A", 48),
		} {
			for _, file := range append(names[:3:3], "index.m3u8", "index.m3u8?_HLS_msn=999", "index.m3u8?token="+good) {
				refusedWith(t, what+" "+file, w.get("/hls/"+id+"/"+runID+"/"+v+"/"+file), "private")
			}
			refusedWith(t, what+" beacon", w.post("/hls/"+id+"/"+runID+"/"+v+"/beacon", `{"seq":1,"played_ms":1}`), "private")
			refusedWith(t, what+" state", w.get("/hls/"+id+"/state?viewer="+v), "token_required")
			refusedWith(t, what+" multivariant", w.get(multivariant+"?viewer="+v), "private")
		}
		refusedWith(t, "its time is over", w.get("/hls/"+id+"/"+runID+"/"+past+"/index.m3u8"), "is over")
		for _, file := range names[:3] {
			refusedWith(t, "media without a viewer", w.get("/hls/"+id+"/"+runID+"/"+file), "no address that viewers share")
			refusedWith(t, "media without a viewer, with a token", w.get("/hls/"+id+"/"+runID+"/"+file+"?token="+good), "no address that viewers share")
		}
		at := func(change func(*playtoken.Grant)) string { return w.token("", change) }
		parts := strings.Split(good, ".")
		for what, query := range map[string]string{
			"nothing":            "",
			"empty":              "token=",
			"another name":       "Token=" + good,
			"twice":              "token=" + good + "&token=" + good,
			"no JWT":             "token=hello",
			"100 KB":             "token=" + strings.Repeat("A", 100<<10),
			"without signature":  "token=" + parts[0] + "." + parts[1] + ".",
			"alg none":           "token=eyJhbGciOiJub25lIn0." + parts[1] + ".",
			"another livestream": "token=" + at(func(g *playtoken.Grant) { g.Subject = "other" }),
			"no livestream":      "token=" + at(func(g *playtoken.Grant) { g.Subject = "" }),
			"expired":            "token=" + at(func(g *playtoken.Grant) { g.IssuedAt, g.Expires = time.Now().Add(-time.Hour), time.Now() }),
			"issued later":       "token=" + at(func(g *playtoken.Grant) { g.IssuedAt = time.Now().Add(time.Minute) }),
			"for too long":       "token=" + at(func(g *playtoken.Grant) { g.Expires = time.Now().Add(8 * 24 * time.Hour) }),
			"another key":        "token=" + playtoken.Sign(playtoken.Secret("k", secret.New("other")), playtoken.Grant{Subject: livestreamID, IssuedAt: time.Now(), Expires: time.Now().Add(time.Hour)}).Reveal(),
			"an encoded dot":     "token=" + strings.Join(parts, "%2E"),
		} {
			refusedWith(t, what, w.get(multivariant+"?"+query), "token")
			refusedWith(t, what+" state", w.get("/hls/"+id+"/state?"+query), `"code":"`)
			refusedWith(t, what+" events", w.get("/hls/"+id+"/state?"+query, "Accept", "text/event-stream"), `"code":"`)
		}
		for _, path := range []string{"/hls/" + id + "/./index.m3u8", "/hls//" + id + "/index.m3u8", "/hls/" + id + "/" + runID + "//" + names[0],
			"/hls/" + id + "/" + runID + "/" + mine + "/../" + names[0], "/hls/" + id + "/" + runID + "/" + mine + "/" + mine + "/" + names[0]} {
			if r := w.get(path); r.StatusCode != 404 {
				t.Errorf("%s: %d", path, r.StatusCode)
			}
		}
		if log := w.log.String(); strings.Contains(log, parts[1]) || strings.Contains(log, parts[2]) || strings.Contains(log, mine) {
			t.Errorf("a token or a viewer id is in the log: %s", log)
		}
	})
}

func flip(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}

// TestPrivateTimes: who is in plays until exp, or until play_until; the same page
// goes on with its viewer id after its token has expired.
func TestPrivateTimes(t *testing.T) {
	inPrivate(t, func(t *testing.T, w *private) {
		begun := time.Now()
		short := w.token("", func(g *playtoken.Grant) { g.Expires = begun.Add(2 * time.Second) })
		long := w.token("", func(g *playtoken.Grant) { g.Expires, g.PlayUntil = begun.Add(3*time.Second), begun.Add(10*time.Second) })
		a, b := w.enter("token="+short), w.enter("token="+long)
		bID := strings.Split(b, "/")[4]
		held := w.later(a + "index.m3u8?_HLS_msn=7") // nothing comes for as long as the token lasts
		time.Sleep(2 * time.Second)
		synctest.Wait()
		select {
		case r := <-held:
			refusedWith(t, "held when its time was over", r, "is over")
		default:
			t.Error("a request is held longer than its token lasts")
		}
		refusedWith(t, "after exp", w.get(a+"index.m3u8"), "is over")
		w.feed(time.Second)
		refusedWith(t, "the token after exp", w.get(multivariant+"?token="+long), "expired")
		w.files(b)
		if again := w.enter("viewer=" + bID + "&token=" + long); again != b {
			t.Errorf("the same page is at %s, was at %s", again, b)
		}
		longer := w.token("", func(g *playtoken.Grant) { g.Expires = time.Now().Add(time.Hour) })
		if again := w.enter("viewer=" + bID + "&token=" + longer); again == b {
			t.Error("a token that lasts longer does not help")
		}
		w.feed(7 * time.Second)
		refusedWith(t, "after play_until", w.get(b+"index.m3u8"), "is over")
	})
}

// TestRevocation: of a name, a viewer, everybody; also of who waits, and of who
// comes again with the same token, or came with it before as another player; not of
// others, and not of later tokens.
func TestRevocation(t *testing.T) {
	for _, c := range []struct {
		name    string
		kind    livestream.RevocationKind
		subject func(aliceID string) string
		bob     bool // bob goes on
	}{
		{"a name", livestream.RevokeName, func(string) string { return "alice" }, true},
		{"a viewer", livestream.RevokeViewer, func(s string) string { r, _ := viewer.ReadRandom(s); return r }, true},
		{"all", livestream.RevokeAll, func(string) string { return "" }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inPrivate(t, func(t *testing.T, w *private) {
				alice, bob := w.token("alice"), w.token("bob")
				a, b, tablet := w.enter("token="+alice), w.enter("token="+bob), w.enter("token="+alice)
				aID := strings.Split(a, "/")[4]
				aFiles := w.files(a)
				next := uris(body(t, w.get(a+"index.m3u8")), hintedPart)[0]
				waits := map[string]<-chan *http.Response{"reload": w.later(a + "index.m3u8?_HLS_msn=7"), "hinted part": w.later(a + next)}
				bobs := w.later(b + next)
				events := w.later("/hls/"+id+"/state?viewer="+aID, "Accept", "text/event-stream")
				begun := time.Now()
				w.revoke(c.kind, c.subject(aID))
				for what, ch := range waits {
					refusedWith(t, "held "+what, <-ch, "taken back")
				}
				if r := body(t, <-events); !strings.Contains(r, "event: refused\ndata: {") || !strings.Contains(r, `"code":"revoked"`) {
					t.Errorf("events end with %q", r)
				}
				if took := time.Since(begun); took > time.Second {
					t.Errorf("it took %v", took)
				}
				for _, url := range aFiles {
					refusedWith(t, url, w.get(url), "taken back")
				}
				refusedWith(t, "beacon", w.post(a+"beacon", `{"seq":1,"played_ms":1}`), "taken back")
				refusedWith(t, "the page again", w.get(multivariant+"?viewer="+aID+"&token="+alice), "taken back")
				refusedWith(t, "another player with the token", w.get(tablet+"index.m3u8"), "taken back")
				refusedWith(t, "the token again", w.get(multivariant+"?token="+alice), "taken back")
				w.feed(400 * time.Millisecond)
				r := <-bobs
				if c.bob != (r.StatusCode == 200) || !c.bob && r.StatusCode != 403 {
					t.Errorf("bob's held part: %d", r.StatusCode)
				}
				if c.bob {
					w.files(b)
				}
				w.files(w.enter("token=" + w.token("alice"))) // a token of later lets in at once, and what it lets in plays

				w.serve() // another server, over what is stored
				refusedWith(t, "after a restart", w.get(aFiles[2]), "taken back")
				refusedWith(t, "the token after a restart", w.get(multivariant+"?token="+alice), "taken back")
			})
		})
	}
}

// TestPolicyChange: who is there already is asked for a token too, also who
// waits; and is not asked once it is public.
func TestPolicyChange(t *testing.T) {
	inPrivate(t, func(t *testing.T, w *private) {
		w.configure(func(s *livestream.Settings) { s.Playback = livestream.PlaybackPublic })
		dir := w.join()
		text := body(t, w.get(dir+"index.m3u8"))
		part := dir + uris(text, listedParts)[2]
		want(t, w.get(part), 200, immutable)
		held := w.later(dir + uris(text, hintedPart)[0])
		events := w.later("/hls/"+id+"/state", "Accept", "text/event-stream")
		w.configure(func(s *livestream.Settings) { s.Playback = livestream.PlaybackSigned })
		refusedWith(t, "held", <-held, "private")
		if r := body(t, <-events); !strings.Contains(r, `"code":"token_required"`) {
			t.Errorf("events end with %q", r)
		}
		refusedWith(t, "a part", w.get(part), "private")
		refusedWith(t, "shared media", w.get(below(uris(text, listedParts)[2])), "no address that viewers share")
		granted := w.enter("token=" + w.token(""))
		w.configure(func(s *livestream.Settings) { s.Playback = livestream.PlaybackPublic })
		want(t, w.get(part), 200, immutable)
		want(t, w.get(granted+"index.m3u8"), 200, "no-cache")
	})
}

// TestUnreadableStore: while it cannot be read what was revoked, nobody is let
// in; then everybody who may.
func TestUnreadableStore(t *testing.T) {
	inPrivate(t, func(t *testing.T, w *private) {
		dir := w.enter("token=" + w.token("bob"))
		held := w.later(dir + "index.m3u8?_HLS_msn=7")
		w.store.Lock()
		w.unreadable = true
		w.store.Unlock()
		w.tell()
		if r := <-held; r.StatusCode != 500 {
			t.Errorf("held: %d", r.StatusCode)
		}
		if r := w.get(dir + "index.m3u8"); r.StatusCode != 500 || strings.Contains(body(t, r), "EOF") {
			t.Errorf("%d", r.StatusCode)
		}
		w.store.Lock()
		w.unreadable = false
		w.store.Unlock()
		w.files(dir)
	})
}

// TestAllowedOrigins: which pages may play, and what CORS says to them.
func TestAllowedOrigins(t *testing.T) {
	inPrivate(t, func(t *testing.T, w *private) {
		w.configure(func(s *livestream.Settings) {
			s.Playback = livestream.PlaybackPublic
			s.AllowedOrigins = "https://example.org https://*.example.com http://localhost:3000"
		})
		dir := regexp.MustCompile(`(?m)^.*/index\.m3u8$`).FindString(body(t, w.get(multivariant)))
		dir = "/hls/" + id + "/" + strings.TrimSuffix(dir, "index.m3u8")
		part := dir + uris(body(t, w.get(dir+"index.m3u8")), listedParts)[2]
		urls := []string{multivariant, dir + "index.m3u8", part, "/hls/" + id + "/state"}
		for _, c := range []struct {
			name    string
			headers []string
			allowed string // origin in the answer; "-": allowed, and none; "": refused
		}{
			{"the page", []string{"Origin", "https://example.org"}, "https://example.org"},
			{"a subdomain", []string{"Origin", "https://a.b.example.com"}, "https://a.b.example.com"},
			{"a subdomain of one letter", []string{"Origin", "https://m.example.com"}, "https://m.example.com"},
			{"a port of a machine's own", []string{"Origin", "http://localhost:3000"}, "http://localhost:3000"},
			{"our own page", []string{"Origin", "https://live.example.org"}, "https://live.example.org"},
			{"our own host", []string{"Origin", "http://example.com"}, "http://example.com"}, // of httptest's requests
			{"a native player", nil, "-"},
			{"a page by Referer", []string{"Referer", "https://example.org/some/page?x=https://evil.example"}, "-"},
			{"our own page without a Referer", []string{"Sec-Fetch-Site", "same-origin"}, "-"},
			{"an address that was typed", []string{"Sec-Fetch-Site", "none"}, "-"},
			{"another page", []string{"Origin", "https://evil.example"}, ""},
			{"another scheme", []string{"Origin", "http://example.org"}, ""},
			{"another port", []string{"Origin", "https://example.org:8443"}, ""},
			{"a longer host", []string{"Origin", "https://example.org.evil.example"}, ""},
			{"a host that ends alike", []string{"Origin", "https://notexample.com"}, ""},
			{"the domain above", []string{"Origin", "https://example.com:9"}, ""},
			{"no label", []string{"Origin", "https://.example.com"}, ""},
			{"a path that ends alike", []string{"Origin", "https://evil.example/.example.com"}, ""},
			{"a Referer whose host ends at a backslash", []string{"Referer", `https://evil.example\.example.com/`}, ""},
			{"null", []string{"Origin", "null"}, ""},
			{"empty", []string{"Origin", ""}, ""},
			{"another page by Referer", []string{"Referer", "https://evil.example/?https://example.org/"}, ""},
			{"a page that hides its name", []string{"Sec-Fetch-Site", "cross-site"}, ""},
			{"Origin goes before Referer", []string{"Origin", "https://evil.example", "Referer", "https://example.org/"}, ""},
		} {
			for _, url := range urls {
				r := w.get(url, c.headers...)
				origin, code := r.Header.Get("Access-Control-Allow-Origin"), 200
				if c.allowed == "" {
					code = 403
				}
				if r.StatusCode != code || origin != strings.TrimPrefix(c.allowed, "-") || !strings.Contains(r.Header.Get("Vary"), "Origin") ||
					r.Header.Get("Timing-Allow-Origin") != origin {
					t.Errorf("%s, %s: %d, CORS %q, Vary %q", c.name, url, r.StatusCode, origin, r.Header.Get("Vary"))
				}
				if b := body(t, r); code == 403 && !strings.Contains(b, "allowed_origins") {
					t.Errorf("%s, %s: says %q", c.name, url, b)
				}
			}
			if r := w.ask("OPTIONS", part, c.headers...); r.StatusCode != 204 || c.allowed == "" && r.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s: OPTIONS %d, %v", c.name, r.StatusCode, r.Header)
			}
		}
		w.configure(func(s *livestream.Settings) { s.AllowedOrigins = "" })
		want(t, w.get(part, "Origin", "https://evil.example"), 200, immutable)
	})
}

// TestPrivateBeforeAndAfter: what is not on air tells nobody anything either.
func TestPrivateBeforeAndAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPrivate(t)
		defer w.close()
		refusedWith(t, "never live", w.get(multivariant), "private")
		refusedWith(t, "state", w.get("/hls/"+id+"/state"), "token_required")
		if r := w.get(multivariant + "?token=" + w.token("")); r.StatusCode != 404 {
			t.Errorf("with a token: %d", r.StatusCode)
		}
		if r := w.get("/hls/unknown/index.m3u8?token=" + w.token("")); r.StatusCode != 404 {
			t.Errorf("unknown: %d", r.StatusCode)
		}
		w.open(runID) // and held until there is something to see
		held := w.later(multivariant + "?token=" + w.token("alice"))
		w.revoke(livestream.RevokeName, "alice")
		refusedWith(t, "held before anything is to be seen", <-held, "taken back")
		var state map[string]string
		if err := json.Unmarshal([]byte(body(t, w.get("/hls/"+id+"/state?token="+w.token("alice", func(g *playtoken.Grant) {
			g.IssuedAt = time.Now().Add(-time.Minute)
		})))), &state); err != nil || state["code"] != "revoked" {
			t.Errorf("state: %v, %v", state, err)
		}
	})
}

// TestPrivateMediaAllocateNothing: letting in costs no allocation.
func TestPrivateMediaAllocateNothing(t *testing.T) {
	w := newPrivate(t)
	defer w.close()
	w.rush(4 * time.Second)
	files := w.files(w.enter("token=" + w.token("alice")))[1:3]
	w.mu.Lock()
	w.record.Livestream.Settings.AllowedOrigins = "https://example.org"
	w.mu.Unlock()
	w.changed <- id
	for deadline := time.Now().Add(20 * time.Second); w.get(files[0], "Origin", "https://evil.example").StatusCode != 403; {
		if time.Now().After(deadline) {
			t.Fatal("the change is not followed")
		}
		time.Sleep(time.Millisecond)
	}
	for _, url := range files {
		r := httptest.NewRequest("GET", url, nil)
		r.Header.Set("Origin", "https://example.org")
		out := &lean{header: http.Header{}}
		if n := testing.AllocsPerRun(200, func() { w.handler.ServeHTTP(out, r) }); n != 0 && !raceEnabled {
			t.Errorf("%s: %v allocations", url, n)
		}
	}
}

// BenchmarkPrivateHits is BenchmarkHits of a private livestream.
func BenchmarkPrivateHits(b *testing.B) {
	w := newPrivate(b)
	defer w.close()
	w.rush(4 * time.Second)
	files := w.files(w.enter("token=" + w.token("alice")))
	for i, name := range []string{"playlist", "init section", "part", "segment"} {
		b.Run(name, func(b *testing.B) {
			r, out := httptest.NewRequest("GET", files[i], nil), &lean{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				w.handler.ServeHTTP(out, r)
			}
		})
	}
}
