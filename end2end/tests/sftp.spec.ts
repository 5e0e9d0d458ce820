// Off-site copies over SFTP, with a real OpenSSH server: settings, host keys, uploads, fetches, deletion, reset.
import fs from 'node:fs';
import path from 'node:path';
import { backupNamed } from './support/backups-page';
import { fiftySeven, contentOf, lay, remove } from './support/seed';
import { type Entry, entryFor, expect, heavy, type SftpPage, steps, test } from './support/sftp-page';
import { type Key, PASSWORD, Sshd } from './support/sshd';

const whole = fiftySeven().slice(0, 3);

/** The files in a directory, drafts and manifests included. */
const files = (directory: string): string[] => fs.readdirSync(directory).toSorted();

/** Checks that the connection test succeeded: every step is done, or not offered by the server. */
async function expectAllDone(sftp: SftpPage): Promise<void> {
  await expect(sftp.status).toContainText('The connection works');
  await expect(sftp.checklist.getByRole('listitem')).toHaveCount(steps.length);
  for (const step of steps) await expect(sftp.step(step), step).toContainText('done');
  await expect(sftp.alert).toHaveCount(0);
}

/** Checks that the page contains none of these secrets in any form. */
async function expectNoneOf(sftp: SftpPage, secrets: string[]): Promise<void> {
  const live = await sftp.page.content();
  const sent = await (await sftp.page.request.get('/settings/sftp')).text();
  for (const secret of secrets) {
    expect(live.includes(secret), 'a secret in the page').toBe(false);
    expect(sent.includes(secret), 'a secret in what the server sends').toBe(false);
  }
}

/** The secret lines of a private key, without the first and the last, which all keys share. */
const linesOf = (key: Key): string[] => key.private.trim().split('\n').slice(1, -1);

test('from empty settings to an off-site copy that is read back', async ({ page, live, holdfast, sftp, sshd, key, backups }) => {
  const entry = entryFor(sshd, key);
  await sftp.open();
  await expect(sftp.enabled).not.toBeChecked();
  await sftp.fill(entry);
  await sftp.press('Test connection');

  await expect(sftp.alert).toContainText(sshd.fingerprint);
  await expect(sftp.alert).toContainText('unknown host key');
  await expect(sftp.step('Connect')).toContainText('done');
  await expect(sftp.step('Host key')).toContainText('failed');
  for (const step of steps.slice(3)) await expect(sftp.step(step), step).toContainText('skipped');
  await expect(sftp.checklist).toContainText(`ssh-ed25519 ${sshd.fingerprint}`);
  expect(sshd.visits, 'the log does show connections').toBe(1);
  expect(sshd.attempts, 'no login was attempted').toBe(0);
  await expectNoneOf(sftp, live ? [] : linesOf(key));

  await sftp.press('Approve this key');
  await expect(sftp.status).toContainText(`Host key of ${sshd.host} approved: ${sshd.fingerprint}`);
  // Without JavaScript, the page never gets secrets back.
  if (!live) await sftp.fill(entry);
  await sftp.press('Test connection');
  await expectAllDone(sftp);
  expect(sshd.attempts).toBeGreaterThan(0);
  expect(files(path.join(sshd.account, 'backups')), 'the connection test cleans up').toEqual([]);

  const { url } = holdfast;
  const stored = await (await page.request.get(`${url}/api/sftp_settings`)).json();
  expect(stored.settings.form, 'a connection test saves nothing').toMatchObject({ enabled: false, host: '', username: '' });
  expect(stored.settings).toMatchObject({ private_key_set: false, password_set: false });

  await sftp.fill({ privateKey: key.private, password: PASSWORD });
  await sftp.press('Save settings');
  await expect(sftp.status).toContainText('saved');
  await sftp.open();
  await expect(sftp.enabled).toBeChecked();
  await expect(sftp.host).toHaveValue(sshd.host);
  await expect(sftp.port).toHaveValue(String(sshd.port));
  await expect(sftp.username).toHaveValue(sshd.user);
  await expect(sftp.auth).toHaveValue('ssh-key');
  await expect(sftp.remoteDirectory).toHaveValue('backups');
  await sftp.expectStored('SSH private key', true);
  await sftp.expectStored('Password', true);
  await sftp.expectStored('Key passphrase', false);
  await expect(sftp.publicKey).toContainText(key.public.split(' ')[1]);
  await expect(sftp.approved).toContainText(sshd.fingerprint);
  await expectNoneOf(sftp, [...linesOf(key), PASSWORD]);

  await backups.open();
  await page.getByRole('button', { name: 'Create and upload' }).click();
  const name = await backupNamed(sftp.status, /Created backup_shop_/);
  await expect(sftp.status).toContainText(`Uploaded ${name}`);
  await expect(sftp.status).toContainText('The copy was read back and is identical.');
  await expect(sftp.alert).toHaveCount(0);
  await expect(backups.row(name).getByText('off-site verified', { exact: true })).toBeVisible();
  const there = path.join(sshd.account, 'backups');
  expect(files(there), 'the file and its manifest, and no draft').toEqual([name, `${name}.manifest.json`]);
  for (const file of files(there)) {
    const here = fs.readFileSync(path.join(holdfast.backupDirectory, file));
    expect(fs.readFileSync(path.join(there, file)).equals(here), file).toBe(true);
  }
  for (const secret of [...linesOf(key), PASSWORD]) expect(holdfast.log.includes(secret), 'a secret in the log').toBe(false);
});

