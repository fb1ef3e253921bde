package beacon_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tally/internal/playback/beacon"
)

func TestJSON(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       []beacon.Played
	}{
		{"one report", `{"seq":3,"played_ms":4012}`, []beacon.Played{{3, 4012 * time.Millisecond}}},
		{"unknown members", `{"page":{"a":[1]},"played_ms":0,"seq":0}`, []beacon.Played{{0, 0}}},
		{"a fraction", `{"seq":1,"played_ms":0.25}`, []beacon.Played{{1, 250 * time.Microsecond}}},
		{"several lines", "{\"seq\":1,\"played_ms\":1}\n{\"seq\":2,\"played_ms\":2}\n", []beacon.Played{{1, time.Millisecond}, {2, 2 * time.Millisecond}}},
		{"spread over lines", "{\r\n\"seq\": 1,\r\n \"played_ms\": 1e3}", []beacon.Played{{1, time.Second}}},
		{"the longest", `{"seq":9223372036854775807,"played_ms":86400000}`, []beacon.Played{{1<<63 - 1, 24 * time.Hour}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := beacon.Parse([]byte(c.body))
			if diff := cmp.Diff(beacon.Reports{Played: c.want}, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestCMCD(t *testing.T) {
	moment := func(change func(*beacon.Moment)) beacon.Moment {
		m := beacon.Moment{At: 1764000004000, Seq: -1, Rate: 1, Playhead: -1}
		change(&m)
		return m
	}
	for _, c := range []struct {
		name, body string
		want       beacon.Moment
	}{
		{"as the reference reporter writes it", `e=t,sid="6e2fb550-c457-11e9-bb97-0800200c9a66",sn=4,sta=p,ts=1764000004000,v=2`, moment(func(m *beacon.Moment) {
			m.Session, m.Seq, m.State = "6e2fb550-c457-11e9-bb97-0800200c9a66", 4, beacon.StatePlaying
		})},
		{"hidden", `bg,e=b,ts=1764000004000`, moment(func(m *beacon.Moment) { m.Hidden = true })},
		{"hidden, spelled out", `bg=?1, ts=1764000004000`, moment(func(m *beacon.Moment) { m.Hidden = true })},
		{"visible, spelled out", `bg=?0,ts=1764000004000`, moment(func(m *beacon.Moment) {})},
		{"a rate", `ts=1764000004000,pr=1.05`, moment(func(m *beacon.Moment) { m.Rate = 1.05 })},
		{"rewinding", `ts=1764000004000,pr=-2`, moment(func(m *beacon.Moment) { m.Rate = 0 })},
		{"a playhead", `ts=1764000004000,pt=1764000001500`, moment(func(m *beacon.Moment) { m.Playhead = 1764000001500 })},
		{"paused", `sta=a,ts=1764000004000`, moment(func(m *beacon.Moment) { m.State = beacon.StateStopped })},
		{"a state of later versions", `sta=zz,ts=1764000004000`, moment(func(m *beacon.Moment) { m.State = beacon.StateStopped })},
		{"lists, parameters, and keys of others", `bl=(1200;v 900;a),br=(5000),com.example-x="a,b;c=(\"",cid="x";q=1;r,ts=1764000004000;z="1,2",nor=("a,b.m4s";r="0-5")`,
			moment(func(m *beacon.Moment) {})},
		{"the last of a key counts", `ts=5,ts=1764000004000`, moment(func(m *beacon.Moment) {})},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := beacon.Parse([]byte("\n" + c.body + "\r\n"))
			if diff := cmp.Diff(beacon.Reports{Moments: []beacon.Moment{c.want}}, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for body, reason := range map[string]string{
		"":                                "the body is empty",
		" \n\t":                           "the body is empty",
		"{}":                              "seq and played_ms are required",
		`{"seq":1}`:                       "seq and played_ms are required",
		`{"seq":"1","played_ms":1}`:       "report 1: seq must be a whole number",
		`{"seq":1.5,"played_ms":1}`:       "seq must be a whole number",
		`{"seq":-1,"played_ms":1}`:        "seq must be 0 or more",
		`{"seq":1,"played_ms":"1"}`:       "played_ms must be a number",
		`{"seq":1,"played_ms":-0.1}`:      "played_ms must be from 0 to 86400000",
		`{"seq":1,"played_ms":86400001}`:  "played_ms must be from 0 to 86400000",
		`{"seq":1,"played_ms":1e999}`:     "played_ms must be a number",
		`{"seq":1,"played_ms":NaN}`:       "not JSON",
		`{"seq":1,"played_ms":1}{"seq":2`: "report 2 is not JSON",
		`{"seq":1,"played_ms":1}]`:        "report 2 is not JSON",
		`[{"seq":1,"played_ms":1}]`:       "a JSON array",
		"hello":                           "the key ts is missing",
		"Hello there":                     "line 1 is neither JSON nor CMCD",
		"nonsense!":                       "line 1 is no CMCD from key nonsense on",
		"<html>":                          "line 1 is neither JSON nor CMCD",
		"e=t,sta=p":                       "the key ts is missing",
		"ts=1\nsta=p":                     "line 2: the key ts is missing",
		"ts=-1":                           "key ts has a value",
		"ts=+1":                           "key ts has a value",
		"ts=1.5":                          "key ts has a value",
		"ts=1000000000000000":             "key ts has a value",
		"ts=\"1\"":                        "key ts has a value",
		"ts=1,bg=1":                       "key bg has a value",
		"ts=1,sta=\"p\"":                  "key sta has a value",
		"ts=1,sta":                        "key sta has a value",
		"ts=1,pr=fast":                    "key pr has a value",
		"ts=1,pr=1e3":                     "key pr has a value",
		"ts=1,sid=\"open":                 "no CMCD from key sid on",
		"ts=1,nor=(\"a\"":                 "no CMCD from key nor on",
		"ts=1,nor=((1))":                  "no CMCD from key nor on",
		"ts=1,":                           "no CMCD from key ts on",
		"ts=1 sta=p":                      "no CMCD from key ts on",
		"ts=1,cid=\"\x00\"":               "no CMCD from key cid on",
		"ts=1,cid=\"ü\"":                  "no CMCD from key cid on",
		`ts=1,sid="` + line(65) + `"`:     "key sid has a value",
		strings.Repeat("ts=1\n", 65):      "more than 64 reports",
		strings.Repeat(`{"seq":1,"played_ms":1}`, 65): "more than 64 reports",
		line(beacon.MaxBody + 1):                      "4097 bytes, at most 4096 are read",
	} {
		got, err := beacon.Parse([]byte(body))
		if !errors.Is(err, beacon.ErrBody) || !strings.Contains(err.Error(), reason) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40q: %v, want %q", body, err, reason)
		}
		if len(got.Played)+len(got.Moments) > 0 {
			t.Errorf("%.40q: %+v beside an error", body, got)
		}
	}
}

func line(n int) string { return strings.Repeat("x", n) }

// follow takes lines one after another and returns what each of them added, -1
// where it was not news.
func follow(t *testing.T, lines ...string) (played []int64) {
	t.Helper()
	var track beacon.Track
	for _, l := range lines {
		r, err := beacon.Parse([]byte(l))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range r.Moments {
			before := track.Seq()
			d, fresh := track.Take(m)
			if fresh != (track.Seq() > before) {
				t.Errorf("%s: fresh is %v, number %d after %d", l, fresh, track.Seq(), before)
			}
			if !fresh {
				d = -time.Millisecond
			}
			played = append(played, d.Milliseconds())
		}
	}
	return played
}

func TestPlayedTimeFromStates(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		want  []int64
	}{
		{"from playing on", []string{"sn=0,sta=s,ts=1000", "sn=1,sta=p,ts=1700", "sn=2,sta=p,ts=6700", "sn=3,sta=p,ts=11700"}, []int64{0, 0, 5000, 5000}},
		{"pause", []string{"sta=p,ts=1000", "sta=a,ts=3000", "ts=60000,sta=a", "sta=p,ts=61000", "sta=p,ts=62000"}, []int64{0, 2000, 0, 0, 1000}},
		{"stall", []string{"sta=p,ts=1000", "sta=r,ts=3000", "sta=p,ts=7000", "sta=e,ts=8000", "sta=e,ts=90000"}, []int64{0, 2000, 0, 1000, 0}},
		{"seek", []string{"sta=p,ts=1000", "sta=k,ts=2000", "sta=p,ts=2500", "sta=p,ts=4000"}, []int64{0, 1000, 0, 1500}},
		{"a state that is told only when it changes", []string{"e=ps,sta=p,ts=1000", "e=t,ts=6000", "e=t,ts=11000", "e=ps,sta=a,ts=12000", "e=t,ts=16000"}, []int64{0, 5000, 5000, 1000, 0}},
		{"no state ever", []string{"ts=1000", "ts=6000"}, []int64{0, 0}},
		{"faster than time", []string{"sta=p,ts=1000,pr=1.5", "sta=p,ts=3000"}, []int64{0, 2000}},
		{"slower", []string{"sta=p,ts=1000,pr=0.5", "sta=p,ts=3000"}, []int64{0, 1000}},
		{"rate zero", []string{"sta=p,ts=1000,pr=0", "sta=p,ts=3000"}, []int64{0, 0}},
		{"a machine that slept", []string{"sta=p,ts=1000,pt=500", "sta=p,ts=6000,pt=5500", "sta=p,ts=28806000,pt=6000", "sta=p,ts=28811000,pt=11000"}, []int64{0, 5000, 500, 5000}},
		{"a jump forward is not seen", []string{"sta=p,ts=1000,pt=500", "sta=p,ts=6000,pt=30000"}, []int64{0, 5000}},
		{"a jump back is time all the same", []string{"sta=p,ts=1000,pt=30000", "sta=p,ts=6000,pt=500"}, []int64{0, 5000}},
		{"hidden without a playhead", []string{"sta=p,ts=1000", "e=b,bg,sta=p,ts=2000", "bg,sta=p,ts=9000", "e=b,sta=p,ts=10000", "sta=p,ts=11000"}, []int64{0, 1000, 0, 0, 1000}},
		{"hidden and heard", []string{"bg,sta=p,ts=1000,pt=0", "bg,sta=p,ts=6000,pt=5000", "bg,sta=p,ts=11000,pt=5000"}, []int64{0, 5000, 0}},
		{"a batch sent again", []string{"sn=1,sta=p,ts=1000\nsn=2,sta=p,ts=2000", "sn=1,sta=p,ts=1000\nsn=2,sta=p,ts=2000\nsn=3,sta=p,ts=3000"}, []int64{0, 1000, -1, -1, 1000}},
		{"out of order", []string{"sn=1,sta=p,ts=1000", "sn=3,sta=p,ts=3000", "sn=2,sta=p,ts=2000", "sn=4,sta=p,ts=4000"}, []int64{0, 2000, -1, 1000}},
		{"without sequence numbers", []string{"sta=p,ts=1000", "sta=p,ts=1000", "sta=p,ts=900", "sta=p,ts=1500"}, []int64{0, -1, -1, 500}},
		{"the clock is set back", []string{"sn=1,sta=p,ts=9000", "sn=2,sta=p,ts=1000", "sn=3,sta=p,ts=2000"}, []int64{0, 0, 1000}},
		{"another session", []string{`sid="a",sn=8,sta=p,ts=1000`, `sid="b",sn=0,sta=p,ts=5000`, `sid="a",sn=9,sta=p,ts=3000`, `sid="b",sn=1,sta=p,ts=6000`}, []int64{0, 0, -1, 1000}},
		{"a year", []string{"sta=p,ts=1000", "sta=p,ts=31536001000"}, []int64{0, 86400000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := follow(t, c.lines...); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// Whatever comes: no panic, no more than bounded, one spelling of an error, and
// a Track never gives more than the player's clock passed between its ends.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"seq":3,"played_ms":4012}`, "{\"seq\":1,\"played_ms\":0.5}\n{\"seq\":2,\"played_ms\":1e3,\"x\":{}}",
		`e=t,sid="6e2fb550",sn=4,sta=p,ts=1764000004000,v=2`, "sta=p,ts=1,pt=0\nbg,sta=p,ts=5001,pt=5000,sn=1\nsta=e,ts=9000",
		`ts=1;a=(1 2);b="\"",nor=("a,b";r="0-5"),pr=1.05`, "ts=999999999999999,sn=999999999999999,pt=999999999999999", "[", "{", `{"seq":`, "ts=", "=,;", "ts=1,,",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := beacon.Parse(body)
		if err != nil {
			if !errors.Is(err, beacon.ErrBody) || strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("error %q", err)
			}
			return
		}
		if n := len(r.Played) + len(r.Moments); n == 0 || n > beacon.MaxReports || len(body) < n {
			t.Fatalf("%d reports in %d bytes", n, len(body))
		}
		for _, p := range r.Played {
			if p.Seq < 0 || p.For < 0 || p.For > beacon.MaxPlayed {
				t.Fatalf("%+v", p)
			}
		}
		checkTrack(t, r.Moments)
	})
}

func checkTrack(t *testing.T, moments []beacon.Moment) {
	var track beacon.Track
	var last int64
	for i, m := range moments {
		if m.At < 0 || m.Seq < -1 || m.Playhead < -1 || m.Rate < 0 || len(m.Session) > 64 {
			t.Fatalf("%+v", m)
		}
		played, fresh := track.Take(m)
		passed := time.Duration(max(0, min(m.At-last, beacon.MaxPlayed.Milliseconds()))) * time.Millisecond
		if played < 0 || played > passed || played > 0 && (!fresh || i == 0) {
			t.Fatalf("%v played of %v, at report %d: %+v", played, passed, i, m)
		}
		if again, fresh := track.Take(m); again != 0 || fresh {
			t.Fatalf("the same moment again: %v, %v", again, fresh)
		}
		if fresh {
			last = m.At
		}
	}
}
