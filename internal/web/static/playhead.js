/* How long a video really played, and telling the server of it (docs/playback.md,
 * Beacons). Three parts that know nothing of the page: Stretches (where the
 * picture is held), Playhead (what played), Beacons (what was told). They are
 * given their clock and their way to the server, and so can be tested alone. */
(() => {
	'use strict';

	/* ---- Stretches: which media is a held picture ----------------------------- */

	// Between two discontinuities all is held or nothing is. A segment that is
	// complete says which by its title; of one that is still listed by its parts
	// nobody knows, unless one before it in the same stretch was complete.
	class Stretches {
		constructor() { this.list = []; } // {cc, start, held}, in order; held is undefined until known

		// update takes what hls.js knows of the playlist now (LevelDetails). It may
		// correct where a stretch begins, as long as that is listed.
		update(details) {
			const fragments = [...details.fragments, details.fragmentHint].filter(Boolean); // a delta that failed leaves holes
			let s = null;
			fragments.forEach((f, i) => { // of a long window there are thousands
				if (!s || s.cc !== f.cc) s = this.list.find((x) => x.cc === f.cc);
				if (!s) {
					s = { cc: f.cc, start: f.start, held: undefined };
					this.list.push(s);
					this.list.sort((a, b) => a.start - b.start);
				} else if (i > 0 && fragments[i - 1].cc !== f.cc) s.start = f.start;
				if (f !== details.fragmentHint) s.held = f.title === 'held';
			});
			this.list.splice(0, this.list.length - 64); // a window has few; who paused is behind by some more
		}

		// at tells of the media at a time: {cc, held, until}.
		at(time) {
			const l = this.list;
			let i = l.length - 1;
			while (i > 0 && l[i].start > time) i--;
			if (i < 0) return { cc: -1, held: false, until: Infinity }; // plays, so it was listed: before the first update
			return { cc: l[i].cc, held: l[i].held, until: i + 1 < l.length ? l[i + 1].start : Infinity };
		}

		held(cc) {
			const s = this.list.find((x) => x.cc === cc);
			return s ? s.held : false;
		}
	}

	/* ---- Playhead: seconds of media that were played --------------------------- */

	const reserve = 0.25; // s by which the video's clock may run ahead of ours for a moment

	// What is measured is how far currentTime advanced, whenever measure is called:
	// as often as one likes, but also after a minute in which timers slept. A pause
	// and a stall advance nothing; a jump counts up to where it began; and nothing
	// advances faster than time at the playback rate.
	class Playhead {
		// stretches has at(time) and held(cc); now gives ms of a steady clock.
		constructor(video, stretches, now) {
			Object.assign(this, { video, stretches, now });
			this.unclear = new Map(); // cc to seconds played of which nobody knows yet whether they are held
			this.restart(stretches);
			this.seconds = 0; // played and not yet taken
		}

		// restart begins anew, with a new time line: another player has the video.
		restart(stretches) {
			this.settle(() => false);
			this.stretches = stretches;
			this.credit = reserve;
			this.note();
		}

		note() {
			const v = this.video;
			this.t = this.now();
			this.at = v.currentTime;
			this.rate = v.playbackRate;
			this.still = v.paused || v.seeking;
		}

		measure() {
			const v = this.video, at = v.currentTime;
			const passed = Math.max(0, this.now() - this.t) / 1000 * Math.max(this.rate, v.playbackRate);
			this.credit = Math.min(this.credit, reserve) + passed;
			const jumped = v.seeking || at < this.at || at > this.at + this.credit;
			const to = jumped ? Math.min(this.reached(this.at), this.at + passed) : at;
			if (!this.still && to > this.at) {
				this.credit -= to - this.at;
				this.add(this.at, to);
			}
			this.note();
			this.settle((cc) => this.stretches.held(cc));
		}

		// reached is how far the video had played from a time when it was moved away.
		reached(from) {
			const p = this.video.played;
			for (let i = 0; i < p.length; i++) if (p.start(i) <= from && from <= p.end(i)) return p.end(i);
			return from;
		}

		add(from, to) {
			while (from < to) {
				const s = this.stretches.at(from);
				const end = s.until > from ? Math.min(to, s.until) : to;
				if (s.held === undefined) this.unclear.set(s.cc, (this.unclear.get(s.cc) || 0) + end - from);
				else if (!s.held) this.seconds += end - from;
				from = end;
			}
		}

		// settle counts what was unclear and is clear now.
		settle(held) {
			for (const [cc, seconds] of this.unclear) {
				const h = held(cc);
				if (h === undefined) continue;
				if (!h) this.seconds += seconds;
				this.unclear.delete(cc);
			}
		}

		// take returns the milliseconds played since it was last called. At the end
		// of all what is still unclear counts, unless held says otherwise.
		take(end, held) {
			this.measure();
			if (end) this.settle(() => !!held);
			const ms = this.seconds * 1000;
			this.seconds = 0;
			return ms;
		}
	}

	/* ---- Beacons: telling the server, each millisecond once --------------------- */

	const longest = 4000;   // ms between two beacons while the picture moves
	const backOff = 30000;  // ms, at most, between tries that fail

	// A beacon has a number, and the time played since the one before. Until it is
	// answered the same number is told again with what was played since; the server
	// takes the largest it is told under a number. Only an answer to that largest
	// one ends the number, so that nothing counts twice, whichever of several copies
	// came through.
	class Beacons {
		// post(url, text) promises whether it was taken; park(url, text) hands it to
		// the browser, to be sent when the page is gone, without an answer.
		constructor({ post, park, now }) {
			Object.assign(this, { post, park, now });
			this.seq = 0;
			this.queue = []; // {url, seq, ms, told, busy, failures, again}: the last one takes what is played
			this.next = 0;   // when the next is due; 0: with the first second played
			this.gap = 1000;
			this.last = -Infinity;
		}

		// to says where beacons go from now on. What was played before goes where it went.
		to(url) {
			const open = this.queue.at(-1);
			if (open && open.url === url) return;
			if (open && open.ms < 1 && !open.told) this.queue.pop();
			this.queue.push({ url, seq: ++this.seq, ms: 0, told: 0, busy: false, failures: 0, again: 0 });
			this.queue.splice(0, this.queue.length - 8); // so many broadcasts without an answer: the oldest is lost
		}

		// add takes milliseconds that were played, once there is an address.
		add(ms) {
			const open = this.queue.at(-1);
			if (!open || !(ms > 0)) return;
			open.ms += ms;
			if (!this.next) this.next = this.now() + this.gap;
		}

		// tick sends what is due.
		tick() {
			if (this.next && this.now() >= this.next) this.flush();
		}

		// soon sends now, or a second after the last: a picture may stall many times a second.
		soon() {
			if (this.now() - this.last >= 1000) this.flush();
			else this.next = Math.min(this.next, this.last + 1000);
		}

		flush() {
			const t = this.now();
			for (const b of [...this.queue]) if (!b.busy && t >= b.again && b.ms >= 1) this.tell(b);
		}

		// leave hands everything to the browser, which may outlive the page.
		leave() {
			for (const b of this.queue) if (b.ms >= 1) this.park(b.url, this.text(b));
		}

		text(b) {
			b.told = Math.floor(b.ms);
			return JSON.stringify({ seq: b.seq, played_ms: b.told });
		}

		async tell(b) {
			const text = this.text(b), told = b.told;
			this.last = this.now();
			this.gap = Math.min(this.gap * 2, longest);
			this.next = this.last + this.gap;
			b.busy = true;
			const taken = await this.post(b.url, text).catch(() => false);
			b.busy = false;
			if (!taken) {
				b.again = this.now() + Math.min(1000 * 2 ** b.failures++, backOff);
				return;
			}
			b.failures = b.again = 0;
			if (b.told !== told) return; // more was told meanwhile, and may have come through
			b.ms -= told;
			b.told = 0;
			b.seq = ++this.seq;
			if (b.ms < 1 && b !== this.queue.at(-1)) this.queue.splice(this.queue.indexOf(b), 1);
		}
	}

	globalThis.TallyPlayhead = { Stretches, Playhead, Beacons };
})();