test('a changed host key stops the test and the upload before any login', async ({ page, holdfast, sftp, sshd, key, backups }) => {
  lay(holdfast.backupDirectory, whole[0]);
  await sftp.store(sshd, key);
  const old = sshd.fingerprint;
  await sftp.open();
  await sftp.press('Test connection');
  await expectAllDone(sftp);
  const { attempts, visits } = sshd;
  expect(attempts, 'the log does show login attempts').toBeGreaterThan(0);

  await sshd.changeHostKey();
  expect(sshd.fingerprint).not.toBe(old);
  await sftp.open();
  await sftp.press('Test connection');
  await expect(sftp.alert).toContainText('has changed');
  await expect(sftp.alert).toContainText(old);
  await expect(sftp.alert).toContainText(sshd.fingerprint);
  await expect(sftp.step('Host key')).toContainText('failed');
  await expect(sftp.checklist).toContainText(`Approved before`);
  await expect(sftp.checklist).toContainText(`ssh-ed25519 ${old}`);
  await expect(sftp.checklist).toContainText(`ssh-ed25519 ${sshd.fingerprint}`);

  await backups.open();
  await backups.tick(whole[0].name).check();
  await backups.selection.getByRole('button', { name: 'Upload', exact: true }).click();
  await expect(backups.alert).toContainText('has changed');
  await expect(backups.alert).toContainText(old);
  await expect(backups.alert).toContainText(sshd.fingerprint);
  await expect(backups.alert).toContainText('The local backup is untouched');
  await expect(backups.row(whole[0].name).getByText('upload failed', { exact: true })).toBeVisible();
  expect(sshd.visits, 'it did connect twice').toBe(visits + 2);
  expect(sshd.attempts, 'and attempted no login').toBe(attempts);
  expect(files(sshd.account)).toEqual([]);

  await sftp.open();
  await sftp.press('Test connection');
  await sftp.press('Approve this key');
  await expect(sftp.status).toContainText('approved');
  await sftp.open();
  await expect(sftp.approved).toContainText(sshd.fingerprint);
  await expect(sftp.approved).not.toContainText(old);
  await sftp.press('Test connection');
  await expectAllDone(sftp);
  await expect(page.getByRole('button', { name: 'Approve this key' })).toHaveCount(0);
});

test('with a host key approved in advance, the first test succeeds', async ({ page, live, sftp, sshd, key }) => {
  const entry = entryFor(sshd, key);
  await sftp.open();
  await sftp.fill(entry);
  await sftp.trust(sshd.knownHostsLine);
  await expect(sftp.status).toContainText(`Host key of ${sshd.host} approved`);
  await expect(sftp.host).toHaveValue(sshd.host);
  expect(sshd.visits).toBe(0);
  if (!live) await sftp.fill({ privateKey: key.private });
  await sftp.press('Test connection');
  await expectAllDone(sftp);
  await expect(page.getByRole('button', { name: 'Approve this key' })).toHaveCount(0);
});

