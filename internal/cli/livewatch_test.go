package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

var liveNow = time.Date(2026, 11, 23, 14, 5, 30, 0, time.UTC)

func ago(d time.Duration) *time.Time { t := liveNow.Add(-d); return &t }

// onAirLook is a broadcast of which there is something to say about everything.
func onAirLook() *liveLook {
	l := &liveLook{
		Livestream: Livestream{ID: "l", Name: "Sunday service", Status: "LIVE", PlaybackURL: "https://live.example.org/hls/abc/index.m3u8"},
		Session: &Session{ID: "s", StartedTime: ago(754 * time.Second), UpdatedAt: ago(0), IngestSeconds: 754, ViewerSeconds: 3105,
			Tally: &SessionTally{Health: "ok", Viewers: 3, PeakViewers: 5, Encoder: "OBS 30.1", Remote: "192.0.2.7:5123", IngestMs: 754_300, ViewerMs: 3_105_000,
				LastMediaAt: ago(0), Bytes: 236_000_000, Media: "H.264 High 1280x720 30 fps, AAC-LC 48 kHz stereo", KeyframeMs: 8333,
				Warnings: []Warning{{"KEYFRAME_INTERVAL", "keyframes every 8.3 s, the limit is 4 s; set Keyframe Interval to 2 s"}}}},
		Past: []transition{
			{At: ago(755 * time.Second), Event: "publish", Encoder: "OBS 30.1", Remote: "192.0.2.7:5123", Epoch: 1},
			{At: ago(754 * time.Second), Event: "playable"},
			{At: ago(60 * time.Second), Event: "lose", Detail: "RECONNECTING: no media since 2026-11-23T14:04:30Z, the session ends at 2026-11-23T14:05:30Z"},
		},
		Fresh: []transition{{At: ago(0), Event: "warning", Detail: "KEYFRAME_INTERVAL: keyframes every 8.3 s"}},
	}
	for i := range 50 {
		l.Rates = append(l.Rates, liveRate{Known: i != 20, Bps: float64(i%8) * 350e3, Viewers: i / 10})
	}
	return l
}

