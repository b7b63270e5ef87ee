// usage: node draw.mjs PROMETHEUS-URL DASHBOARDS OUT [NAME.VARIABLE=VALUE...]
// Draws each dashboard of a directory into OUT/NAME.png, over all the time that
// Prometheus knows of, with values chosen for variables.
import { build } from 'esbuild';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { basename, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import puppeteer from 'puppeteer-core';

const here = fileURLToPath(new URL('.', import.meta.url));
const icons = join(here, 'node_modules/@grafana/ui/dist/public');
const fonts = '/usr/share/fonts/opentype/inter'; // Debian's fonts-inter
const [url, dashboards, out, ...choices] = process.argv.slice(2);
const args = ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--font-render-hinting=none'];
const width = 1600; // of a picture, in pixels

async function bundle() {
  const made = await build({
    entryPoints: [join(here, 'page.jsx')],
    bundle: true,
    write: false,
    outdir: here,
    format: 'iife',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
    loader: { '.svg': 'dataurl', '.ttf': 'dataurl' },
    logLevel: 'error',
  });
  return Object.fromEntries(made.outputFiles.map(({ path, text }) => [extname(path), text]));
}

// The page, its script and style, and the icons and fonts that it asks for.
async function serve(made) {
  const boot = JSON.stringify({ user: { timezone: 'utc', weekStart: 'monday' }, settings: {} });
  const html = `<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/page.css"><link rel="icon" href="data:,">
    <style>body.bare [data-viz-panel-key] { visibility: hidden }
    *, ::before, ::after { animation: none !important; transition: none !important }</style>
    <div id="root"></div><script>window.grafanaBootData = ${boot}</script><script src="/page.js"></script>`;
  const parts = { '/': ['text/html', html], '/page.js': ['text/javascript', made['.js']], '/page.css': ['text/css', made['.css']] };
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://page');
    if (parts[pathname]) {
      const [type, text] = parts[pathname];
      response.setHeader('Content-Type', type).end(text);
    } else {
      const font = pathname.startsWith('/public/fonts/');
      const file = font ? join(fonts, basename(pathname, '.woff2') + '.otf') : join(icons, normalize(pathname).replace(/^\/public\/(build\/)?/, ''));
      await readFile(file).then(
        (bytes) => response.setHeader('Content-Type', font ? 'font/otf' : 'image/svg+xml').end(bytes),
        () => response.setHeader('Content-Type', 'image/svg+xml').end('<svg xmlns="http://www.w3.org/2000/svg"/>') // the package lacks some icons
      );
    }
  });
  await new Promise((listens) => server.listen(0, '127.0.0.1', listens));
  return server;
}

// From the first to the last point that Prometheus has, in milliseconds since 1970.
async function recorded() {
  const answer = await fetch(`${url}/api/v1/status/tsdb`);
  const { data } = await answer.json();
  return [data.headStats.minTime, data.headStats.maxTime];
}

// The picture of a page whose panels are painted, which may be later than they are
// there: it is like the one before, and unlike that without panels. Or nothing.
async function settled(page) {
  const clip = await page.evaluate(() => window.extent());
  const shoot = async (bare) => {
    await page.evaluate((on) => document.body.classList.toggle('bare', on), bare);
    return Buffer.from(await page.screenshot({ clip, captureBeyondViewport: false }));
  };
  const bare = await shoot(true);
  let last = bare;
  for (let tries = 0; tries < 20; tries++) {
    const now = await shoot(false);
    if (now.equals(last) && !now.equals(bare)) {
      return now;
    }
    last = now;
  }
}

async function draw(browser, address, name, range) {
  const [page] = await browser.pages();
  const faults = [];
  page.on('pageerror', (e) => faults.push(e.stack ?? String(e)));
  page.on('console', (m) => m.type() === 'error' && faults.push(m.text()));
  await page.setViewport({ width, height: 5000 });
  await page.goto(address);
  const dashboard = JSON.parse(await readFile(join(dashboards, `${name}.json`)));
  for (const choice of choices) {
    const [, of, variable, value] = choice.match(/^(\w+)\.(\w+)=(.*)$/);
    if (of === name) {
      dashboard.templating.list.find((v) => v.name === variable).current = { text: [value], value: [value] };
    }
  }
  await page.evaluate((...all) => window.draw(...all), dashboard, url, ...range.map((ms) => new Date(ms).toISOString()));
  try {
    await page.waitForFunction(() => window.pending().length === 0, { timeout: 30_000 });
    await page.waitForNetworkIdle({ idleTime: 500 });
  } catch (e) {
    faults.push(`${e}: ${JSON.stringify(await page.evaluate(() => window.pending()))}`);
  }
  const picture = await settled(page);
  if (picture) {
    await writeFile(join(out, `${name}.png`), picture);
  } else {
    faults.push('panels are not painted');
  }
  return faults.map((f) => `${name}: ${f}`);
}

const server = await serve(await bundle());
try {
  const range = await recorded();
  const names = (await readdir(dashboards)).filter((f) => f.endsWith('.json')).map((f) => f.replace(/\.json$/, ''));
  for (const name of names) {
    // A browser for each: one of several pages paints only that in front.
    const browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args });
    const faults = await draw(browser, `http://127.0.0.1:${server.address().port}/`, name, range).finally(() => browser.close());
    if (faults.length > 0) {
      console.error(faults.join('\n'));
      process.exitCode = 1;
    }
  }
} finally {
  server.close();
}