test('the host key of another server is not trusted', { tag: '@once' }, async ({ sftp, sshd, key }) => {
  await sftp.open();
  await sftp.fill(entryFor(sshd, key));
  await sftp.trust(sshd.knownHostsLine.replace(/^\S+/, 'elsewhere.example.org'));
  await expect(sftp.alert).toContainText('elsewhere.example.org');
  await expect(sftp.status).toBeEmpty();
});

test('selected backups are uploaded, listed off-site, fetched, and deleted there', async ({ page, live, holdfast, sftp, sshd, key, backups, offSite }) => {
  for (const each of whole) lay(holdfast.backupDirectory, each);
  await sftp.store(sshd, key);
  const [lost, kept, own] = whole;
  await backups.open();
  for (const { name } of [lost, kept]) await backups.tick(name).check();
  await backups.selection.getByRole('button', { name: 'Upload', exact: true }).click();
  for (const { name } of [lost, kept]) {
    await expect(backups.status).toContainText(`Uploaded ${name}`);
    await expect(backups.row(name).getByText('off-site verified', { exact: true })).toBeVisible();
  }
  await expect(backups.row(own.name).getByText('not sent', { exact: true })).toBeVisible();
  expect(files(sshd.account)).toEqual([lost, kept].flatMap(({ name }) => [name, `${name}.manifest.json`]).toSorted());
  for (const each of [lost, kept]) expect(fs.readFileSync(path.join(sshd.account, each.name)).equals(contentOf(each))).toBe(true);

  remove(holdfast.backupDirectory, lost.name);
  await offSite.open();
  await expect(offSite.rows).toHaveCount(3);
  await offSite.expectPlace(lost.name, 'only off-site');
  await offSite.expectPlace(kept.name, 'in both places');
  await offSite.expectPlace(own.name, 'only here');

  await offSite.tick(lost.name).check();
  await offSite.press('Fetch');
  await expect(backups.status).toContainText(`Fetched ${lost.name}`);
  await expect(backups.row(lost.name).getByText('whole', { exact: true })).toBeVisible();
  const back = fs.readFileSync(path.join(holdfast.backupDirectory, lost.name));
  expect(back.equals(contentOf(lost))).toBe(true);
  expect(fs.existsSync(path.join(holdfast.backupDirectory, `${lost.name}.manifest.json`))).toBe(true);

  await offSite.open();
  await offSite.expectPlace(lost.name, 'in both places');
  await offSite.tick(own.name).check();
  await offSite.press('Upload');
  await expect(backups.status).toContainText(`Uploaded ${own.name}`);
  await offSite.open();
  await offSite.expectPlace(own.name, 'in both places');
  if (live) await expect(page.locator('html')).toHaveAttribute('data-hydrated');
});

test('deleting a copy asks for confirmation and keeps the local backup', async ({ page, holdfast, sftp, sshd, key, backups, offSite }) => {
  const [doomed, kept] = whole;
  for (const each of [doomed, kept]) lay(holdfast.backupDirectory, each);
  await sftp.store(sshd, key);
  await backups.open();
  for (const { name } of [doomed, kept]) await backups.tick(name).check();
  await backups.selection.getByRole('button', { name: 'Upload', exact: true }).click();
  for (const { name } of [doomed, kept]) await expect(backups.status).toContainText(`Uploaded ${name}`);
  const both = files(sshd.account);

  await offSite.open();
  await offSite.tick(doomed.name).check();
  await offSite.press('Delete there');
  await expect(offSite.question).toContainText(doomed.name);
  await expect(offSite.question).not.toContainText(kept.name);
  await offSite.question.getByRole('button', { name: 'Cancel', exact: true }).click();
  await expect(page.getByRole('heading', { name: 'Off-site', level: 1 })).toBeVisible();
  expect(files(sshd.account)).toEqual(both);

  await offSite.tick(doomed.name).check();
  await offSite.press('Delete there');
  await offSite.question.getByRole('button', { name: /^Delete/ }).click();
  await expect(offSite.status).toContainText(doomed.name);
  await offSite.expectPlace(doomed.name, 'only here');
  await offSite.expectPlace(kept.name, 'in both places');
  expect(files(sshd.account)).toEqual([kept.name, `${kept.name}.manifest.json`]);
  for (const each of [doomed, kept]) {
    expect(fs.readFileSync(path.join(holdfast.backupDirectory, each.name)).equals(contentOf(each))).toBe(true);
  }
  await backups.open();
  await expect(backups.row(doomed.name).getByText('not sent', { exact: true })).toBeVisible();

  remove(holdfast.backupDirectory, kept.name);
  await offSite.open();
  await offSite.expectPlace(kept.name, 'only off-site');
  await offSite.tick(kept.name).check();
  await offSite.press('Delete there');
  await offSite.question.getByRole('button', { name: /^Delete/ }).click();
  await expect(offSite.status).toContainText(kept.name);
  await expect(offSite.row(kept.name)).toHaveCount(0);
  expect(files(sshd.account)).toEqual([]);
});

