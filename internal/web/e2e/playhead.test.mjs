// playhead.js by itself: a video, a clock and a server that the test plays.
// Run by TestPlayheadByItself, or node --test.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import '../static/playhead.js';

const { Stretches, Playhead, Beacons } = globalThis.TallyPlayhead;

// A Video plays as time passes, unless it is paused, dry or seeking.
class Video {
	constructor() { Object.assign(this, { currentTime: 0, playbackRate: 1, paused: false, seeking: false, dry: false, ranges: [[0, 0]] }); }
	get played() { return { length: this.ranges.length, start: (i) => this.ranges[i][0], end: (i) => this.ranges[i][1] }; }
	pass(s) {
		if (this.paused || this.dry || this.seeking) return;
		this.currentTime += s * this.playbackRate;
		this.ranges.at(-1)[1] = this.currentTime;
	}
	jump(to) {
		this.currentTime = to;
		this.ranges.push([to, to]);
	}
}

const nothingHeld = { at: () => ({ cc: 0, held: false, until: Infinity }), held: () => false };

function scene(stretches = nothingHeld) {
	const clock = { ms: 0 }, video = new Video();
	const head = new Playhead(video, stretches, () => clock.ms);
	const pass = (s, step = 0.25) => { // time passes and is looked at each step
		for (let left = s; left > 1e-9; left -= step) {
			const d = Math.min(step, left);
			video.pass(d);
			clock.ms += d * 1000;
			head.measure();
		}
	};
	const total = () => Math.round(head.seconds * 1000) / 1000;
	return { clock, video, head, pass, total };
}

test('what plays counts, a pause and a stall do not', () => {
	const { video, head, pass, total } = scene();
	pass(10);
	assert.equal(total(), 10);
	video.paused = true;
	head.measure();
	pass(8);
	video.paused = false;
	head.measure();
	pass(2);
	assert.equal(total(), 12);
	video.dry = true;
	pass(5);
	assert.equal(total(), 12);
});

test('a minute in which timers slept counts in one go', () => {
	const { pass, total } = scene();
	pass(180, 60);
	assert.equal(total(), 180);
});

test('a laptop that slept, with a clock that went on', () => {
	const { clock, video, head, pass, total } = scene();
	pass(5);
	clock.ms += 3600e3;
	head.measure();
	assert.equal(total(), 5);
	video.jump(3605); // to the live edge, as players do: no second of it was played
	video.seeking = true;
	head.measure();
	video.seeking = false;
	head.measure();
	pass(1);
	assert.equal(total(), 6);
});

test('jumps count nothing, up to them all counts', () => {
	const { clock, video, head, pass, total } = scene();
	pass(10);
	video.pass(0.2);
	clock.ms += 200;
	video.jump(4); // back within the buffer
	video.seeking = true;
	head.measure();
	assert.equal(total(), 10.2);
	clock.ms += 700; // the seek takes its time
	head.measure();
	video.seeking = false;
	head.measure();
	pass(3);
	assert.equal(total(), 13.2);
	video.pass(0.1);
	clock.ms += 100;
	video.jump(20); // forward, over before anybody looked
	head.measure();
	assert.equal(total(), 13.3);
	pass(1);
	assert.equal(total(), 14.3);
});

test('a seek while paused counts nothing', () => {
	const { video, head, pass, total } = scene();
	pass(1);
	video.paused = true;
	head.measure();
	video.jump(0.2);
	pass(1);
	video.jump(0.9);
	pass(1);
	assert.equal(total(), 1);
});

test('catching up counts media, and nothing counts faster than that', () => {
	const { clock, video, head, pass, total } = scene();
	video.playbackRate = 1.1;
	head.measure();
	pass(10);
	assert.equal(total(), 11);
	for (let i = 0; i < 40; i++) { // a clock that races: at most the reserve beyond time
		video.currentTime += 0.5;
		clock.ms += 250;
		video.ranges.at(-1)[1] = video.currentTime;
		head.measure();
	}
	assert.ok(total() <= 11 + 10 * 1.1 + 0.251, `${total()} s`);
});

const fragment = (cc, start, title = null) => ({ cc, start, title });

test('a held picture counts nothing, to the millisecond', () => {
	const map = new Stretches();
	const { pass, total } = scene(map);
	map.update({ fragments: [fragment(0, 0), fragment(0, 1), fragment(0, 2)], fragmentHint: fragment(0, 3) });
	pass(3.1);
	map.update({ fragments: [fragment(0, 2), fragment(0, 3), fragment(1, 4.1, 'held'), fragment(1, 5.1, 'held')], fragmentHint: fragment(1, 6.1) });
	pass(3); // to 6.1: of which 1 s is a picture that moves
	assert.equal(total(), 4.1);
	pass(2);
	assert.equal(total(), 4.1);
	map.update({ fragments: [fragment(1, 6.1, 'held'), fragment(1, 7.1, 'held'), fragment(2, 8.3), fragment(2, 9.3)] });
	pass(1.2);
	assert.equal(total(), 5.1);
});

