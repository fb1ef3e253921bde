/* The watch page: follows the public state of one livestream, plays it, and
 * comes back by itself. Four parts: news (what the server says), player (what
 * the video does), meter (how long it played, and telling the server of it), view
 * (what the person sees). One tick joins them. */
(() => {
	'use strict';

	const body = document.body;
	const $ = (id) => document.getElementById(id);
	const stage = $('stage'), video = $('video');
	const base = body.dataset.root + 'hls/' + body.dataset.playbackId;
	const skew = Number(body.dataset.now) - Date.now(); // the server's clock minus ours
	const now = () => performance.now();

	/* ---- access: to a private broadcast, by the link's token --------------------- */

	// Once the server has let the player in, its viewer id does instead of the token.
	const access = {
		token: new URLSearchParams(location.search).get('token') || '',
		viewer: '',
		query(...more) {
			const q = [...more];
			if (this.viewer) q.push('viewer=' + this.viewer);
			if (this.token) q.push('token=' + encodeURIComponent(this.token));
			return q.length ? '?' + q.join('&') : '';
		},
	};

	// Why somebody is not let in, by the server's word for it: headline and what to do.
	const refusals = {
		token_required: ['This broadcast is private', 'Open it with the whole link that you were sent. If you have none, ask whoever runs the broadcast.'],
		token_invalid: ['This link does not work', 'It may be cut off, or of another broadcast. Open it exactly as you were sent it, or ask for a new one.'],
		expired: ['Your link has expired', 'Ask whoever sent it to you for a new one.'],
		not_yet: ['Your link is not good yet', 'It works later. You can leave this page open.'],
		revoked: ['Your access has ended', 'Whoever runs the broadcast has taken it back. If that is a mistake, ask them for a new link.'],
		origin: ['This broadcast may not be shown here', 'Whoever runs it decides on which sites it plays.'],
	};

	/* ---- news: waiting, live, reconnecting or ended -------------------------- */

	const news = { state: body.dataset.state, since: null, deadline: null, run: null, recording: null, disabled: false, reachable: true, gone: false, denied: null };
	let events = null;      // EventSource, while one is open
	let pollTimer = 0;
	let failures = 0;       // polls that failed in a row
	let streamAgain = 0;    // when to try events again after they were refused

	// Over HTTP/1.1 a browser has six connections per server, shared by all its
	// tabs. While the picture moves, a question now and then does instead of a
	// connection of its own.
	const nav = performance.getEntriesByType('navigation')[0];
	const scarce = !nav || !nav.nextHopProtocol || nav.nextHopProtocol.startsWith('http/1');

	function take(n) {
		const before = news.state;
		Object.assign(news, n, { reachable: true, gone: false, denied: null });
		failures = 0;
		if (n.state !== before) meter.flush();
		if (n.state === 'live' && before !== 'live' && !player.recording) player.liveAgain();
		if (n.state === 'live' && player.on && !player.recording && player.run && n.run && n.run !== player.run) player.begin();
		if (n.state === 'live' && !player.run) player.run = n.run;
		tick();
	}

	// refuse: the server does not let us in, or not any more.
	function refuse(why) {
		Object.assign(news, { denied: why, reachable: true });
		hangUp();
		streamAgain = now() + 10000; // it may be otherwise then
		failures = 0;
		player.drop();
		poster.drop();
		tick();
	}

	function listen() {
		if (events) return;
		clearTimeout(pollTimer);
		pollTimer = 0;
		if (!window.EventSource || now() < streamAgain) return ask();
		events = new EventSource(base + '/state' + access.query());
		events.addEventListener('refused', (e) => { refuse(JSON.parse(e.data)); pollTimer = setTimeout(ask, 10000); });
		events.addEventListener('state', (e) => take(JSON.parse(e.data)));
		events.onerror = () => {
			news.reachable = false;
			if (events && events.readyState === EventSource.CLOSED) { // refused: it will not try again itself
				hangUp();
				streamAgain = now() + 30000;
				ask();
			}
			tick();
		};
	}

	function hangUp() {
		if (events) events.close();
		events = null;
	}

	async function ask() {
		clearTimeout(pollTimer);
		pollTimer = -1;
		try {
			const r = await fetch(base + '/state' + access.query(), { cache: 'no-store', headers: { Accept: 'application/json' }, signal: timeout(8000) });
			if (r.status === 404) Object.assign(news, { state: 'ended', since: null, gone: true, reachable: true });
			else if (r.status === 403) refuse(await r.json());
			else if (!r.ok) throw new Error(r.status);
			else take(await r.json());
		} catch {
			failures++;
			news.reachable = false;
			tick();
		}
		if (!events) pollTimer = setTimeout(ask, failures ? Math.min(1000 * 2 ** failures, 10000) : news.denied ? 10000 : 4000);
	}

	function timeout(ms) {
		const c = new AbortController();
		setTimeout(() => c.abort(), ms);
		return c.signal;
	}

	// tend decides between a stream of events and a question now and then.
	function tend() {
		if (alone) return; // a recording has no news
		const quiet = scarce && news.state === 'live' && player.moving;
		if (quiet && events) { hangUp(); pollTimer = setTimeout(ask, 4000); }
		else if (!quiet && !events && now() >= streamAgain) listen();
		else if (!events && !pollTimer) ask();
	}

	/* ---- player: hls.js where there is Media Source, else the browser's own --- */

	const useHls = !!(window.Hls && Hls.isSupported());

	// Two faults of hls.js 1.7.4 would hide captions: it forgets at each part what a
	// caption has begun with, because it compares numbers of segments only, and most
	// captions are longer than a part; and it waits for a buffer of video alone
	// where sound and picture share one.
	const Timeline = useHls && Hls.DefaultConfig.timelineController && class extends Hls.DefaultConfig.timelineController {
		onFragLoading(event, d) {
			const part = d.part ? d.part.index : -1;
			if (d.frag.type === 'main' && d.frag.sn === this.lastSn && part === this.lastPartIndex + 1 && d.frag.cc === this.lastCc) this.lastPartIndex = part;
			else super.onFragLoading(event, d);
		}
		onBufferAppended(event, d) {
			super.onBufferAppended(event, d.type === 'audiovideo' ? { type: 'video', timeRanges: { video: d.timeRanges.audiovideo } } : d);
		}
	};
	const sourceURL = () => new URL(player.recording ? body.dataset.root + 'vod/' + player.recording + '/index.m3u8' + access.query()
		: base + '/index.m3u8' + access.query(...meter.promise()), location.href).href;
	const alone = body.dataset.recording || ''; // the page is that of a recording

	const player = {
		on: false, hls: null, run: null,
		asked: !body.dataset.ask, // an embedded player begins when somebody asks it to
		moving: false, everMoved: false, stalls: 0,
		lastTime: 0, lastMove: 0, movingSince: 0,
		dryAt: Infinity,     // since when there is nothing more to show of a broadcast that has ended
		finished: false,     // so it is, unless somebody seeks
		giveUpAt: 0,         // no picture by then: begin again
		againAt: 0, wait: 500, // back-off after a failure, ms
		paused: false,       // by the person
		blocked: false,      // autoplay was refused
		mediaFaults: 0,
		full: false,         // the server has no room for one more viewer
		loaded: [],          // [when, bits, seconds of media], for the bitrate
		recording: alone,    // the session whose recording plays; '': the broadcast
		chosen: false,       // somebody went back or paused: what is late is meant to be
		place: null,         // the date to go on at, after another begin
		lateAt: 0,           // since when it has been too late for hls.js to hurry, ms

		begin() {
			if (news.denied) return;
			this.drop();
			this.on = true;
			if (this.run !== news.run) { this.chosen = false; this.place = null; }
			this.run = news.run;
			this.giveUpAt = now() + 12000; // the server holds a playlist for up to 10 s
			this.mediaFaults = 0;
			if (useHls) this.beginHls();
			else if (video.canPlayType('application/vnd.apple.mpegurl')) this.beginNative();
			else { this.on = false; view.unsupported = true; return; }
			if (!this.paused) this.play();
		},

		// beginNative lets the browser play. It hides what it fetches, so the page asks
		// for a playlist first to learn which viewer it is, and hands that on.
		async beginNative() {
			const attempt = this.attempt = {};
			try {
				const r = await fetch(sourceURL(), { cache: 'no-store', signal: timeout(12000) });
				this.full = r.status === 503 && (await r.clone().text()).startsWith('full');
				if (r.status === 403) ask(); // why?
				if (!r.ok) throw new Error(r.status);
				const uri = (await r.text()).split('\n').find((l) => l.trim() && !l.startsWith('#'));
				if (attempt !== this.attempt || !this.on) return;
				if (!this.recording) meter.begin(new URL(uri.trim(), r.url).href, meter.byState); // a recording counts nothing
				video.src = sourceURL();
				video.load();
				if (!this.paused) this.play();
			} catch {
				if (attempt === this.attempt && this.on) this.failed();
			}
		},

		beginHls() {
			const h = this.hls = new Hls({
				lowLatencyMode: true,
				workerPath: body.dataset.worker,
				...(Timeline && { timelineController: Timeline }),
				maxLiveSyncPlaybackRate: 1.1, // catches up after a stall instead of staying late
				liveSyncOnStallIncrease: 0.25, // s; hls.js has 1, which one hiccup would keep for good
				backBufferLength: 20,
			});
			h.on(Hls.Events.ERROR, (_, d) => {
				if (h === this.hls && d.response && d.response.code === 403 && pollTimer !== -1) ask(); // why?
				if (!d.fatal || h !== this.hls) return;
				if (news.state === 'ended' && !this.recording && !this.moving && this.everMoved && d.type === Hls.ErrorTypes.NETWORK_ERROR) {
					h.stopLoad(); // a playlist that stands still, or is gone: the last picture stays
					return;
				}
				this.full = !!d.response && d.response.code === 503 && String(d.networkDetails && d.networkDetails.responseText).startsWith('full');
				if (d.type === Hls.ErrorTypes.MEDIA_ERROR && this.mediaFaults++ < 2) h.recoverMediaError();
				else this.failed();
			});
			h.on(Hls.Events.FRAG_BUFFERED, (_, d) => {
				const seconds = d.part ? d.part.duration : d.frag.duration;
				if (d.stats.total && d.frag.sn !== 'initSegment') this.loaded.push([now(), d.stats.total * 8, seconds]);
				if (this.place && !this.recording) this.backTo(this.place);
			});
			const stretches = this.recording ? null : meter.stretches();
			h.on(Hls.Events.MANIFEST_PARSED, (_, d) => { this.full = false; if (!this.recording) meter.begin(d.levels[0].uri, stretches); });
			h.on(Hls.Events.LEVEL_UPDATED, (_, d) => stretches && stretches.update(d.details));
			h.loadSource(sourceURL());
			h.attachMedia(video);
		},

		drop() {
			meter.settle();
			if (this.chosen && !this.recording && this.hls) this.place ||= this.hls.playingDate;
			if (this.hls) this.hls.destroy();
			else if (this.on) { video.removeAttribute('src'); video.load(); }
			this.hls = this.attempt = null;
			this.on = false;
			this.moving = false;
			this.loaded = [];
		},

		failed() {
			this.drop();
			this.againAt = now() + (this.full ? 8000 + 4000 * Math.random() : this.wait); // not all who wait at once
			this.wait = Math.min(this.wait * 2, 8000);
			tick();
		},

		// liveAgain: the broadcast came (back). What plays gets a moment to go on.
		liveAgain() {
			this.wait = 500;
			this.againAt = this.on ? 0 : now() + 700; // two more parts, or it would start with a stall
			if (this.on) this.giveUpAt = now() + 2500;
			if (this.hls) this.hls.startLoad();
		},

		play() {
			const p = video.play();
			if (p) p.then(() => { this.blocked = false; }, (e) => {
				if (e.name === 'NotAllowedError') { this.blocked = true; tick(); }
			});
		},

		// behind is how many seconds the picture is behind the encoder, or NaN: by
		// the playlist's dates or by its edge, whichever says more. An encoder that
		// sends its first frames in one go dates them all a little late.
		behind() {
			if (this.hls) {
				const at = this.hls.playingDate, edge = this.hls.latency || NaN;
				return at ? Math.max((Date.now() + skew - at) / 1000, edge || 0) : edge;
			}
			const start = video.getStartDate ? video.getStartDate().getTime() : NaN;
			return (Date.now() + skew - start) / 1000 - video.currentTime;
		},

		// late is how many seconds that is more than it need be.
		late() {
			if (this.hls) return this.hls.latency - (this.hls.targetLatency || 0);
			const s = video.seekable;
			return s.length ? s.end(s.length - 1) - video.currentTime - 6 : 0;
		},

		// ahead is how many seconds the picture can go on without loading more.
		ahead() {
			const b = video.buffered, at = video.currentTime;
			for (let i = 0; i < b.length; i++) if (b.start(i) <= at && at <= b.end(i)) return b.end(i) - at;
			return 0;
		},

		// range is what can be sought in: [begin, end] on the video's clock, or null.
		// One of a live window without DVR is no place to seek in.
		range() {
			if (!this.on) return null;
			const s = video.seekable, list = this.hls && this.hls.latestLevelDetails;
			let r = null;
			if (list && list.fragments.length) r = [list.fragments[0].start, list.edge];
			else if (s.length) r = [s.start(0), s.end(s.length - 1)];
			return r && (this.recording || r[1] - r[0] > 30) ? r : null;
		},

		// inPast: the picture is in what can still be sought in, and not at its end.
		inPast() {
			const r = this.range();
			return !!r && news.state === 'ended' && video.currentTime < r[1] - 1;
		},

		seek(to) {
			const r = this.range();
			if (!r) return;
			meter.measure();
			const last = this.recording ? r[1] - 0.1 : r[1] - 2;
			if (!this.recording && to > last - 2 && news.state === 'live') return this.toLive();
			if (this.hls) this.hls.startLoad(-1, true); // it may have been told to stop at the end
			video.currentTime = Math.min(Math.max(to, r[0] + 0.1), last);
			this.chosen = true;
			this.giveUpAt = now() + 12000;
			this.finished = false;
		},

		// backTo goes on where somebody was who had gone back when the player had to begin
		// again, or where the list begins by now.
		backTo(date) {
			const list = this.hls.latestLevelDetails;
			if (!list) return;
			this.place = null;
			const f = list.fragments.findLast((f) => f.programDateTime <= date);
			this.seek(f ? f.start + Math.min((date - f.programDateTime) / 1000, f.duration) : 0);
		},

		// catchUp skips what a picture that stood still is late by. hls.js plays faster, as
		// long as it is less than a target duration and what it keeps; by more it would
		// stay late for good, and with a DVR window by any amount.
		catchUp(moving) {
			const list = this.hls && this.hls.latestLevelDetails;
			if (moving && list && !video.seeking && list.edge - video.currentTime < this.hls.targetLatency + 1) this.chosen = false;
			const late = moving && list && !this.recording && !this.chosen && news.state === 'live'
				&& this.late() > list.targetduration + this.hls.targetLatency;
			if (!late) this.lateAt = now();
			else if (now() - this.lateAt > 3000) this.toLive();
		},

		// again plays from the beginning what is over.
		again() {
			if (!news.recording) { // the playlist of the broadcast is still there
				const r = this.range();
				if (!r) return;
				this.seek(r[0]);
				return this.resume();
			}
			this.recording = news.recording;
			this.paused = false;
			this.begin();
		},

		toLive() {
			if (this.recording) {
				this.recording = '';
				this.drop();
				return this.resume();
			}
			meter.measure();
			this.chosen = false;
			this.place = null;
			const s = video.seekable;
			const edge = this.hls ? this.hls.liveSyncPosition : s.length ? s.end(s.length - 1) - 3 : null;
			if (edge) video.currentTime = edge;
			this.resume();
		},

		resume() {
			if (!this.asked) { // by a person, so there may be sound
				this.asked = true;
				video.muted = false;
			}
			this.paused = this.finished = false;
			this.lastMove = now();
			this.giveUpAt = now() + 6000;
			if (this.hls && this.inPast()) this.hls.startLoad(-1, true);
			if (!this.on && (news.state === 'live' || this.recording)) this.begin();
			else this.play();
		},

		// over: hls.js has read the end of the playlist, which comes some time after that
		// of the broadcast.
		over() {
			const list = this.hls && this.hls.latestLevelDetails;
			return !!list && !list.live;
		},

		// astray: the playlist ends before where the picture stands. A server that was
		// killed goes on with much higher numbers, which hls.js may place so; it would
		// stand still until the broadcast has come that far again.
		astray() {
			const list = this.hls && this.hls.latestLevelDetails;
			return !!list && list.edge < video.currentTime - 0.5;
		},

		watch() {
			const t = now();
			if (video.currentTime !== this.lastTime) {
				if (!video.paused && video.readyState > 1) this.lastMove = t;
				this.lastTime = video.currentTime;
			}
			// hls.js nudges a picture that ran dry, and after ten seconds repeats the last
			// ones, until the playlist has its end: that is no moving.
			const dry = news.state === 'ended' && !this.recording && !this.moving && this.ahead() < 1;
			this.dryAt = dry || this.finished ? Math.min(this.dryAt, t) : Infinity;
			this.finished = news.state === 'ended' && !this.recording && (this.finished || dry && t > this.giveUpAt);
			const moving = this.on && !video.paused && t - this.lastMove < 900 && this.lastMove > 0 && !dry && !this.finished;
			if (this.moving && !moving && !video.paused && !video.ended && (news.state === 'live' || this.recording)) this.stalls++;
			if (!this.moving && moving) this.movingSince = t;
			this.moving = moving;
			this.catchUp(moving);
			if (moving) {
				this.everMoved = true;
				this.giveUpAt = t + 6000;
				if (t - this.movingSince > 5000) this.wait = 500;
			}
			if (this.recording) {
				if (!this.on && t >= this.againAt && !view.unsupported && !news.denied) this.begin();
				else if (this.on && !this.paused && !this.blocked && !video.ended && t > this.giveUpAt && !moving) this.failed();
			} else if (news.state === 'live') {
				if (!this.on && t >= this.againAt && !view.unsupported && !news.denied && this.asked) this.begin();
				else if (this.on && !this.paused && !this.blocked && (t > this.giveUpAt || !moving && this.astray())) this.failed();
			} else if (this.finished && this.hls && (this.over() || t > this.dryAt + 9500)) {
				this.hls.stopLoad(); // the last picture stays
			}
		},
	};

	/* ---- meter: how long it played, told to the server --------------------------- */

	// One page is one viewer, over players, broadcasts and restarts of the server,
	// as long as nobody reloads it. Without playhead.js (a blocker may take it for
	// something else) the server counts by what was fetched.
	const Count = window.TallyPlayhead;
	const meter = {
		viewer: '',
		byState: { at: () => ({ cc: 0, held: news.state === 'reconnecting', until: Infinity }), held: () => false },
		playhead: null,
		beacons: Count ? new Count.Beacons({
			now,
			post: (url, text) => fetch(url, { method: 'POST', body: text, keepalive: true, cache: 'no-store', signal: timeout(10000) }).then((r) => r.ok),
			park: (url, text) => { if (navigator.sendBeacon) navigator.sendBeacon(url, text); },
		}) : null,

		// promise says to the server that beacons will come.
		promise: () => Count ? ['beacon=1'] : [],
		stretches: () => Count ? new Count.Stretches() : null,

		// begin has a new player, whose media playlist is at the address.
		begin(url, stretches) {
			const [dir, id] = new URL(url).pathname.match(/^.*?\/([\w-]{48}|[\w-]{32})\//) || [];
			if (!id) return;
			this.viewer = access.viewer = id;
			if (!Count) return;
			this.settle();
			this.beacons.to(new URL(dir + 'beacon', url).href);
			if (this.playhead) this.playhead.restart(stretches);
			else this.playhead = new Count.Playhead(video, stretches, now);
		},

		measure() { if (this.playhead) this.beacons.add(this.playhead.take(false)); },
		settle() { if (this.playhead) this.beacons.add(this.playhead.take(true, news.state === 'reconnecting')); },
		tick() { this.measure(); if (Count) this.beacons.tick(); },
		soon() { this.measure(); if (Count) this.beacons.soon(); },
		flush() { this.measure(); if (Count) this.beacons.flush(); },
		leave() { this.settle(); if (Count) this.beacons.leave(); },
	};
	for (const type of ['timeupdate', 'play', 'playing', 'seeking', 'seeked', 'ratechange']) video.addEventListener(type, () => meter.measure());
	for (const type of ['pause', 'waiting', 'ended']) video.addEventListener(type, () => meter.soon());
	video.addEventListener('pause', () => { if (player.range()) player.chosen = true; }); // also by keys of the keyboard and the system
	window.addEventListener('pagehide', () => meter.leave());
	document.addEventListener('visibilitychange', () => { if (document.hidden) meter.leave(); });

	/* ---- poster: what is to be seen before the picture moves ----------------------- */

	// The server makes it of the newest keyframe. A player that begins by itself is
	// given a second first: nobody is to wait for a picture because of a poster.
	const poster = {
		asked: false,
		missing: 0, // since when there is nothing to be seen
		load() {
			this.asked = true;
			const image = new Image();
			image.fetchPriority = 'low';
			image.onload = () => { if (!news.denied) { video.poster = image.src; stage.classList.add('has-poster'); } };
			image.src = base + '/thumbnail.jpg' + access.query('width=1280');
		},
		drop() {
			Object.assign(this, { asked: false, missing: 0 });
			video.removeAttribute('poster');
			stage.classList.remove('has-poster');
		},
		watch() {
			if (this.asked || alone || player.recording || player.everMoved || news.gone || news.denied || news.state === 'waiting') return;
			this.missing ||= now();
			if (!player.asked || news.state !== 'live' || now() - this.missing > 1000) this.load();
		},
	};

	/* ---- captions: in the picture (CEA-608), shown when somebody wants them -------- */

	const captions = {
		on: false,
		tracks: () => [...video.textTracks].filter((t) => t.kind === 'captions' || t.kind === 'subtitles'),
		render() {
			const all = this.tracks();
			$('captions').hidden = !all.length;
			$('captions').setAttribute('aria-pressed', String(this.on));
			all.forEach((t, i) => {
				const mode = this.on && i === 0 ? 'showing' : 'hidden';
				if (t.mode !== mode) t.mode = mode;
			});
		},
		toggle() { this.on = !this.on; this.render(); },
	};

	/* ---- view ------------------------------------------------------------------ */

	const view = { dragging: false, unsupported: false, said: '', touched: now(), heard: false };

	function remaining(deadline) {
		const s = Math.max(0, Math.round((Date.parse(deadline) - Date.now() - skew) / 1000));
		return Math.floor(s / 60) + ':' + String(s % 60).padStart(2, '0');
	}

	const clock = (t) => new Date(t).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });

	// message is what stands where the picture cannot: [headline, detail], or null.
	function message() {
		if (view.unsupported) return ['This browser cannot play the broadcast', 'It has neither Media Source Extensions nor HLS. A current Chrome, Edge, Firefox or Safari does.'];
		if (news.denied) return refusals[news.denied.code] || ['You are not let in', news.denied.error];
		if (news.gone) return ['This livestream no longer exists', 'Ask whoever sent you the link for a new one.'];
		if (player.recording) {
			if (player.blocked) return ['Recording', 'Your browser waits for you to start it.'];
			if (video.ended) return ['The recording is over', news.state === 'live' ? 'The broadcast is live again.' : ''];
			if (player.moving || player.everMoved && (player.paused || video.seeking)) return null;
			return player.wait > 2000 ? ['The recording cannot be played', 'It may have been deleted. Trying again.'] : ['Starting', ''];
		}
		if (!player.asked && news.state === 'live') return ['The broadcast is live', ''];
		if (player.blocked && news.state === 'live') return ['The broadcast is live', 'Your browser waits for you to start it.'];
		// While the encoder is away the server holds the last picture, which plays.
		if ((player.moving && news.state !== 'reconnecting') || (player.paused && player.on && (news.state === 'live' || player.inPast()))) return null;
		if (player.full && news.state === 'live') return ['No room for one more viewer', 'As many people are watching as this server may serve. It begins here by itself when there is room.'];
		if (!news.reachable) return ['Connection lost', 'Trying again. The broadcast goes on here as soon as the server answers.'];
		switch (news.state) {
		case 'live':
			return player.everMoved ? ['One moment', 'Catching up with the broadcast.'] : ['Starting', ''];
		case 'reconnecting':
			return ['The broadcast is interrupted', news.deadline
				? 'It goes on here by itself when the sender is back. If not, it ends in ' + remaining(news.deadline) + '.'
				: 'It goes on here by itself when the sender is back.'];
		case 'ended':
			return ['The broadcast has ended', (news.since ? 'It ended at ' + clock(news.since) + '. ' : '') +
				(replayable() ? 'You can watch it again. ' : '') + 'If there is another one, it appears here by itself.'];
		}
		if (news.disabled) return ['This livestream is switched off', 'When it is switched on again and a broadcast begins, it appears here by itself.'];
		if (news.since) return ['The broadcast is about to begin', player.asked ? 'It has been started. Its picture appears here by itself.' : 'It has been started. You can play it here when its picture comes.'];
		return ['Waiting for the broadcast', player.asked ? 'It starts here by itself. You can leave this page open.' : 'When it begins, you can play it here.'];
	}

	const replayable = () => !!news.recording || news.state === 'ended' && !!player.range();

	const signs = { recording: 'Recording', waiting: 'Not live yet', live: 'Live', reconnecting: 'Interrupted', ended: 'Ended', lost: 'Connection lost', denied: 'Private' };

	function set(el, text) { if (el && el.textContent !== text) el.textContent = text; }

	function render() {
		const m = message();
		const state = news.denied ? 'denied' : player.recording ? 'recording' : news.reachable || player.moving ? news.state : 'lost'; // the lamp claims nothing that is not known
		body.dataset.state = state;
		set($('sign'), signs[state]);
		if (document.title !== signs[state] + ' · Tally') document.title = signs[state] + ' · Tally';
		if ($('copy')) $('copy').closest('p').hidden = !!(access.token || news.denied); // an embed has no token of its own
		stage.classList.toggle('clear', !m);
		stage.classList.toggle('has-picture', player.everMoved);
		stage.classList.toggle('unasked', !player.asked);
		captions.render();
		stage.classList.toggle('paused', video.paused);
		stage.classList.toggle('loud', !video.muted);
		stage.classList.toggle('idle', player.moving && now() - view.touched > 3000);
		if (m) { set($('headline'), m[0]); set($('detail'), m[1]); }
		$('start').hidden = !((player.blocked || !player.asked) && (news.state === 'live' || player.recording));
		const over = m && (player.recording ? video.ended : news.state === 'ended' && replayable());
		$('again').hidden = !over;
		set($('again'), player.recording ? 'Watch it again' : news.recording ? 'Watch the recording' : 'Watch it again');
		stage.classList.toggle('live-elsewhere', !!player.recording && news.state === 'live');
		position();
		const say = m ? m[0] : news.state === 'live' ? 'The broadcast is live' : '';
		if (say && say !== 'Starting' && say !== view.said) { view.said = say; set($('announce'), say); }

		if (!video.muted) view.heard = true;
		$('unmute').hidden = view.heard || !player.moving || !!m;
		$('play').setAttribute('aria-label', video.paused ? 'Play' : 'Pause');
		$('mute').setAttribute('aria-label', video.muted ? 'Turn sound on' : 'Turn sound off');
		const behind = player.on && player.everMoved && player.late() > 4;
		$('live').classList.toggle('behind', behind);
		set($('live-text'), behind || player.recording ? 'Go live' : 'Live');
		if (!$('figures').hidden) figures();
	}

	const span = (s) => {
		const t = Math.max(0, Math.round(s)), h = Math.floor(t / 3600), m = Math.floor(t / 60) % 60;
		return (h ? h + ':' + String(m).padStart(2, '0') : String(m)) + ':' + String(t % 60).padStart(2, '0');
	};

	// position shows where in what can be sought the picture stands.
	function position() {
		const r = player.range();
		$('seek-row').hidden = !r;
		if (!r) return;
		const bar = $('seek'), length = r[1] - r[0];
		bar.max = length.toFixed(1);
		const at = view.dragging ? Number(bar.value) : Math.min(Math.max(video.currentTime - r[0], 0), length);
		const behind = view.dragging ? length - at : Math.max(0, player.late());
		if (!view.dragging) bar.value = player.recording || behind > 4 ? at : length;
		const text = player.recording ? span(at) : behind > 4 ? '-' + span(behind) : 'Live';
		set($('seek-at'), player.recording ? span(at) : '-' + span(length));
		set($('seek-end'), player.recording ? span(length) : text);
		bar.setAttribute('aria-valuetext', player.recording ? text + ' of ' + span(length) : text === 'Live' ? 'live' : span(behind) + ' behind live');
	}

	const seconds = (s) => Number.isFinite(s) ? s.toFixed(1) + ' s' : '–';

	function figures() {
		const t = now();
		player.loaded = player.loaded.filter(([at]) => t - at < 10000);
		const bits = player.loaded.reduce((a, l) => a + l[1], 0), media = player.loaded.reduce((a, l) => a + l[2], 0);
		set($('f-latency'), player.moving && news.state === 'live' ? seconds(player.behind()) : '–'); // a held picture has none
		set($('f-bitrate'), media > 0 ? (bits / media / 1e6).toFixed(2) + ' Mbit/s' : '–');
		set($('f-picture'), video.videoWidth ? video.videoWidth + ' × ' + video.videoHeight : '–');
		set($('f-buffer'), seconds(player.ahead()));
		set($('f-stalls'), String(player.stalls));
		const q = video.getVideoPlaybackQuality ? video.getVideoPlaybackQuality() : null;
		set($('f-dropped'), q ? String(q.droppedVideoFrames) : '–');
	}

	/* ---- controls -------------------------------------------------------------- */

	function togglePlay() {
		if (video.paused) goOn();
		else {
			player.paused = true;
			video.pause();
		}
		render();
	}

	function goOn() {
		const r = player.range();
		if (player.recording && video.ended) player.seek(0);
		if (player.late() > 8 && !(r && (player.recording || video.currentTime > r[0] + 1))) player.toLive();
		else player.resume();
	}

	function toggleMute() { video.muted = !video.muted; view.heard = true; render(); }

	function toggleFigures() {
		const f = $('figures');
		f.hidden = !f.hidden;
		$('stats').setAttribute('aria-pressed', String(!f.hidden));
		render();
	}

	function toggleFull() {
		if (document.fullscreenElement) document.exitFullscreen();
		else if (stage.requestFullscreen) stage.requestFullscreen().catch(() => {});
		else if (video.webkitEnterFullscreen) video.webkitEnterFullscreen();
	}

	const step = (by) => () => player.seek(video.currentTime + by);
	const seek = $('seek'), tip = $('seek-tip');
	// pointed shows the time that the pointer is at, which is where a click goes: the
	// middle of the thumb, 16 pixels wide, never leaves the bar.
	const pointed = (e) => {
		const r = player.range(), box = seek.getBoundingClientRect();
		tip.hidden = !r || box.width <= 16;
		if (tip.hidden) return;
		const length = r[1] - r[0], x = Math.min(Math.max(e.clientX - box.left, 8), box.width - 8);
		const at = (x - 8) / (box.width - 16) * length;
		set(tip, player.recording ? span(at) : length - at > 4 ? '-' + span(length - at) : 'Live');
		tip.style.left = x + 'px';
	};
	seek.addEventListener('pointermove', pointed);
	for (const type of ['pointerleave', 'pointercancel']) seek.addEventListener(type, () => { tip.hidden = true; });
	seek.addEventListener('input', () => { view.dragging = true; touched(); position(); });
	seek.addEventListener('change', () => {
		const r = player.range();
		view.dragging = false;
		if (r) player.seek(r[0] + Number(seek.value));
		render();
	});

	// copyCode puts the code that embeds this player onto the clipboard, which a page
	// without HTTPS may fill by way of a selection only.
	async function copyCode() {
		const src = new URL(body.dataset.root + 'embed/' + body.dataset.playbackId, location.href).href;
		const code = '<iframe src="' + src + '" title="Live broadcast" width="640" height="360" style="border:0;max-width:100%" ' +
			'allow="autoplay; fullscreen; picture-in-picture" allowfullscreen></iframe>';
		let done = true;
		try {
			await navigator.clipboard.writeText(code);
		} catch {
			const area = document.createElement('textarea');
			area.value = code;
			area.className = 'unseen';
			document.body.append(area);
			area.select();
			done = document.execCommand('copy');
			area.remove();
			$('copy').focus();
		}
		set($('copied'), done ? 'Copied' : code);
	}

	const actions = { captions: () => captions.toggle(), again: () => player.recording ? (player.seek(0), player.resume()) : player.again(), play: togglePlay, mute: toggleMute, unmute: toggleMute, stats: toggleFigures, full: toggleFull,
		live: () => player.toLive(), start: () => player.resume() };
	if ($('copy')) actions.copy = copyCode;
	for (const id of Object.keys(actions)) $(id).addEventListener('click', actions[id]);
	if (!stage.requestFullscreen && !video.webkitEnterFullscreen) $('full').hidden = true;

	const keys = { c: () => captions.toggle(), ' ': togglePlay, k: togglePlay, m: toggleMute, f: toggleFull, s: toggleFigures, l: () => { if (!alone) player.toLive(); }, ArrowLeft: step(-10), ArrowRight: step(10) };
	document.addEventListener('keydown', (e) => {
		touched();
		if (e.ctrlKey || e.metaKey || e.altKey) return;
		if (e.key === ' ' && e.target.closest('button, a')) return; // it presses what has the focus
		if (e.key.startsWith('Arrow') && (e.target === seek || !player.range())) return;
		const act = keys[e.key.length === 1 ? e.key.toLowerCase() : e.key];
		if (act) { e.preventDefault(); act(); }
	});

	function touched() { view.touched = now(); stage.classList.remove('idle'); }
	for (const type of ['pointermove', 'pointerdown', 'focusin']) stage.addEventListener(type, touched);
	video.addEventListener('click', () => { if (matchMedia('(hover: hover)').matches) togglePlay(); });
	video.addEventListener('dblclick', toggleFull);
	for (const type of ['playing', 'pause', 'volumechange', 'ended']) video.addEventListener(type, () => tick());
	// Who pauses or plays by other means than this page's (a key of the keyboard or
	// the headset, picture in picture, the system's own controls) means it as well.
	video.addEventListener('pause', () => {
		if (player.on && video.paused && !video.ended) player.paused = true;
		render();
	});
	video.addEventListener('play', () => {
		if (player.paused && !video.paused) goOn();
	});
	video.addEventListener('waiting', () => { // the picture ran dry: why?
		tick();
		if (!events && pollTimer > 0) ask();
	});
	video.addEventListener('error', () => { if (player.on && !player.hls) player.failed(); });
	document.addEventListener('visibilitychange', () => { if (!document.hidden) back(); });
	window.addEventListener('pageshow', (e) => {
		if (!e.persisted) return; // else: its connections are gone, and news are old
		hangUp();
		listen();
		back();
	});

	// back takes up again what slept: a tab that was hidden, a page that the
	// browser kept while another was shown, a laptop that was closed.
	function back() {
		player.lastMove = now();
		player.giveUpAt = Math.max(player.giveUpAt, now() + 4000);
		tick();
	}

	function tick() {
		meter.tick();
		player.watch();
		poster.watch();
		render();
	}

	video.muted = true; // or no browser starts it by itself
	setInterval(() => { tick(); tend(); }, 500);
	if (!alone) listen();
	tick();
	window.tally = { news, player, meter, access }; // for tests and curious people
})();