test.describe('with a password', () => {
  test.skip(!Sshd.hasPassword, 'only as root, the tests can create an account with a password');

  const byPassword = (sshd: Sshd, password: string): Entry => ({
    enabled: true,
    host: sshd.host,
    port: String(sshd.port),
    username: sshd.user,
    auth: 'Password',
    password,
  });

  test('the correct one is enough', { tag: '@once' }, async ({ page, sftp, sshd, backups }) => {
    await sftp.open();
    await sftp.fill(byPassword(sshd, PASSWORD));
    await sftp.press('Save settings');
    await expect(sftp.status).toContainText('saved');
    await sftp.trust(sshd.knownHostsLine);
    await expect(sftp.status).toContainText('approved');
    await sftp.press('Test connection');
    await expectAllDone(sftp);
    await backups.open();
    await page.getByRole('button', { name: 'Create and upload' }).click();
    const name = await backupNamed(sftp.status, /Created backup_shop_/);
    await expect(sftp.status).toContainText(`Uploaded ${name}`);
    await sftp.open();
    await expectNoneOf(sftp, [PASSWORD]);
  });

  test('a wrong one is reported by the test and the upload, and the backup stays', async ({ page, live, sftp, sshd, backups }) => {
    const wrong = `${PASSWORD} not`;
    await sftp.open();
    await sftp.fill(byPassword(sshd, wrong));
    await sftp.trust(sshd.knownHostsLine);
    await expect(sftp.status).toContainText('approved');
    if (!live) await sftp.fill({ password: wrong });
    await sftp.press('Test connection');
    await expect(sftp.alert).toContainText(`rejects this password for ${sshd.user}`);
    await expect(sftp.alert).not.toContainText(wrong);
    await expect(sftp.step('Log in')).toContainText('failed');
    await expect(sftp.step('Read back')).toContainText('skipped');
    if (!live) await sftp.fill({ password: wrong });
    await sftp.press('Save settings');
    await expect(sftp.status).toContainText('saved');
    await backups.open();
    await page.getByRole('button', { name: 'Create and upload' }).click();
    await expect(backups.alert).toContainText(`rejects this password for ${sshd.user}`);
    const name = await backupNamed(sftp.status, /Created backup_shop_/);
    await expect(backups.row(name).getByText('whole', { exact: true })).toBeVisible();
    await expect(backups.row(name).getByText('upload failed', { exact: true })).toBeVisible();
    await expectNoneOf(sftp, [PASSWORD]);
  });
});

test('an unauthorized key is reported, and the backup stays', async ({ page, holdfast, sftp, sshd, backups }) => {
  await sftp.store(sshd, sshd.makeKey('stranger'));
  await sftp.open();
  await sftp.press('Test connection');
  await expect(sftp.alert).toContainText(`rejects this key for ${sshd.user}`);
  await expect(sftp.alert).toContainText('authorized_keys');
  await expect(sftp.step('Log in')).toContainText('failed');
  await backups.open();
  await page.getByRole('button', { name: 'Create and upload' }).click();
  await expect(backups.alert).toContainText(`rejects this key for ${sshd.user}`);
  await expect(backups.alert).toContainText('The local backup is untouched');
  const name = await backupNamed(sftp.status, /Created backup_shop_/);
  await expect(backups.row(name).getByText('whole', { exact: true })).toBeVisible();
  await expect(backups.row(name).getByText('upload failed', { exact: true })).toBeVisible();
  expect(files(holdfast.backupDirectory)).toContain(name);
  expect(files(sshd.account)).toEqual([]);
});

