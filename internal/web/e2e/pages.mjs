// One Chromium with many pages, told what to do by lines of JSON on stdin, each
// with the name of its page, which is opened when it is first named; each is
// answered by one line of JSON: {"value": ...} or {"error": "..."}. The commands
// are those of page.mjs that need nothing but the page:
//
//	{"page": ..., "do": "open", "url": ...}
//	{"page": ..., "do": "eval", "code": ...}
//	{"page": ..., "do": "shot", "path": ...}
//	{"page": ..., "do": "close"}
//	{"page": ..., "do": "problems"}    console errors and uncaught exceptions so far
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const profile = mkdtempSync(join(tmpdir(), 'tally-chromium-'));
const browser = await chromium.launchPersistentContext(profile, {
	executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
	headless: true,
	viewport: { width: 640, height: 400 },
	args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
		'--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required'],
});
const pages = new Map();

async function named(name) {
	if (!pages.has(name)) {
		const page = await browser.newPage();
		const problems = [];
		page.on('pageerror', (e) => problems.push('uncaught: ' + e.message));
		page.on('console', (m) => {
			// A server that is away is an error for the network log and nothing for the page.
			if (m.type() === 'error' && !m.text().startsWith('Failed to load resource')) problems.push(m.text());
		});
		pages.set(name, { page, problems });
	}
	return pages.get(name);
}

const acts = {
	open: ({ page }, { url }) => page.goto(url).then((r) => r.status()),
	eval: ({ page }, { code }) => page.evaluate(code),
	shot: ({ page }, { path }) => page.screenshot({ path }).then(() => null),
	close: ({ page }, c) => { pages.delete(c.page); return page.close(); },
	problems: async ({ problems }) => problems,
};

try {
	for await (const line of createInterface({ input: process.stdin })) {
		const command = JSON.parse(line);
		try {
			console.log(JSON.stringify({ value: (await acts[command.do](await named(command.page), command)) ?? null }));
		} catch (e) {
			console.log(JSON.stringify({ error: String(e.message ?? e) }));
		}
	}
} finally {
	await browser.close();
	rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
}
