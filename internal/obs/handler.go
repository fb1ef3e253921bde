package obs

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"tally/internal/livestream"
	"tally/internal/secret"
)

// Path is where OBS asks: the URL that is given to it as --config-url.
const Path = "/obs/multitrack"

const (
	maxBody = 64 << 10 // bytes; OBS' requests have some 2 KB
	maxKey  = 256      // bytes
)

// A Handler answers OBS' requests. What it answers depends on the stream key: OBS
// is told before it encodes anything that a key is wrong or a livestream disabled.
type Handler struct {
	// Record finds a livestream by its stream key; livestream.ErrNotFound.
	Record func(ctx context.Context, key secret.String) (livestream.Record, error)
	// Ingest is where to publish, as the client of r reaches it.
	Ingest func(r *http.Request) string
	Log    *slog.Logger
}

// ServeHTTP implements http.Handler. OBS shows nothing of an answer other than
// 200, so that refusals are in the body.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "OBS posts here what it can encode; see docs/obs.md", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the request is longer than 64 KB, or did not come", http.StatusRequestEntityTooLarge)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(h.answer(r, body))
}

func (h *Handler) answer(r *http.Request, body []byte) *Config {
	var rq Request
	if err := json.Unmarshal(body, &rq); err != nil {
		return refuse("The request is not what OBS Studio 30.2 or later sends. Update OBS.")
	}
	key, _, _ := strings.Cut(rq.Authentication, "?") // such as ?bandwidthtest=true
	if key = strings.Trim(key, "/"); key == "" || len(key) > maxKey {
		return refuse("The stream key is empty or too long. Put the livestream's stream key into OBS: Settings, Stream.")
	}
	rec, err := h.Record(r.Context(), secret.New(key))
	switch {
	case errors.Is(err, livestream.ErrNotFound):
		return refuse("No livestream has this stream key. Copy the key again, without spaces.")
	case err != nil:
		h.Log.Error("obs: the livestream cannot be read", "err", err)
		return refuse("The server cannot answer because of a fault of its own. Try again in a moment.")
	case rec.Livestream.Disabled:
		return refuse("The livestream is disabled. Enable it, then start the stream again.")
	}
	return Configure(&rq, h.Ingest(r))
}

// refuse is an answer with which OBS does not start, and shows why.
func refuse(why string) *Config {
	c := &Config{Status: Status{Result: "error", HTML: why}, Endpoints: []Endpoint{}, Video: []Video{}}
	c.Meta.Service, c.Meta.SchemaVersion, c.Meta.ConfigID = "Tally", SchemaVersion, "tally"
	c.Audio.Live = []Audio{}
	return c
}