test('an unwritable directory is reported, and the backup stays', { tag: '@once' }, async ({ page, sftp, sshd, key, backups }) => {
  test.skip(!Sshd.hasLimits, 'root can write everywhere');
  await sftp.store(sshd, key, { remoteDirectory: sshd.locked });
  await sftp.open();
  await sftp.press('Test connection');
  await expect(sftp.alert).toContainText('permission denied');
  await expect(sftp.alert).toContainText(sshd.locked);
  await expect(sftp.step('Directory')).toContainText('done');
  await expect(sftp.step('Write')).toContainText('failed');
  await backups.open();
  await page.getByRole('button', { name: 'Create and upload' }).click();
  await expect(backups.alert).toContainText('permission denied');
  await expect(backups.alert).toContainText(sshd.locked);
  const name = await backupNamed(sftp.status, /Created backup_shop_/);
  await expect(backups.row(name).getByText('whole', { exact: true })).toBeVisible();
  await expect(backups.row(name).getByText('upload failed', { exact: true })).toBeVisible();
  expect(files(sshd.locked)).toEqual([]);
});

test('the test reports a server that is down at once', { tag: '@once' }, async ({ sftp, sshd, key, offSite }) => {
  await sftp.store(sshd, key);
  await sshd.stop();
  await sftp.open();
  await sftp.press('Test connection');
  await expect(sftp.alert).toContainText('nothing listens on that port');
  await expect(sftp.step('Connect')).toContainText('failed');
  await expect(sftp.step('Host key')).toContainText('skipped');
  await offSite.open();
  await expect(offSite.alert).toContainText('nothing listens on that port');
});

test('an upload retries for a while, then reports the problem, and the backup stays', { tag: '@once' }, async ({ page, sftp, sshd, key, backups }) => {
  test.setTimeout(90_000);
  await sftp.store(sshd, key);
  await sshd.stop();
  await backups.open();
  await page.getByRole('button', { name: 'Create and upload' }).click();
  const name = await backupNamed(sftp.status, /Created backup_shop_/);
  await expect(sftp.strip(name)).toContainText('waiting to try again');
  await expect(backups.row(name).getByText('whole', { exact: true })).toBeVisible();
  await expect(backups.alert).toContainText('nothing listens on that port', { timeout: 60_000 });
  await expect(backups.alert).toContainText('The local backup is untouched');
  await expect(backups.row(name).getByText('upload failed', { exact: true })).toBeVisible();
});

test('an upload succeeds once its server is back', { tag: '@once' }, async ({ page, holdfast, sftp, sshd, key, backups }) => {
  await sftp.store(sshd, key);
  await sshd.stop();
  await backups.open();
  await page.getByRole('button', { name: 'Create and upload' }).click();
  const name = await backupNamed(sftp.status, /Created backup_shop_/);
  await expect(sftp.strip(name)).toContainText('waiting to try again');
  await sshd.serve();
  await expect(backups.status).toContainText(`Uploaded ${name}`, { timeout: 20_000 });
  await expect(backups.alert).toHaveCount(0);
  expect(fs.readFileSync(path.join(sshd.account, name)).equals(fs.readFileSync(path.join(holdfast.backupDirectory, name)))).toBe(true);
});

