# Varnish in front of Tally, for 6.0 and later. docs/http.md says how to run it.
#
# Media in shared delivery (/hls/PLAYBACK_ID/RUN/part-…, seg-…, init-…) is asked
# for once and kept; the part that players ask for ahead is held by Tally, and goes
# to all of them as it comes. Everything else passes: playlists, because each
# request for one shows that its viewer is there; beacons, state, pages, the API.
vcl 4.1;

backend default {
	.host = "127.0.0.1";
	.port = "8080";
	.connect_timeout = 1s;
	# Tally answers what it holds within three target durations, at most 30 s, and
	# sends a comment each 15 s where it streams events.
	.first_byte_timeout = 60s;
	.between_bytes_timeout = 60s;
}

sub vcl_recv {
	# Nothing of Tally's reads a cookie, and this one sets X-Forwarded-For alone.
	unset req.http.Cookie;
	unset req.http.Proxy;

	if ((req.method == "GET" || req.method == "HEAD") &&
	    req.url ~ "^/hls/[A-Za-z0-9_-]+/[A-Za-z0-9_-]+/([av][0-9]+/)?(init-[0-9]+-[0-9]+\.mp4|(part|seg)-[0-9]+-[0-9]+\.m4s)(\?|$)") {
		# The name is all there is to media: neither a query nor who asks changes it.
		set req.url = regsub(req.url, "\?.*$", "");
		unset req.http.Authorization;
		return (hash);
	}
	return (pass);
}

sub vcl_hash {
	# Playback ids are unique: one host's media is every host's.
	hash_data(req.url);
	return (lookup);
}

sub vcl_backend_fetch {
	# By this Tally knows that there is a cache, and that playlists are to name
	# media that all viewers share (--delivery auto).
	if (bereq.http.Via) {
		set bereq.http.Via = bereq.http.Via + ", 1.1 varnish";
	} else {
		set bereq.http.Via = "1.1 varnish";
	}
}

sub vcl_backend_response {
	unset beresp.http.Set-Cookie;
	if (bereq.uncacheable) {
		return (deliver);
	}
	if (beresp.status == 200 && beresp.http.Cache-Control ~ "^public.*immutable") {
		# Kept longer than any player asks for it, and no longer: a broadcast that
		# is over makes room. Its bytes never change, so they are never stale.
		set beresp.ttl = 1h;
		set beresp.grace = 1h;
		set beresp.keep = 0s;
		unset beresp.http.Server-Timing; # of the one request that waited
		return (deliver);
	}
	# 404, 503: never kept. For a moment nobody queues behind another who asks for
	# the same; what is there a moment later is asked for once again.
	set beresp.ttl = 200ms;
	set beresp.grace = 0s;
	set beresp.keep = 0s;
	set beresp.uncacheable = true;
	return (deliver);
}

sub vcl_backend_error {
	# Tally does not answer. Players on other pages may read even this.
	set beresp.http.Content-Type = "text/plain; charset=utf-8";
	set beresp.http.Cache-Control = "no-store";
	set beresp.http.Retry-After = "1";
	set beresp.http.Access-Control-Allow-Origin = "*";
	set beresp.body = "the server behind this cache does not answer: try again in a second" + {"
"};
	set beresp.ttl = 200ms;
	set beresp.grace = 0s;
	set beresp.uncacheable = true;
	return (deliver);
}

sub vcl_deliver {
	unset resp.http.X-Varnish;
	if (obj.hits > 0) {
		set resp.http.X-Cache = "hit";
	} else {
		set resp.http.X-Cache = "miss";
	}
	return (deliver);
}
