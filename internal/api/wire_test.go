package api

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tally/internal/livestream"
	"tally/internal/secret"
)

// activeOracle says what appendActive must append, by way of encoding/json.
func activeOracle(rec livestream.Record, v view) string {
	var body struct {
		Success bool `json:"success"`
		Data    struct {
			Livestream livestreamObject `json:"livestream"`
			Session    sessionObject    `json:"session"`
		} `json:"data"`
	}
	body.Success, body.Data.Livestream = true, v.livestream(rec, asText)
	body.Data.Session = v.session(rec.Session, asText, asText)
	text, err := marshal(body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Whatever is stored, the hand-written answer is the one that the wire types give.
func TestActiveIsWhatItsTypesSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String()
		when := rapid.Custom(func(t *rapid.T) time.Time {
			if rapid.Bool().Draw(t, "never") {
				return time.Time{}
			}
			return time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "µs"))
		})
		span := rapid.Int64Range(0, 1e15)
		rec := livestream.Record{
			Livestream: livestream.Livestream{
				ID: text.Draw(t, "id"), Name: text.Draw(t, "name"), HasName: rapid.Bool().Draw(t, "named"),
				MeetingID: text.Draw(t, "meeting"), StreamKey: secret.New(text.Draw(t, "key")), PlaybackID: text.Draw(t, "playback"),
				Disabled: rapid.Bool().Draw(t, "disabled"), CreatedAt: when.Draw(t, "created"), UpdatedAt: when.Draw(t, "updated"),
			},
			Session: livestream.Session{
				ID: text.Draw(t, "session"), LivestreamID: text.Draw(t, "of"), Phase: livestream.Phase(rapid.IntRange(0, 7).Draw(t, "phase")),
				CreatedAt: when.Draw(t, "s created"), UpdatedAt: when.Draw(t, "s updated"), InvokedAt: when.Draw(t, "invoked"),
				StartedAt: when.Draw(t, "started"), StoppedAt: when.Draw(t, "stopped"),
				Reason: livestream.Reason{Code: livestream.Code(text.Draw(t, "code")), Detail: text.Draw(t, "detail")},
				Remote: text.Draw(t, "remote"), Encoder: text.Draw(t, "encoder"), Viewers: rapid.Int().Draw(t, "viewers"),
				Ingest: time.Duration(span.Draw(t, "ingest")), Viewed: time.Duration(span.Draw(t, "viewed")),
			},
		}
		v := view{
			origin:   origin{"https://" + text.Draw(t, "host"), "rtmp://" + text.Draw(t, "ingest") + "/live/"},
			upstream: rapid.Bool().Draw(t, "upstream"), masked: rapid.Bool().Draw(t, "masked"), tally: rapid.Bool().Draw(t, "tally"),
		}
		got, want := string(appendActive(nil, rec, v)), activeOracle(rec, v)
		if v.masked && rec.Livestream.StreamKey.Reveal() != "" && !strings.Contains(got, `"stream_key":"********"`) {
			t.Fatalf("the key is not masked: %s", got)
		}
		if got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	})
}

func TestStringsAreSpeltAsEncodingJSONDoes(t *testing.T) {
	for _, s := range []string{"", "plain", `quote " and \`, "\x00\x01\b\f\n\r\t\x1f\x7f", "é€😀", "\u2028\u2029\u2030", "\xff", "a\xc3", "\xed\xa0\x80", "<&>"} {
		want, err := marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(appendString(nil, s)) + "\n"; got != string(want) {
			t.Errorf("%q: got %s, want %s", s, got, want)
		}
	}
}

func TestWriteOnlyFieldsAreNotShown(t *testing.T) {
	for in, want := range map[string]string{
		``:                        `null`,
		`{"a":1}`:                 `{}`, // of no meaning
		`{"max_seconds":60}`:      `{"max_seconds":60}`,
		`{"storage_config":null}`: `{}`,
		`{"storage_config":{"type":"sftp","password":"p","private_key":"k","secret":"s","access_key":"a"}}`: `{"storage_config":{"type":"sftp"}}`,
	} {
		got, err := json.Marshal(recordingConfig.shown(recordingConfig.stored([]byte(in))))
		if err != nil || string(got) != want {
			t.Errorf("%s: got %s, want %s; %v", in, got, want, err)
		}
	}
}