test('a cancelled upload does not change the backup, and resumes later', async ({ holdfast, sftp, sshd, key, road, backups }) => {
  const file = path.join(holdfast.backupDirectory, heavy.name);
  fs.writeFileSync(file, heavy.content);
  await sftp.store(sshd, key, { port: road.port });
  const upload = async () => {
    await backups.open();
    await backups.tick(heavy.name).check();
    await backups.selection.getByRole('button', { name: 'Upload', exact: true }).click();
  };
  road.narrow(400_000);
  await upload();
  await expect(sftp.strip(heavy.name)).toContainText(/sending · [\d.]+ [KM]B of 11\.4 MB/);
  await sftp.strip(heavy.name).getByRole('button', { name: 'Cancel', exact: true }).click();
  await expect(backups.status).toContainText(`The upload of ${heavy.name} was cancelled. The local backup is untouched.`);
  await expect(sftp.strip(heavy.name)).toHaveCount(0);
  await expect(backups.row(heavy.name)).toBeVisible();
  expect(fs.readFileSync(file).equals(heavy.content)).toBe(true);
  expect(files(sshd.account), 'what is not whole has no name there').toEqual([`.part-${heavy.name}`]);

  road.narrow(Infinity);
  const draft = fs.statSync(path.join(sshd.account, `.part-${heavy.name}`));
  await upload();
  await expect(backups.status).toContainText(`Uploaded ${heavy.name}`);
  expect(files(sshd.account)).toEqual([heavy.name]);
  const copy = path.join(sshd.account, heavy.name);
  expect(fs.statSync(copy).ino, 'the draft itself was continued').toBe(draft.ino);
  expect(fs.readFileSync(copy).equals(heavy.content)).toBe(true);
});

test('another file with the same name at the server is never replaced', { tag: '@once' }, async ({ holdfast, sftp, sshd, key, backups, offSite }) => {
  const [{ name }] = whole;
  lay(holdfast.backupDirectory, whole[0]);
  const theirs = path.join(sshd.account, name);
  fs.writeFileSync(theirs, 'of somebody else');
  await sftp.store(sshd, key);
  await backups.open();
  await backups.tick(name).check();
  await backups.selection.getByRole('button', { name: 'Upload', exact: true }).click();
  await expect(backups.alert).toContainText(`A different ${name}`);
  await expect(backups.row(name).getByText('upload failed', { exact: true })).toBeVisible();
  expect(fs.readFileSync(theirs, 'utf8')).toBe('of somebody else');
  expect(files(sshd.account)).toEqual([name]);
  await offSite.open();
  await offSite.expectPlace(name, 'sizes differ');
  await expect(offSite.row(name)).toContainText('no manifest there');
});

test('every new backup is uploaded if automatic upload is on', { tag: '@once' }, async ({ sftp, sshd, key, backups }) => {
  await sftp.store(sshd, key);
  await sftp.open();
  await sftp.sendNew.check();
  await sftp.press('Save settings');
  await expect(sftp.status).toContainText('saved');
  await backups.open();
  await backups.create.click();
  const name = await backupNamed(sftp.status, /Created backup_shop_/);
  await expect(sftp.status).toContainText(`Uploaded ${name}`);
  expect(files(sshd.account)).toEqual([name, `${name}.manifest.json`]);
});

test('with SFTP storage off, "Create and upload" is refused with the next step', async ({ page, holdfast, backups }) => {
  await backups.open();
  await page.getByRole('button', { name: 'Create and upload' }).click();
  await expect(backups.alert).toContainText('Off-site storage is off');
  await expect(backups.alert).toContainText(/Turn it on/);
  await expect(backups.status).toBeEmpty();
  await backups.open();
  await expect(backups.range).toHaveText('0 of 0');
  expect(files(holdfast.backupDirectory).filter((name) => name.startsWith('backup_'))).toEqual([]);
});

test('with SFTP storage off, "Upload" is refused with the next step', async ({ holdfast, backups, offSite }) => {
  lay(holdfast.backupDirectory, whole[0]);
  await backups.open();
  await backups.tick(whole[0].name).check();
  await backups.selection.getByRole('button', { name: 'Upload', exact: true }).click();
  await expect(backups.alert).toContainText('Off-site storage is off');
  await offSite.open();
  await expect(offSite.page.getByRole('link', { name: 'Set up off-site storage' })).toBeVisible();
});

