package rtmpserver

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"tally/internal/ingest"
	"tally/internal/livestream"
	"tally/internal/media"
	"tally/internal/rtmp"
	"tally/internal/rtmp/avcc"
	"tally/internal/rtmp/flv"
	"tally/internal/rtmp/publisher"
)

// publishClip sends the clip as fast as it goes.
func publishClip(t testing.TB, o publisher.Options) error {
	t.Helper()
	if o.Source == nil {
		o.Source = publisher.FromClip(loadClip(t), false)
	}
	return publisher.Run(context.Background(), o)
}

func TestPublish(t *testing.T) {
	h := start(t, nil)
	if err := publishClip(t, publisher.Options{URL: h.url(), Stamp: true}); err != nil {
		t.Fatal(err)
	}
	p := h.pub(t, 0)
	p.wait(t, "unpublish")
	if len(p.tracks) != 2 || p.tracks[0].Codec != media.H264 || p.tracks[0].Width != 160 || p.tracks[1].Codec != media.AAC || p.tracks[1].Timescale != 44100 {
		t.Errorf("tracks %+v", p.tracks)
	}
	if len(p.expect) != 2 {
		t.Errorf("expected tracks: %v", p.expect)
	}
	checkVideo(t, p.track(media.VideoTrack), 50)
	checkAudio(t, p.track(media.AudioTrack))
	if p.arrived < len(p.frames)+2 {
		t.Errorf("%d messages counted, %d frames came", p.arrived, len(p.frames))
	}
	r := h.requests[0]
	if r.Proto != "rtmp" || r.Encoder != rtmp.DefaultEncoder || !strings.HasPrefix(r.Remote, "127.0.0.1:") {
		t.Errorf("request %+v", r)
	}
}

// checkVideo: 25 frames per second, rising decode times, B-frames, stamps.
func checkVideo(t *testing.T, fs []media.Frame, n int) {
	t.Helper()
	if len(fs) != n {
		t.Fatalf("%d video frames, want %d", len(fs), n)
	}
	reordered := 0
	for i, f := range fs {
		if f.DTS != int64(i)*3600 {
			t.Errorf("frame %d at %d, want %d", i, f.DTS, i*3600)
		}
		if f.PTS < f.DTS {
			t.Errorf("frame %d is shown before it is decoded", i)
		}
		if f.PTS > f.DTS+3600 {
			reordered++
		}
		if f.Key != (i%25 == 0) || f.Discontinuity {
			t.Errorf("frame %d: key %v, discontinuity %v", i, f.Key, f.Discontinuity)
		}
		if _, err := avcc.Check(f.Payload); err != nil {
			t.Errorf("frame %d: %v", i, err)
		}
		if s, _, ok := publisher.FindStamp(f.Payload); !ok || s.Frame != uint64(i) || time.Since(s.Sent) > time.Minute {
			t.Errorf("frame %d: stamp %+v, %v", i, s, ok)
		}
	}
	if reordered == 0 {
		t.Error("no B-frames came through")
	}
}

func checkAudio(t *testing.T, fs []media.Frame) {
	t.Helper()
	if len(fs) < 86 {
		t.Fatalf("%d audio frames, want 86 or more", len(fs))
	}
	for i, f := range fs[1:] {
		if f.DTS-fs[i].DTS != 1024 || f.PTS != f.DTS || !f.Key {
			t.Errorf("audio frame %d at %d after %d", i+1, f.DTS, fs[i].DTS)
		}
	}
}

