package player_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tally/internal/hls/hlscheck/origin"
	"tally/internal/hls/player"
	"tally/internal/hls/playlist"
)

const index = "http://origin.test/index.m3u8"

// watch plays an origin in virtual time: it has published n parts, goes on
// publishing, and script runs beside the player.
func watch(t *testing.T, o *origin.Origin, opts player.Options, script func(ctx context.Context, o *origin.Origin)) (player.Stats, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		script(ctx, o)
	}()
	if opts.URL == "" {
		opts.URL = index
	}
	opts.Client = &http.Client{Transport: origin.Transport{Handler: o}}
	stats, err := player.New(opts).Run(ctx)
	cancel()
	<-done
	return stats, err
}

// publish goes on in real time for d.
func publish(ctx context.Context, o *origin.Origin, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	o.Run(ctx)
}

func playAndEnd(d time.Duration) func(context.Context, *origin.Origin) {
	return func(ctx context.Context, o *origin.Origin) {
		publish(ctx, o, d)
		o.End()
	}
}

func TestLowLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var parts []player.PartInfo
		stats, err := watch(t, origin.New(40), player.Options{
			LowLatency: true, Check: true, OnPart: func(p player.PartInfo) { parts = append(parts, p) },
		}, playAndEnd(20*time.Second+time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		if stats.Status != player.Ended || !stats.LowLatency || stats.Stalls != 0 || stats.Errors != 0 || stats.Jumps != 0 {
			t.Errorf("stats %+v", stats)
		}
		// 20 s are 60 parts, and three or four lie between hold-back and edge.
		if stats.Parts < 63 || stats.Parts > 65 || stats.HintHits < 58 || stats.Deltas < 50 || stats.Inits != 1 {
			t.Errorf("parts %d, of them hinted %d; deltas %d; inits %d", stats.Parts, stats.HintHits, stats.Deltas, stats.Inits)
		}
		for i, p := range parts {
			if p.Body == nil || p.Size != int64(len(p.Body)) || p.Map != "init-0-0.mp4" || p.ProgramDateTime.IsZero() {
				t.Errorf("part %+v", p)
			}
			if i == 0 {
				continue
			}
			before := parts[i-1]
			if off := p.ProgramDateTime.Sub(before.ProgramDateTime.Add(before.Duration)); off.Abs() > 2*time.Millisecond {
				t.Errorf("part %d of MSN %d is dated %v after the end of the one before", p.Part, p.MSN, off)
			}
			if p.MSN != before.MSN && (p.MSN != before.MSN+1 || p.Part != 0 || !p.Independent) || p.MSN == before.MSN && p.Part != before.Part+1 {
				t.Errorf("MSN %d part %d after MSN %d part %d", p.MSN, p.Part, before.MSN, before.Part)
			}
		}
	})
}

// The start is the last independent part at or before PART-HOLD-BACK, and the
// latency at the playhead stays where it began.
func TestLowLatencyStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := origin.New(30) // MSN 10 to 19; a hold-back of 1.005 s leads 5 ms into MSN 18
		var first player.PartInfo
		_, err := watch(t, o, player.Options{LowLatency: true, OnPart: func(p player.PartInfo) {
			if first.URI == "" {
				first = p
			}
		}}, playAndEnd(time.Second))
		if err != nil || first.Part != 0 || first.MSN != 18 {
			t.Errorf("began at %+v, %v", first, err)
		}
	})
}

func TestPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stats, err := watch(t, origin.New(30), player.Options{Check: true}, playAndEnd(20*time.Second+time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		if stats.Status != player.Ended || stats.LowLatency || stats.Stalls != 0 || stats.Parts != 0 ||
			stats.Segments < 22 || stats.Segments > 24 || stats.Deltas != 0 || stats.HintHits != 0 {
			t.Errorf("stats %+v", stats)
		}
		if stats.Reloads < 18 || stats.Reloads > 42 {
			t.Errorf("%d reloads in 20 s of 1 s segments", stats.Reloads)
		}
	})
}