test('what nobody knows yet waits until it is known', () => {
	const map = new Stretches();
	const { video, head, pass, total } = scene(map);
	map.update({ fragments: [fragment(4, 0), fragment(4, 1)], fragmentHint: fragment(5, 2) });
	pass(2.9);
	assert.equal(total(), 2);
	map.update({ fragments: [fragment(4, 1), fragment(5, 2)], fragmentHint: fragment(5, 3) });
	head.measure();
	assert.equal(total(), 2.9);
	map.update({ fragments: [fragment(5, 2)], fragmentHint: fragment(6, 3) });
	pass(0.6);
	assert.equal(total(), 3);
	map.update({ fragments: [fragment(5, 2), fragment(6, 3, 'held')] });
	head.measure();
	assert.equal(total(), 3);
	map.update({ fragments: [fragment(6, 3, 'held'), null], fragmentHint: fragment(7, 3.5) });
	pass(0.5);
	assert.equal(head.take(true, false), 3500); // leaves before it is known
	video.paused = true;
});

test('another player begins another time line', () => {
	const { video, head, pass, total } = scene();
	pass(5);
	video.ranges = [[0, 0]];
	video.currentTime = 0;
	head.measure();
	head.restart(nothingHeld);
	video.currentTime = 700; // its own first seek
	video.ranges = [[700, 700]];
	video.seeking = true;
	head.measure();
	video.seeking = false;
	head.measure();
	pass(2);
	assert.equal(total(), 7);
});

// A Server counts as ours does: the largest amount of each number, once.
class Server {
	constructor() { Object.assign(this, { heard: new Map(), log: [], how: 'answers' }); }
	take(url, text) {
		const { seq, played_ms: ms } = JSON.parse(text);
		const key = url + '#' + seq;
		this.heard.set(key, Math.max(this.heard.get(key) || 0, ms));
		this.log.push([seq, ms]);
	}
	post = async (url, text) => {
		if (this.how === 'is away') throw new Error('away');
		if (this.how === 'refuses') return false;
		this.take(url, text);
		if (this.how === 'answers late') await new Promise((r) => { this.answer = r; });
		return this.how !== 'takes without an answer';
	};
	park = (url, text) => { if (this.how !== 'is away') this.take(url, text); };
	get total() { return [...this.heard.values()].reduce((a, b) => a + b, 0); }
}

function line() {
	const clock = { ms: 1e6 }, server = new Server();
	const beacons = new Beacons({ post: server.post, park: server.park, now: () => clock.ms });
	beacons.to('a');
	const play = async (s) => {
		for (let i = 0; i < s * 2; i++) {
			clock.ms += 500;
			beacons.add(500);
			beacons.tick();
			await settled();
		}
	};
	return { clock, server, beacons, play };
}
const settled = () => new Promise((r) => setImmediate(r));

test('beacons come after one second, then more rarely, and add up', async () => {
	const { server, beacons, play } = line();
	await play(21);
	assert.deepEqual(server.log.map(([, ms]) => ms), [1500, 2000, 4000, 4000, 4000, 4000]);
	beacons.leave();
	assert.equal(server.total, 21000);
});

test('who does not play sends nothing', async () => {
	const { clock, server, beacons, play } = line();
	await play(2);
	beacons.flush();
	await settled();
	const n = server.log.length;
	for (let i = 0; i < 100; i++) { clock.ms += 500; beacons.add(0); beacons.tick(); beacons.soon(); await settled(); }
	assert.equal(server.log.length, n);
});

for (const how of ['is away', 'refuses', 'takes without an answer']) {
	test('a server that ' + how + ' for a while', async () => {
		const { server, beacons, play } = line();
		await play(6);
		server.how = how;
		await play(20);
		server.how = 'answers';
		await play(40);
		assert.ok(66000 - server.total <= 4500, `${server.total}`);
		beacons.leave();
		assert.equal(server.total, 66000);
		assert.ok(server.log.length < 40, `${server.log.length} beacons`);
	});
}

test('a beacon that outlives a hidden page is not counted twice by a late answer', async () => {
	const { server, beacons, play } = line();
	server.how = 'answers late';
	await play(1.5);
	assert.deepEqual(server.log, [[1, 1500]]);
	beacons.add(700);
	beacons.leave(); // tells 2200 under the same number
	server.how = 'answers';
	server.answer();
	await settled();
	await play(10);
	beacons.leave();
	assert.equal(server.total, 12200);
});

test('what was played in one broadcast is told there, after the next began', async () => {
	const { server, beacons, play } = line();
	server.how = 'is away';
	await play(3);
	beacons.to('b');
	await play(2);
	server.how = 'answers';
	await play(10);
	beacons.leave();
	const of = (url) => [...server.heard].filter(([k]) => k.startsWith(url)).reduce((a, [, ms]) => a + ms, 0);
	assert.equal(of('a'), 3000);
	assert.equal(of('b'), 12000);
	const seqs = [...server.heard.keys()].map((k) => Number(k.split('#')[1]));
	assert.equal(new Set(seqs).size, seqs.length, 'a number was used twice');
});

test('a picture that stalls all the time does not flood the server', async () => {
	const { clock, server, beacons } = line();
	for (let i = 0; i < 200; i++) {
		clock.ms += 50;
		beacons.add(40);
		beacons.soon();
		await settled();
	}
	assert.ok(server.log.length <= 11, `${server.log.length} beacons in 10 s`);
});
