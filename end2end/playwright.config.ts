import { defineConfig, devices, type PlaywrightTestOptions, type PlaywrightWorkerOptions, type Project } from '@playwright/test';
import type { HoldfastOptions } from './tests/support/server';

type HoldfastProject = Project<PlaywrightTestOptions & HoldfastOptions, PlaywrightWorkerOptions>;

const asRoot = process.getuid?.() === 0;

/**
 * Which file runs where. Every action has to work with JavaScript off, by plain forms and links, so tests run twice
 * where the two pages differ:
 *
 * | project         | JavaScript | files                                                                    |
 * | --------------- | ---------- | ------------------------------------------------------------------------ |
 * | `hydrated`      | on         | all but `*.no-js.spec.ts`                                                |
 * | `no-js`         | off        | all but `*.hydrated.spec.ts`, `actions*` and tests tagged `@once`         |
 * | `narrow`        | on, 390 px | `actions*`, where the page has least room                                |
 * | `narrow-no-js`  | off, 390 px| `actions*`, for both reasons at once, which is why `no-js` has no need of them |
 *
 * `*.hydrated.spec.ts` tests what only a live page does, `*.no-js.spec.ts` what only a plain page does. `@once` marks
 * tests for which JavaScript makes no difference: the server writes the page with plain forms (accounts, audit log,
 * restore), or the test is about the server and reads a notice that tests without the tag check on both pages. The Rust
 * tests post those forms without JavaScript.
 */
const desktop: HoldfastProject['use'] = { ...devices['Desktop Chrome'], viewport: { width: 1280, height: 900 } };

const narrow: HoldfastProject['use'] = { ...desktop, viewport: { width: 390, height: 844 } };

const plain: HoldfastProject['use'] = { javaScriptEnabled: false };

const [liveOnly, plainOnly, actions] = ['**/*.hydrated.spec.ts', '**/*.no-js.spec.ts', '**/actions*.spec.ts'];

export default defineConfig<HoldfastOptions>({
  testDir: './tests',
  // Each worker has a server of its own: see tests/support/server.ts.
  workers: 2,
  // A test that passes only on a retry is flaky, a defect that `make test` names in its last line.
  retries: process.env.CI ? 1 : 0,
  forbidOnly: true,
  reporter: [['list'], ['./tests/support/last-lines.ts']],
  // Long time-outs, because CI shares its machine and no test is about speed.
  timeout: 60_000,
  expect: { timeout: 20_000 },
  use: {
    trace: 'retain-on-failure',
    launchOptions: {
      executablePath: process.env.CHROMIUM_PATH ?? '/usr/bin/chromium',
      // Chromium has no sandbox for root.
      chromiumSandbox: !asRoot,
      args: [
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--disable-quic',
        '--no-first-run',
      ],
    },
  },
  projects: process.env.HOLDFAST_PICTURES
    ? [{ name: 'pictures', testMatch: '**/*.pictures.ts', use: desktop }]
    : process.env.SCREENSHOTS
    ? [{ name: 'screenshots', testMatch: '**/screenshots*.ts', use: desktop }]
    : process.env.HOLDFAST_BENCH
    ? [{ name: 'bench', testMatch: '**/*.bench.ts', use: desktop }]
    : [
        { name: 'hydrated', use: desktop, testIgnore: plainOnly },
        { name: 'no-js', use: { ...desktop, ...plain }, testIgnore: [liveOnly, actions], grepInvert: /@once/ },
        { name: 'narrow', use: narrow, testMatch: actions, testIgnore: plainOnly },
        { name: 'narrow-no-js', use: { ...narrow, ...plain }, testMatch: actions, testIgnore: liveOnly },
      ],
});
