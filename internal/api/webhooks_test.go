package api_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tally/internal/api"
	"tally/internal/auth"
	"tally/internal/livestream"
	"tally/internal/netguard"
	"tally/internal/store/sqlite"
	"tally/internal/webhook"
)

// newHooks is an engine that may call 127.0.0.2 alone, besides what is public. It
// delivers nothing by itself.
func newHooks(t *testing.T, store *sqlite.Store) api.Webhooks {
	guard := netguard.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}, Flag: "--webhook-allow"}
	tr := guard.Transport()
	t.Cleanup(tr.CloseIdleConnections)
	return webhook.New(webhook.Config{Store: store, Guard: guard, Transport: tr})
}

const hookBody = `{"name":"site","url":"https://example.org/hook?a=b","events":["livestreaming.statusUpdate","meeting.started"]}`

// hook makes a webhook through the API and returns its id.
func (w *world) hook(body string) string {
	w.t.Helper()
	rec := w.call("POST", base+"/webhooks", body)
	var answer struct {
		Data struct{ ID string } `json:"data"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || rec.Code != http.StatusCreated {
		w.t.Fatalf("create webhook: %d %s", rec.Code, rec.Body)
	}
	return answer.Data.ID
}

func TestWebhookAnswers(t *testing.T) {
	for _, c := range []struct {
		name string
		ask  func(w *world) *httptest.ResponseRecorder
	}{
		{"webhook create", func(w *world) *httptest.ResponseRecorder {
			return w.call("POST", base+"/webhooks", hookBody)
		}},
		{"webhook create disabled, with all events", func(w *world) *httptest.ResponseRecorder {
			return w.call("POST", base+"/webhooks", fmt.Sprintf(`{"name":" <é> ","url":"HTTP://example.org:8080","events":["%s"],"enabled":false,"secret":"mine"}`,
				strings.Join(livestream.EventNames, `","`)))
		}},
		{"webhook create of nothing", func(w *world) *httptest.ResponseRecorder {
			return w.call("POST", base+"/webhooks", `{}`)
		}},
		{"webhook create of nulls", func(w *world) *httptest.ResponseRecorder {
			return w.call("POST", base+"/webhooks", `{"name":null,"url":null,"events":null,"enabled":null}`)
		}},
		{"webhook create of wrong types", func(w *world) *httptest.ResponseRecorder {
			return w.call("POST", base+"/webhooks", `{"name":1,"url":["https://example.org"],"events":"meeting.started","enabled":"true"}`)
		}},
		{"webhook create of wrong values", func(w *world) *httptest.ResponseRecorder {
			return w.call("POST", base+"/webhooks", `{"name":" ","url":"ftp://example.org","events":["livestreaming.statusUpdate","no.such"]}`)
		}},
		{"webhook create without events", func(w *world) *httptest.ResponseRecorder {
			return w.call("POST", base+"/webhooks", `{"name":"n","url":"https://u:p@example.org","events":[]}`)
		}},
		{"webhook create of a private address", func(w *world) *httptest.ResponseRecorder {
			return w.call("POST", base+"/webhooks", `{"name":"n","url":"http://[::ffff:10.1.2.3]:80/","events":["meeting.ended"]}`)
		}},
		{"webhook get", func(w *world) *httptest.ResponseRecorder {
			return w.call("GET", base+"/webhooks/"+w.hook(hookBody), "")
		}},
		{"webhook get unknown", func(w *world) *httptest.ResponseRecorder {
			return w.call("GET", base+"/webhooks/nope", "")
		}},
		{"webhook list", func(w *world) *httptest.ResponseRecorder {
			w.hook(hookBody)
			w.now = w.now.Add(time.Second)
			w.hook(strings.Replace(hookBody, "site", "second", 1))
			return w.call("GET", base+"/webhooks", "")
		}},
		{"webhook list all, empty", func(w *world) *httptest.ResponseRecorder {
			return w.call("GET", base+"/webhooks/all", "")
		}},
		{"webhook replace", func(w *world) *httptest.ResponseRecorder {
			id := w.hook(strings.Replace(hookBody, "{", `{"enabled":false,`, 1))
			w.now = w.now.Add(time.Second)
			return w.call("PUT", base+"/webhooks/"+id, `{"name":"other","url":"https://example.com/","events":["livestreaming.healthUpdate"]}`)
		}},
		{"webhook replace by half of one", func(w *world) *httptest.ResponseRecorder {
			return w.call("PUT", base+"/webhooks/"+w.hook(hookBody), `{"name":"other"}`)
		}},
		{"webhook edit", func(w *world) *httptest.ResponseRecorder {
			id := w.hook(hookBody)
			w.now = w.now.Add(time.Second)
			return w.call("PATCH", base+"/webhooks/"+id, `{"enabled":false,"name":"renamed"}`)
		}},
		{"webhook edit nothing", func(w *world) *httptest.ResponseRecorder {
			return w.call("PATCH", base+"/webhooks/"+w.hook(hookBody), ``)
		}},
		{"webhook edit null", func(w *world) *httptest.ResponseRecorder {
			return w.call("PATCH", base+"/webhooks/"+w.hook(hookBody), `{"name":null,"enabled":null}`)
		}},
		{"webhook delete", func(w *world) *httptest.ResponseRecorder {
			return w.call("DELETE", base+"/webhooks/"+w.hook(hookBody), "")
		}},
		{"webhook delete twice", func(w *world) *httptest.ResponseRecorder {
			id := w.hook(hookBody)
			w.call("DELETE", base+"/webhooks/"+id, "")
			return w.call("DELETE", base+"/webhooks/"+id, "")
		}},
		{"webhook replay", func(w *world) *httptest.ResponseRecorder {
			id := w.hook(hookBody)
			w.events()
			return w.call("POST", base+"/webhooks/"+id+"/replay", `{"after":1}`)
		}},
		{"webhook replay from nowhere", func(w *world) *httptest.ResponseRecorder {
			return w.call("POST", base+"/webhooks/"+w.hook(hookBody)+"/replay", ``)
		}},
		{"webhook replay from before the first", func(w *world) *httptest.ResponseRecorder {
			return w.call("POST", base+"/webhooks/"+w.hook(hookBody)+"/replay", `{"after":-1}`)
		}},
		{"webhook replay to a disabled one", func(w *world) *httptest.ResponseRecorder {
			return w.call("POST", base+"/webhooks/"+w.hook(strings.Replace(hookBody, "{", `{"enabled":false,`, 1))+"/replay", `{"after":0}`)
		}},
		{"events", func(w *world) *httptest.ResponseRecorder {
			w.events()
			return w.call("GET", base+"/events", "")
		}},
		{"events after a cursor", func(w *world) *httptest.ResponseRecorder {
			w.events()
			return w.call("GET", base+"/events?after=2&limit=1", "")
		}},
		{"events to who may only read", func(w *world) *httptest.ResponseRecorder {
			w.events()
			return w.call("GET", base+"/events?limit=1", "", "Authorization", "Bearer "+w.newToken(auth.RealtimeRead))
		}},
		{"events after nonsense", func(w *world) *httptest.ResponseRecorder {
			return w.call("GET", base+"/events?after=x&limit=-1", "")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			golden(t, strings.ReplaceAll(strings.ReplaceAll(c.name, ",", ""), " ", "-"), c.ask(newWorld(t)))
		})
	}
}

// events makes four: LIVE, reconnecting, ok, OFFLINE.
func (w *world) events() {
	w.t.Helper()
	id := w.create("show").ID
	w.live(id, 5*time.Second, 0)
	w.advance(id, time.Second, livestream.Event{Kind: livestream.Lose})
	w.advance(id, time.Second, livestream.Event{Kind: livestream.Publish})
	w.advance(id, time.Second, livestream.Event{Kind: livestream.Unpublish})
}

// A webhook more than an app may have is refused, and says what to do.
func TestTooManyWebhooks(t *testing.T) {
	w := newWorld(t)
	for range livestream.MaxWebhooks {
		w.hook(hookBody)
	}
	rec := w.call("POST", base+"/webhooks", hookBody)
	if rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), "delete one first") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// The secret is in the answer to create, also in that to a retry of it, and
// nowhere else.
func TestWebhookSecretIsShownOnce(t *testing.T) {
	w := newWorld(t)
	first := w.call("POST", base+"/webhooks", hookBody)
	again := w.call("POST", base+"/webhooks", hookBody, "X-Stainless-Retry-Count", "1")
	if first.Code != again.Code || first.Body.String() != again.Body.String() {
		t.Errorf("retry answers %d %s, want %d %s", again.Code, again.Body, first.Code, first.Body)
	}
	var made struct {
		Data struct{ ID, Secret string } `json:"data"`
	}
	must(t, json.Unmarshal(first.Body.Bytes(), &made))
	path := base + "/webhooks/" + made.Data.ID
	for _, rec := range []*httptest.ResponseRecorder{
		w.call("GET", path, ""), w.call("GET", base+"/webhooks", ""), w.call("PATCH", path, "{}"), w.call("PUT", path, hookBody),
		w.call("GET", path+"/deliveries", ""), w.call("DELETE", path, ""),
	} {
		if rec.Code != http.StatusOK || strings.Contains(rec.Body.String(), made.Data.Secret) {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
	}
}

// What the receiver says is answered at once; what it says to real events stands
// in the log.
func TestWebhookTestAndLog(t *testing.T) {
	w := newWorld(t)
	receiver := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		rw.WriteHeader(http.StatusTeapot)
		_, _ = rw.Write(body)
	}))
	must(t, receiver.Listener.Close())
	var err error
	receiver.Listener, err = net.Listen("tcp", "127.0.0.2:0")
	must(t, err)
	receiver.Start()
	defer receiver.Close()
	id := w.hook(strings.Replace(hookBody, "https://example.org/hook?a=b", receiver.URL, 1))

	type attempt struct {
		Status        *int
		Error, Answer *string
	}
	var tried struct {
		Data struct {
			Delivered bool
			attempt
		} `json:"data"`
	}
	must(t, json.Unmarshal(w.call("POST", base+"/webhooks/"+id+"/test", "").Body.Bytes(), &tried))
	if d := tried.Data; d.Delivered || d.Status == nil || *d.Status != http.StatusTeapot || d.Error != nil || !strings.Contains(*d.Answer, `"test":true`) {
		t.Errorf("test: %+v", d)
	}
	w.call("PATCH", base+"/webhooks/"+id, `{"url":"http://127.0.0.2:1/"}`)
	must(t, json.Unmarshal(w.call("POST", base+"/webhooks/"+id+"/test", "{}").Body.Bytes(), &tried))
	if d := tried.Data; d.Delivered || d.Status != nil || d.Answer != nil || d.Error == nil || !strings.Contains(*d.Error, "refused") {
		t.Errorf("test of a closed port: %+v", d)
	}

	w.events()
	_, ready, err := w.store.ReadyDeliveries(t.Context(), id, 10)
	must(t, err)
	must(t, w.store.RecordAttempt(t.Context(), ready[0], livestream.Result{State: livestream.DeliveryDone,
		Attempt: livestream.Attempt{At: w.now, Took: 31 * time.Millisecond, Status: 204}}))
	var log struct {
		Data []struct {
			Seq      int64
			State    string
			NextAt   *string `json:"next_at"`
			Attempts int
			Last     *attempt `json:"last_attempt"`
		} `json:"data"`
		Paging struct {
			Total int `json:"total_count"`
		} `json:"paging"`
	}
	must(t, json.Unmarshal(w.call("GET", base+"/webhooks/"+id+"/deliveries", "").Body.Bytes(), &log))
	if len(log.Data) != 2 || log.Paging.Total != 2 {
		t.Fatalf("log %+v", log)
	}
	offline, live := log.Data[0], log.Data[1]
	if live.Seq != 1 || live.State != "delivered" || live.Attempts != 1 || live.Last == nil || *live.Last.Status != 204 || live.NextAt != nil {
		t.Errorf("LIVE %+v", live)
	}
	if offline.Seq != 4 || offline.State != "ready" || offline.Attempts != 0 || offline.Last != nil || offline.NextAt == nil {
		t.Errorf("OFFLINE %+v", offline)
	}
	must(t, json.Unmarshal(w.call("GET", base+"/webhooks/"+id+"/deliveries?per_page=1&page_no=2", "").Body.Bytes(), &log))
	if len(log.Data) != 1 || log.Data[0].Seq != 1 {
		t.Errorf("second page %+v", log.Data)
	}
}

// Nobody needs a token for the key, and it is one.
func TestPublicKeyIsPublished(t *testing.T) {
	w := newWorld(t)
	rec := w.call("GET", "/.well-known/webhooks.json", "", "Authorization", "")
	var answer struct {
		Data struct{ PublicKey string } `json:"data"`
	}
	must(t, json.Unmarshal(rec.Body.Bytes(), &answer))
	block, _ := pem.Decode([]byte(answer.Data.PublicKey))
	if block == nil {
		t.Fatalf("%s", rec.Body)
	}
	if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
		t.Error(err)
	}
	if !strings.HasSuffix(rec.Body.String(), `"message":""}`+"\n") {
		t.Errorf("answer %s", rec.Body)
	}
}
