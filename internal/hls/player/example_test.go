package player_test

import (
	"context"
	"fmt"
	"net/http"

	"tally/internal/hls/hlscheck/origin"
	"tally/internal/hls/player"
)

// Plays until a segment has come, and prints how it went.
func Example() {
	o := origin.New(30)
	ctx, stop := context.WithCancel(context.Background())
	p := player.New(player.Options{
		URL:    "http://origin.test/index.m3u8",
		Client: &http.Client{Transport: origin.Transport{Handler: o}},
		OnPart: func(i player.PartInfo) {
			fmt.Println(i.MSN, i.URI, i.Duration, len(i.Body) > 0)
			if i.MSN == 19 {
				stop()
			}
		},
	})
	stats, err := p.Run(ctx)
	fmt.Println(stats.Status, stats.Segments, stats.Stalls, err)
	// Output:
	// 17 seg-0-17.m4s 1s true
	// 18 seg-0-18.m4s 1s true
	// 19 seg-0-19.m4s 1s true
	// stopped 3 0 <nil>
}
