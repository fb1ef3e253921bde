package conformance_test

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// A meeting's configurations, one of each kind of storage.
func configuration(storage params) params {
	return params{
		"recording_config": params{
			"max_seconds": 3600.0, "file_name_prefix": "sunday",
			"audio_config": params{"codec": "MP3", "channel": "mono", "export_file": false},
			"video_config": params{"codec": "VP8", "width": 640, "height": 360, "export_file": false,
				"watermark": params{"url": "https://pictures.example/logo.png", "position": "right bottom", "size": params{"width": 32, "height": 16}}},
			"live_streaming_config":     params{"rtmp_url": "rtmp://out.example/live/key"},
			"realtimekit_bucket_config": params{"enabled": true},
			"storage_config":            storage,
		},
		"ai_config": params{
			"transcription": params{"keywords": []string{"Tally", "HLS"}, "language": "de", "profanity_filter": true},
			"summarization": params{"word_limit": 200, "text_format": "plain_text", "summary_type": "lecture"},
		},
	}
}

// storages are places for recordings; the secrets among them are never shown.
var storages = []params{
	{"type": "aws", "access_key": "AKIA", "secret": "hush", "bucket": "b", "region": "eu-west-1", "path": "a/b"},
	{"type": "sftp", "auth_method": "KEY", "private_key": "-----BEGIN", "username": "u", "host": "files.example", "port": 22.0, "path": "in", "bucket": "b"},
	{"type": "sftp", "auth_method": "PASSWORD", "password": "hush", "username": "u", "host": "files.example", "port": 2222.0, "path": "in", "bucket": "b"},
}

// shownOf is how a meeting shows the parameters that it was made with.
func shownOf(path string, p params) map[string]field {
	want := map[string]field{}
	for name, value := range p {
		at := path + name
		switch v := value.(type) {
		case params:
			maps.Copy(want, shownOf(at+".", v))
		case []string:
			want[at+".#"] = length(len(v))
			for i, item := range v {
				want[at+"."+string(rune('0'+i))] = plain(item)
			}
		case string:
			if name != "access_key" && name != "secret" && name != "password" && name != "private_key" {
				want[at] = plain(v)
			}
		case bool:
			want[at] = flag(v)
		case int:
			want[at] = whole(int64(v))
		case float64:
			want[at] = number(v)
		case nil:
			want[at] = object()
		}
	}
	return want
}

// of a meeting beside its parameters.
func meetingWith(id string, created, updated time.Time, p params) map[string]field {
	want := shownOf("", params{
		"status": "ACTIVE", "record_on_start": false, "live_stream_on_start": false, "persist_chat": false, "summarize_on_end": false,
		"transcribe_on_end": false, "session_keep_alive_time_in_secs": 60.0, "title": "",
	})
	want["title"] = text("", false)
	maps.Copy(want, shownOf("", p))
	for _, name := range []string{"recording_config", "ai_config"} {
		if p[name] == nil {
			want[name] = object()
		}
	}
	want["id"], want["created_at"], want["updated_at"] = plain(id), at(created), at(updated)
	return want
}

// merged is what a PATCH leaves: what it does not say stays, at any depth.
func merged(before, change params, path string, undeclared []string) params {
	after := maps.Clone(before)
	for name, value := range change {
		below := strings.TrimPrefix(path+"."+name, ".")
		inner, isObject := value.(params)
		old, wasObject := before[name].(params)
		switch {
		case slices.Contains(undeclared, below):
		case isObject && wasObject:
			after[name] = merged(old, inner, below, undeclared)
		default:
			after[name] = value
		}
	}
	return after
}

