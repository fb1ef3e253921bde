package player_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tally/internal/hls/hlscheck/origin"
	"tally/internal/hls/player"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs an origin on loopback, publishing in real time until ctx ends.
func serve(t *testing.T, o *origin.Origin) string {
	t.Helper()
	srv := httptest.NewServer(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		srv.Close()
	})
	return srv.URL + "/index.m3u8"
}

// Each way of fetching plays over sockets until a given part, then stops.
func TestSockets(t *testing.T) {
	tests := map[string]struct {
		o       player.Options
		noKeep  bool
		chunked bool
	}{
		"low latency":                    {o: player.Options{LowLatency: true, Check: true}},
		"plain":                          {o: player.Options{}},
		"low latency, bodies dropped":    {o: player.Options{LowLatency: true, Discard: true}},
		"lean":                           {o: player.Options{LowLatency: true, Lean: true}},
		"lean, plain":                    {o: player.Options{Lean: true}},
		"lean, a connection per request": {o: player.Options{LowLatency: true, Lean: true}, noKeep: true},
		"lean, chunked answers":          {o: player.Options{LowLatency: true, Lean: true}, chunked: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := origin.New(30)
			o.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if tt.noKeep {
					w.Header().Set("Connection", "close")
				}
				if tt.chunked {
					w.(http.Flusher).Flush()
				}
				return false
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			tt.o.URL = serve(t, o)
			var bytes int64
			tt.o.OnPart = func(p player.PartInfo) {
				bytes += p.Size
				if (p.Body == nil) != (tt.o.Lean || tt.o.Discard) || p.Size == 0 || p.Arrived.Before(p.Requested) {
					t.Errorf("%+v", p)
				}
				if p.MSN >= 21 {
					cancel()
				}
			}
			stats, err := player.New(tt.o).Run(ctx)
			if err != nil || stats.Status != player.Stopped || stats.LastMSN < 21 || stats.Errors != 0 || stats.MediaBytes < bytes {
				t.Errorf("%v, %+v", err, stats)
			}
		})
	}
}

// A lean client whose idle connection the server closed asks again.
func TestLeanIdleClose(t *testing.T) {
	t.Parallel()
	o := origin.New(30)
	srv := httptest.NewUnstartedServer(o)
	srv.Config.IdleTimeout = 50 * time.Millisecond // a plain player polls each second
	srv.Start()
	defer srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	running := make(chan struct{})
	go func() {
		defer close(running)
		o.Run(ctx)
	}()
	stats, err := player.New(player.Options{URL: srv.URL + "/index.m3u8", Lean: true, OnPart: func(p player.PartInfo) {
		if p.MSN >= 22 {
			cancel()
		}
	}}).Run(ctx)
	<-running
	if err != nil || stats.LastMSN < 22 || stats.Errors != 0 {
		t.Errorf("%v, %+v", err, stats)
	}
}

// Many lean players share nothing and each see every part.
func TestManyLean(t *testing.T) {
	t.Parallel()
	o := origin.New(30)
	url := serve(t, o)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	errs := make(chan error, 100)
	for range cap(errs) {
		wg.Go(func() {
			stats, err := player.New(player.Options{URL: url, LowLatency: true, Lean: true}).Run(ctx)
			if err != nil || stats.Parts < 3 || stats.Errors != 0 || stats.Jumps != 0 {
				err = fmt.Errorf("%v: %+v", err, stats)
			}
			errs <- err
		})
	}
	wg.Wait()
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
