// One Chromium, told what to do by lines of JSON on stdin; each is answered by
// one line of JSON: {"value": ...} or {"error": "..."}.
//
//	{"do": "open", "url": ..., "width": ..., "height": ..., "dark": ...}
//	{"do": "eval", "code": ...}        an expression in the page
//	{"do": "key", "key": ...}          presses a key
//	{"do": "click", "selector": ...}
//	{"do": "shot", "path": ...}        a screenshot
//	{"do": "axe"}                      accessibility findings, as texts
//	{"do": "problems"}                 console errors and uncaught exceptions so far
import { createRequire } from 'node:module';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const profile = mkdtempSync(join(tmpdir(), 'tally-chromium-'));
const browser = await chromium.launchPersistentContext(profile, {
	executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
	headless: true,
	args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
		'--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required'],
});
const page = browser.pages()[0] ?? await browser.newPage();
const problems = [];
page.on('pageerror', (e) => problems.push('uncaught: ' + e.message));
page.on('console', (m) => {
	const text = m.text();
	// A server that is away, or a playlist that is over, is an error for the
	// network log and nothing for the page.
	if (m.type() === 'error' && !text.startsWith('Failed to load resource')) problems.push(text);
});

const acts = {
	async open({ url, width = 1280, height = 800, dark = true }) {
		await page.setViewportSize({ width, height });
		await page.emulateMedia({ colorScheme: dark ? 'dark' : 'light' });
		const r = await page.goto(url);
		return r.status();
	},
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
	await browser.close();
	rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
}
