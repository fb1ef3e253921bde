package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tally/conformance"
	v6 "tally/conformance/v6"
	v7 "tally/conformance/v7"
	"tally/internal/hls/player"
	"tally/internal/servertest"
)

// TestBroadcast is the seed: 30 s of H.264 and AAC, asked about by every
// official client while it goes on, watched by ffprobe and Chromium.
func TestBroadcast(t *testing.T) {
	b := serve(t).create()
	if got := b.status(); got != "404" {
		t.Fatalf("before the publish the active session is %q, want 404", got)
	}
	encoder := b.FFmpeg(30)
	statuses := b.follow("LIVE", 15*time.Second)
	if !slices.Equal(statuses, []string{"404", "INVOKED", "LIVE"}) && !slices.Equal(statuses, []string{"INVOKED", "LIVE"}) {
		t.Errorf("on the way to LIVE the API showed %v", statuses)
	}
	started := time.Now()
	p := play(t, b.PlaybackURL, 22)

	probe := exec.Command("ffprobe", "-v", "error", "-count_frames", "-read_intervals", "%+4", "-show_entries", "stream=codec_name,nb_read_frames", "-of", "json", b.PlaybackURL)
	said, err := probe.CombinedOutput()
	if text := string(said); err != nil || !strings.Contains(text, "h264") || !strings.Contains(text, "aac") {
		t.Errorf("ffprobe: %v\n%s", err, text)
	}

	b.checkClients()
	all := p.wait()
	if d := advanced(all); d < 18*time.Second {
		t.Errorf("Chromium played %v of 22 s; last: %+v", d, all[len(all)-1])
	}
	last := all[len(all)-1]
	if last.Fatal != "" {
		t.Errorf("hls.js gave up: %s after %v", last.Fatal, last.Errors)
	}
	ls := latencies(all)
	t.Logf("Chromium: advanced %v, %d stalls, latency p50 %.2f s, max %.2f s, errors %v", advanced(all), last.Stalls, ls[len(ls)/2], ls[len(ls)-1], last.Errors)

	encoder.Wait()
	ended := time.Now()
	b.await("404", 2*time.Second)
	r := b.read()
	if got := r["by_id.livestream.status"]; got != "IDLE" {
		t.Errorf("after the clean end the status is %v, want IDLE", got)
	}
	// Ledgers: the encoder was on for 30 s; the browser was given what it played
	// and what it still held, ffprobe 4 s and what it read ahead.
	ingest, viewed := r["by_id.session.ingest_seconds"].(float64), r["by_id.session.viewer_seconds"].(float64)
	if ingest < 29 || ingest > 31 {
		t.Errorf("ingest_seconds = %v, want 30", ingest)
	}
	if least, most := advanced(all).Seconds(), ended.Sub(started).Seconds()*2+8; viewed < least || viewed > most {
		t.Errorf("viewer_seconds = %v, want %.1f to %.1f", viewed, least, most)
	}
	t.Logf("ingest %v s, viewed %v s", ingest, viewed)
}

// follow collects the statuses that the API shows, each once, until it shows want.
func (b *broadcast) follow(want string, limit time.Duration) (statuses []string) {
	b.T.Helper()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		now := b.status()
		if len(statuses) == 0 || statuses[len(statuses)-1] != now {
			statuses = append(statuses, now)
		}
		if now == want {
			return statuses
		}
	}
	b.T.Fatalf("after %v the active session went %v, want %q", limit, statuses, want)
	return nil
}

// declared are the fields of the active answer, and what each must be in
// cloudflare-go and in JavaScript while the broadcast is live.
var declared = map[string]struct {
	goType string
	null   bool // null on the wire while live: Go's zero value
}{
	"livestream.id": {"string", false}, "livestream.created_at": {"time.Time", false}, "livestream.disabled": {"string", false},
	"livestream.ingest_server": {"string", false}, "livestream.meeting_id": {"string", true}, "livestream.name": {"string", false},
	"livestream.playback_url": {"string", false}, "livestream.status": {"string", false}, "livestream.stream_key": {"string", false},
	"livestream.updated_at": {"time.Time", false},
	"session.id":            {"string", false}, "session.created_at": {"time.Time", false}, "session.err_message": {"string", true},
	"session.ingest_seconds": {"string", false}, "session.invoked_time": {"time.Time", false}, "session.livestream_id": {"string", false},
	"session.started_time": {"time.Time", false}, "session.stopped_time": {"time.Time", true}, "session.updated_at": {"time.Time", false},
	"session.viewer_seconds": {"string", false},
}