// An encoder that leaves for 5 s and comes back: one discontinuity, a new map,
// a stall, no error.
func TestReconnect(t *testing.T) {
	for _, low := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			discontinuities := 0
			stats, err := watch(t, origin.New(31), player.Options{LowLatency: low, Check: true, OnPart: func(p player.PartInfo) {
				if p.Discontinuity {
					discontinuities++
					if p.Map != "init-1-1.mp4" || p.MSN < 14 {
						t.Errorf("after the discontinuity: %+v", p)
					}
				}
			}}, func(ctx context.Context, o *origin.Origin) {
				publish(ctx, o, 4*time.Second)
				time.Sleep(5 * time.Second)
				o.Discontinue(5 * time.Second)
				publish(ctx, o, 10*time.Second)
				o.End()
			})
			if err != nil {
				t.Fatal(err)
			}
			if stats.Discontinuities != 1 || discontinuities != 1 || stats.Inits != 2 || stats.Jumps != 0 ||
				stats.Stalls < 1 || stats.Stalls > 2 { // plain: the last, short segment comes in between
				t.Errorf("low latency %v: %+v", low, stats)
			}
			if stats.StallTime < time.Second || stats.StallTime > 6*time.Second {
				t.Errorf("low latency %v: stalled for %v", low, stats.StallTime)
			}
			if low && stats.Unavailable == 0 {
				t.Error("no reload was held until 503")
			}
		})
	}
}

func TestStaleWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stats, err := watch(t, origin.New(30), player.Options{LowLatency: true, MaxStale: 20 * time.Second},
			func(ctx context.Context, o *origin.Origin) { publish(ctx, o, 4*time.Second) })
		if !errors.Is(err, player.ErrStale) || stats.Status != player.Broken || stats.LastError == "" {
			t.Errorf("%v, %+v", err, stats)
		}
	})
}

// refuse answers requests whose path matches, so many times, with a status.
func refuse(o *origin.Origin, match string, status, times int) {
	var mu sync.Mutex // the hint's request comes beside the others
	o.Before = func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if times == 0 || !strings.Contains(r.URL.String(), match) {
			return false
		}
		times--
		w.Header().Set("Retry-After", "2")
		w.WriteHeader(status)
		return true
	}
}

func TestAnswers(t *testing.T) {
	tests := []struct {
		name, match   string
		status, times int
		low           bool
		want          error
	}{
		{"stream that is starting", "index", 503, 5, true, nil},
		{"stream that never starts", "index", 503, -1, true, player.ErrUnavailable},
		{"nothing on air", "index", 404, 1, true, player.ErrNotFound},
		{"no permission", "index", 403, 1, true, player.ErrUnavailable},
		{"media playlist missing", "media", 404, 1, true, player.ErrNotFound},
		{"reload held to its limit", "_HLS_msn", 503, 3, true, nil},
		{"reload gone", "_HLS_msn", 404, 1, true, player.ErrGone},
		{"reload refused once", "_HLS_msn", 400, 1, true, nil},
		{"reload broken once", "_HLS_msn", 500, 1, true, nil},
		{"init section missing", "init-", 404, 1, true, player.ErrMedia},
		{"init section unavailable at first", "init-", 503, 1, true, nil},
		{"listed part missing", "part-0-2", 404, -1, true, player.ErrMedia},
		{"segment missing", "seg-", 404, -1, false, player.ErrMedia},
		{"segment unavailable at first", "seg-", 503, 2, false, nil},
		{"segment unavailable for good", "seg-", 503, -1, false, player.ErrMedia},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := origin.New(20)
				refuse(o, tt.match, tt.status, tt.times)
				stats, err := watch(t, o, player.Options{LowLatency: tt.low}, playAndEnd(30*time.Second))
				if !errors.Is(err, tt.want) || (tt.want == nil) != (err == nil) {
					t.Errorf("error %v, want %v", err, tt.want)
				}
				if tt.want == nil && (stats.Status != player.Ended || stats.Parts+stats.Segments < 5) {
					t.Errorf("stats %+v", stats)
				}
			})
		})
	}
}

