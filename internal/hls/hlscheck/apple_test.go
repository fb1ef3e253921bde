package hlscheck

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// An appleRule is a line of docs/apple.md: a rule, or a failure that somebody
// reported, with the checks that would show it.
type appleRule struct {
	where string // section of Apple's specification, or the thread
	rule  string
	ids   []string // of Rules; none: it is not checked
	note  string   // what is not met, or cannot be checked, and why; "": met
}

// authoring are the rules of Apple's HLS Authoring Specification (revision of
// 2025, in a public copy) that a server that packages what an encoder sends has
// a part in. Content protection, stereo video, advertisements and SharePlay have
// none here.
var authoring = []appleRule{
	{"1.1, 1.2, 1.5", "video is H.264 or HEVC, in fMP4", []string{"init-parse", "codecs"}, "AV1 and VP9 are packaged too, for who can play them; Apple lists AV1 (1.37), VP9 is not in its list"},
	{"1.3, 1.6, 1.11", "profiles and levels", nil, "the encoder's; CODECS says truly what they are"},
	{"1.10", "parameter sets are in the sample description: avc1, hvc1", []string{"init-parse", "codecs"}, ""},
	{"1.13", "an IDR picture each two seconds", nil, "the encoder's; `KEYFRAME_INTERVAL` tells it to (encoder-warnings.md)"},
	{"1.19", "at most 60 pictures a second", nil, "the encoder's"},
	{"1.28, 1.29", "live: average below 110 % of AVERAGE-BANDWIDTH, peak below 125 % of BANDWIDTH", []string{"bandwidth"}, "both are measured up to when the multivariant playlist is asked for; an encoder that sends more later is not in them"},
	{"1.33", "all variants have one aspect ratio", nil, "the encoder's"},
	{"2.2, 2.3, 2.5", "sound is AAC, stereo at least once", []string{"codecs"}, "the encoder's; Opus is packaged too, and is not in Apple's list"},
	{"2.11", "the channels change only behind a discontinuity", []string{"map-discontinuity"}, ""},
	{"2.17", "no segment has several streams of sound", []string{"init-parse", "media-parse"}, "several are renditions of their own"},
	{"4.3, 4.4", "captions are in the video, and declared with a language", []string{"captions"}, "not met: nobody tells their language, and none is said"},
	{"6.1", "there are I-frame playlists", nil, "not met: there are none, scrubbing shows no pictures"},
	{"7.1, 7.3", "media and decode times are continuous across segments", []string{"tfdt-continuity", "media-duration"}, ""},
	{"7.4", "a video segment starts with an IDR picture", []string{"independent-idr"}, "not met by the second segment of a run (the first is one part, so that it can be watched at once), and where the encoder's keyframes are further apart than the target duration; `EXT-X-START` leads who joins there to the last keyframe that is listed"},
	{"7.5, 7.6", "target duration of six seconds", []string{"target-range"}, "not met: two to ten, as the encoder's keyframes are, because it is latency"},
	{"7.7", "no segment is half a second longer than the target duration", []string{"extinf-target"}, ""},
	{"8.1", "durations are exact to a picture over any run of segments", []string{"media-duration", "part-sum", "pdt-consistent"}, "where media are missing for less than a second, or pictures come at no rate, the list may say less; the dates tell"},
	{"8.4, 8.5", "each live playlist has EXT-X-PROGRAM-DATE-TIME, of the airtime", []string{"pdt-present", "pdt-consistent", "pdt-future"}, "the arrival of the first part, and of what follows to 0.2 s, where the encoder's clock is not off by more than 1,500 ppm"},
	{"8.8", "EXT-X-PLAYLIST-TYPE only where nothing is removed", []string{"playlist-type"}, ""},
	{"8.11", "six segments at least", []string{"window", "not-empty"}, "not met for the first seconds of a run and where segments are longer than two seconds: the window is 12 s and three target durations, and longer by `dvr_window_seconds`"},
	{"8.12", "15 minutes of content", []string{"window"}, "`dvr_window_seconds` (default: 12 s)"},
	{"8.13, 8.14", "breaks and changes of the frame rate stand behind a discontinuity", []string{"tfdt-continuity", "map-discontinuity", "held-apart"}, "a rate that changes without a new configuration is not seen"},
	{"8.17", "EXT-X-DISCONTINUITY-SEQUENCE is always there", []string{"discontinuity-present", "discontinuity-sequence"}, ""},
	{"8.18", "no redirects", []string{"probe-available"}, ""},
	{"8.20", "EXT-X-MAP is there", []string{"map-present"}, ""},
	{"8.21", "metadata in EXT-X-DATERANGE", []string{"daterange-same", "daterange-stable", "daterange-stays"}, ""},
	{"9.1, 9.2, 9.15", "CODECS, RESOLUTION and FRAME-RATE of each variant", []string{"variant", "codecs"}, ""},
	{"9.5, 9.6", "picture and sound are apart, with several channels always", nil, "not met with one picture and one sound, which share a playlist: half the requests, and VLC finds the sound"},
	{"9.9", "several bit rates", nil, "where the encoder sends several (Enhanced RTMP): nothing is transcoded"},
	{"9.11, 9.12", "EXT-X-INDEPENDENT-SEGMENTS where all segments start with an IDR picture", []string{"independent-first"}, "never claimed: it would have to hold for every segment to come, and does not for the second one"},
	{"9.13, 9.14", "BANDWIDTH is the peak, AVERAGE-BANDWIDTH is there", []string{"variant", "bandwidth"}, ""},
	{"10.1", "playlists are gzipped", []string{"probe-gzip"}, ""},
	{"10.4", "media types", []string{"probe-headers"}, "parts are `video/mp4`, also of sound alone"},
	{"11.1-11.3", "over TLS", nil, "with a certificate (`--https-addr`); nothing stops plain HTTP"},
	{"12.4", "media URLs are not static", []string{"uri-unique", "immutable"}, "run, epoch and viewer are in them"},
	{"14.1", "the Low-Latency Server Configuration Profile (draft, appendix B)", []string{"can-block-reload", "control-constant", "hint-present", "hint-true", "delta-full", "probe-block", "probe-delta", "probe-hint", "probe-cancel", "parts-kept"}, "HTTP/2 needs a certificate: plain HTTP/1.1 has six connections for each page"},
	{"14.2", "PART-TARGET is at least the round trip of nearly all clients, a second is recommended", []string{"target-range"}, "0.335 s; `--part-target`, 0.2 to 1 s"},
	{"14.3", "PART-HOLD-BACK is three times PART-TARGET", []string{"part-hold-back"}, ""},
	{"14.4", "delta updates where the window is longer than two minutes", []string{"can-skip-until", "delta-boundary", "probe-delta"}, ""},
	{"14.5", "CAN-SKIP-DATERANGES where there are date ranges", nil, "not met: they are few and are sent each time"},
}

