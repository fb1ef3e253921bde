package api

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"tally/internal/api/input"
)

// This file reads recording_config and ai_config of a meeting (contract 7.11).
// They are stored and returned; nothing records or transcribes yet.

// A field is one member of a configuration.
type field struct {
	// read returns the member's value, or nil and a fault in o. It is not called
	// for a member that is absent.
	read func(o input.Object, name string) any
	// inner are the members of an object; then read is nil.
	inner fields

	without  any  // what it is in an object that does not say; nil: left out
	required bool // in an object
	nullable bool // null: left out
	secret   bool // is written and never shown
	place    bool // says where something is sent, so with another one no secret stays
}

// fields are the members an object may have, by name. Others are ignored.
type fields map[string]field

var recordingConfig = fields{
	"max_seconds":      {read: whole(60, 86400)},
	"file_name_prefix": {read: line},
	"audio_config": {inner: fields{
		"codec":       {read: choice("MP3", "AAC"), without: "AAC"},
		"channel":     {read: choice("mono", "stereo"), without: "stereo"},
		"export_file": {read: flagged, without: true},
	}},
	"video_config": {inner: fields{
		"codec":       {read: choice("H264", "VP8", "VP9"), without: "H264"},
		"width":       {read: whole(1, 1920), without: 1280},
		"height":      {read: whole(1, 1920), without: 720},
		"export_file": {read: flagged, without: true},
		"watermark": {inner: fields{
			"url":      {read: address("http", "https")},
			"size":     {inner: fields{"width": {read: whole(1, 1920)}, "height": {read: whole(1, 1920)}}},
			"position": {read: choice("left top", "right top", "left bottom", "right bottom"), without: "left top"},
		}},
	}},
	"live_streaming_config":     {inner: fields{"rtmp_url": {read: address("rtmp", "rtmps")}}},
	"realtimekit_bucket_config": {inner: fields{"enabled": {read: flagged, required: true}}},
	"storage_config": {nullable: true, inner: fields{
		"type":        {read: choice("aws", "azure", "digitalocean", "gcs", "sftp"), required: true, place: true},
		"bucket":      {read: line, place: true},
		"region":      {read: line, place: true},
		"path":        {read: line},
		"auth_method": {read: choice("KEY", "PASSWORD"), place: true},
		"host":        {read: line, place: true},
		"port":        {read: whole(1, 65535), place: true},
		"username":    {read: line, place: true},
		"access_key":  {read: text, secret: true},
		"secret":      {read: text, secret: true},
		"password":    {read: text, secret: true},
		"private_key": {read: text, secret: true},
	}},
}

var aiConfig = fields{
	"transcription": {inner: fields{
		"keywords":         {read: keywords},
		"language":         {read: choice("en-US", "en-IN", "de", "hi", "sv", "ru", "pl", "el", "fr", "nl"), without: "en-US"},
		"profanity_filter": {read: flagged},
	}},
	"summarization": {inner: fields{
		"word_limit":  {read: whole(150, 1000), without: 500},
		"text_format": {read: choice("plain_text", "markdown"), without: "markdown"},
		"summary_type": {read: choice("general", "team_meeting", "sales_call", "client_check_in", "interview",
			"daily_standup", "one_on_one_meeting", "lecture", "code_review"), without: "general"},
	}},
}

// A config is a configuration as it is stored: JSON values by name.
type config map[string]any