func (s *story) meetings() {
	p := s.p
	on := params{"title": "weekly", "record_on_start": true, "live_stream_on_start": true, "persist_chat": true, "summarize_on_end": true,
		"transcribe_on_end": true, "session_keep_alive_time_in_secs": 90.0}
	beside := []string{"transcribe_on_end"} // v6 does not declare it everywhere

	p.now = p.now.Add(time.Hour)
	began := p.now
	a := s.call("Meetings.New", nil, nil)
	bare := a.Reading["id"].(string)
	s.want("created with nothing", a, meetingWith(bare, began, began, nil), beside...)
	a = s.call("Meetings.New", nil, params{"title": nil, "record_on_start": nil, "live_stream_on_start": nil})
	s.want("created with nulls", a, meetingWith(a.Reading["id"].(string), began, began, nil), beside...)

	var id string
	for i, storage := range storages {
		all := maps.Clone(on)
		maps.Copy(all, configuration(storage))
		p.now = p.now.Add(time.Minute)
		a := s.call("Meetings.New", nil, all)
		for _, name := range a.Undeclared { // before 6.5 transcribe_on_end
			delete(all, name)
			delete(on, name)
		}
		id = a.Reading["id"].(string)
		s.want("created with everything", a, meetingWith(id, p.now, p.now, all), beside...)
		s.want("read back", s.call("Meetings.GetMeetingByID", []string{id}, params{"name": "weekly"}), meetingWith(id, p.now, p.now, all), beside...)

		created := p.now
		p.now = p.now.Add(time.Second)
		other := configuration(storages[(i+1)%len(storages)])
		maps.Copy(other, params{"title": "renamed", "status": "INACTIVE", "record_on_start": false, "live_stream_on_start": false, "persist_chat": false,
			"summarize_on_end": false, "session_keep_alive_time_in_secs": 120.0})
		if on["transcribe_on_end"] == true {
			other["transcribe_on_end"] = false
		}
		a = s.call("Meetings.UpdateMeetingByID", []string{id}, other)
		changed := merged(all, other, "", a.Undeclared) // older releases change no configuration
		s.want("changed", a, meetingWith(id, created, p.now, changed), beside...)
		p.now = p.now.Add(time.Second)
		changed = merged(changed, params{"status": "ACTIVE", "title": "once more"}, "", nil)
		s.want("changed in part", s.call("Meetings.UpdateMeetingByID", []string{id}, params{"status": "ACTIVE", "title": "once more"}),
			meetingWith(id, created, p.now, changed), beside...)
		p.now = p.now.Add(time.Second)
		s.want("replaced", s.call("Meetings.ReplaceMeetingByID", []string{id}, all), meetingWith(id, created, p.now, all), beside...)
		p.now = p.now.Add(time.Second)
		s.want("replaced by less", s.call("Meetings.ReplaceMeetingByID", []string{id}, params{"persist_chat": true}),
			meetingWith(id, created, p.now, params{"persist_chat": true}), beside...)
		p.now = p.now.Add(time.Second)
		nulls := maps.Clone(all)
		nulls["title"], nulls["record_on_start"], nulls["live_stream_on_start"] = nil, nil, nil
		shown := maps.Clone(all)
		delete(shown, "title")
		shown["record_on_start"], shown["live_stream_on_start"] = false, false
		s.want("replaced with nulls", s.call("Meetings.ReplaceMeetingByID", []string{id}, nulls), meetingWith(id, created, p.now, shown), beside...)
	}
	s.meetingLists(began, id)
}

func (s *story) meetingLists(began time.Time, last string) {
	p := s.p
	s.call("Meetings.UpdateMeetingByID", []string{last}, params{"status": "INACTIVE", "title": "found by its title"})
	inactive := params{"status": "INACTIVE"}
	for what, query := range map[string]params{
		"by title":  {"search": "by its title"},
		"by id":     {"search": last},
		"by status": inactive,
		"by time":   {"start_time": began.Add(3 * time.Minute), "end_time": p.now.Add(time.Minute)},
		"last":      {"start_time": began, "end_time": p.now, "page_no": 1.0, "per_page": 1.0},
	} {
		a := s.call("Meetings.Get", nil, query)
		if what == "by status" && len(a.Undeclared) > 0 {
			continue
		}
		one := s.call("Meetings.GetMeetingByID", []string{last}, nil)
		total := 1.0
		if what == "last" {
			total = 5
		}
		want := map[string]field{"#": length(1), "paging.total_count": number(total), "paging.start_offset": number(1), "paging.end_offset": number(1)}
		for path, v := range one.Reading {
			name, _, _ := strings.Cut(path, ".")
			if name == "ai_config" || s.c.Go() && slices.Contains(a.Extra, "0."+name) {
				continue // a list does not have it (contract 7.11), or an older release does not declare it there
			}
			want["0."+path] = field{golang: v, js: v}
		}
		s.want("meetings "+what, a, want, "0.recording_config", "0.transcribe_on_end")
	}
}
