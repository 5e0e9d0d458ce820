// Fixtures: one Holdfast per worker, and a browser console that has to stay clean.
//
//     import { test, expect } from './support/server';
//     test('…', async ({ backups, holdfast }) => { await backups.open(); … });
//
// Tests start logged in; `test.use(nobody)` starts a test logged out.
import { type APIRequestContext, type BrowserContext, type Page, type PlaywrightTestOptions, expect, test as base } from '@playwright/test';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { BackupsPage } from './backups-page';

export { expect };

const program = path.resolve(process.env.HOLDFAST_BIN ?? '../target/release/holdfast');

export interface ServerOptions {
  /** An empty directory for state, backups and whatever the test puts there. */
  directory: string;
  /** HOLDFAST_DATABASES; empty for only Holdfast's own database. */
  databases?: string;
  /** The first account's password; null for a set-up link in the log. */
  adminPassword?: string | null;
  /** More settings, as environment variables. */
  settings?: Record<string, string>;
}

/** A running Holdfast. */
export class Holdfast {
  readonly adminUser = 'admin';

  private constructor(
    readonly url: string,
    readonly directory: string,
    readonly adminPassword: string,
    private child: ChildProcess,
    private readonly lines: string[],
  ) {}

  get backupDirectory(): string {
    return path.join(this.directory, 'data', 'backups');
  }

  /** Everything it has printed so far, on both streams. */
  get log(): string {
    return this.lines.join('');
  }

