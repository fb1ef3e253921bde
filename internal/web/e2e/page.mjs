// One Chromium, told what to do by lines of JSON on stdin; each is answered by
// one line of JSON: {"value": ...} or {"error": "..."}.
//
//	{"do": "open", "url": ..., "width": ..., "height": ..., "dark": ...}
//	{"do": "before", "code": ...}      runs in each page that is opened from now on, before its own scripts
//	{"do": "eval", "code": ...}        an expression in the page
//	{"do": "key", "key": ...}          presses a key
//	{"do": "click", "selector": ...}
//	{"do": "shot", "path": ...}        a screenshot
//	{"do": "offline", "is": true}      takes the network away, or gives it back
//	{"do": "hide", "is": true}         another tab in front, or this one again
//	{"do": "block", "pattern": ...}    the browser loads nothing whose address matches
//	{"do": "axe"}                      accessibility findings, as texts
//	{"do": "problems"}                 console errors and uncaught exceptions so far
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const profile = mkdtempSync(join(tmpdir(), 'tally-chromium-'));
const proc = spawn(process.env.CHROMIUM || '/usr/bin/chromium', ['--headless', '--user-data-dir=' + profile, '--remote-debugging-port=0',
	'--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
	'--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required', 'about:blank'],
	{ stdio: ['ignore', 'ignore', 'pipe'] });
const gone = new Promise((resolve) => proc.on('exit', resolve));
process.on('exit', () => proc.kill());
const endpoint = await new Promise((resolve, reject) => {
	let said = '';
	proc.stderr.on('data', (d) => {
		said = (said + d).slice(-10000);
		const found = said.match(/DevTools listening on (ws:\S+)/);
		if (found) resolve(found[1]);
	});
	gone.then(() => reject(new Error('chromium ended: ' + said)));
});
// Without defaults: they would tell every tab that it is in front.
const connection = await chromium.connectOverCDP(endpoint, { noDefaults: true });
const browser = connection.contexts()[0];
const page = browser.pages()[0] ?? await browser.newPage();
const problems = [];
page.on('pageerror', (e) => problems.push('uncaught: ' + e.message));
page.on('console', (m) => {
	const text = m.text();
	// A server that is away, or a playlist that is over, is an error for the
	// network log and nothing for the page.
	if (m.type() === 'error' && !text.startsWith('Failed to load resource')) problems.push(text);
});

// hide puts another tab in front, as a person does.
let front = null;
async function hide({ is }) {
	if (is) {
		front = await browser.newPage();
		await front.bringToFront();
	} else {
		await page.bringToFront();
		await front.close();
	}
}

const acts = {
	hide,
	offline: ({ is }) => browser.setOffline(is),
	block: ({ pattern }) => page.route(new RegExp(pattern), (r) => r.abort()),
	async open({ url, width = 1280, height = 800, dark = true }) {
		await page.setViewportSize({ width, height });
		await page.emulateMedia({ colorScheme: dark ? 'dark' : 'light' });
		const r = await page.goto(url);
		return r ? r.status() : 0; // about:blank has none
	},
	before: ({ code }) => page.addInitScript(code).then(() => null),
	eval: ({ code }) => page.evaluate(code),
	key: ({ key }) => page.keyboard.press(key),
	click: ({ selector }) => page.click(selector, { timeout: 5000 }),
	shot: ({ path }) => page.screenshot({ path }).then(() => null),
	async axe() { // by the debugger, which the page's policy does not bind
		await page.evaluate(axe);
		const r = await page.evaluate(() => window.axe.run());
		return r.violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.target.join(' ')).join(', ')}`);
	},
	problems: async () => problems,
};

try {
	for await (const line of createInterface({ input: process.stdin })) {
		const command = JSON.parse(line);
		try {
			console.log(JSON.stringify({ value: (await acts[command.do](command)) ?? null }));
		} catch (e) {
			console.log(JSON.stringify({ error: String(e.message ?? e) }));
		}
	}
} finally {
	await (await connection.newBrowserCDPSession()).send('Browser.close').catch(() => proc.kill());
	await gone;
	for (let tries = 0; ; tries++) { // its children may write for a moment longer
		try {
			rmSync(profile, { recursive: true, force: true });
			break;
		} catch (e) {
			if (tries === 50) throw e;
			await new Promise((resolve) => setTimeout(resolve, 100));
		}
	}
	process.exit();
}