func TestPublishOverTLS(t *testing.T) {
	cert := selfSigned(t)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, ln)
	pool := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(leaf)
	err = publishClip(t, publisher.Options{URL: strings.Replace(h.url(), "rtmp:", "rtmps:", 1), TLS: &tls.Config{RootCAs: pool}})
	if err != nil {
		t.Fatal(err)
	}
	p := h.pub(t, 0)
	p.wait(t, "unpublish")
	if n := len(p.track(media.VideoTrack)); n != 50 || h.requests[0].Proto != "rtmps" {
		t.Errorf("%d video frames over %s", n, h.requests[0].Proto)
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestEndWithoutUnpublish(t *testing.T) {
	for name, end := range map[string]publisher.End{"FIN": publisher.Cut, "RST": publisher.Reset} {
		t.Run(name, func(t *testing.T) {
			h := start(t, nil)
			if err := publishClip(t, publisher.Options{URL: h.url(), End: end}); err != nil {
				t.Fatal(err)
			}
			h.pub(t, 0).wait(t, "lose")
		})
	}
}

func TestRefusals(t *testing.T) {
	h := start(t, nil)
	h.refuse = map[string]error{
		"disabled": livestream.ErrDisabled, "damped": livestream.ErrDamped, "notstarted": livestream.ErrNotStarted,
		"busy": livestream.ErrBusy, "stopping": livestream.ErrStopping,
		"failing": livestream.Refusal{Err: livestream.ErrFailing, For: 12300 * time.Millisecond}, "broken": errors.New("disk on fire"),
	}
	tests := []struct{ path, code, says string }{
		{"live/unknown", rtmp.PublishDenied, "copy the key again"},
		{"live/disabled", rtmp.PublishDenied, "enable it"},
		{"live/damped", rtmp.PublishDenied, "for a while"},
		{"live/failing", rtmp.PublishDenied, "for a while (another 13 s)"},
		{"live/notstarted", rtmp.PublishDenied, "start it through the API"},
		{"live/busy", rtmp.PublishBadName, "another encoder"},
		{"live/stopping", rtmp.PublishDenied, "stopping"},
		{"live/broken", rtmp.PublishDenied, "fault of its own"},
		{"live/" + strings.Repeat("k", maxKey+1), rtmp.PublishDenied, "key is longer"},
		{"vod/" + testKey, rtmp.ConnectRejected, "set the encoder's server to"},
	}
	for _, tt := range tests {
		t.Run(tt.path[:min(len(tt.path), 20)], func(t *testing.T) {
			err := publishClip(t, publisher.Options{URL: "rtmp://" + h.addr + "/" + tt.path})
			s, ok := errors.AsType[*rtmp.StatusError](err)
			if !ok || s.Code != tt.code || !strings.Contains(s.Description, tt.says) || s.Level != rtmp.LevelError {
				t.Errorf("got %v, want %s with %q", err, tt.code, tt.says)
			}
		})
	}
	if len(h.pubs) != 0 {
		t.Error("a refused publish was accepted")
	}
	if n := h.srv.Stats().Refused.Load(); n != int64(len(tests)) {
		t.Errorf("%d refusals counted, want %d", n, len(tests))
	}
	if strings.Contains(h.log.String(), "unknown") || !strings.Contains(h.log.String(), "disk on fire") {
		t.Errorf("log:\n%s", h.log)
	}
}

// TestServerEnds: stop, takeover and silence end the publication's context;
// the encoder hears why.
func TestServerEnds(t *testing.T) {
	h := start(t, nil)
	started := make(chan struct{})
	result := make(chan error, 1)
	go func() {
		result <- publishClip(t, publisher.Options{URL: h.url(), Source: publisher.FromClip(loadClip(t), true), Speed: 1,
			OnStart: func() { close(started) }})
	}()
	<-started
	p := h.pub(t, 0)
	p.cancel(&ingest.CutError{Sentence: "the livestream was stopped through the API"})
	err := <-result
	s, ok := errors.AsType[*rtmp.StatusError](err)
	if !ok || s.Code != rtmp.StreamFailed || s.Description != "the livestream was stopped through the API" {
		t.Errorf("the encoder got %v", err)
	}
	p.wait(t, "lose")
}

func TestOutputFails(t *testing.T) {
	h := start(t, nil)
	result := make(chan error, 1)
	src := &gated{Source: publisher.FromClip(loadClip(t), true), gate: make(chan struct{}), after: 20}
	go func() {
		result <- publishClip(t, publisher.Options{URL: h.url(), Source: src, Speed: 1})
	}()
	p := h.pub(t, 0)
	p.mu.Lock()
	p.writeErr = errors.New("no space")
	p.mu.Unlock()
	close(src.gate)
	if _, ok := errors.AsType[*rtmp.StatusError](<-result); !ok {
		t.Error("the encoder was not told")
	}
	p.wait(t, "lose")
}

// gated is a source that waits at one tag until its gate opens.
type gated struct {
	publisher.Source
	gate  chan struct{}
	after int
	n     int
}

func (g *gated) Next() (flv.Tag, error) {
	if g.n++; g.n == g.after {
		<-g.gate
	}
	return g.Source.Next()
}

func TestServeEndsItsConnections(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{}
	srv := New(Config{Publish: r.Publish})
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, ln) }()
	idle, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	result := make(chan error, 1)
	go func() {
		result <- publishClip(t, publisher.Options{URL: "rtmp://" + ln.Addr().String() + "/live/" + testKey,
			Source: publisher.FromClip(loadClip(t), true), Speed: 1})
	}()
	p := r.pub(t, 0)
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	p.wait(t, "lose")
	if err := <-result; err == nil {
		t.Error("the publisher noticed nothing")
	}
}

