// Off-site copies on the live page only: typed input stays, and running transfers show their progress.
import fs from 'node:fs';
import path from 'node:path';
import { entryFor, expect, heavy, test } from './support/sftp-page';
import { PASSWORD } from './support/sshd';

test('typed input stays after a test and after a host key is approved', async ({ sftp, sshd, key }) => {
  await sftp.open();
  const passphrase = 'not needed';
  await sftp.fill({ ...entryFor(sshd, key), password: PASSWORD, passphrase, remoteDirectory: 'somewhere' });
  const expectTyped = async () => {
    await expect(sftp.enabled).toBeChecked();
    await expect(sftp.host).toHaveValue(sshd.host);
    await expect(sftp.port).toHaveValue(String(sshd.port));
    await expect(sftp.username).toHaveValue(sshd.user);
    await expect(sftp.auth).toHaveValue('ssh-key');
    await expect(sftp.privateKey).toHaveValue(key.private);
    await expect(sftp.password).toHaveValue(PASSWORD);
    await expect(sftp.passphrase).toHaveValue(passphrase);
    await expect(sftp.remoteDirectory).toHaveValue('somewhere');
  };
  await sftp.press('Test connection');
  await expect(sftp.alert).toContainText(sshd.fingerprint);
  await expectTyped();
  await sftp.press('Approve this key');
  await expect(sftp.status).toContainText('approved');
  await expectTyped();
  await sftp.press('Test connection');
  await expect(sftp.status).toContainText('The connection works');
  await expectTyped();

  await sftp.press('Save settings');
  await expect(sftp.status).toContainText('saved');
  await expect(sftp.privateKey, 'saved secrets are removed from the page').toHaveValue('');
  await expect(sftp.password).toHaveValue('');
  await sftp.expectStored('SSH private key', true);
  await expect(sftp.host).toHaveValue(sshd.host);
  await expect(sftp.enabled).toBeChecked();
  await expect(sftp.auth).toHaveValue('ssh-key');
});

test('an invalid field is marked until it is valid', async ({ sftp, sshd, key }) => {
  await sftp.open();
  await sftp.fill({ ...entryFor(sshd, key), host: 'sftp://nas', port: '0' });
  await sftp.press('Save settings');
  await expect(sftp.alert).toHaveCount(2);
  for (const field of [sftp.host, sftp.port]) await expect(field).toHaveAttribute('aria-invalid', 'true');
  await expect(sftp.username).not.toHaveAttribute('aria-invalid', 'true');
  await sftp.fill({ host: sshd.host, port: String(sshd.port) });
  await sftp.press('Save settings');
  await expect(sftp.status).toContainText('saved');
  await expect(sftp.alert).toHaveCount(0);
  for (const field of [sftp.host, sftp.port]) await expect(field).not.toHaveAttribute('aria-invalid', 'true');
});

test('Escape closes the reset dialog and changes nothing', async ({ page, sftp, sshd, key }) => {
  await sftp.store(sshd, key);
  await sftp.open();
  await sftp.press('Reset settings');
  await expect(sftp.question).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toHaveCount(0);
  await sftp.press('Reset settings');
  await expect(sftp.question, 'the dialog opens again').toBeVisible();
  await page.keyboard.press('Escape');
  await page.reload();
  await sftp.expectStored('SSH private key', true);
});

test('input from before hydration is kept', async ({ page, sftp, sshd, key }) => {
  let letGo = (): void => {};
  const held = new Promise<void>((resolve) => (letGo = resolve));
  await page.route('**/*.wasm', async (route) => {
    await held;
    await route.continue();
  });
  await page.goto('/settings/sftp', { waitUntil: 'domcontentloaded' });
  await sftp.fill(entryFor(sshd, key));
  await expect(page.locator('html')).not.toHaveAttribute('data-hydrated');
  letGo();
  await expect(page.locator('html')).toHaveAttribute('data-hydrated');
  await expect(sftp.enabled).toBeChecked();
  await expect(sftp.host).toHaveValue(sshd.host);
  await expect(sftp.port).toHaveValue(String(sshd.port));
  await expect(sftp.username).toHaveValue(sshd.user);
  await expect(sftp.auth).toHaveValue('ssh-key');
  await expect(sftp.privateKey).toHaveValue(key.private);
  await sftp.press('Test connection');
  await expect(sftp.alert).toContainText(sshd.fingerprint);
});