func TestBrokenPlaylists(t *testing.T) {
	tests := map[string]func(*playlist.Media){
		"reload that cannot be read": func(m *playlist.Media) {
			if m.NextMSN() > 18 {
				m.TargetDuration = 0
			}
		},
	}
	for name, edit := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := origin.New(20)
				o.Edit = edit
				_, err := watch(t, o, player.Options{LowLatency: true}, playAndEnd(30*time.Second))
				if !errors.Is(err, player.ErrPlaylist) {
					t.Errorf("error %v, want ErrPlaylist", err)
				}
			})
		})
	}
	for name, text := range map[string]string{
		"not a playlist": "<html>", "no variant": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n",
		"multivariant behind multivariant": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nindex.m3u8\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := origin.New(20)
				o.Before = func(w http.ResponseWriter, r *http.Request) bool {
					w.Write([]byte(text))
					return true
				}
				_, err := watch(t, o, player.Options{}, playAndEnd(0))
				if !errors.Is(err, player.ErrPlaylist) {
					t.Errorf("error %v, want ErrPlaylist", err)
				}
			})
		})
	}
}

// A player that could not fetch for longer than the window goes on at the live
// edge, and says that it left something out.
func TestFallsOutOfWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := origin.New(30)
		slow := false
		o.Before = func(w http.ResponseWriter, r *http.Request) bool {
			if o.Current().NextMSN() > 25 && !slow && strings.Contains(r.URL.Path, "part-") {
				slow = true
				time.Sleep(20 * time.Second)
			}
			return false
		}
		stats, err := watch(t, o, player.Options{LowLatency: true, NoHint: true}, playAndEnd(60*time.Second))
		if err != nil || stats.Jumps != 1 || stats.Stalls != 1 || stats.Status != player.Ended {
			t.Errorf("%v, %+v", err, stats)
		}
	})
}

// A delta update that cannot be completed costs one request for the full list.
func TestSkipGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := origin.New(40)
		broken, fulls := 0, 0
		o.Edit = func(m *playlist.Media) {
			if m.SkippedSegments > 0 && broken == 0 {
				broken++
				m.SkippedSegments += 100
			} else if m.SkippedSegments == 0 {
				fulls++
			}
		}
		stats, err := watch(t, o, player.Options{LowLatency: true}, playAndEnd(5*time.Second))
		if err != nil || broken != 1 || fulls != 3 || stats.Jumps != 0 || stats.Stalls != 0 { // first, again, and the end
			t.Errorf("%v, %d full lists, %+v", err, fulls, stats)
		}
	})
}

func TestGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := origin.New(20)
		o.Edit = func(m *playlist.Media) {
			for i := range m.Segments {
				if m.MediaSequence+int64(i) == 20 && m.SkippedSegments == 0 {
					m.Segments[i].Gap = true
				}
			}
		}
		stats, err := watch(t, o, player.Options{}, playAndEnd(20*time.Second))
		if err != nil || stats.Gaps != 1 {
			t.Errorf("%v, %+v", err, stats)
		}
	})
}

// The checker's findings end up in the statistics and in Run's error.
func TestViolations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := origin.New(30)
		o.Edit = func(m *playlist.Media) { m.HoldBack = time.Second }
		stats, err := watch(t, o, player.Options{LowLatency: true, Check: true}, playAndEnd(5*time.Second))
		if !errors.Is(err, player.ErrViolations) || len(stats.Violations) != 1 || stats.Violations[0].Rule != "hold-back" {
			t.Errorf("%v, %v", err, stats.Violations)
		}
	})
}