// reported are failures of Apple's players that people told of other servers.
var reported = []appleRule{
	{"bluenviron/mediamtx#6237, #3945, #5071", "PART-TARGET and PART-HOLD-BACK change between reloads: -12642 *illegal PART-HOLD-BACK change*, then -12880, and it never plays again", []string{"part-target-constant", "control-constant"}, ""},
	{"bluenviron/mediamtx#6237", "delta updates whose skip boundary counts from the oldest segment", []string{"delta-boundary", "delta-full", "probe-delta"}, ""},
	{"v0l/zap-stream-core#98", "a part of 0.501 s under PART-TARGET 0.490: -12642, every variant is dropped, *Cannot Open*", []string{"part-target-max"}, ""},
	{"bluenviron/mediamtx#5327, bluenviron/gohlslib#187, arut/nginx-rtmp-module#972", "the target duration grows while it plays", []string{"target-constant"}, ""},
	{"superuser404notfound/AetherEngine#189", "segments of 5.76 s under a target duration of 4: -16832 *stall danger*, again and again", []string{"extinf-target", "media-duration"}, ""},
	{"arut/nginx-rtmp-module#869, Hutchison-Drei-Austria-GmbH/playout#1", "no EXT-X-DISCONTINUITY-SEQUENCE: MEDIA_ERR_DECODE at a discontinuity, newer devices do not start at all", []string{"discontinuity-present", "discontinuity-sequence"}, ""},
	{"videojs/video.js#8041", "EXT-X-PLAYLIST-TYPE:EVENT and a single segment: Safari plays it and stops for good", []string{"playlist-type", "not-empty"}, "a run begins with one segment and a hint at the next part; not seen on a real device"},
	{"gpac/gpac#2010", "no CAN-BLOCK-RELOAD, and parts as byte ranges: Safari does not play", []string{"can-block-reload", "hint-present"}, "parts are files of their own"},
	{"OvenMediaLabs/OvenMediaEngine#1248, OvenMediaLabs/OvenPlayer#357", "the low-latency playlist is refused; hints are cancelled after the first bytes", []string{"probe-hint", "probe-headers", "hint-true"}, "no cause was found there; the rules are those about what was seen"},
	{"OvenMediaLabs/OvenMediaEngine#1046", "an answer before there is a whole segment: players misbehave", []string{"not-empty"}, ""},
	{"OvenMediaLabs/OvenPlayer#356, OvenMediaLabs/OvenMediaEngine#1510, bluenviron/mediamtx#2317", "Safari begins 10 to 20 s behind although the playlist is low-latency", []string{"part-hold-back", "hold-back", "probe-block"}, "cannot be checked here. The watch page uses hls.js where Managed Media Source exists"},
	{"OvenMediaLabs/OvenMediaEngine#1450", "Safari stays on the lowest rendition", []string{"bandwidth"}, "cannot be checked here: parts that wait for their bytes look slow to it (6.2.6), ours are never begun before they are whole"},
	{"OvenMediaLabs/OvenMediaEngine#766", "without HTTP/2 there is no low latency", nil, "`--https-addr` has HTTP/2"},
	{"ant-media/Ant-Media-Server#1774", "Safari freezes when the picture's size changes", []string{"map-discontinuity", "map-present"}, "a new size has its own map behind a discontinuity"},
	{"video-dev/hls.js#5709", "mediastreamvalidator: *Illegal MIME type* application/x-mpegURL", []string{"probe-headers"}, ""},
	{"flowplayer/flowplayer#1403", "a listed segment that is not there stops Safari without an error", []string{"probe-available", "gap-parts"}, ""},
	{"video-dev/hls.js#1182", "sequence numbers begin anew when the encoder does: the player waits until the old number is passed", []string{"msn-monotone", "edge-monotone"}, ""},
	{"home-assistant/core#49608", "parts that vary beyond 85 % and 100 % of PART-TARGET", []string{"part-85", "part-target-max"}, ""},
}

