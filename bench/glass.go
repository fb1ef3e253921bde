package main

import (
	"context"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"tally/internal/rtmp/flv"
	"tally/internal/rtmp/publisher"
)

// The burnt-in clock: each picture of the clip has its number in its top left
// corner, as blocks that are white for 1 and black for 0, the lowest bit first,
// and then the same inverted, so that a picture that is not the clip's, or is
// between two, is no number. The loop has clipSeconds x clipFrameRate pictures,
// so latencies below clipSeconds are unambiguous.
const (
	numberBits  = 8 // 240 pictures
	blockPixels = 40
)

// burntNumber is the part of ffmpeg's filter that draws it.
func burntNumber() string {
	var b strings.Builder
	fmt.Fprintf(&b, ",drawbox=x=0:y=0:w=%d:h=%d:color=black:t=fill", 2*numberBits*blockPixels, blockPixels)
	for bit := range numberBits {
		for inverse := range 2 {
			fmt.Fprintf(&b, ",drawbox=x=%d:y=0:w=%d:h=%d:color=white:t=fill:enable='eq(mod(floor(n/%d)\\,2)\\,%d)'",
				(inverse*numberBits+bit)*blockPixels, blockPixels, blockPixels, 1<<bit, 1-inverse)
		}
	}
	return b.String()
}

// glassScript runs in the watch page before its own: window.glass.seen gets
// [number, wall clock in ms] of each picture when it is due on the screen,
// glass.first when the first was, glass.stalls how long the picture stood still
// beyond 300 ms, and glass.shown how many pictures there were, in ms.
var glassScript = fmt.Sprintf(`(() => {
	const bits = %d, block = %d;
	const glass = window.glass = { seen: [], first: 0, stalled: 0, shown: 0, unread: 0 };
	const canvas = new OffscreenCanvas(2 * bits, 1);
	const ctx = canvas.getContext('2d', { willReadFrequently: true });
	let last = 0;
	function picture(now, frame) {
		video.requestVideoFrameCallback(picture);
		const at = performance.timeOrigin + frame.expectedDisplayTime;
		glass.shown++;
		if (!glass.first) glass.first = at - performance.timeOrigin;
		if (last && at - last > 300) glass.stalled += at - last - 33;
		last = at;
		const scale = video.videoWidth / 1280;
		ctx.drawImage(video, 0, 0, 2 * bits * block * scale, block * scale, 0, 0, 2 * bits, 1);
		const p = ctx.getImageData(0, 0, 2 * bits, 1).data;
		let n = 0, inverse = 0;
		for (let i = 0; i < bits; i++) {
			if (p[4 * i] > 128) n += 1 << i;
			if (p[4 * (i + bits)] > 128) inverse += 1 << i;
		}
		if (n + inverse === (1 << bits) - 1) glass.seen.push([n, at]); else glass.unread++;
	}
	let video;
	new MutationObserver((_, observer) => {
		video = document.querySelector('video');
		if (!video) return;
		observer.disconnect();
		video.requestVideoFrameCallback(picture);
	}).observe(document, { childList: true, subtree: true });
})()`, numberBits, blockPixels)

// pagePlays is how long the page plays of which glass to glass is taken, in
// turns: twelve, that is two minutes.
const pageTurns = 12

// glass measures what a person sees, in Chromium with our page: from when the
// encoder sends a picture to when it is due on the screen, and how long a page
// takes to show its first. --phase makes it longer: an hour is 5m.
func (b *bench) glass(ctx context.Context) error { return b.seen(ctx, "loopback") }

// link is glass over a link with 80 ms round trip and 6 Mbit/s.
func (b *bench) link(ctx context.Context) error { return b.seen(ctx, "80 ms, 6 Mbit/s") }

// seen is glass or link, with a server and a browser of its own.
func (b *bench) seen(ctx context.Context, via string) error {
	clip, err := b.loadClip()
	if err != nil {
		return err
	}
	t, err := b.startTally(ctx)
	if err != nil {
		return err
	}
	defer t.stop()
	to, err := t.create(ctx, "bench glass")
	if err != nil {
		return err
	}
	sent := &clock{Source: publisher.FromClip(clip, true), pictures: pictures(clip)}
	air := publishSource(ctx, to.rtmpURL, sent, false, publisher.Clean)
	defer air.stop()
	if err := air.accepted(ctx); err != nil {
		return err
	}
	if err := pause(ctx, 15*time.Second); err != nil { // the list is as long as it gets
		return err
	}
	host := t.http
	if via != "loopback" {
		link, err := openLink(t.http, 40*time.Millisecond, 6_000_000)
		if err != nil {
			return err
		}
		defer link.close()
		host = link.addr()
	}
	return b.watch(ctx, via, "http://"+host+path.Join("/watch", path.Base(path.Dir(to.playback))), sent)
}

// watch opens the page a few times, and then watches for a while.
func (b *bench) watch(ctx context.Context, via, url string, sent *clock) error {
	page, err := openChromium(ctx)
	if err != nil {
		return err
	}
	defer page.close()
	if err := page.tell(map[string]any{"do": "before", "code": glassScript}, nil); err != nil {
		return err
	}
	var firsts []time.Duration
	for range 1 + 3*b.Rounds {
		d, err := page.firstPicture(ctx, url)
		if err != nil {
			return err
		}
		firsts = append(firsts, d)
	}
	firsts = firsts[1:] // the first start of a browser meets a cold cache
	slices.Sort(firsts)
	opened := row{Scenario: scenarioOf(via), What: "page opened to first picture, " + via + ", p50", Unit: "ms", Ours: millis(percentile(firsts, 50))}
	if via == "loopback" {
		opened = opened.atMost(700)
	}
	b.add(opened.noted(fmt.Sprintf("worst of %d: %.0f ms", len(firsts), millis(firsts[len(firsts)-1]))))
	return b.latency(ctx, page, via, sent)
}