test('the off-site pages open without a page load, there and back', async ({ page, holdfast, sftp, sshd, key, backups, offSite }) => {
  fs.writeFileSync(path.join(holdfast.backupDirectory, heavy.name), heavy.content);
  await sftp.store(sshd, key);
  await backups.open();
  await page.evaluate(() => Object.assign(window, { marked: true }) && undefined);
  const go = (name: string) => page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name }).click();
  for (let round = 0; round < 2; round += 1) {
    await go('Off-site');
    await offSite.expectPlace(heavy.name, 'only here');
    await go('Settings');
    await expect(sftp.host).toHaveValue(sshd.host);
    await expect(sftp.approved).toContainText(sshd.fingerprint);
  }
  await sftp.press('Test connection');
  await expect(sftp.status).toContainText('The connection works');
  await page.goBack();
  await offSite.expectPlace(heavy.name, 'only here');
  await go('Settings');
  await expect(sftp.checklist, 'the result is not shown again').toHaveCount(0);
  await expect(sftp.status).toBeEmpty();
  expect(await page.evaluate(() => 'marked' in window)).toBe(true);
});

test('a running upload shows progress and speed, survives a reload, and can be cancelled', async ({ page, holdfast, sftp, sshd, key, road, backups }) => {
  const file = path.join(holdfast.backupDirectory, heavy.name);
  fs.writeFileSync(file, heavy.content);
  await sftp.store(sshd, key, { port: road.port });
  await backups.open();
  await backups.tick(heavy.name).check();
  road.narrow(400_000);
  await backups.selection.getByRole('button', { name: 'Upload', exact: true }).click();

  const strip = sftp.strip(heavy.name);
  await expect(strip).toContainText('sending');
  await expect(strip).toContainText(/\d [KM]B of 11\.4 MB, [\d.]+ [KM]B\/s, \d+:\d\d left/);
  await expect(backups.row(heavy.name).getByText('uploading', { exact: true })).toBeVisible();
  const far = () => strip.getByRole('progressbar').evaluate((bar: HTMLProgressElement) => bar.position);
  const earlier = await far();
  await expect.poll(far).toBeGreaterThan(earlier);

  await page.reload();
  await expect(strip).toContainText('sending');
  await expect(page.locator('html')).toHaveAttribute('data-hydrated');
  await strip.getByRole('button', { name: 'Cancel', exact: true }).click();
  await expect(backups.status).toContainText(`The upload of ${heavy.name} was cancelled. The local backup is untouched.`);
  await expect(strip).toHaveCount(0);
  await expect(backups.alert).toHaveCount(0);
  await expect(backups.row(heavy.name).getByText('not sent', { exact: true })).toBeVisible();
  expect(fs.readFileSync(file).equals(heavy.content)).toBe(true);
});

test('every browser shows a running upload', async ({ holdfast, sftp, sshd, key, road, backups, anotherBrowser }) => {
  test.slow();
  fs.writeFileSync(path.join(holdfast.backupDirectory, heavy.name), heavy.content);
  await sftp.store(sshd, key, { port: road.port });
  const other = await anotherBrowser();
  await other.goto('/');
  await expect(other.locator('html')).toHaveAttribute('data-hydrated');
  await backups.open();
  await backups.tick(heavy.name).check();
  road.narrow(6_000_000);
  await backups.selection.getByRole('button', { name: 'Upload', exact: true }).click();
  await expect(other.getByRole('region', { name: `Upload of ${heavy.name}`, exact: true })).toContainText('sending');
  for (const page of [other, backups.page]) {
    await expect(page.getByRole('status')).toContainText(`Uploaded ${heavy.name}`, { timeout: 20_000 });
    await expect(page.getByRole('row').getByText('off-site verified', { exact: true })).toBeVisible();
  }
});
