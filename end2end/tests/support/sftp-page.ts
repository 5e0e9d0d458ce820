// Page objects of the SFTP settings and the off-site page, by accessible roles and names, and the fixtures of their
// tests.
//
//     import { test, expect } from './support/sftp-page';
//     test('…', async ({ sftp, sshd }) => { await sftp.open(); … });
//
// Tests start without settings and backups; `sftp.store(…)` is for tests that are not about the form.
import { type Locator, type Page } from '@playwright/test';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { open } from './backups-page';
import { makeSqlite } from './databases';
import { seed } from './seed';
import { expect, test as base } from './server';
import { type Key, Road, Sshd } from './sshd';

export { expect };

/** Values for the form. Absent fields are left unchanged. */
export interface Entry {
  enabled?: boolean;
  host?: string;
  port?: string;
  username?: string;
  auth?: 'Password' | 'SSH key';
  password?: string;
  privateKey?: string;
  passphrase?: string;
  remoteDirectory?: string;
}

/** Values that work, without a password. */
export const entryFor = (sshd: Sshd, key: Key): Entry => ({
  enabled: true,
  host: sshd.host,
  port: String(sshd.port),
  username: sshd.user,
  auth: 'SSH key',
  privateKey: key.private,
  remoteDirectory: 'backups',
});

/** The steps of a connection test, in order. */
export const steps = [
  'Resolve',
  'Connect',
  'Host key',
  'Log in',
  'Directory',
  'Write',
  'Rename',
  'Read back',
  'Delete',
  'Free space',
] as const;

/** A backup that uploads slowly on a slow connection. It has no manifest, like a copied file. */
export const heavy = {
  name: 'backup_2025-03-04_05-06-07.dump.gz',
  // Incompressible.
  content: randomBytes(12_000_000),
};

type Secret = 'Password' | 'SSH private key' | 'Key passphrase';

export class SftpPage {
  readonly status: Locator;
  readonly alert: Locator;
  readonly enabled: Locator;
  readonly sendNew: Locator;
  readonly host: Locator;
  readonly port: Locator;
  readonly username: Locator;
  readonly auth: Locator;
  readonly password: Locator;
  readonly privateKey: Locator;
  readonly passphrase: Locator;
  readonly remoteDirectory: Locator;
  readonly checklist: Locator;
  readonly approved: Locator;
  readonly publicKey: Locator;

  constructor(
    readonly page: Page,
    private readonly live: boolean,
  ) {
    const field = (name: string) => page.getByRole('textbox', { name, exact: true });
    this.status = page.getByRole('status');
    this.alert = page.getByRole('alert');
    this.enabled = page.getByRole('checkbox', { name: 'Use SFTP storage' });
    this.sendNew = page.getByRole('checkbox', { name: 'Upload every new backup automatically' });
    this.host = field('Host');
    this.port = field('Port');
    this.username = field('Username');
    this.auth = page.getByRole('combobox', { name: 'Authentication method' });
    this.password = page.getByLabel('Password', { exact: true });
    this.privateKey = page.getByLabel('SSH private key', { exact: true });
    this.passphrase = page.getByLabel('Key passphrase', { exact: true });
    this.remoteDirectory = field('Remote directory');
    this.checklist = page.getByRole('region', { name: 'Connection test' });
    this.approved = page.getByRole('region', { name: 'Approved host keys' });
    this.publicKey = page.locator('pre', { hasText: /^ssh-/ });
  }

  async open(): Promise<void> {
    await open(this.page, this.live, '/settings/sftp');
    await expect(this.page.getByRole('heading', { name: 'SFTP settings', level: 1 })).toBeVisible();
  }

  async fill({ enabled, auth, password, privateKey, passphrase, ...texts }: Entry): Promise<void> {
    if (enabled !== undefined) await this.enabled.setChecked(enabled);
    for (const [name, text] of Object.entries(texts)) await this[name as keyof typeof texts].fill(text);
    const method = auth ?? ((await this.auth.inputValue()) === 'ssh-key' ? 'SSH key' : 'Password');
    // Each method shows only its own fields.
    if (password !== undefined) {
      await this.auth.selectOption('Password');
      await this.password.fill(password);
    }
    if (privateKey !== undefined || passphrase !== undefined) {
      await this.auth.selectOption('SSH key');
      if (privateKey !== undefined) await this.privateKey.fill(privateKey);
      if (passphrase !== undefined) await this.passphrase.fill(passphrase);
    }
    await this.auth.selectOption(method);
  }

  async press(name: 'Test connection' | 'Save settings' | 'Reset settings' | 'Approve this key' | 'Generate a key pair'): Promise<void> {
    await this.page.getByRole('button', { name, exact: true }).click();
  }

  step(name: (typeof steps)[number]): Locator {
    return this.checklist.getByRole('listitem').filter({ has: this.page.getByText(name, { exact: true }) });
  }

  /** Whether the page says that a secret is stored. */
  async expectStored(name: Secret, stored: boolean): Promise<void> {
    const field = this.page.getByLabel(name, { exact: true });
    await expect(field).toHaveValue('');
    if (stored) await expect(field).toHaveAttribute('placeholder', /Stored/);
    else await expect(field).not.toHaveAttribute('placeholder', /Stored/);
    await expect(this.box(name)).toHaveCount(stored ? 1 : 0);
  }

