// Benchmark: how quickly the live page responds with very many backups, on a processor slowed down four times. Writes
// rows for docs/BENCHMARKS.md to the file that HOLDFAST_BENCH names; without it, this does not run.
import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from './support/server';

const slowdown = 4;
const rounds = 7;
const percent = Number(process.env.HOLDFAST_BENCH_PERCENT ?? 100);
const count = Math.round((10_000 * percent) / 100);

const median = (figures: number[]): number => figures.sort((a, b) => a - b)[Math.floor(figures.length / 2)];

test('response times of the page', async ({ page, backups, holdfast }) => {
  test.setTimeout(300_000);
  for (let i = 0; i < count; i++) {
    const at = new Date(Date.UTC(2026, 0, 1) + i * 3_600_000).toISOString().slice(0, 19).replace('T', '_').replaceAll(':', '-');
    fs.writeFileSync(path.join(holdfast.backupDirectory, `backup_${i % 2 ? 'shop' : 'ledger'}_${at}Z.dump.gz`), 'x'.repeat(1 + (i % 977)));
  }
  await backups.open('/');
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Emulation.setCPUThrottlingRate', { rate: slowdown });

  const bytes: number[] = [];
  page.on('requestfinished', async (request) => {
    if (new URL(request.url()).pathname.startsWith('/api/')) bytes.push((await request.sizes()).responseBodySize);
  });

  /** Milliseconds from a click to the frame after `settled` holds, the longest task in between, and bytes. */
  const measure = async (selector: string, settled: string, back?: () => Promise<void>) => {
    const times: number[] = [];
    const tasks: number[] = [];
    const sizes: number[] = [];
    for (let round = 0; round < rounds; round++) {
      bytes.length = 0;
      const [time, longest] = await page.evaluate(
        async ([selector, settled]) => {
          let longest = 0;
          const observer = new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) longest = Math.max(longest, entry.duration);
          });
          observer.observe({ type: 'longtask' });
          const look = new Function(`return ${settled}`) as () => unknown;
          const before = look();
          const began = performance.now();
          document.querySelector<HTMLElement>(selector)?.click();
          const frame = () => new Promise((next) => requestAnimationFrame(next));
          while (look() === before) {
            if (performance.now() - began > 20_000) throw new Error(`nothing came of a click on ${selector}`);
            await frame();
          }
          const took = performance.now() - began;
          await new Promise((next) => setTimeout(next, 200));
          observer.disconnect();
          return [took, longest];
        },
        [selector, settled] as const,
      );
      times.push(time);
      tasks.push(longest);
      sizes.push(bytes.reduce((sum, size) => sum + size, 0));
      await back?.();
    }
    return { time: median(times), longest: Math.max(...tasks), size: median(sizes) };
  };

  const rows: string[] = [];
  const row = (figure: string, value: number, most: number | undefined, detail: string) => {
    const verdict = most === undefined ? '–' : `at most ${most}${value <= most ? '' : ' **missed**'}`;
    rows.push(`| ${count} backups in Chromium, processor ${slowdown} × slower | ${figure} | ${value.toFixed(1)} | ${verdict} | ${detail} |`);
    console.log(rows.at(-1));
  };
  const tell = (what: string, { time, longest, size }: Awaited<ReturnType<typeof measure>>, atHand: boolean) => {
    row(`milliseconds to ${what}`, time, atHand ? 50 : undefined, `longest task ${longest.toFixed(0)} ms`);
    row(`KB asked of the server to ${what}`, size / 1000, atHand ? 0 : 10, 'brotli');
  };

  const shown = "document.querySelector('tbody')?.textContent";
  const chosen = "document.querySelector('[aria-label=Selection], section[aria-label]')?.textContent + document.querySelectorAll('tbody input:checked').length";
  const sort = 'thead th:nth-child(6) a';
  tell('tick a row', await measure('tbody tr:nth-child(3) input[type=checkbox]', chosen), true);
  tell('tick the page', await measure('thead input[type=checkbox]', chosen), true);
  tell('sort by another column', await measure(sort, shown), false);
  tell('turn a page', await measure('nav[aria-label=Pagination] > a:last-of-type', shown), false);

  const filter = async (text: string, range: RegExp) => {
    const began = Date.now();
    await backups.filterBy(text);
    await expect(backups.range).toHaveText(range, { timeout: 20_000 });
    return Date.now() - began;
  };
  const times: number[] = [];
  bytes.length = 0;
  for (let round = 0; round < rounds; round++) {
    times.push(await filter('ledger', new RegExp(` of ${Math.ceil(count / 2)}$`)));
    await filter('', new RegExp(` of ${count}$`));
  }
  row('milliseconds to filter, typing pause included', median(times), undefined, '');
  row('KB asked of the server to filter', bytes.reduce((sum, size) => sum + size, 0) / (2 * rounds) / 1000, 10, 'brotli');

  await backups.selectPage.check();
  bytes.length = 0;
  const began = Date.now();
  await backups.selection.getByRole('button', { name: /matching/ }).click();
  await expect(backups.selection).toContainText(count.toLocaleString('en'));
  row('milliseconds to select all that match', Date.now() - began, undefined, `${(bytes.reduce((a, b) => a + b, 0) / 1000).toFixed(0)} KB`);

  fs.mkdirSync(path.dirname(process.env.HOLDFAST_BENCH ?? ''), { recursive: true });
  fs.writeFileSync(process.env.HOLDFAST_BENCH ?? '', `${rows.join('\n')}\n`);
});