const mistakes: { what: string; entry: (sshd: Sshd) => Entry; field: string; says: string }[] = [
  { what: 'a URL as the host', entry: () => ({ host: 'sftp://nas' }), field: 'Host', says: "enter only the server's name or address" },
  { what: 'no host', entry: () => ({ host: '' }), field: 'Host', says: "enter the server's name or address" },
  { what: 'port 0', entry: () => ({ port: '0' }), field: 'Port', says: 'from 1 to 65535' },
  { what: 'no username', entry: () => ({ username: '' }), field: 'Username', says: 'enter the account' },
  { what: 'no key', entry: () => ({ privateKey: '' }), field: 'SSH private key', says: 'paste a private key' },
  { what: 'a directory above the account', entry: () => ({ remoteDirectory: '../x' }), field: 'Remote directory', says: 'without ".."' },
  { what: 'the public key instead of the private key', entry: (sshd) => ({ privateKey: sshd.makeKey('halved').public }), field: 'SSH private key', says: 'this is a public key' },
  { what: 'an encrypted key without its passphrase', entry: (sshd) => ({ privateKey: sshd.makeKey('locked-up', 'open sesame').private }), field: 'Key passphrase', says: 'is encrypted' },
  {
    what: 'a wrong passphrase',
    entry: (sshd) => ({ privateKey: sshd.makeKey('shut', 'open sesame').private, passphrase: 'open barley' }),
    field: 'Key passphrase',
    says: 'does not decrypt the private key',
  },
];

for (const { what, entry, field, says } of mistakes) {
  test(`a form with ${what} is not saved, and the field is named`, async ({ page, live, sftp, sshd, key }) => {
    const wrong = { ...entryFor(sshd, key), ...entry(sshd) };
    await sftp.open();
    for (const button of ['Test connection', 'Save settings'] as const) {
      await sftp.fill(wrong);
      await sftp.press(button);
      await expect(sftp.alert, button).toHaveCount(1);
      await expect(sftp.alert, button).toContainText(`${field}: `);
      await expect(sftp.alert, button).toContainText(says);
      await expect(sftp.status, button).toBeEmpty();
      // Typed input is still there; secrets only if the page was not reloaded.
      await expect(sftp.enabled).toBeChecked();
      for (const name of ['host', 'port', 'username', 'remoteDirectory'] as const) await expect(sftp[name], name).toHaveValue(wrong[name] ?? '');
      await expect(sftp.privateKey).toHaveValue(live ? (wrong.privateKey ?? '') : '');
    }
    const stored = await (await page.request.get('/api/sftp_settings')).json();
    expect(stored.settings.form).toMatchObject({ enabled: false, host: '', username: '' });
    expect(stored.settings).toMatchObject({ private_key_set: false, passphrase_set: false });
    expect(sshd.visits).toBe(0);
  });
}

test('an encrypted key is stored with its passphrase, and neither is sent back', { tag: '@once' }, async ({ page, sftp, sshd, backups }) => {
  const passphrase = 'open sesame-4711';
  const key = sshd.makeKey('guarded', passphrase);
  sshd.authorize(key.public);
  await sftp.open();
  await sftp.fill({ ...entryFor(sshd, key), passphrase });
  await sftp.press('Save settings');
  await expect(sftp.status).toContainText('saved');
  await sftp.open();
  await sftp.expectStored('SSH private key', true);
  await sftp.expectStored('Key passphrase', true);
  await expectNoneOf(sftp, [...linesOf(key), passphrase]);
  await sftp.trust(sshd.knownHostsLine);
  await expect(sftp.status).toContainText('approved');
  await backups.open();
  await page.getByRole('button', { name: 'Create and upload' }).click();
  await expect(backups.status).toContainText(/Uploaded backup_shop_/);
});

test('an empty secret field keeps the stored secret', { tag: '@once' }, async ({ page, sftp, sshd, key, backups }) => {
  await sftp.store(sshd, key, { password: PASSWORD });
  await sftp.open();
  await sftp.fill({ remoteDirectory: 'moved/here' });
  await sftp.press('Save settings');
  await expect(sftp.status).toContainText('saved');
  await sftp.open();
  await sftp.expectStored('SSH private key', true);
  await sftp.expectStored('Password', true);
  await backups.open();
  await page.getByRole('button', { name: 'Create and upload' }).click();
  const name = await backupNamed(sftp.status, /Uploaded backup_shop_/);
  expect(files(path.join(sshd.account, 'moved', 'here'))).toContain(name);
});

