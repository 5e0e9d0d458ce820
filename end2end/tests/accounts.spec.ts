// Access rights in the browser: roles, API tokens, the second factor, and confirming the password.
import { createHmac } from 'node:crypto';
import type { Page } from '@playwright/test';
import { open } from './support/backups-page';
import { LoginPage } from './support/login-pages';
import { fiftySeven, seed } from './support/seed';
import { expect, type Holdfast, test } from './support/server';

const password = 'salt and slack water';

test.beforeAll(({ holdfast }) => seed(holdfast.backupDirectory, fiftySeven()));

async function addAccount(page: Page, live: boolean, username: string, role: string): Promise<void> {
  await open(page, live, '/users');
  const card = page.getByRole('region', { name: 'New account' });
  await card.getByLabel('Username').fill(username);
  await card.getByLabel('New password', { exact: true }).fill(password);
  await card.getByLabel('Repeat the new password').fill(password);
  await card.getByLabel('Role').selectOption(role);
  await card.getByRole('button', { name: 'Add account' }).click();
  await expect(page.getByRole('status')).toHaveText(`The account ${username} was created.`);
}

/** Logs in on the page as another user, in a separate browser. */
async function logInAs(page: Page, live: boolean, { url }: Holdfast, username: string): Promise<void> {
  // Otherwise the login would end the session that this browser shares with the first one.
  await page.context().clearCookies();
  const login = new LoginPage(page, live);
  await login.open(`${url}/login`);
  await login.logIn(username, password);
}

/** The code that an authenticator app shows (RFC 6238, SHA-1, 30 s, 6 digits), a number of half minutes from now. */
function codeOf(secret: string, steps = 0): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = [...secret].map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g)?.map((byte) => Number.parseInt(byte, 2)) ?? []);
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const digest = createHmac('sha1', key).update(counter).digest();
  const offset = (digest.at(-1) ?? 0) & 15;
  return ((digest.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).toString().padStart(6, '0');
}

test('a viewer sees the backups and no actions', async ({ page, live, holdfast, anotherBrowser }, testInfo) => {
  const username = `viewer-${testInfo.project.name}-${testInfo.retry}`;
  await addAccount(page, live, username, 'viewer');
  const theirs = await anotherBrowser();
  await logInAs(theirs, live, holdfast, username);
  await expect(theirs.getByRole('heading', { name: 'Backups', level: 1 })).toBeVisible();
  await expect(theirs.locator('tbody').getByRole('row')).toHaveCount(20);
  await expect(theirs.getByRole('button', { name: 'Create backup' })).toHaveCount(0);
  await expect(theirs.getByRole('link', { name: /^Download / })).toHaveCount(0);
  await expect(theirs.getByRole('link', { name: 'Settings' })).toHaveCount(0);
  await theirs.locator('tbody').getByRole('checkbox').first().check();
  for (const name of ['Download zip', 'Upload', 'Verify', 'Delete']) {
    await expect(theirs.getByRole('button', { name, exact: true }), name).toHaveCount(0);
  }
  // The control: the administrator sees all actions.
  await open(page, live, '/');
  await expect(page.getByRole('button', { name: 'Create backup' })).toBeVisible();
  await expect(page.getByRole('link', { name: /^Download / }).first()).toBeVisible();
  await page.locator('tbody').getByRole('checkbox').first().check();
  for (const name of ['Download zip', 'Upload', 'Verify', 'Delete']) {
    await expect(page.getByRole('button', { name, exact: true }), name).toBeVisible();
  }
});

test.describe('a forbidden page', () => {
  test.use({ allowedComplaints: [/403 \(Forbidden\)/] });

  test('shows a refusal with a link back', async ({ page, live, holdfast, anotherBrowser }, testInfo) => {
    const username = `looker-${testInfo.project.name}-${testInfo.retry}`;
    await addAccount(page, live, username, 'viewer');
      const theirs = await anotherBrowser();
    await logInAs(theirs, live, holdfast, username);
    await theirs.goto(`${holdfast.url}/settings/sftp`);
    await expect(theirs.getByRole('alert')).toContainText('Your account is not allowed to do this.');
    await theirs.getByRole('link', { name: 'Back to the backups' }).click();
    await expect(theirs).toHaveURL(`${holdfast.url}/`);
  });
});

test('an API token is created, shown once, works in a script, and is revoked', { tag: '@once' }, async ({ page, live, holdfast, playwright }, testInfo) => {
  const label = `script ${testInfo.project.name}`;
  await open(page, live, '/account');
  const card = page.getByRole('region', { name: 'API tokens' });
  await card.getByText('New token').click();
  await card.getByLabel(/^Name/).fill(label);
  await card.getByLabel('May download backups').check();
  await card.getByRole('button', { name: 'Create token' }).click();
  await expect(page.getByRole('heading', { name: 'Your new token' })).toBeVisible();
  const token = await page.locator('pre').innerText();
  const script = await playwright.request.newContext({ storageState: { cookies: [], origins: [] }, extraHTTPHeaders: { authorization: `Bearer ${token}` } });
  const name = fiftySeven()[0]?.name ?? '';
  expect((await script.get(`${holdfast.url}/api/backups/${name}`)).status()).toBe(200);
  expect((await script.get(`${holdfast.url}/backups/${name}`)).status()).toBe(200);
  expect((await script.post(`${holdfast.url}/api/create_backup`, { form: { database: 'holdfast' } })).status()).toBe(403);
  await page.getByRole('link', { name: 'Done' }).click();
  await expect(page.getByRole('cell', { name: label })).toBeVisible();
  await page.getByRole('row', { name: label }).getByRole('button', { name: 'Revoke' }).click();
  await expect(page.getByRole('status')).toHaveText(`The token ${label} no longer works.`);
  expect((await script.get(`${holdfast.url}/api/backups/${name}`)).status()).toBe(401);
  await script.dispose();
});