// Statistics may be read while the player plays, and show a stall under way.
func TestStatsWhilePlaying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := origin.New(30)
		ctx, cancel := context.WithCancel(t.Context())
		p := player.New(player.Options{
			URL: index, LowLatency: true, Client: &http.Client{Transport: origin.Transport{Handler: o}},
		})
		if s := p.Stats(); s.Status != player.Starting || s.LastMSN != -1 {
			t.Errorf("before Run: %+v", s)
		}
		done := make(chan player.Stats)
		go func() {
			s, err := p.Run(ctx)
			if err != nil {
				t.Error(err)
			}
			done <- s
		}()
		publish(ctx, o, 5*time.Second+100*time.Millisecond)
		s := p.Stats()
		if s.Status != player.Playing || s.Played < 5*time.Second || s.Played > 5200*time.Millisecond || s.Stalls != 0 ||
			s.Latency < time.Second || s.Latency > 3*time.Second {
			t.Errorf("playing: %+v", s)
		}
		time.Sleep(10 * time.Second)
		s = p.Stats()
		if s.Status != player.Stalled || s.Stalls != 1 || s.StallTime < 7*time.Second || s.Buffer != 0 {
			t.Errorf("stalled: %+v", s)
		}
		cancel()
		if s := <-done; s.Status != player.Stopped || s.Stalls != 1 {
			t.Errorf("stopped: %+v", s)
		}
	})
}

func TestURLs(t *testing.T) {
	for _, raw := range []string{"", "origin.test/index.m3u8", "ftp://origin.test/x", "http://%zz/", "http:///x"} {
		if _, err := player.New(player.Options{URL: raw}).Run(t.Context()); err == nil {
			t.Errorf("%q: no error", raw)
		}
	}
}

// A held picture is told as what it is: reconnecting, not playing, and without
// a latency. It is no stall.
func TestHeldPicture(t *testing.T) {
	for _, low := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			o := origin.New(40)
			from := o.Current().NextMSN() + 2
			o.Edit = func(m *playlist.Media) {
				for i := range m.Segments {
					s := &m.Segments[i]
					switch msn := m.FirstMSN() + int64(i); {
					case msn == from || msn == from+5:
						s.Discontinuity = true
						fallthrough
					case msn > from && msn < from+5:
						if msn < from+5 && s.URI != "" {
							s.Title = playlist.TitleHeld
						}
					}
				}
			}
			held := time.Duration(0)
			p := player.New(player.Options{URL: index, LowLatency: low, Client: &http.Client{Transport: origin.Transport{Handler: o}},
				OnPart: func(i player.PartInfo) {
					if want := i.MSN >= from && i.MSN < from+5; i.Held != want && !(i.Part >= 0 && i.MSN == from) {
						t.Errorf("MSN %d part %d: held is %v", i.MSN, i.Part, i.Held)
					}
					if i.Held {
						held += i.Duration
					}
				}})
			go func() {
				publish(ctx, o, 20*time.Second)
				o.End()
			}()
			var seen []player.Status
			done := make(chan struct{})
			go func() {
				defer close(done)
				for ctx.Err() == nil && !p.Stats().Ended {
					s := p.Stats()
					if s.Status != player.Starting && (len(seen) == 0 || seen[len(seen)-1] != s.Status) {
						seen = append(seen, s.Status)
					}
					if (s.Status == player.Reconnecting) != (s.Latency == 0) && s.Status != player.Starting {
						t.Errorf("%s with a latency of %v", s.Status, s.Latency)
					}
					time.Sleep(50 * time.Millisecond)
				}
			}()
			stats, err := p.Run(ctx)
			<-done
			if err != nil || stats.Stalls != 0 || stats.Held != held || held < 4*time.Second {
				t.Errorf("low latency %v: %v, stats %+v", low, err, stats)
			}
			want := []player.Status{player.Playing, player.Reconnecting, player.Playing}
			if !slices.Equal(seen, want) {
				t.Errorf("low latency %v: seen %v, want %v", low, seen, want)
			}
		})
	}
}