func TestTooManyWaiting(t *testing.T) {
	h := start(t, nil, func(c *Config) { c.MaxWaiting = 2 })
	var open []net.Conn
	for range 4 {
		nc, err := net.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		open = append(open, nc)
	}
	eventually(t, "two closed", func() bool { return h.srv.Stats().Overflow.Load() == 2 })
	for _, nc := range open {
		nc.Close()
	}
	eventually(t, "room again", func() bool { return h.srv.waiting.Load() == 0 })
	if err := publishClip(t, publisher.Options{URL: h.url()}); err != nil {
		t.Error(err)
	}
}

// TestPanicEndsOneConnection: a bug behind one frame leaves the others alone.
func TestPanicEndsOneConnection(t *testing.T) {
	h := start(t, nil)
	result := make(chan error, 1)
	src := &gated{Source: publisher.FromClip(loadClip(t), true), gate: make(chan struct{}), after: 20}
	go func() { result <- publishClip(t, publisher.Options{URL: h.url(), Source: src, Speed: 1}) }()
	first := h.pub(t, 0)
	first.mu.Lock()
	first.onFrame = func(media.Frame) { panic("planted") }
	first.mu.Unlock()
	close(src.gate)
	first.wait(t, "lose")
	if <-result == nil {
		t.Error("the connection went on")
	}
	if err := publishClip(t, publisher.Options{URL: h.url()}); err != nil {
		t.Error(err)
	}
	h.pub(t, 1).wait(t, "unpublish")
	if !strings.Contains(h.log.String(), "planted") {
		t.Error("not logged")
	}
	h.srv.Stats().Panics.Store(0) // start's cleanup would fail the test otherwise
}

func ffmpegArgs(url string, more ...string) []string {
	args := []string{"-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30",
		"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"}
	args = append(args, more...)
	return append(args, "-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "30", "-pix_fmt", "yuv420p",
		"-c:a", "aac", "-f", "flv", url)
}

func TestFFmpeg(t *testing.T) {
	h := start(t, nil)
	if out, err := exec.Command("ffmpeg", ffmpegArgs(h.url(), "-t", "2")...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := h.pub(t, 0)
	p.wait(t, "unpublish")
	video, audio := p.track(media.VideoTrack), p.track(media.AudioTrack)
	if len(video) != 60 || len(audio) < 92 {
		t.Errorf("%d video and %d audio frames, want 60 and about 94", len(video), len(audio))
	}
	for i, f := range video {
		if i > 0 && (f.DTS <= video[i-1].DTS || f.DTS-video[i-1].DTS > 4000) || f.Key != (i%30 == 0) {
			t.Errorf("frame %d at %d, key %v", i, f.DTS, f.Key)
		}
	}
	checkAudio(t, audio)
	if len(p.expect) != 2 {
		t.Errorf("expected tracks: %v", p.expect)
	}
}

func TestFFmpegKilled(t *testing.T) {
	h := start(t, nil)
	cmd := exec.Command("ffmpeg", ffmpegArgs(h.url(), "-t", "60")...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := h.pub(t, 0)
	eventually(t, "media", func() bool { return len(p.track(media.VideoTrack)) > 10 })
	cmd.Process.Kill()
	cmd.Wait()
	p.wait(t, "lose")
}

// TestFFmpegRefused: ffmpeg prints the reason.
func TestFFmpegRefused(t *testing.T) {
	h := start(t, nil)
	out, err := exec.Command("ffmpeg", ffmpegArgs("rtmp://"+h.addr+"/live/nosuchkey", "-t", "2")...).CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("no livestream has this stream key")) {
		t.Errorf("%v\n%s", err, out)
	}
}