// latency takes what the page that is open shows.
func (b *bench) latency(ctx context.Context, page *chromium, via string, sent *clock) error {
	var all []time.Duration
	var medians []float64 // of each turn, in seconds
	turns := pageTurns
	if b.Short {
		turns = 3
	}
	var said glassSaid
	for range turns {
		if err := page.eval(`(glass.seen = [], 0)`, nil); err != nil {
			return err
		}
		if err := pause(ctx, b.Phase); err != nil {
			return err
		}
		if err := page.eval(`glass`, &said); err != nil {
			return err
		}
		turn := sent.latencies(said.Seen)
		if len(turn) == 0 {
			return fmt.Errorf("no picture could be read in %v (%d were no number)", b.Phase, said.Unread)
		}
		all = append(all, turn...)
		slices.Sort(turn)
		medians = append(medians, percentile(turn, 50).Seconds())
	}
	slices.Sort(all)
	watched := time.Duration(turns) * b.Phase
	p50 := row{Scenario: scenarioOf(via), What: "glass to glass, " + via + ", p50", Unit: "ms", Ours: millis(percentile(all, 50))}
	p95 := row{Scenario: scenarioOf(via), What: "the same, p95", Unit: "ms", Ours: millis(percentile(all, 95))}
	drift := row{Scenario: scenarioOf(via), What: "the same, drift", Unit: "s/h", Ours: slope(medians) * float64(time.Hour/b.Phase)}
	stalled := row{Scenario: scenarioOf(via), What: "picture stood still, " + via, Unit: "%", Ours: 100 * said.Stalled / millis(watched)}
	if via == "loopback" {
		p50, p95 = p50.atMost(1500), p95.atMost(2000)
		if watched >= 10*time.Minute { // of less, noise makes hours of drift
			drift = drift.goal("<= 0.1 s/h", math.Abs(drift.Ours) <= 0.1)
		}
	}
	b.add(p50)
	b.add(p95)
	b.add(drift.noted(fmt.Sprintf("over %v", watched)))
	b.add(stalled.atMost(0.1).noted(fmt.Sprintf("of %v", watched)))
	return nil
}

// glassSaid is window.glass of the page; times are in ms.
type glassSaid struct {
	Seen    [][2]float64
	First   float64
	Stalled float64
	Shown   int
	Unread  int
}

// firstPicture opens the page anew and returns how long it took until a picture
// was on the screen.
func (c *chromium) firstPicture(ctx context.Context, url string) (time.Duration, error) {
	if err := c.tell(map[string]any{"do": "open", "url": url}, nil); err != nil {
		return 0, err
	}
	for began := time.Now(); time.Since(began) < 20*time.Second; {
		var first float64
		if err := c.eval(`glass.first`, &first); err != nil {
			return 0, err
		}
		if first > 0 {
			return time.Duration(first * float64(time.Millisecond)), nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("%s showed no picture within 20 s", url)
}

// A clock notes when each picture of the loop was sent last.
type clock struct {
	publisher.Source
	pictures int // of one turn of the loop

	mu   sync.Mutex
	next int // number of the picture that is asked for next
	now  int // the one handed out and not yet known to be sent; -1: none
	any  bool
	sent [1 << numberBits][]time.Time // by number, oldest first
}

// Next implements publisher.Source. A tag has been sent when the next one is
// asked for.
func (c *clock) Next() (flv.Tag, error) {
	c.mu.Lock()
	if c.any {
		c.sent[c.now] = append(c.sent[c.now], time.Now())
		if len(c.sent[c.now]) > 4 {
			c.sent[c.now] = c.sent[c.now][1:]
		}
		c.any = false
	}
	c.mu.Unlock()
	t, err := c.Source.Next()
	if err == nil && t.Type == flv.TypeVideo && !flv.IsSequenceHeader(t) && flv.IsFrame(t) {
		c.mu.Lock()
		c.now, c.any = c.next, true
		c.next = (c.next + 1) % c.pictures
		c.mu.Unlock()
	}
	return t, err
}

// latencies are the times from sending to screen of pictures that a page saw.
func (c *clock) latencies(seen [][2]float64) []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []time.Duration
	for _, s := range seen {
		n, shown := int(s[0]), time.UnixMicro(int64(s[1]*1000))
		if n < 0 || n >= c.pictures {
			continue
		}
		for _, at := range slices.Backward(c.sent[n]) {
			if d := shown.Sub(at); d > 0 {
				out = append(out, d)
				break
			}
		}
	}
	return out
}

// pictures counts a clip's.
func pictures(c *flv.Clip) (n int) {
	for _, t := range c.Tags {
		if t.Type == flv.TypeVideo && !flv.IsSequenceHeader(t) && flv.IsFrame(t) {
			n++
		}
	}
	return n
}

// slope is by how much values rise from one to the next, by least squares.
func slope(values []float64) float64 {
	n := float64(len(values))
	if n < 2 {
		return 0
	}
	var sx, sy, sxy, sxx float64
	for i, y := range values {
		x := float64(i)
		sx, sy, sxy, sxx = sx+x, sy+y, sxy+x*y, sxx+x*x
	}
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}

// scenarioOf is the scenario whose rows are of that way to the server.
func scenarioOf(via string) string {
	if via == "loopback" {
		return "glass"
	}
	return "link"
}
