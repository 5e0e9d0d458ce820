// Verifying, adopting, importing and restoring backups, into a new database and over an existing one, and refusals.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import type { Page } from '@playwright/test';
import { type BackupsPage, backupNamed, open } from './support/backups-page';
import { makeSqlite } from './support/databases';
import { seed } from './support/seed';
import { expect, type Holdfast, test } from './support/server';

test.use({
  databases: async ({ directory }, use) => {
    makeSqlite(path.join(directory, 'shop.db'));
    await use(`shop=sqlite://${directory}/shop.db`);
  },
});

test.beforeEach(({ holdfast }) => {
  seed(holdfast.backupDirectory, []);
  fs.rmSync(path.join(holdfast.directory, 'shop.db'));
  makeSqlite(path.join(holdfast.directory, 'shop.db'));
});

/** The state column of a backup's row. */
const state = (backups: BackupsPage, name: string) => backups.row(name).getByRole('cell').nth(6);

/** The rows of a database's table, in order. */
const orders = (file: string): string =>
  execFileSync('sqlite3', ['-batch', '-readonly', file, 'SELECT what FROM orders ORDER BY id'], { encoding: 'utf8' }).trim();

const alter = (file: string, sql: string): void => {
  execFileSync('sqlite3', ['-batch', '-bail', file, sql]);
};

async function makeBackup(backups: BackupsPage): Promise<string> {
  await backups.open();
  await backups.create.click();
  return backupNamed(backups.status, 'backup_shop_');
}

/** Opens the page of one backup by its link in the list. */
async function toRestore(page: Page, backups: BackupsPage, name: string): Promise<void> {
  await backups.open();
  await page.getByRole('link', { name: `Restore ${name}`, exact: true }).click();
  await expect(page.getByRole('heading', { name: 'Restore', level: 1 })).toBeVisible();
}

const planned = (page: Page) => page.getByRole('region', { name: 'The plan' });

/** Flips one bit of a file and keeps its modified time. */
function rot(holdfast: Holdfast, name: string): void {
  const file = path.join(holdfast.backupDirectory, name);
  const { mtime } = fs.statSync(file);
  const content = fs.readFileSync(file);
  content[40] ^= 1;
  fs.writeFileSync(file, content);
  fs.utimesSync(file, mtime, mtime);
}

test('a verified backup shows its test restore', async ({ page, backups }) => {
  const name = await makeBackup(backups);
  await expect(state(backups, name)).toHaveText('whole');
  await backups.open();
  await backups.tick(name).check();
  await backups.selection.getByRole('button', { name: 'Verify', exact: true }).click();
  await expect(backups.status).toContainText(`${name} was restored for a test: 1 table with 2 rows.`);
  await expect(state(backups, name)).toHaveText(/whole\s+restored/);
  await backups.row(name).getByRole('link', { name: 'restored' }).click();
  await expect(page.getByRole('heading', { name: 'Restore', level: 1 })).toBeVisible();
  await expect(page.getByRole('region', { name: 'The backup' })).toContainText(/Test restore succeeded at .* UTC: 1 table with 2 rows\./);
});

test('a damaged backup is named, marked, and not restored', async ({ holdfast, page, backups }) => {
  const name = await makeBackup(backups);
  rot(holdfast, name);
  await backups.open();
  await expect(state(backups, name), 'not verified yet').toHaveText('whole');
  await page.getByRole('button', { name: 'Verify all' }).click();
  await expect(backups.alert).toContainText(`${name} is damaged`);
  await expect(backups.alert).toContainText('SHA-256');
  await expect(state(backups, name)).toHaveText('damaged');

  await toRestore(page, backups, name);
  await expect(page.getByRole('main')).toContainText('This backup was found damaged');
  await page.getByRole('button', { name: 'Show the plan' }).click();
  await planned(page).getByRole('button', { name: 'Restore', exact: true }).click();
  await expect(backups.alert).toContainText('Nothing was restored');
  const files = fs.readdirSync(holdfast.directory).filter((file) => file.endsWith('.db'));
  expect(files).toEqual(['shop.db']);
});

test('backups without a manifest are checked and adopted', async ({ holdfast, page, backups }) => {
  const name = await makeBackup(backups);
  const old = 'backup_2024-02-29_12-00-00.dump.gz';
  fs.renameSync(path.join(holdfast.backupDirectory, name), path.join(holdfast.backupDirectory, old));
  await backups.open();
  await expect(state(backups, old)).toHaveText('no manifest');
  await expect(page.getByRole('main')).toContainText('1 backup has no manifest');
  await page.getByRole('button', { name: 'Check and adopt' }).click();
  await expect(backups.status).toContainText(`${old} was restored for a test`);
  await expect(state(backups, old)).toHaveText(/whole\s+restored/);
  await expect(page.getByRole('button', { name: 'Check and adopt' })).toHaveCount(0);
});

