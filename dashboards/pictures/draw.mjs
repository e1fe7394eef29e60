// Draws each board of build/data into build/*.png, and the main ones into
// docs/dashboards: bundles page.jsx once, then takes a picture of a page with each
// board's data by headless Chromium. Environment: CHROMIUM (default chromium).
import { build } from 'esbuild';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import UPNG from 'upng-js';

const main = ['overview', 'incident', 'service', 'slo'];
const chromium = process.env.CHROMIUM ?? 'chromium', U = 58, H = 38;
const only = process.argv.slice(2);

mkdirSync('build', { recursive: true });
await build({
  entryPoints: ['page.jsx'], bundle: true, outfile: 'build/page.js', format: 'iife', jsx: 'automatic', minify: true, logLevel: 'error', logLimit: 3,
  loader: { '.svg': 'dataurl', '.woff2': 'dataurl', '.ttf': 'dataurl' }, define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
});
mkdirSync('../../docs/dashboards', { recursive: true });
for (const file of readdirSync('build/data')) {
  const name = file.replace('.json', '');
  if (only.length && !only.includes(name)) continue;
  const text = readFileSync(join('build/data', file), 'utf8'), board = JSON.parse(text);
  const height = Math.max(...board.panels.map((p) => p.gridPos.y + p.gridPos.h)) * H + 78;
  writeFileSync(`build/${name}.html`, `<!doctype html><meta charset=utf-8><link rel=stylesheet href=page.css><body><div id=root></div><script>window.__HEIGHT__=${height};window.__BOARD__=${text.replaceAll('<', '\\u003c')}</script><script src=page.js></script>`);
  execFileSync(chromium, ['--headless=new', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--force-device-scale-factor=1', `--window-size=${24 * U + 16},${height}`,
    '--virtual-time-budget=8000', `--screenshot=build/${name}.png`, `file://${process.cwd()}/build/${name}.html`], { stdio: ['ignore', 'ignore', 'ignore'] });
  // Few colours make a file of a third of the size.
  const image = UPNG.decode(readFileSync(`build/${name}.png`));
  writeFileSync(`build/${name}.png`, Buffer.from(UPNG.encode(UPNG.toRGBA8(image), image.width, image.height, 48)));
  console.log(`${name}.png ${24 * U + 16}x${height} ${Math.round(statSync(`build/${name}.png`).size / 1024)} KB`);
  if (main.includes(name)) copyFileSync(`build/${name}.png`, `../../docs/dashboards/${name}.png`);
}
