package cue_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tally/internal/media"
	"tally/internal/rtmp/amf0"
	"tally/internal/rtmp/cue"
)

// Sections that ANSI/SCTE 35 prints in its section 14.
const (
	insertOut    = "/DAvAAAAAAAA///wFAVIAACPf+/+c2nALv4AUsz1AAAAAAAKAAhDVUVJAAABNWLbowo="
	placementOut = "/DA0AAAAAAAA///wBQb+cr0AUAAeAhxDVUVJSAAAjn/PAAGlmbAICAAAAAAsoKGKNAIAmsnRfg=="
	placementIn  = "/DAvAAAAAAAA///wBQb+dGKQoAAZAhdDVUVJSAAAjn+fCAgAAAAALKChijUCAKnMZ1g="
	programStart = "/DBIAAAAAAAA///wBQb+ek2ItgAyAhdDVUVJSAAAGH+fCAgAAAAALMvDRBEAAAIXQ1VFSUgAABl/nwgIAAAAACyk26AQAACZcuND"
)

func unbase(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSections(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       cue.Section
	}{
		{"splice_insert", insertOut, cue.Section{Splice: media.SpliceOut, Event: 0x4800008f, Duration: 60293566666}},
		{"placement opportunity begins", placementOut, cue.Section{Splice: media.SpliceOut, Event: 0x4800008e, Duration: 307 * time.Second}},
		{"placement opportunity ends", placementIn, cue.Section{Splice: media.SpliceIn, Event: 0x4800008e}},
		{"a programme begins", programStart, cue.Section{Splice: media.SpliceCommand}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := cue.ParseSection(unbase(t, c.text))
			if !ok || got != c.want {
				t.Errorf("got %+v, %v; want %+v", got, ok, c.want)
			}
		})
	}
	b := unbase(t, insertOut)
	for n := range len(b) - 4 { // the CRC is not looked at
		if s, ok := cue.ParseSection(b[:n]); ok && s.Splice != media.SpliceCommand {
			t.Errorf("%d of %d bytes are taken as %+v", n, len(b), s)
		}
	}
	if b[4] |= 0x80; true {
		if s, ok := cue.ParseSection(b); !ok || s.Splice != media.SpliceCommand {
			t.Errorf("an encrypted section is taken as %+v, %v", s, ok)
		}
	}
}

func TestRead(t *testing.T) {
	section := unbase(t, insertOut)
	out := media.Cue{Class: cue.ClassSCTE35, Splice: media.SpliceOut, Event: 0x4800008f, Section: section, Duration: 60293566666, Planned: true}
	long := strings.Repeat("ü", media.MaxCueData)
	for _, c := range []struct {
		name, message string
		value         any
		want          *cue.Message // nil: no cue
	}{
		{"caption as text", "onTextData", amf0.Object{{Name: "text", Value: "Hello \"you\"\n"}, {Name: "trackid", Value: 1.0}, {Name: "language", Value: "eng"}},
			&cue.Message{Cue: media.Cue{Class: "onTextData", Data: `{"text":"Hello \"you\"\n","trackid":1,"language":"eng"}`}}},
		{"Flash's cue point", "onCuePoint", amf0.ECMAArray{{Name: "name", Value: "goal"}, {Name: "time", Value: 12.5}, {Name: "type", Value: "event"},
			{Name: "parameters", Value: amf0.Object{{Name: "home", Value: 2.0}, {Name: "at", Value: amf0.Date(1e12)}, {Name: "x", Value: amf0.Undefined{}}}}},
			&cue.Message{Time: 12.5, HasTime: true, Cue: media.Cue{Class: "onCuePoint",
				Data: `{"name":"goal","time":12.5,"type":"event","parameters":{"home":2,"at":1000000000000,"x":null}}`}}},
		{"Elemental Live's, without a section", "onCuePoint", amf0.Object{{Name: "name", Value: "scte35"}, {Name: "type", Value: "event"},
			{Name: "parameters", Value: amf0.Object{{Name: "id", Value: "7"}, {Name: "duration", Value: 30.0}}}},
			&cue.Message{Cue: media.Cue{Class: "onCuePoint", Duration: 30 * time.Second, Planned: true,
				Data: `{"name":"scte35","type":"event","parameters":{"id":"7","duration":30}}`}}},
		{"a section beside others", "onCuePoint", amf0.Object{{Name: "name", Value: "scte35-bin64"}, {Name: "type", Value: "scte-35"}, {Name: "data", Value: insertOut}}, &cue.Message{Cue: out}},
		{"a section among parameters", "onCuePoint", amf0.Object{{Name: "name", Value: "scte35"}, {Name: "parameters", Value: amf0.Object{{Name: "cue", Value: insertOut}}}}, &cue.Message{Cue: out}},
		{"Adobe's SCTE-35 mode", "onAdCue", amf0.Object{{Name: "cue", Value: insertOut}, {Name: "type", Value: "scte35"}, {Name: "id", Value: "a"},
			{Name: "duration", Value: 10.0}, {Name: "time", Value: 99.25}}, &cue.Message{Time: 99.25, HasTime: true, Cue: out}},
		{"the same again, for who joins", "onAdCue", amf0.Object{{Name: "cue", Value: insertOut}, {Name: "elapsed", Value: 2.0}}, nil},
		{"Adobe's simple mode", "onAdCue", amf0.Object{{Name: "type", Value: "SpliceOut"}, {Name: "duration", Value: 15.0}},
			&cue.Message{Cue: media.Cue{Class: "onAdCue", Duration: 15 * time.Second, Planned: true, Data: `{"type":"SpliceOut","duration":15}`}}},
		{"nothing but a section", "onSCTE35", insertOut, &cue.Message{Cue: out}},
		{"text of one's own", "onUserDataEvent", "<EventStream/>", &cue.Message{Cue: media.Cue{Class: "onUserDataEvent", Data: "<EventStream/>"}}},
		{"a text too long", "onUserDataEvent", long, &cue.Message{Cue: media.Cue{Class: "onUserDataEvent", Data: long[:media.MaxCueData]}}},
		{"an object too long", "onTextData", amf0.Object{{Name: "text", Value: long}}, nil},
		{"time of day", "onFI", amf0.Object{{Name: "sd", Value: "24-12-2026"}, {Name: "st", Value: "20:15:00.000"}},
			&cue.Message{Cue: media.Cue{Class: "onFI", Data: `{"sd":"24-12-2026","st":"20:15:00.000"}`}}},
		{"another message", "onStatus", amf0.Object{}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := cue.Read(c.message, []any{c.value})
			if c.want == nil {
				if ok {
					t.Errorf("taken as %+v", got)
				}
				return
			}
			if d := cmp.Diff(*c.want, got); !ok || d != "" {
				t.Errorf("read %v, difference (-want +got):\n%s", ok, d)
			}
		})
	}
}