// checkClients reads the active session through every official client.
func (b *broadcast) checkClients() {
	b.T.Helper()
	clients := []conformance.Client{v6.New(), v7.New()}
	for _, version := range conformance.JSVersions {
		clients = append(clients, conformance.NewJS(version))
	}
	for _, c := range clients {
		r, err := conformance.ReadAll(b.T.Context(), c, b.s.target)
		c.Close()
		if err != nil {
			b.T.Errorf("%s: %v", c.Name(), err)
			continue
		}
		b.checkReading(c, r)
	}
}

func (b *broadcast) checkReading(c conformance.Client, r conformance.Reading) {
	b.T.Helper()
	name := c.Name()
	for path, want := range declared {
		got, ok := r["active."+path]
		if !ok {
			b.T.Errorf("%s: %s is missing", name, path)
			continue
		}
		if c.Go() && fmt.Sprintf("%T", got) != want.goType {
			b.T.Errorf("%s: %s is a %T, want %s", name, path, got, want.goType)
		}
		if _, text := got.(string); !c.Go() && !want.null && !text {
			b.T.Errorf("%s: %s is %T, want a string", name, path, got)
		}
		empty := got == nil || got == "" || got == (time.Time{})
		if empty != want.null {
			b.T.Errorf("%s: %s is %v", name, path, got)
		}
	}
	for path, want := range map[string]any{
		"livestream.id": b.ID, "session.livestream_id": b.ID, "livestream.stream_key": b.Key, "livestream.playback_url": b.PlaybackURL,
		"livestream.status": "LIVE", "livestream.disabled": "false", "livestream.ingest_server": "rtmp://" + b.RTMP + "/live/",
	} {
		if got := r["active."+path]; got != want {
			b.T.Errorf("%s: %s is %v, want %v", name, path, got, want)
		}
	}
}

// TestMeeting: start, an encoder that comes a minute later, stop.
func TestMeeting(t *testing.T) {
	t.Parallel()
	s := serve(t)
	meeting := s.post("/meetings", `{"title":"weekly"}`, 201)["id"].(string)
	started := s.post("/meetings/"+meeting+"/livestreams", "", 201)
	s.target.Meeting = meeting
	b := s.broadcast(servertest.Livestream{ID: started["id"].(string), StreamKey: started["stream_key"].(string), PlaybackURL: started["playback_url"].(string)})
	if got := started["status"]; got != "INVOKED" {
		t.Errorf("start answers status %v, want INVOKED", got)
	}
	time.Sleep(time.Minute) // the person at the encoder is late
	if got := b.status(); got != "INVOKED" {
		t.Fatalf("a minute after the start: %q, want INVOKED", got)
	}
	b.FFmpeg(20)
	b.await("LIVE", 15*time.Second)
	if r := b.read(); r["meeting_active.status"] != "LIVE" || r["active.livestream.meeting_id"] != meeting {
		t.Errorf("the meeting's active livestream: %v, of meeting %v", r["meeting_active.status"], r["active.livestream.meeting_id"])
	}
	s.post("/meetings/"+meeting+"/active-livestream/stop", "", 200)
	if got := b.status(); got != "404" {
		t.Errorf("after the stop: %q, want 404", got)
	}
	if r := b.read(); r["by_id.livestream.status"] != "IDLE" {
		t.Errorf("after the stop the livestream is %v, want IDLE", r["by_id.livestream.status"])
	}
}

// post asks the API and returns its data.
func (s *server) post(path, body string, want int) map[string]any {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodPost, s.target.Base+"/accounts/"+s.target.Account+"/realtime/kit/"+s.target.App+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.target.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct{ Data map[string]any }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || res.StatusCode != want {
		s.t.Fatalf("POST %s: %s, want %d (%v)", path, res.Status, want, err)
	}
	return answer.Data
}