// TestLiveScreens compares screens with what is kept of them, at the width of a
// terminal and of a phone.
func TestLiveScreens(t *testing.T) {
	reconnecting := onAirLook()
	reconnecting.Session.Tally.Health = "reconnecting"
	reconnecting.Session.Tally.LastMediaAt = ago(12 * time.Second)
	deadline := liveNow.Add(48 * time.Second)
	reconnecting.Session.Tally.Deadline = &deadline
	away := onAirLook()
	away.Away, away.Why = liveNow.Add(-7*time.Second), &unreachableError{"http://127.0.0.1:1", io.ErrUnexpectedEOF}
	ended := onAirLook()
	ended.Livestream.Status, ended.Session.StoppedTime = "IDLE", ago(30*time.Second)
	ended.Session.ErrMessage = "ENCODER_LOST: no media since 2026-11-23T14:04:00Z"
	var never liveLook
	never.Livestream = Livestream{Name: "Sunday service", Status: "IDLE", PlaybackURL: "https://live.example.org/hls/abc/index.m3u8", IngestServer: "rtmp://live.example.org/live/"}
	errored := onAirLook()
	errored.Livestream.Status, errored.Session.StoppedTime, errored.Session.StartedTime = "ERRORED", ago(30*time.Second), nil
	errored.Session.ErrMessage = "NO_KEYFRAME: media came for 10 s without a keyframe; set Keyframe Interval to 2 s"
	for name, l := range map[string]*liveLook{"on-air": onAirLook(), "reconnecting": reconnecting, "away": away, "ended": ended, "never": &never, "errored": errored} {
		for _, columns := range []int{90, 44} {
			t.Run(fmt.Sprintf("%s-%d", name, columns), func(t *testing.T) {
				lines := livePage(liveNow, l, false, columns, 24)
				if len(lines) > 24 {
					t.Errorf("%d lines on a screen of 24", len(lines))
				}
				for _, line := range lines {
					if n := utf8.RuneCountInString(line); n > columns {
						t.Errorf("%d columns, want %d at most: %s", n, columns, line)
					}
				}
				got := strings.Join(lines, "\n") + "\n"
				path := filepath.Join("testdata", fmt.Sprintf("live-%s-%d.txt", name, columns))
				if *update {
					if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if got != string(want) {
					t.Errorf("the screen is\n%s\nwant\n%s", got, want)
				}
				painted := strings.Join(livePage(liveNow, l, true, columns, 24), "\n") + "\n"
				if unpainted(painted) != got {
					t.Error("with colours the words are others")
				}
			})
		}
	}
}

func unpainted(text string) string {
	for {
		before, rest, ok := strings.Cut(text, "\x1b[")
		if !ok {
			return text
		}
		_, after, _ := strings.Cut(rest, "m")
		text = before + after
	}
}

// TestLiveTinyTerminal: nothing breaks where nothing has room.
func TestLiveTinyTerminal(t *testing.T) {
	for columns := range 30 {
		for _, rows := range []int{1, 3, 10} {
			if n := len(livePage(liveNow, onAirLook(), true, columns, rows)); n > rows {
				t.Fatalf("%d lines in %d rows of %d columns", n, rows, columns)
			}
		}
	}
}

func TestSparkline(t *testing.T) {
	var rates []liveRate
	for i := range 10 {
		rates = append(rates, liveRate{Known: i != 1, Bps: float64(i)})
	}
	bps := func(r liveRate) float64 { return r.Bps }
	for columns, want := range map[int]string{20: "· ▂▃▄▅▆▇██", 3: "▇██", 0: ""} {
		if got := sparkline(rates, bps, columns); got != want {
			t.Errorf("%d columns: %q, want %q", columns, got, want)
		}
	}
}

// A stage is a small API with one livestream, whose truth the test sets.
type stage struct {
	mu      sync.Mutex
	status  string
	session map[string]any
	events  []map[string]any
	down    bool
	asked   int
}

func (s *stage) set(change func(*stage)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.down {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/events"):
		page := 1
		fmt.Sscan(r.URL.Query().Get("page_no"), &page)
		from := min((page-1)*100, len(s.events))
		to := min(from+100, len(s.events))
		json.NewEncoder(w).Encode(map[string]any{"success": true, "data": s.events[from:to], "paging": map[string]int{"total_count": len(s.events)}})
	case strings.HasSuffix(r.URL.Path, "/livestreams/known"):
		live := map[string]any{"id": "known", "name": "Evening", "status": s.status, "stream_key": "planted-secret"}
		json.NewEncoder(w).Encode(map[string]any{"success": true, "data": map[string]any{"livestream": live, "session": s.session}})
	default:
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"success":false,"errors":[{"code":404,"message":"no such livestream"}]}`)
	}
}

func watchFeed(t *testing.T, s *stage) (*liveFeed, *liveLook) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: s}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	api, err := NewClient(Credentials{APIBase: "http://" + ln.Addr().String() + "/client/v4", AccountID: "a", AppID: "b", APIToken: "t"})
	if err != nil {
		t.Fatal(err)
	}
	return &liveFeed{api: api, id: "known"}, &liveLook{}
}

// TestLiveLines: what is printed where nobody looks at a screen, from before the
// first broadcast through an outage to a second session.
func TestLiveLines(t *testing.T) {
	api := &stage{status: "IDLE"}
	feed, look := watchFeed(t, api)
	var out, objects strings.Builder
	lines, jsons := &liveLines{s: &Streams{Out: &out}}, &liveJSON{s: &Streams{Out: &objects}}
	now := liveNow
	step := func(want ...string) {
		t.Helper()
		out.Reset()
		objects.Reset()
		_ = feed.next(t.Context(), look) // what goes wrong is shown
		feed.asked = time.Time{}         // the timeline is read each time
		now = now.Add(time.Second)
		lines.show(now, look)
		jsons.show(now, look)
		got := out.String()
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("printed %q, want %q in it", got, w)
			}
		}
		if n := strings.Count(objects.String(), "\n"); len(want) == 0 && (got != "" || n != 0) || len(want) > 0 && n != 1 {
			t.Errorf("%d objects, and %q, want one if something changed: %s", n, got, &objects)
		}
		if n := objects.Len(); n > 0 && !json.Valid([]byte(objects.String())) {
			t.Errorf("no JSON: %s", &objects)
		}
		if strings.Contains(got+objects.String(), "planted-secret") {
			t.Error("the stream key is printed")
		}
	}
	tally := map[string]any{"health": "ok", "viewers": 0, "bytes": 1000, "media": "H.264", "warnings": []any{}}
	step("○ IDLE · waiting for the first broadcast")
	step()
	api.set(func(s *stage) {
		s.status = "LIVE"
		s.session = map[string]any{"id": "one", "started_time": liveNow, "updated_at": liveNow, "ingest_seconds": "7", "tally": tally}
		s.events = []map[string]any{{"at": liveNow, "event": "publish", "encoder": "OBS\x1b[2J", "remote": "192.0.2.7:1"}}
	})
	step("encoder connected", "● LIVE · on air, and well", "ingest 7 s", `"OBS\x1b[2J"`)
	step()
	api.set(func(s *stage) {
		tally["warnings"] = []any{map[string]string{"code": "NO_AUDIO", "message": "no audio for 5 s"}}
	})
	step("✗ NO_AUDIO: no audio for 5 s")
	api.set(func(s *stage) { s.down = true })
	step("◌ NO ANSWER · the server does not answer since ")
	step()
	api.set(func(s *stage) { s.down = false })
	step("● LIVE")
	api.set(func(s *stage) {
		for range 230 {
			s.events = append(s.events, map[string]any{"at": liveNow, "event": "boot"})
		}
		s.events = append(s.events, map[string]any{"at": liveNow, "event": "something new", "detail": "more"})
	})
	step("server is back", "something new · more")
	if n := strings.Count(out.String(), "server is back"); n != 230 {
		t.Errorf("%d events, want 230", n)
	}
	step()
	api.set(func(s *stage) {
		s.session = map[string]any{"id": "two", "updated_at": liveNow, "tally": map[string]any{"health": "starting"}}
		s.status = "INVOKED"
		s.events = []map[string]any{{"at": liveNow, "event": "publish"}}
	})
	step("◌ INVOKED · the encoder is connected", "encoder connected")
}

// TestLiveRate measures the bitrate between checkpoints, whenever it is asked.
func TestLiveRate(t *testing.T) {
	f := &liveFeed{}
	s := func(bytes int64, after time.Duration) *Session {
		at := liveNow.Add(after)
		return &Session{UpdatedAt: &at, Tally: &SessionTally{Bytes: bytes, Viewers: 2}}
	}
	if r := f.rate(s(1000, 0)); r.Known {
		t.Errorf("%+v after one look", r)
	}
	if r := f.rate(s(126_000, 500*time.Millisecond)); !r.Known || r.Bps != 2e6 || r.Viewers != 2 {
		t.Errorf("%+v, want 2 Mbit/s", r)
	}
	if r := f.rate(s(500, time.Second)); r.Known {
		t.Errorf("%+v: another session's bytes", r)
	}
}

// TestLiveScreenIsRestored runs the command on a pseudo terminal and takes it
// away, as Ctrl-C does.
func TestLiveScreenIsRestored(t *testing.T) {
	t.Setenv("TERM", "xterm")
	control, terminal := openTerminal(t)
	api := &stage{status: "IDLE"}
	feed, _ := watchFeed(t, api)
	ctx, cancel := context.WithCancel(t.Context())
	var seen strings.Builder
	drawn := make(chan struct{})
	over := make(chan struct{})
	go func() {
		defer close(over)
		buf := make([]byte, 4096)
		for told := false; ; {
			n, err := control.Read(buf)
			seen.Write(buf[:n])
			if !told && strings.Contains(seen.String(), restBelow) {
				told = true
				close(drawn)
			}
			if err != nil {
				return
			}
		}
	}()
	c := &LivestreamWatchCmd{ID: "known", APIFlags: APIFlags{APIBase: feed.api.creds.APIBase, APIToken: "t", AccountID: "a", AppID: "b"}}
	done := make(chan error)
	go func() { done <- c.Run(ctx, &Streams{Out: terminal, Err: terminal}) }()
	<-drawn
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	terminal.Close()
	<-over
	text := seen.String()
	if !strings.HasPrefix(text, enterScreen) || !strings.Contains(text, "○ IDLE") {
		t.Errorf("drawn: %q", text)
	}
	if _, left, ok := strings.Cut(text, leaveScreen); !ok || !strings.HasPrefix(left, "○ IDLE") || strings.Contains(left, "\x1b") {
		t.Errorf("left behind: %q", left)
	}
}

// openTerminal opens a pseudo terminal (pty(7)): the side that a terminal
// emulator holds, and the one that a command writes to.
func openTerminal(t *testing.T) (control, terminal *os.File) {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { control.Close() })
	fd := int(control.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return control, terminal
}

// TestLiveWrongAddress: what cannot be watched ends at once, with the reason.
func TestLiveWrongAddress(t *testing.T) {
	feed, look := watchFeed(t, &stage{})
	feed.id = "unknown"
	if err := feed.next(t.Context(), look); err == nil || passing(err) || !strings.Contains(err.Error(), "404") {
		t.Errorf("%v, want a 404 that ends the command", err)
	}
}
