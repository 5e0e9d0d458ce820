import fs from 'node:fs';
import path from 'node:path';
import { backupNamed, BackupsPage } from './support/backups-page';
import { makeBigSqlite, makeSqlite } from './support/databases';
import { seed } from './support/seed';
import { expect, test } from './support/server';

/** Large enough that a fast machine compresses for seconds, on one thread at the highest level. */
const MEGABYTES = 200;

test.use({
  settings: { HOLDFAST_COMPRESSION_LEVEL: '9', HOLDFAST_COMPRESSION_THREADS: '1' },
  databases: async ({ directory }, use) => {
    makeBigSqlite(path.join(directory, 'heavy.db'), MEGABYTES);
    makeSqlite(path.join(directory, 'light.db'));
    await use(`heavy=sqlite://${directory}/heavy.db light=sqlite://${directory}/light.db`);
  },
});

test.beforeEach(({ holdfast }) => seed(holdfast.backupDirectory, []));

/** The draft of a running backup in the directory. */
const drafts = (directory: string) => fs.readdirSync(directory).filter((name) => name.startsWith('.part-'));

test('a running backup shows its progress in every browser, and can be cancelled', async ({ holdfast, backups, anotherBrowser }) => {
  await backups.open();
  const other = new BackupsPage(await anotherBrowser(), true);
  await other.open();

  await backups.createBackupOf('heavy');
  const strip = backups.strip('heavy');
  await expect(strip).toContainText('compressing');
  await expect(strip).toContainText(/[\d.]+ MB read, [\d.]+ MB written/);
  await expect(strip).toContainText(/\d:\d\d/);
  await expect(strip.getByRole('progressbar')).toBeVisible();
  const earlier = await strip.getByRole('progressbar').evaluate((bar: HTMLProgressElement) => bar.position);
  await expect.poll(() => strip.getByRole('progressbar').evaluate((bar: HTMLProgressElement) => bar.position)).toBeGreaterThan(earlier);
  await expect(other.strip('heavy')).toContainText(/compressing.* MB written/);
  await expect(backups.rows, 'a draft is not listed').toHaveCount(0);
  expect(drafts(holdfast.backupDirectory)).not.toEqual([]);

  await backups.page.reload();
  await expect(strip).toContainText('compressing');

  await strip.getByRole('button', { name: 'Cancel' }).click();
  for (const view of [backups, other]) {
    await expect(view.status).toContainText('The backup of heavy was cancelled');
    await expect(view.strip('heavy')).toHaveCount(0);
    await expect(view.rows).toHaveCount(0);
    await expect(view.alert).toHaveCount(0);
  }
  await expect.poll(() => drafts(holdfast.backupDirectory)).toEqual([]);
});

test('a second backup of the same database is refused while one runs, and another database is backed up', async ({ backups }) => {
  await backups.open();
  await backups.createBackupOf('heavy');
  await expect(backups.strip('heavy')).toBeVisible();
  await backups.createBackupOf('heavy');
  await expect(backups.alert).toContainText('A backup of heavy is already under way');
  await expect(backups.strip('heavy')).toHaveCount(1);
  await backups.createBackupOf('light');
  await expect(backups.status).toContainText('backup_light_');
  await expect(backups.strip('heavy')).toBeVisible();
  await backups.strip('heavy').getByRole('button', { name: 'Cancel' }).click();
  await expect(backups.status).toContainText('The backup of heavy was cancelled');
});

test('a finished backup appears in every open browser', async ({ holdfast, backups, anotherBrowser }) => {
  test.slow();
  await backups.open();
  const other = new BackupsPage(await anotherBrowser(), true);
  await other.open('/?sort=-created_at');
  await other.page.evaluate(() => Object.assign(window, { marked: true }) && undefined);
  await expect(other.range).toHaveText('0 of 0');

  await backups.createBackupOf('heavy');
  await expect(backups.strip('heavy')).toBeVisible();
  await expect(other.strip('heavy')).toBeVisible();
  const name = await backupNamed(backups.status, /backup_heavy_\S+\.dump\.gz/, { timeout: 60_000 });
  for (const view of [backups, other]) {
    await expect(view.row(name)).toBeVisible();
    await expect(view.status).toContainText(name);
    await expect(view.strip('heavy')).toHaveCount(0);
    await expect(view.range).toHaveText('1–1 of 1');
  }
  expect(await other.page.evaluate(() => 'marked' in window)).toBe(true);
  expect(drafts(holdfast.backupDirectory)).toEqual([]);
});

test('an outcome can be dismissed', async ({ backups }) => {
  await backups.open();
  await backups.createBackupOf('light');
  await expect(backups.status).toContainText('backup_light_');
  await backups.status.getByRole('button', { name: 'Dismiss' }).click();
  await expect(backups.status).toBeEmpty();
});