// TestEncoderKilled: kill -9 of the encoder and its return, with Chromium going
// on: the same element and Hls instance, in default configuration.
func TestEncoderKilled(t *testing.T) {
	b := serve(t).create()
	first := b.FFmpeg(60)
	b.await("LIVE", 15*time.Second)
	p := play(t, b.PlaybackURL, 40)
	checked := check(b.T, b.PlaybackURL, 45*time.Second)
	servertest.Eventually(t, "the browser to play for 8 s", 30*time.Second, func() bool { return p.last().CurrentTime > 0 && p.last().Frames > 200 })
	before := b.read()["active.session.id"]
	first.Process.Signal(syscall.SIGKILL)
	b.await("LIVE RECONNECTING", 5*time.Second)
	time.Sleep(5 * time.Second)
	standing := p.last()
	b.FFmpeg(30)
	b.await("LIVE", 10*time.Second)
	back := time.Now()
	servertest.Eventually(t, "currentTime to advance", 15*time.Second, func() bool { return p.last().CurrentTime > standing.CurrentTime+0.3 })
	t.Logf("Chromium plays on %.1f s after the session was LIVE again", time.Since(back).Seconds())
	r := b.read()
	if r["active.session.id"] != before {
		t.Error("the encoder's return began another session")
	}
	all := p.wait()
	last := all[len(all)-1]
	if last.Fatal != "" || last.CurrentTime < standing.CurrentTime+5 {
		t.Errorf("Chromium did not go on: %+v; it stood at %.1f s", last, standing.CurrentTime)
	}
	if stats := checked(); stats.Discontinuities != 2 {
		t.Errorf("the strict player saw %d discontinuities, want 2: the held picture, and the encoder's return", stats.Discontinuities)
	}
}

// check plays with the headless player, which holds every playlist and every
// byte against the strict checker. The returned function waits for the outcome.
func check(t testing.TB, url string, d time.Duration) func() player.Stats {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	p := player.New(player.Options{URL: url, LowLatency: true, Check: true})
	done := make(chan error, 1)
	go func() {
		_, err := p.Run(ctx)
		done <- err
	}()
	return func() player.Stats {
		t.Helper()
		defer cancel()
		if err := <-done; err != nil {
			t.Errorf("strict player: %v", err)
		}
		stats := p.Stats()
		for i, v := range stats.Violations {
			if i < 20 {
				t.Errorf("playlist: %+v", v)
			}
		}
		t.Logf("strict player: %d parts, %d reloads, %d stalls, %d violations", stats.Parts, stats.Reloads, stats.Stalls, len(stats.Violations))
		return stats
	}
}

// TestServerKilled: kill -9 of the server; the session goes on with the same id
// and URL, its seconds are kept, and its numbers rise.
func TestServerKilled(t *testing.T) {
	b := serve(t).create()
	b.FFmpeg(60)
	b.await("LIVE", 15*time.Second)
	time.Sleep(5 * time.Second)
	before := b.read()
	msn := b.mediaSequence()
	b.Kill()
	b.Restart()
	after := b.read()
	if after["active.session.id"] != before["active.session.id"] || b.status() != "LIVE RECONNECTING" {
		t.Errorf("after the restart: %q, session %v, want the same session reconnecting", b.status(), after["active.session.id"])
	}
	if after["active.session.ingest_seconds"].(string) < before["active.session.ingest_seconds"].(string) {
		t.Errorf("ingest fell from %v to %v", before["active.session.ingest_seconds"], after["active.session.ingest_seconds"])
	}
	b.FFmpeg(15)
	b.await("LIVE", 10*time.Second)
	servertest.Eventually(t, "a playlist", 10*time.Second, func() bool { return b.mediaSequence() > 0 })
	if now := b.mediaSequence(); now <= msn {
		t.Errorf("media sequence %d after the restart, %d before", now, msn)
	}
}

// mediaSequence reads the playlist as a new viewer does; 0 when there is none.
func (b *broadcast) mediaSequence() (n int64) {
	text := get(b.T, b.PlaybackURL)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	media := get(b.T, strings.TrimSuffix(b.PlaybackURL, "index.m3u8")+lines[len(lines)-1])
	_, rest, _ := strings.Cut(media, "#EXT-X-MEDIA-SEQUENCE:")
	fmt.Sscan(rest, &n)
	return n
}

func get(t testing.TB, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
