// Pictures of the list for the README, light and dark: `scripts/screenshots`.
import fs from 'node:fs';
import path from 'node:path';
import { makeBigSqlite } from './support/databases';
import { type Day, makeHistory } from './support/history';
import { expect, test } from './support/sftp-page';

const into = path.resolve(process.env.HOLDFAST_PICTURES ?? 'pictures');

/** A host name for this machine, if scripts/screenshots could set one. */
const host = process.env.HOLDFAST_PICTURES_HOST ?? '127.0.0.1';

/** Daily backups of ten days, and weekly ones before that. */
const days: Day[] = [...Array.from({ length: 10 }, (_, i) => i), ...Array.from({ length: 11 }, (_, i) => 16 + 7 * i)];

test.use({
  databases: async ({ directory }, use) => {
    const names = ['ledger', 'shop'];
    for (const name of names) makeBigSqlite(path.join(directory, `${name}.db`), name === 'ledger' ? 600 : 4);
    await use(names.map((name) => `${name}=sqlite://${directory}/${name}.db`).join(' '));
  },
  // A backup that is still running when the second picture is taken.
  settings: { HOLDFAST_COMPRESSION_LEVEL: '9', HOLDFAST_COMPRESSION_THREADS: '1' },
  viewport: { width: 1280, height: 860 },
});

test('the list', async ({ page, holdfast, backups, sftp, sshd, key, live }) => {
  test.setTimeout(600_000);
  const patience = { timeout: 300_000 };
  const made = makeHistory(holdfast.backupDirectory, days);

  // Every backup but the newest has a copy on a server.
  await sftp.store(Object.assign(Object.create(sshd), { host }), key, { remoteDirectory: '' });
  await backups.open('/?sort=created_at&per_page=100');
  await backups.selectPage.check();
  await backups.tick(made.newest).uncheck();
  await backups.selection.getByRole('button', { name: 'Upload', exact: true }).click();
  await backups.selection.getByRole('button', { name: 'Clear selection' }).click();
  await page.goto('/remote');
  await expect(async () => {
    await page.reload();
    await expect(page.locator('tbody').getByText('in both places', { exact: true })).toHaveCount(made.names.length - 1, { timeout: 1_000 });
  }).toPass(patience);

  // One backup is damaged on disk. Verifying all finds it.
  made.damage(made.names.length - 6);
  await backups.open('/?sort=-created_at');
  await page.getByRole('button', { name: 'Verify all', exact: true }).click();
  await expect(backups.alert.getByText('is damaged').first()).toBeVisible(patience);

  await backups.open('/?sort=-created_at');
  for (const row of [0, 1]) await backups.rows.nth(row).getByRole('checkbox').check();
  await backups.createBackupOf('ledger');
  await expect(backups.strip('ledger')).toContainText('MB written', patience);
  await page.mouse.move(640, 5);
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: path.join(into, `list-${colorScheme}.png`), animations: 'disabled', caret: 'hide' });
  }
  expect(live).toBe(true);
  await expect(backups.strip('ledger'), 'the backup was still running').toBeVisible();
  for (const colorScheme of ['light', 'dark']) {
    const { size } = fs.statSync(path.join(into, `list-${colorScheme}.png`));
    expect(size, `list-${colorScheme}.png in bytes`).toBeLessThan(200_000);
  }
});