test('a second factor is set up and required at login', { tag: '@once' }, async ({ page, live, anotherHoldfast }) => {
  const fresh = await anotherHoldfast({ adminPassword: password });
  await page.context().clearCookies();
  await logInAs(page, live, fresh, 'admin');
  await expect(page.getByRole('heading', { name: 'Backups', level: 1 })).toBeVisible();
  await open(page, live, `${fresh.url}/account`);
  await page.getByRole('button', { name: 'Set up a second factor' }).click();
  await expect(page.getByRole('img', { name: 'The key as a QR code' })).toBeVisible();
  const secret = await page.locator('pre').innerText();
  await page.getByLabel('Code').fill(codeOf(secret));
  await page.getByRole('button', { name: 'Turn on' }).click();
  await expect(page.getByRole('heading', { name: 'Recovery codes' })).toBeVisible();
  const recovery = (await page.locator('pre').innerText()).split('\n')[0] ?? '';
  await page.getByRole('link', { name: 'I have saved them' }).click();
  await page.getByRole('button', { name: 'Log out' }).click();

  const login = new LoginPage(page, live);
  await login.logIn('admin', password);
  await expect(page).toHaveURL(/step=code/);
  const code = page.getByLabel(/^Code/);
  await code.fill('not a code');
  await page.getByRole('button', { name: 'Log in' }).click();
  await expect(login.alert).toContainText('This code is wrong or has expired');
  // The current code was already used. The code of the next half minute is accepted too.
  await code.fill(codeOf(secret, 1));
  await page.getByRole('button', { name: 'Log in' }).click();
  await expect(page.getByRole('heading', { name: 'Backups', level: 1 })).toBeVisible();

  await page.getByRole('button', { name: 'Log out' }).click();
  await login.logIn('admin', password);
  await code.fill(recovery);
  await page.getByRole('button', { name: 'Log in' }).click();
  await expect(page.getByRole('heading', { name: 'Backups', level: 1 })).toBeVisible();
  await open(page, live, `${fresh.url}/account`);
  await expect(page.getByText('On. 9 of 10 recovery codes are left.')).toBeVisible();
});

test('a new password signs out every other browser', { tag: '@once' }, async ({ page, live, anotherHoldfast, anotherBrowser }) => {
  const fresh = await anotherHoldfast({ adminPassword: password });
  await page.context().clearCookies();
  await logInAs(page, live, fresh, 'admin');
  const elsewhere = await anotherBrowser();
  await logInAs(elsewhere, false, fresh, 'admin');
  await expect(elsewhere).toHaveURL(`${fresh.url}/`);
  await open(page, live, `${fresh.url}/account`);
  await expect(page.getByRole('region', { name: 'Sessions' }).locator('tbody').getByRole('row')).toHaveCount(2);
  await page.getByLabel('Current password').fill(password);
  await page.getByLabel('New password', { exact: true }).fill('another sentence of mine');
  await page.getByLabel('Repeat the new password').fill('another sentence of mine');
  await page.getByRole('button', { name: 'Change password' }).click();
  await expect(page.getByRole('status')).toContainText('The password is changed.');
  await elsewhere.goto(`${fresh.url}/`);
  await expect(elsewhere).toHaveURL(/\/login/);
});

test('confirming the password leads to the page that asked for it', { tag: '@once' }, async ({ page, live, holdfast }) => {
  await open(page, live, '/confirm?next=%2Fusers');
  await page.getByLabel('Password').fill('not it');
  await page.getByRole('button', { name: 'Confirm' }).click();
  await expect(page.getByRole('alert')).toContainText('Username or password is wrong.');
  await page.getByLabel('Password').fill(holdfast.adminPassword);
  await page.getByRole('button', { name: 'Confirm' }).click();
  await expect(page.getByRole('heading', { name: 'Users' })).toBeVisible();
});

test('the audit log shows who did what, and can be filtered', { tag: '@once' }, async ({ page, live }) => {
  await open(page, live, '/activity');
  await page.getByRole('link', { name: 'Audit log' }).click();
  await expect(page.getByRole('heading', { name: 'Audit log' })).toBeVisible();
  await expect(page.getByRole('cell', { name: 'login', exact: true }).first()).toBeVisible();
  await page.getByLabel('Event').selectOption('started');
  await page.getByRole('button', { name: 'Show' }).click();
  await expect(page).toHaveURL(/event=started/);
  await expect(page.getByRole('cell', { name: 'started', exact: true }).first()).toBeVisible();
  await expect(page.getByRole('cell', { name: 'login', exact: true })).toHaveCount(0);
});
