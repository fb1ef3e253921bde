/* hls.js, Shaka Player and video.js as a page would use them that never heard of
 * reconnects: default configuration, one load, no code for errors but counting
 * them. window.players has each with its video, and what was seen of it. */
(() => {
	'use strict';

	const watched = {};

	// watch looks at a video ten times a second. The picture moves when its
	// pixels change; a held one does not, while its clock goes on.
	function watch(name, video, player) {
		const w = watched[name] = { name, video, player, fatal: [], time: 0, movedAt: 0, playedAt: 0, stalls: 0, back: 0, late: 0 };
		const canvas = new OffscreenCanvas(64, 36);
		const draw = canvas.getContext('2d', { willReadFrequently: true });
		let before = null;
		setInterval(() => {
			const t = performance.now();
			const at = video.currentTime;
			if (at < w.time - 0.5) w.back++;
			if (at > w.time) {
				if (w.playedAt && t - w.playedAt > 500) w.stalls++;
				w.playedAt = t;
			}
			w.time = at;
			if (video.readyState < 2) return;
			draw.drawImage(video, 0, 0, 64, 36);
			const now = draw.getImageData(0, 0, 64, 36).data;
			let changed = 0;
			if (before) for (let i = 0; i < now.length; i += 4) changed += Math.abs(now[i] - before[i]) > 24;
			before = now;
			if (changed > 8) w.movedAt = t;
		}, 100);
		return w;
	}

	// report is what a test reads of a player.
	const report = (w) => {
		const t = performance.now(), b = w.video.buffered;
		return {
			time: w.time, fatal: w.fatal, stalls: w.stalls, back: w.back,
			moving: t - w.movedAt < 700 && t - w.playedAt < 700,
			playing: t - w.playedAt < 700,
			ended: w.video.ended,
			ranges: Array.from({ length: b.length }, (_, i) => `${b.start(i).toFixed(3)}-${b.end(i).toFixed(3)}`).join(' ') + ` of ${w.video.duration}, ready ${w.video.readyState}${w.video.paused ? ', paused' : ''}`,
			buffer: b.length ? b.end(b.length - 1) - w.time : 0,
			same: document.getElementById(w.name) === w.video || w.video.isConnected,
		};
	};

	const start = {
		async hlsjs(video, src) {
			const hls = new Hls();
			const w = watch('hlsjs', video, hls);
			hls.on(Hls.Events.ERROR, (_, d) => { if (d.fatal) w.fatal.push(d.type + ' ' + d.details); });
			hls.loadSource(src);
			hls.attachMedia(video);
			video.play();
		},
		async shaka(video, src) {
			shaka.polyfill.installAll();
			const player = new shaka.Player();
			const w = watch('shaka', video, player);
			player.addEventListener('error', (e) => {
				if (e.detail.severity === shaka.util.Error.Severity.CRITICAL) w.fatal.push(e.detail.code + ' ' + JSON.stringify(e.detail.data));
			});
			await player.attach(video);
			await player.load(src);
			video.play();
		},
		async videojs(video, src) {
			const player = videojs(video);
			const w = watch('videojs', player.tech(true).el(), player);
			player.on('error', () => w.fatal.push(player.error().code + ' ' + player.error().message));
			player.src({ src, type: 'application/x-mpegURL' });
			player.play();
		},
	};

	// load starts a player on a playlist.
	window.load = (name, src) => start[name](document.getElementById(name), src).then(() => null);
	window.look = () => Object.fromEntries(Object.entries(watched).map(([n, w]) => [n, report(w)]));
	window.instances = () => Object.values(watched).map((w) => w.player);
})();