// put returns c with what o says, at any depth. A nil c is a new one, which gets
// what is fixed for what o leaves out. c itself does not change.
func (fs fields) put(o input.Object, c config) config {
	before := c
	if c = maps.Clone(c); c == nil {
		c = config{}
		for name, f := range fs {
			if f.without != nil {
				c[name] = f.without
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fs)) {
		f := fs[name]
		switch {
		case !o.Has(name):
			if _, has := c[name]; f.required && !has {
				o.Fault(name, "is required")
			}
		case o.Raw(name) == nil && f.nullable:
			delete(c, name)
		case o.Raw(name) == nil:
			o.Fault(name, "must not be null")
		case f.inner != nil:
			if inner, ok := o.Object(name); ok {
				known, _ := c[name].(config)
				c[name] = f.inner.put(inner, known)
			}
		default:
			if v := f.read(o, name); v != nil {
				c[name] = v
			}
		}
	}
	fs.guard(o, before, c)
	return c
}

// guard drops the secrets that o does not give anew when they were given for
// another place: who may change a meeting, but not read its secrets, must not
// have them sent elsewhere.
func (fs fields) guard(o input.Object, before, after config) {
	moved := false
	for name, f := range fs {
		moved = moved || f.place && before != nil && before[name] != after[name]
	}
	for name, f := range fs {
		if moved && f.secret && !o.Has(name) {
			delete(after, name)
		}
	}
}

// shown is c as answers have it: without secrets, at any depth. nil stays nil.
func (fs fields) shown(c config) config {
	if c == nil {
		return nil
	}
	all := config{}
	for name, v := range c {
		f := fs[name]
		if inner, ok := v.(config); ok {
			v = f.inner.shown(inner)
		}
		if !f.secret {
			all[name] = v
		}
	}
	return all
}

// stored reads a stored configuration; nil when there is none. Members that are
// not of fs are left out.
func (fs fields) stored(raw []byte) config {
	var all map[string]json.RawMessage
	if json.Unmarshal(raw, &all) != nil || all == nil {
		return nil
	}
	c := config{}
	for name, f := range fs {
		raw, ok := all[name]
		if !ok {
			continue
		}
		if f.inner != nil {
			if inner := f.inner.stored(raw); inner != nil {
				c[name] = inner
			}
			continue
		}
		var v any
		if json.Unmarshal(raw, &v) == nil && v != nil {
			c[name] = number(v)
		}
	}
	return c
}

// number is a whole number as whole reads it, so that two can be compared.
func number(v any) any {
	if f, ok := v.(float64); ok {
		return int(f)
	}
	return v
}

// json is c as it is stored or sent; nil for none.
func (c config) json() []byte {
	if c == nil {
		return nil
	}
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // texts, numbers, booleans and lists of texts always marshal
	}
	return b
}

// Readers of fields.

const (
	maxSecret   = 16 << 10 // characters: private keys and the JSON of a service account fit
	maxAddress  = 2048     // bytes
	maxKeywords = 1000
)

func whole(low, high int) func(input.Object, string) any {
	return func(o input.Object, name string) any { return o.Whole(name, low, high, low) }
}

func choice(words ...string) func(input.Object, string) any {
	return func(o input.Object, name string) any {
		if word, ok := o.Choice(name, words...); ok {
			return word
		}
		return nil
	}
}

func flagged(o input.Object, name string) any { return o.Flag(name, false) }

// line is one line of text.
func line(o input.Object, name string) any {
	s, _ := o.Text(name)
	return s
}

// text is any text: keys have several lines.
func text(o input.Object, name string) any {
	var s string
	if json.Unmarshal(o.Raw(name), &s) != nil {
		o.Fault(name, "must be a string")
		return nil
	}
	if n := utf8.RuneCountInString(s); n > maxSecret {
		o.Fault(name, "has %d characters, the limit is %d", n, maxSecret)
		return nil
	}
	return s
}

func address(schemes ...string) func(input.Object, string) any {
	return func(o input.Object, name string) any {
		var s string
		if json.Unmarshal(o.Raw(name), &s) != nil {
			o.Fault(name, "must be a string")
			return nil
		}
		u, err := url.Parse(s)
		if len(s) > maxAddress || err != nil || u.Hostname() == "" || !slices.Contains(schemes, u.Scheme) || strings.ContainsFunc(s, unicode.IsControl) {
			o.Fault(name, "must be a URL of at most %d bytes that begins with %s://", maxAddress, strings.Join(schemes, ":// or "))
			return nil
		}
		return s
	}
}

func keywords(o input.Object, name string) any {
	list, ok := o.Texts(name, maxKeywords)
	if !ok {
		return nil
	}
	return append([]string{}, list...)
}
