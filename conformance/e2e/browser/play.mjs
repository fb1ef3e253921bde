// Plays a playback URL in headless Chromium with hls.js in its default
// configuration and no code that helps it, and prints one JSON line each 250 ms:
// {t, currentTime, latency, stalls, fatal, readyState}. One <video> element and
// one Hls instance live from the first line to the last.
//
// usage: node play.mjs PLAYBACK_URL SECONDS [SCREENSHOT.png]
import { createRequire } from 'node:module'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'

const web = new URL('../../../internal/web/', import.meta.url)
const { chromium } = createRequire(new URL('e2e/package.json', web))('playwright-core')
const vendored = fileURLToPath(new URL('vendor/hls.js/', web))
const bundle = readdirSync(vendored).find((f) => /^hls.*\.js\.gz$/.test(f) && !f.includes('worker'))
const hlsjs = gunzipSync(readFileSync(join(vendored, bundle))).toString()

const [url, seconds, screenshot] = process.argv.slice(2)
const profile = mkdtempSync(join(tmpdir(), 'tally-chromium-'))
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  headless: true,
  viewport: { width: 960, height: 540 },
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required'],
})
try {
  const page = browser.pages()[0] ?? await browser.newPage()
  await page.goto(new URL('/healthz', url).href)
  await page.setContent('<body style="margin:0;background:#000"><video muted autoplay playsinline style="width:100vw;height:100vh"></video>')
  await page.evaluate(hlsjs)
  await page.evaluate((url) => {
    const video = document.querySelector('video')
    const hls = new window.Hls()
    const seen = { stalls: 0, fatal: '', errors: [] }
    window.probe = () => ({
      currentTime: video.currentTime, latency: hls.latency, readyState: video.readyState, ...seen,
      frames: video.getVideoPlaybackQuality().totalVideoFrames,
    })
    hls.on(window.Hls.Events.ERROR, (_, e) => {
      seen.errors.push(e.details)
      if (e.details === window.Hls.ErrorDetails.BUFFER_STALLED_ERROR) seen.stalls++
      if (e.fatal) seen.fatal = e.details
    })
    hls.loadSource(url)
    hls.attachMedia(video)
  }, url)
  const start = Date.now()
  while (Date.now() - start < seconds * 1000) {
    const sample = await page.evaluate(() => window.probe())
    console.log(JSON.stringify({ t: Date.now(), ...sample }))
    await new Promise((r) => setTimeout(r, 250))
  }
  if (screenshot) await page.screenshot({ path: screenshot })
} finally {
  await browser.close()
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
}
