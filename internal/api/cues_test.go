package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"tally/internal/auth"
)

func TestCreateCue(t *testing.T) {
	w := newWorld(t)
	id := w.create("show").ID
	path := base + "/livestreams/" + id + "/cues"
	if rec := w.call("POST", path, `{"data":"x"}`); rec.Code != http.StatusNotFound {
		t.Errorf("off air: %d %s", rec.Code, rec.Body)
	}
	w.live(id, time.Minute, 0)
	type made struct {
		ID        string
		Class     string
		StartDate string `json:"start_date"`
		Duration  float64
	}
	for body, want := range map[string]made{
		`{"data":"goal"}`: {"cue-1-1", "cue", "", 0},
		`{"class":"score","duration":2.5,"data":{"home":2, "away":[1]}}`: {"cue-1-1", "score", "", 2.5},
		`{"class":null,"duration":null,"data":0}`:                        {"cue-1-1", "cue", "", 0},
		`{"data":"` + strings.Repeat("😀", 512) + `"}`:                    {"cue-1-1", "cue", "", 0},
	} {
		rec := w.call("POST", path, body)
		if rec.Code != http.StatusCreated {
			t.Errorf("%.60s: %d %s", body, rec.Code, rec.Body)
			continue
		}
		got := data[made](t, rec)
		if got.StartDate == "" {
			t.Errorf("%.60s: no date: %s", body, rec.Body)
		}
		if got.StartDate = ""; got != want {
			t.Errorf("%.60s: %+v, want %+v", body, got, want)
		}
	}
	for body, says := range map[string]string{
		`{}`:            "data",
		`{"data":null}`: "data",
		`{"data":""}`:   "1 to 512 characters",
		`{"data":"` + strings.Repeat("ü", 513) + `"}`:    "1 to 512 characters",
		`{"data":"x","class":"a\"b"}`:                    "A-Z",
		`{"data":"x","class":"a\nb"}`:                    "A-Z",
		`{"data":"x","class":""}`:                        "class",
		`{"data":"x","duration":-1}`:                     "duration",
		`{"data":"x","duration":86401}`:                  "duration",
		`{"data":"x","duration":"5"}`:                    "duration",
		`{"data":["` + strings.Repeat("a", 2045) + `"]}`: "2048 bytes",
		`{"data":"x","at":"now"}`:                        "no member",
	} {
		if rec := w.call("POST", path, body); rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), says) {
			t.Errorf("%.60s: %d %s, want 400 with %q", body, rec.Code, rec.Body, says)
		}
	}
	w.token = w.newToken(auth.RealtimeRead)
	if rec := w.call("POST", path, `{"data":"x"}`); rec.Code != http.StatusForbidden {
		t.Errorf("with a token that reads: %d", rec.Code)
	}
}
