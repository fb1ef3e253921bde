//go:build browser

package e2e

import (
	"testing"

	"tally/internal/servertest"
)

// TestDocs reads the documentation of the API on a screen and on a phone, by
// day and by night, with the keyboard.
func TestDocs(t *testing.T) {
	s, p := serve(t), servertest.Browse(t)
	for _, c := range []struct {
		name string
		how  servertest.Command
		axe  bool // which takes its time on a page of this length
	}{
		{"docs-dark", servertest.Command{"width": 1280, "height": 900}, true},
		{"docs-light", servertest.Command{"width": 1280, "height": 900, "dark": false}, false},
		{"docs-phone", servertest.Command{"width": 390, "height": 844}, false},
		{"docs-narrow", servertest.Command{"width": 320, "height": 640, "dark": false}, true},
	} {
		if status := p.Open("http://"+s.HTTP+"/docs", c.how); status != 200 {
			t.Fatalf("status %d", status)
		}
		p.Shot(c.name)
		var wide bool
		if p.Eval(`document.documentElement.scrollWidth > innerWidth`, &wide); wide {
			t.Errorf("%s: the page is wider than the screen", c.name)
		}
		p.Eval(`document.querySelectorAll('details').forEach(d => d.open = true)`, nil)
		if p.Eval(`document.documentElement.scrollWidth > innerWidth`, &wide); wide {
			t.Errorf("%s: the page is wider than the screen with everything unfolded", c.name)
		}
		if c.axe {
			p.Accessible(c.name)
		}
		p.Eval(`document.getElementById('createLivestream').scrollIntoView({behavior: 'instant'})`, nil)
		p.Shot(c.name + "-route")
	}
	var lost []string // links of the page that lead nowhere
	p.Eval(`[...document.querySelectorAll('a[href^="#"]')].filter(a => !document.getElementById(a.hash.slice(1))).map(a => a.hash)`, &lost)
	if len(lost) > 0 {
		t.Errorf("links that lead nowhere: %q", lost)
	}
	var twice []string
	p.Eval(`[...document.querySelectorAll('[id]')].map(e => e.id).filter((id, i, all) => all.indexOf(id) !== i)`, &twice)
	if len(twice) > 0 {
		t.Errorf("ids that stand twice: %q", twice)
	}

	p.Open("http://"+s.HTTP+"/docs", servertest.Command{"width": 1280, "height": 900})
	press := func(key string) { t.Helper(); p.Tell(servertest.Command{"do": "key", "key": key}, nil) }
	press("Tab")
	press("Enter")
	var at string
	if p.Eval(`location.hash + ' ' + document.activeElement.id`, &at); at != "#content content" {
		t.Errorf("the first key leads to %q, want the text", at)
	}
	p.Open("http://"+s.HTTP+"/", nil)
	p.Tell(servertest.Command{"do": "click", "selector": `a[href="docs"]`}, nil)
	if p.Eval(`location.pathname`, &at); at != "/docs" {
		t.Errorf("the front page leads to %q", at)
	}
	var foreign []string // what the page loaded from elsewhere
	p.Eval(`performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith(location.origin + '/static/'))`, &foreign)
	if len(foreign) > 0 {
		t.Errorf("the page loaded %q", foreign)
	}
	p.Quiet()
}
