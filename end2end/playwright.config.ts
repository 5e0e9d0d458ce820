import { defineConfig, devices, type PlaywrightTestOptions, type PlaywrightWorkerOptions, type Project } from '@playwright/test';
import type { HoldfastOptions } from './tests/support/server';

type HoldfastProject = Project<PlaywrightTestOptions & HoldfastOptions, PlaywrightWorkerOptions>;

const asRoot = process.getuid?.() === 0;

/** Every project has a twin with JavaScript off. What works only live is in `*.hydrated.spec.ts`, what only a page
 * that is not can come to in `*.no-js.spec.ts`. */
function twins(name: string, use: HoldfastProject['use'], testMatch: string): HoldfastProject[] {
  return [
    { name, use, testMatch, testIgnore: '**/*.no-js.spec.ts' },
    {
      name: name === 'hydrated' ? 'no-js' : `${name}-no-js`,
      use: { ...use, javaScriptEnabled: false },
      testMatch,
      testIgnore: '**/*.hydrated.spec.ts',
    },
  ];
}

const desktop: HoldfastProject['use'] = { ...devices['Desktop Chrome'], viewport: { width: 1280, height: 900 } };

const narrow: HoldfastProject['use'] = { ...desktop, viewport: { width: 390, height: 844 } };

export default defineConfig<HoldfastOptions>({
  testDir: './tests',
  // Each worker has a server of its own: see tests/support/server.ts.
  workers: 2,
  // A test that fails and then passes is told as flaky, and its first failure with it: see the last lines.
  retries: process.env.CI ? 1 : 0,
  forbidOnly: true,
  reporter: [['list'], ['./tests/support/last-lines.ts']],
  // Patient, since CI shares its machine: nothing here is about speed.
  timeout: 60_000,
  expect: { timeout: 20_000 },
  use: {
    trace: 'retain-on-failure',
    launchOptions: {
      executablePath: process.env.CHROMIUM_PATH ?? '/usr/bin/chromium',
      // Chromium refuses its sandbox to root.
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
    : [...twins('hydrated', desktop, '**/*.spec.ts'), ...twins('narrow', narrow, '**/actions*.spec.ts')],
});