test('a backup is restored into a new database after its plan is shown', async ({ holdfast, page, backups }) => {
  const name = await makeBackup(backups);
  await toRestore(page, backups, name);
  await page.getByLabel('Name of the new database').fill('shop-again.db');
  await page.getByRole('button', { name: 'Show the plan' }).click();
  const plan = planned(page);
  for (const words of [name, 'shop-again.db', 'nothing: the database is new', 'Free space', 'has not been restored for a test yet']) {
    await expect(plan).toContainText(words);
  }
  const target = path.join(holdfast.directory, 'shop-again.db');
  expect(fs.existsSync(target), 'a plan does nothing').toBe(false);
  await plan.getByRole('button', { name: 'Restore', exact: true }).click();
  await expect(backups.status).toContainText('is restored into');
  await expect(backups.status).toContainText('1 table with 2 rows');
  expect(orders(target)).toBe('rope\nanchor');
  fs.rmSync(target);
});

test('an existing database is replaced once its name is typed, and is backed up first', { tag: '@once' }, async ({ holdfast, page, backups }) => {
  const shop = path.join(holdfast.directory, 'shop.db');
  const name = await makeBackup(backups);
  alter(shop, "UPDATE orders SET what = 'lost' WHERE id = 1");
  await toRestore(page, backups, name);
  await page.getByLabel('Restore into').selectOption('over:shop');
  await page.getByRole('button', { name: 'Show the plan' }).click();
  const plan = planned(page);
  await expect(plan).toContainText('Holdfast backs it up first');
  await plan.getByLabel('Type shop.db to replace it').fill('shop');
  await plan.getByRole('button', { name: 'Replace and restore' }).click();
  await expect(backups.alert).toContainText('type its name exactly');
  expect(orders(shop)).toBe('lost\nanchor');

  await plan.getByLabel('Type shop.db to replace it').fill('shop.db');
  await plan.getByRole('button', { name: 'Replace and restore' }).click();
  await expect(backups.status).toContainText('What was there before is kept as backup_shop_');
  expect(orders(shop)).toBe('rope\nanchor');
  await expect(backups.range).toHaveText('1–2 of 2');
});

test('imported backups are listed once they are checked, and restored', { tag: '@once' }, async ({ holdfast, page, backups }) => {
  const name = await makeBackup(backups);
  const elsewhere = fs.mkdtempSync(path.join(holdfast.directory, 'elsewhere-'));
  for (const file of [name, `${name}.manifest.json`]) {
    fs.renameSync(path.join(holdfast.backupDirectory, file), path.join(elsewhere, file));
  }
  const bundle = path.join(elsewhere, 'mine.tar.gz');
  execFileSync('tar', ['-czf', bundle, '--format=ustar', '-C', elsewhere, name, `${name}.manifest.json`]);
  const notes = path.join(elsewhere, 'notes.txt');
  fs.writeFileSync(notes, 'no backup');

  await backups.open();
  await page.getByRole('link', { name: 'Import', exact: true }).click();
  await expect(page.getByRole('heading', { name: 'Import', level: 1 })).toBeVisible();
  await page.getByLabel('Backup files').setInputFiles([path.join(elsewhere, name), path.join(elsewhere, `${name}.manifest.json`), notes]);
  await page.getByRole('button', { name: 'Import', exact: true }).click();
  await expect(backups.status).toContainText(`Imported 1 backup`);
  await expect(backups.alert).toContainText('notes.txt');
  await expect(state(backups, name)).toHaveText(/whole\s+restored/);
  expect(fs.readFileSync(path.join(holdfast.backupDirectory, name)).equals(fs.readFileSync(path.join(elsewhere, name)))).toBe(true);

  await page.getByRole('link', { name: 'Import', exact: true }).click();
  await page.getByLabel('Backup files').setInputFiles(bundle);
  await page.getByRole('button', { name: 'Import', exact: true }).click();
  await expect(backups.status).toContainText(`Already here: ${name}`);

  await toRestore(page, backups, name);
  await page.getByLabel('Name of the new database').fill('brought.db');
  await page.getByRole('button', { name: 'Show the plan' }).click();
  await planned(page).getByRole('button', { name: 'Restore', exact: true }).click();
  await expect(backups.status).toContainText('is restored into');
  const target = path.join(holdfast.directory, 'brought.db');
  expect(orders(target)).toBe('rope\nanchor');
  fs.rmSync(target);
});

test('an impossible restore is refused with a reason, and no password is sent back', { tag: '@once' }, async ({ page, backups }) => {
  const name = await makeBackup(backups);
  for (const [place, field, value, words] of [
    ['beside:shop', 'Name of the new database', 'shop.db', 'already exists'],
    ['beside:shop', 'Name of the new database', '../shop.db', 'does not contain'],
    ['elsewhere', 'URL', 'postgres://me:hunter2@127.0.0.1:1/x', 'belongs to another engine'],
    ['elsewhere', 'URL', 'hunter2', 'not a database URL'],
  ]) {
    await toRestore(page, backups, name);
    await page.getByLabel('Restore into').selectOption(place);
    if (field === 'URL') await page.getByText('Somewhere else', { exact: true }).click();
    await page.getByLabel(field, { exact: true }).fill(value);
    await page.getByRole('button', { name: 'Show the plan' }).click();
    await expect(backups.alert).toContainText(words);
    expect(await page.content()).not.toContain('hunter2');
  }
});

test('the page of a missing backup says so', async ({ page, live }) => {
  await open(page, live, '/restore?file=backup_gone.dump.gz');
  await expect(page.getByRole('alert')).toContainText('There is no backup named backup_gone.dump.gz');
});