test('"Remove the stored one" deletes that secret and no other', { tag: '@once' }, async ({ sftp, sshd, key }) => {
  await sftp.store(sshd, key, { password: PASSWORD });
  await sftp.open();
  await sftp.forget('Password');
  await sftp.press('Save settings');
  await expect(sftp.status).toContainText('saved');
  await sftp.open();
  await sftp.expectStored('Password', false);
  await sftp.expectStored('SSH private key', true);

  await sftp.forget('SSH private key');
  await sftp.press('Save settings');
  await expect(sftp.alert).toContainText('SSH private key: ');
  await sftp.open();
  await sftp.expectStored('SSH private key', true);
  await expect(sftp.publicKey).toBeVisible();

  await sftp.fill({ enabled: false });
  await sftp.forget('SSH private key');
  await sftp.press('Save settings');
  await expect(sftp.status).toContainText('saved');
  await sftp.open();
  await sftp.expectStored('SSH private key', false);
  await expect(sftp.publicKey).toHaveCount(0);
});

test('a reset asks for confirmation, then deletes all settings', async ({ page, sftp, sshd, key }) => {
  await sftp.store(sshd, key, { password: PASSWORD });
  await sftp.open();
  await expect(sftp.approved).toBeVisible();
  await sftp.press('Reset settings');
  await expect(sftp.question.getByRole('heading', { name: 'Reset the SFTP settings?' })).toBeVisible();
  await sftp.question.getByRole('button', { name: 'Cancel', exact: true }).click();
  await expect(sftp.host).toHaveValue(sshd.host);
  await sftp.open();
  await sftp.expectStored('Password', true);

  await sftp.press('Reset settings');
  await sftp.question.getByRole('button', { name: 'Reset', exact: true }).click();
  await expect(sftp.status).toContainText('reset');
  await expect(page.getByRole('dialog')).toHaveCount(0);
  for (const look of ['at once', 'reloaded']) {
    if (look === 'reloaded') await sftp.open();
    await expect(sftp.enabled, look).not.toBeChecked();
    await expect(sftp.host, look).toHaveValue('');
    await expect(sftp.port, look).toHaveValue('22');
    await expect(sftp.username, look).toHaveValue('');
    await expect(sftp.auth, look).toHaveValue('password');
    await expect(sftp.remoteDirectory, look).toHaveValue('');
    for (const secret of ['Password', 'SSH private key', 'Key passphrase'] as const) await sftp.expectStored(secret, false);
    await expect(sftp.approved, look).toHaveCount(0);
    await expect(sftp.publicKey, look).toHaveCount(0);
  }
});

test('a generated key that the server accepts is enough for an upload', async ({ page, sftp, sshd, backups }) => {
  await sftp.open();
  await sftp.press('Generate a key pair');
  await expect(sftp.status).toContainText('A key pair was created');
  await sftp.fill({ auth: 'SSH key' });
  await expect(sftp.publicKey).toBeVisible();
  const line = (await sftp.publicKey.textContent()) ?? '';
  expect(line).toMatch(/^ssh-ed25519 AAAA\S+ holdfast$/);
  await sftp.expectStored('SSH private key', true);
  await sftp.fill({ enabled: true, host: sshd.host, port: String(sshd.port), username: sshd.user, auth: 'SSH key' });
  await sftp.press('Save settings');
  await expect(sftp.status).toContainText('saved');
  await sftp.trust(sshd.knownHostsLine);
  await expect(sftp.status).toContainText('approved');
  await sftp.open();
  await expect(sftp.publicKey).toHaveText(line);
  await sftp.press('Test connection');
  await expect(sftp.alert, 'the server does not accept it yet').toContainText('this key for');

  sshd.authorize(line);
  await sftp.open();
  await sftp.press('Test connection');
  await expectAllDone(sftp);
  await backups.open();
  await page.getByRole('button', { name: 'Create and upload' }).click();
  await expect(backups.status).toContainText(/Uploaded backup_shop_/);
});

test('a generated public key is shown at once', async ({ sftp }) => {
  await sftp.open();
  await expect(sftp.auth, 'as on a new page').toHaveValue('password');
  await sftp.press('Generate a key pair');
  await expect(sftp.status).toContainText('A key pair was created');
  await expect(sftp.publicKey).toBeVisible();
});
