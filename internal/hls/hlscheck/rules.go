package hlscheck

// A Rule is one thing a stream must keep to. docs/hlscheck.md is made of them.
type Rule struct {
	ID      string
	Section string // of rfc8216bis-22, or of our design
	Text    string
}

// Rules are all rules, in the order of the document.
var Rules = []Rule{
	{"syntax", "22 section 4", "a playlist follows the format"},
	{"variant", "22 section 4.4.6.2", "a variant has BANDWIDTH and CODECS, and with video RESOLUTION and FRAME-RATE"},
	{"codecs", "22 section 6.2.4", "CODECS has every media format of the init section that the playlist begins with"},
	{"bandwidth", "22 section 4.4.6.2", "no run of segments that was listed when BANDWIDTH was told, between half and one and a half target durations long, has a tenth more"},
	{"version", "22 sections 4.4.1.2, 8", "EXT-X-VERSION is what the tags need (6 for EXT-X-MAP, 9 for EXT-X-SKIP) and at most 10"},
	{"not-empty", "design 5", "a playlist lists at least one whole segment (players refuse one without)"},
	{"playlist-type", "22 section 6.2.2", "a live playlist has no EXT-X-PLAYLIST-TYPE"},
	{"target-range", "design 5", "the target duration is at most 10 s, PART-TARGET at least 200 ms and no longer than the target duration"},
	{"can-block-reload", "22 section B.1; design 5", "a playlist with parts has CAN-BLOCK-RELOAD=YES"},

	{"captions", "22 sections 4.4.6.1, 4.4.6.2", "each variant names the group of closed captions where there is one, and all or none say NONE"},
	{"media-groups", "22 section 4.4.6.1.1", "at most one member of a group is the DEFAULT, and groups of one TYPE have the same members"},

	{"target-constant", "22 section 4.4.3.1, 6.2.1", "EXT-X-TARGETDURATION never changes"},
	{"part-target-constant", "design 5; 22 section 6.2.1", "PART-TARGET never changes (CoreMedia drops the stream for good)"},
	{"control-constant", "22 section 6.2.1", "EXT-X-SERVER-CONTROL and EXT-X-VERSION never change"},
	{"hold-back", "22 section 4.4.3.8", "HOLD-BACK is there and at least three target durations"},
	{"part-hold-back", "22 section 4.4.3.8; design 5", "PART-HOLD-BACK is there with parts and at least three part targets"},
	{"can-skip-until", "22 section 4.4.3.8", "CAN-SKIP-UNTIL is at least six target durations"},

	{"extinf-target", "22 section 4.4.3.1", "EXTINF rounded to seconds is at most the target duration"},
	{"part-target-max", "22 section 4.4.4.9", "a part is at most PART-TARGET long"},
	{"part-85", "22 section 4.4.4.9; design 5", "a part is at least 85 % of PART-TARGET, unless it is the last of its segment, a gap, before a gap or before an independent part"},
	{"part-sum", "design 5", "the parts of a segment sum to its EXTINF, to the last printed digit"},
	{"independent-first", "22 sections 4.4.2.1, 4.4.4.9", "with EXT-X-INDEPENDENT-SEGMENTS the first part of a segment is INDEPENDENT"},
	{"parts-edge", "22 section 6.2.2", "a segment that ends more than three target durations before the playlist's end lists no parts"},
	{"parts-kept", "22 section 6.2.2; design 5", "a segment that ends within three target durations of the playlist's end lists its parts"},
	{"uri-unique", "design 5", "no two segments or parts have the same URI, also when one of them has left"},

	{"pdt-present", "design 5", "each segment has EXT-X-PROGRAM-DATE-TIME"},
	{"pdt-consistent", "22 section 6.2.1", "dates follow from durations between discontinuities, but for 2 ms and 0.2 % by which they may be slewed, and never go back by a second across one"},
	{"pdt-future", "design 5", "what is listed is not dated more than a second later than it is read"},
	{"map-present", "22 section 3.1.2, 4.4.4.5", "an EXT-X-MAP applies to each segment"},
	{"gap-parts", "22 section 4.4.4.9; design 3", "the parts of an EXT-X-GAP segment have GAP=YES, and no others"},
	{"held-apart", "design 3", "a discontinuity stands before held segments and before what follows them"},
	{"held-independent", "design 3", "each part of a held segment is INDEPENDENT, or the segment is a gap"},
	{"map-discontinuity", "22 section 4.4.4.3; design 5", "the map changes only at a discontinuity"},

	{"msn-monotone", "22 section 6.2.2", "EXT-X-MEDIA-SEQUENCE never decreases"},
	{"edge-monotone", "22 section 6.2.1", "a playlist never ends before an earlier one did"},
	{"segment-stable", "22 section 6.2.1", "a listed segment keeps its URI, duration, title, date, map, gap and discontinuity"},
	{"part-stable", "22 section 6.2.1", "a listed part keeps its URI, duration and attributes"},
	{"discontinuity-sequence", "22 section 6.2.2", "the discontinuity sequence never decreases, and each segment keeps its own"},
	{"discontinuity-present", "22 section 6.2.2; design 5", "EXT-X-DISCONTINUITY-SEQUENCE is there from the start"},
	{"window", "22 section 6.2.2", "segments leave only while three target durations stay listed; a restart of the server, which is another list behind a discontinuity, takes all"},
	{"same-position", "22 section 6.2.1", "two playlists that end at the same part say the same"},
	{"delta-full", "22 section 6.2.5.1", "a delta update and the playlist before it make the full playlist"},
	{"delta-boundary", "22 section 6.2.5.1", "a delta update skips only what lies beyond CAN-SKIP-UNTIL"},
	{"delta-unasked", "22 section 6.2.5.1", "a delta update comes only when asked for, and never with EXT-X-ENDLIST"},
	{"hint-present", "design 5", "a playlist hints at the next part, unless there is none or it is behind a discontinuity"},
	{"hint-true", "22 section 4.4.5.3", "the next part that appears is the one hinted at, unless nothing of the list is left"},
	{"part-cadence", "22 section 6.2.1", "from an encoder that sends steadily a new part comes within one PART-TARGET of the one before"},
	{"segment-cadence", "22 section 6.2.1", "and a new segment within one and a half target durations"},
	{"block-early", "22 section 6.2.5.2", "a blocking reload is answered with what it asked for"},
	{"endlist-final", "22 section 4.4.3.4", "nothing is added after EXT-X-ENDLIST, nor is it taken back"},
	{"daterange-same", "22 section 4.4.5.1", "tags of one date range agree in what they say"},
	{"daterange-stable", "22 sections 4.4.5.1, 6.2.1", "the tags of a date range stay as they are, more may come; one that left never comes back"},
	{"daterange-stays", "22 section 6.2.1; design 5", "a date range stays until it ended before the playlist's begin, unless there are 50 or more, or 16 KB of them"},
	{"endlist-hint", "22 section 4.4.5.3; design 5", "with EXT-X-ENDLIST there is no preload hint and no open segment"},

	{"rendition-grid", "design 5", "segments of one number begin together in all renditions, but for a frame and what reordering moves"},
	{"rendition-discontinuity", "22 section 6.2.4; design 5", "segments of one number have the same discontinuity sequence number in all renditions"},
	{"report-missing", "22 section 4.4.5.4; design 5", "each playlist has an EXT-X-RENDITION-REPORT of each other one"},
	{"report-ahead", "22 section 4.4.5.4", "what a report tells of a playlist is there for who asks for it then"},
	{"report-stale", "22 section 4.4.5.4; design 5", "a report tells what the other playlist had a target duration before"},

	{"init-parse", "22 section 3.1.2; ISO/IEC 14496-12", "an init section is ftyp and moov with tracks, timescales and track extends"},
	{"media-parse", "22 section 3.1.2; ISO/IEC 23000-19", "media is moof and mdat that fit together, of tracks that the map declares"},
	{"tfdt-continuity", "ISO/IEC 14496-12 section 8.8.12; design 5", "within a discontinuity each track goes on where its last part ended"},
	{"media-duration", "22 section 4.4.4.9; design 5", "the samples of a part or segment last as long as the playlist says"},
	{"sample-duration", "ISO/IEC 14496-12 section 8.8.8", "no sample lasts for nothing"},
	{"independent-idr", "22 section 4.4.4.9; design 5", "an INDEPENDENT part starts with a picture that decoding can start at (H.264: IDR; HEVC: IRAP; AV1, VP9: key frame, by the bytes), and one that does is INDEPENDENT"},
	{"segment-bytes", "22 section 4.4.4.9", "a segment is its parts, one after the other"},
	{"immutable", "design 4, 5", "a URI always gives the same bytes"},

	{"probe-block", "22 section 6.2.5.2", "_HLS_msn waits for the segment, with _HLS_part for the part, and a part past the last is part 0 of the next"},
	{"probe-bad-request", "22 section 6.2.5.2", "400 for _HLS_part alone, for an MSN more than two ahead, for a part past the Advance Part Limit, for a directive that is no number"},
	{"probe-still", "22 section 6.2.5.2", "a reload that nothing came for is 503 after three target durations, with Retry-After; without directives the playlist is there"},
	{"probe-ended", "22 sections 6.2.5.1, 6.2.5.2", "with EXT-X-ENDLIST all directives are ignored"},
	{"probe-delta", "22 section 6.2.5.1", "_HLS_skip=YES and v2 are answered, by a delta update where there is something to skip, and that and the playlist before make the full playlist"},
	{"probe-hint", "22 section 6.2.6", "a hinted part can be asked for, and is handed out whole"},
	{"probe-available", "22 section 6.2.1", "what is listed is there at once"},
	{"probe-left", "22 section 6.2.2; design 5", "a segment that left stays for a target duration, its parts for three after they were listed last"},
	{"probe-headers", "22 section 4; design 5", "playlists and media have their media type and their length"},
	{"probe-gzip", "22 section 6.2.1", "playlists are gzipped on request, say Vary, and are the same text; media is not"},
	{"probe-cache", "design 4, 5", "media is immutable, playlists are asked for anew each time, the multivariant playlist and errors are not stored"},
	{"probe-head", "RFC 9110 section 9.3.2", "HEAD is answered as GET is, without a body"},
	{"probe-cors", "Fetch standard; design 1", "every answer, also a refusal, may be read by any allowed page and never with credentials; OPTIONS says so"},
	{"probe-etag", "RFC 9110 section 13.1.2", "a playlist that has an ETag is 304 to who holds it"},
	{"probe-range", "RFC 9110 section 14", "a byte range of a segment is 206 and these bytes, one past its end 416"},
	{"probe-not-found", "22 section 6.2.6", "what was never listed nor hinted at is 404 at once"},
	{"probe-cancel", "design 5", "a reload that its client gives up disturbs no other"},
}

// section returns where a rule stands.
func section(id string) string {
	for i := range Rules {
		if Rules[i].ID == id {
			return Rules[i].Section
		}
	}
	panic("hlscheck: no rule " + id)
}