  /** Starts the program and resolves once it answers. */
  static async start({ directory, databases = '', adminPassword = 'correct horse battery', settings = {} }: ServerOptions): Promise<Holdfast> {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}${settings.HOLDFAST_BASE_PATH ?? ''}`;
    // Keep the caller's settings away from the server under test.
    const inherited = Object.entries(process.env).filter(([name]) => !/^(HOLDFAST_|PG|RUST_LOG$)/.test(name));
    const child = spawn(program, ['serve'], {
      cwd: directory,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...Object.fromEntries(inherited),
        HOLDFAST_LISTEN: `127.0.0.1:${port}`,
        HOLDFAST_DATA_DIR: path.join(directory, 'data'),
        ...(databases === '' ? {} : { HOLDFAST_DATABASES: databases }),
        ...(adminPassword === null ? {} : { HOLDFAST_ADMIN_PASSWORD: adminPassword }),
        ...settings,
      },
    });
    const lines: string[] = [];
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => lines.push(text));
    }
    child.on('error', (error) => lines.push(`${error}\n`));
    const killAtExit = () => child.kill('SIGKILL');
    process.once('exit', killAtExit);
    child.once('exit', () => process.off('exit', killAtExit));

    const server = new Holdfast(url, directory, adminPassword ?? '', child, lines);
    try {
      await server.answers();
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  private async answers(): Promise<void> {
    const deadline = Date.now() + 20_000;
    while (Date.now() < deadline) {
      if (this.child.exitCode !== null || this.child.pid === undefined) break;
      const response = await fetch(`${this.url}/healthz`).catch(() => null);
      if (response?.ok) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    // A program that fails to start reports that a moment later.
    await new Promise((resolve) => setImmediate(resolve));
    throw new Error(`${program} did not come up at ${this.url}:\n${this.log}`);
  }

  /** Stops the program, and kills it after five seconds. */
  async stop(): Promise<void> {
    if (this.child.pid === undefined || this.child.exitCode !== null || this.child.signalCode !== null) return;
    const gone = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    const impatience = setTimeout(() => this.child.kill('SIGKILL'), 5_000);
    await gone;
    clearTimeout(impatience);
  }
}

/** A port on which nothing listens. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** Collects errors, warnings and uncaught exceptions of a page. */
function watchConsole(context: BrowserContext, complaints: string[]): void {
  context.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') {
      complaints.push(`${message.type()}: ${message.text()} (${message.location().url})`);
    }
  });
  context.on('weberror', (error) => complaints.push(`uncaught: ${error.error()}`));
}

/** Logs in without a page. Then `client` and everything that shares its cookies are logged in. */
export async function logIn(client: APIRequestContext, { url, adminUser, adminPassword }: Holdfast): Promise<void> {
  const answer = await client.post(`${url}/login`, { form: { username: adminUser, password: adminPassword } });
  expect(answer.url(), 'the login leads to the backups').toBe(`${url}/`);
}

export interface HoldfastOptions {
  /** HOLDFAST_DATABASES of this file's server. */
  databases: string;
  /** More settings of this file's server, as environment variables. */
  settings: Record<string, string>;
  /** Complaints on the console that a test provokes on purpose. */
  allowedComplaints: RegExp[];
}

type StorageState = Exclude<PlaywrightTestOptions['storageState'], string | undefined>;

/** For `test.use`: a browser in which nobody is logged in. */
export const nobody: { storageState: StorageState } = { storageState: { cookies: [], origins: [] } };

interface TestFixtures {
  allowedComplaints: RegExp[];
  /** Whether pages are hydrated: false without JavaScript. */
  live: boolean;
  /** The backups page. */
  backups: BackupsPage;
  /** Opens a page in a second browser with the same user and nothing else in common. */
  anotherBrowser: () => Promise<Page>;
  /** Starts a Holdfast that ends with the test. */
  anotherHoldfast: (options?: Omit<ServerOptions, 'directory'>) => Promise<Holdfast>;
  /** The cookies of somebody who is logged in. */
  session: StorageState;
  complaints: string[];
  cleanConsole: void;
  serverLog: void;
}

interface WorkerFixtures {
  databases: string;
  settings: Record<string, string>;
  /** A directory that is removed with the worker; `databases` may put files here. */
  directory: string;
  holdfast: Holdfast;
}

/** Disk space that a run needs, in bytes. */
const ROOM = 4 * 1024 ** 3;

/**
 * The directory for the files of servers under test: in memory if there is room. On a busy disk, each sync of a backup
 * would wait longer than a test watches the page. Other tests check that synced files survive.
 */
const scratch = (): string => {
  try {
    const { bavail, bsize } = fs.statfsSync('/dev/shm');
    fs.accessSync('/dev/shm', fs.constants.W_OK);
    return bavail * bsize >= ROOM ? '/dev/shm' : os.tmpdir();
  } catch {
    return os.tmpdir();
  }
};

/** An empty directory that is removed when `use` has ended. */
async function inTemporaryDirectory(use: (directory: string) => Promise<void>): Promise<void> {
  const directory = fs.mkdtempSync(path.join(scratch(), 'holdfast-e2e-'));
  await use(directory);
  fs.rmSync(directory, { recursive: true, force: true });
}

export const test = base.extend<TestFixtures, WorkerFixtures>({
  databases: ['', { option: true, scope: 'worker' }],
  settings: [{}, { option: true, scope: 'worker' }],
  allowedComplaints: [[], { option: true }],

  directory: [
    async ({}, use) => inTemporaryDirectory(use),
    { scope: 'worker' },
  ],

  holdfast: [
    async ({ directory, databases, settings }, use) => {
      const server = await Holdfast.start({ directory, databases, settings });
      await use(server);
      await server.stop();
    },
    { scope: 'worker', timeout: 60_000 },
  ],

  // For each test again: actions that cannot be undone need a login within the last five minutes.
  session: async ({ holdfast, playwright }, use) => {
    const client = await playwright.request.newContext();
    await logIn(client, holdfast);
    await use(await client.storageState());
    await client.dispose();
  },

  storageState: async ({ session }, use) => use(session),

  baseURL: async ({ holdfast }, use) => use(holdfast.url),

  live: async ({ javaScriptEnabled }, use) => use(javaScriptEnabled !== false),

  backups: async ({ page, live }, use) => use(new BackupsPage(page, live)),

  anotherBrowser: async ({ browser, complaints }, use) => {
    const contexts: BrowserContext[] = [];
    await use(async () => {
      const context = await browser.newContext();
      contexts.push(context);
      watchConsole(context, complaints);
      return context.newPage();
    });
    await Promise.all(contexts.map((context) => context.close()));
  },

  anotherHoldfast: async ({}, use) => {
    const servers: Holdfast[] = [];
    await inTemporaryDirectory(async (parent) => {
      await use(async (options = {}) => {
        const server = await Holdfast.start({ directory: fs.mkdtempSync(path.join(parent, 'server-')), ...options });
        servers.push(server);
        return server;
      });
      await Promise.all(servers.map((server) => server.stop()));
    });
  },

  complaints: async ({}, use) => use([]),

  cleanConsole: [
    async ({ context, complaints, allowedComplaints }, use) => {
      watchConsole(context, complaints);
      await use();
      const unexpected = complaints.filter((complaint) => !allowedComplaints.some((allowed) => allowed.test(complaint)));
      expect(unexpected, 'the browser console stays clean').toEqual([]);
    },
    { auto: true },
  ],

  serverLog: [
    async ({ holdfast }, use, testInfo) => {
      const before = holdfast.log.length;
      await use();
      if (testInfo.status !== testInfo.expectedStatus) {
        await testInfo.attach('holdfast.log', { body: holdfast.log.slice(before), contentType: 'text/plain' });
      }
    },
    { auto: true },
  ],
});