const appleHead = `# Apple's players

Safari, iOS, tvOS and AVPlayer do not run where Tally is built, nor does Apple's ` + "`mediastreamvalidator`" + `. What they ask for is therefore
held against the packager by [the strict checker](hlscheck.md), in every test that watches: each row names the checks, and for each check
the fixture (a stream with that fault) that proves that it fires. Rows that say what is not met or cannot be checked mean it. Not one of them was seen on a
device of Apple's. This file is written by ` + "`go test ./internal/hls/hlscheck -update`" + `.

## The authoring specification

*HLS Authoring Specification for Apple Devices* (developer.apple.com/documentation/http-live-streaming/hls-authoring-specification-for-apple-devices; read in a
public copy of the 2025 revision), as far as a server has a part in it that packages what an encoder sends.

`

// docs/apple.md is made of the tables above, and what they name exists.
func TestAppleDocument(t *testing.T) {
	names := fixtureNames()
	var b strings.Builder
	table := func(first string, rows []appleRule) {
		fmt.Fprintf(&b, "| %s | rule | checks, and the fixtures that fail them | |\n| --- | --- | --- | --- |\n", first)
		for _, r := range rows {
			var checks []string
			for _, id := range r.ids {
				if len(names[id]) == 0 || !slices.ContainsFunc(Rules, func(r Rule) bool { return r.ID == id }) {
					t.Errorf("%s: no check %s with a fixture", r.where, id)
					continue
				}
				checks = append(checks, fmt.Sprintf("`%s` (%s)", id, names[id][0]))
			}
			list := strings.Join(checks, "; ")
			if list == "" {
				list = "none"
			}
			note := r.note
			if note == "" {
				note = "met"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.where, r.rule, list, note)
		}
	}
	b.WriteString(appleHead)
	table("section", authoring)
	b.WriteString("\n## What was reported of other servers\n\nIssue threads on GitHub, as owner/repository#number.\n\n")
	table("thread", reported)
	path := filepath.Join("..", "..", "..", "docs", "apple.md")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.String() {
		t.Error("docs/apple.md is out of date: run go test ./internal/hls/hlscheck -update")
	}
}