  /** The checkbox that removes a stored secret. It exists, though maybe hidden, with either method. */
  private box(name: Secret): Locator {
    return this.page
      .locator('.secret')
      .filter({ has: this.page.getByLabel(name, { exact: true }) })
      .getByLabel('Remove the stored one', { exact: true });
  }

  /** Checks the checkbox that removes a stored secret, and leaves the method unchanged. */
  async forget(name: Secret): Promise<void> {
    const method = await this.auth.inputValue();
    await this.auth.selectOption(name === 'Password' ? 'Password' : 'SSH key');
    await this.box(name).check();
    await this.auth.selectOption(method);
  }

  async trust(line: string): Promise<void> {
    const field = this.page.getByRole('textbox', { name: "Host key: a known_hosts line or a SHA256 fingerprint" });
    if (!(await field.isVisible())) await this.page.getByText("Approve the server's host key in advance").click();
    await field.fill(line);
    await this.page.getByRole('button', { name: 'Approve pasted key' }).click();
  }

  /** The strip of a waiting or running upload. */
  strip(file: string): Locator {
    return this.page.getByRole('region', { name: `Upload of ${file}`, exact: true });
  }

  /** The confirmation of a reset: a dialog, or a page without JavaScript. */
  get question(): Locator {
    return this.live ? this.page.getByRole('dialog') : this.page.getByRole('main');
  }

  /** Saves settings without the page, and approves the server's host key. */
  async store(sshd: Sshd, key: Key, more: { port?: number; remoteDirectory?: string; password?: string } = {}): Promise<void> {
    const port = String(more.port ?? sshd.port);
    await this.post('save_sftp', {
      'entry[enabled]': 'on',
      'entry[host]': sshd.host,
      'entry[port]': port,
      'entry[username]': sshd.user,
      'entry[auth]': 'ssh-key',
      'entry[private_key]': key.private,
      'entry[password]': more.password ?? '',
      'entry[remote_directory]': more.remoteDirectory ?? '',
    });
    await this.post('approve_host_key', { host: sshd.host, port, key_type: 'ssh-ed25519', fingerprint: sshd.fingerprint });
  }

  async forgetEverything(): Promise<void> {
    await this.post('reset_sftp', {});
  }

  private async post(endpoint: string, form: Record<string, string>): Promise<void> {
    const answer = await this.page.request.post(`/api/${endpoint}`, { form, headers: { Accept: 'application/json' } });
    expect(answer.ok(), `${endpoint}: ${await answer.text()}`).toBe(true);
    expect((await answer.json()).outcome.bad, endpoint).toEqual([]);
  }
}

export class OffSitePage {
  readonly rows: Locator;
  readonly status: Locator;
  readonly alert: Locator;

  constructor(
    readonly page: Page,
    private readonly live: boolean,
  ) {
    this.rows = page.locator('tbody').getByRole('row');
    this.status = page.getByRole('status');
    this.alert = page.getByRole('alert');
  }

  async open(): Promise<void> {
    await open(this.page, this.live, '/remote');
    await expect(this.page.getByRole('heading', { name: 'Off-site', level: 1 })).toBeVisible();
  }

  row(name: string): Locator {
    return this.rows.filter({ has: this.page.getByRole('cell', { name, exact: true }) });
  }

  /** Where a backup is, as the page says it. */
  async expectPlace(name: string, place: 'only here' | 'only off-site' | 'in both places' | 'sizes differ'): Promise<void> {
    await expect(this.row(name).getByText(place, { exact: true })).toBeVisible();
  }

  tick(name: string): Locator {
    return this.page.getByRole('checkbox', { name: `Select ${name}`, exact: true });
  }

  async press(name: 'Fetch' | 'Upload' | 'Delete there' | 'Refresh'): Promise<void> {
    await this.page.getByRole('button', { name, exact: true }).click();
  }

  /** The confirmation before a copy is deleted. */
  get question(): Locator {
    return this.page.getByRole('main');
  }
}

interface SftpFixtures {
  sftp: SftpPage;
  offSite: OffSitePage;
  /** An SSH server for this test. */
  sshd: Sshd;
  /** A key that the server accepts. */
  key: Key;
  /** A connection to the server that can be slowed down. */
  road: Road;
  fresh: void;
}

export const test = base.extend<SftpFixtures>({
  databases: [
    async ({ directory }, use) => {
      makeSqlite(path.join(directory, 'shop.db'));
      await use(`shop=sqlite://${directory}/shop.db`);
    },
    { scope: 'worker' },
  ],

  sftp: async ({ page, live }, use) => use(new SftpPage(page, live)),

  offSite: async ({ page, live }, use) => use(new OffSitePage(page, live)),

  sshd: async ({}, use, testInfo) => {
    const sshd = await Sshd.start();
    await use(sshd);
    if (testInfo.status !== testInfo.expectedStatus) {
      await testInfo.attach('sshd.log', { body: sshd.log, contentType: 'text/plain' });
    }
    await sshd.end();
  },

  key: async ({ sshd }, use) => {
    const key = sshd.makeKey('key');
    sshd.authorize(key.public);
    await use(key);
  },

  road: async ({ sshd }, use) => {
    const road = await Road.to(sshd.port);
    await use(road);
    await road.close();
  },

  fresh: [
    async ({ holdfast, sftp }, use) => {
      seed(holdfast.backupDirectory, []);
      await sftp.forgetEverything();
      await use();
    },
    { auto: true },
  ],
});