// TestMetadata: only what an encoder adds of its own, and only when it changes.
func TestMetadata(t *testing.T) {
	meta := func(title string) []any {
		return []any{amf0.ECMAArray{{Name: "width", Value: 640.0}, {Name: "videocodecid", Value: 7.0}, {Name: "encoder", Value: "x"}, {Name: "title", Value: title}}}
	}
	var d cue.Metadata
	for i, step := range []struct {
		title, want string
	}{{"One", ""}, {"One", ""}, {"Two", `{"title":"Two"}`}, {"Two", ""}, {"One", `{"title":"One"}`}} {
		m, ok := d.Changed(meta(step.title))
		if ok != (step.want != "") || m.Cue.Data != step.want {
			t.Errorf("step %d: %q, %v; want %q", i, m.Cue.Data, ok, step.want)
		}
	}
	if _, ok := new(cue.Metadata).Changed(nil); ok {
		t.Error("no metadata is a change")
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{insertOut, placementIn, programStart} {
		f.Add("onAdCue", amf0.Append(nil, amf0.Object{{Name: "cue", Value: s}, {Name: "time", Value: 1.5}, {Name: "elapsed", Value: 0.0}}))
		f.Add("onSCTE35", amf0.Append(nil, s))
	}
	f.Add("onTextData", amf0.Append(nil, amf0.Object{{Name: "text", Value: "a"}, {Name: "n", Value: amf0.Array{1.0, true, nil, amf0.XML("<a/>")}}}))
	f.Add("onMetaData", amf0.Append(nil, amf0.ECMAArray{{Name: "title", Value: "a"}}))
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		values, _ := amf0.Decode(body)
		m, ok := cue.Read(name, values)
		new(cue.Metadata).Changed(values)
		if !ok {
			return
		}
		c := m.Cue
		if len(c.Data) > media.MaxCueData || len(c.Section) > media.MaxCueSection || len(c.Class) > media.MaxCueClass || c.Duration < 0 || c.Data == "" && c.Section == nil {
			t.Errorf("cue %+v", c)
		}
		if _, isText := values[0].(string); c.Data != "" && !isText && !json.Valid([]byte(c.Data)) {
			t.Errorf("data is no JSON: %q", c.Data)
		}
	})
}

func FuzzParseSection(f *testing.F) {
	for _, s := range []string{insertOut, placementOut, placementIn, programStart} {
		f.Add(unbase(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := cue.ParseSection(b); ok && (s.Splice == media.SpliceNone || s.Duration < 0) {
			t.Errorf("section %+v", s)
		}
	})
}
