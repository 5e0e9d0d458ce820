import fs from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { backupNamed, BackupsPage } from './support/backups-page';
import { lockSqlite, makeBigSqlite, makeSqlite } from './support/databases';
import { seed } from './support/seed';
import { expect, freePort, logIn, test } from './support/server';

test.use({
  settings: { HOLDFAST_COMPRESSION_LEVEL: '9', HOLDFAST_COMPRESSION_THREADS: '1' },
  databases: async ({ directory }, use) => {
    makeSqlite(path.join(directory, 'shop.db'));
    makeBigSqlite(path.join(directory, 'heavy.db'), 60);
    await use(
      [
        `shop=sqlite://${directory}/shop.db`,
        `heavy=sqlite://${directory}/heavy.db`,
        `gone=sqlite://${directory}/gone.db`,
        `far=postgres://reader:hunter2@127.0.0.1:${await freePort()}/warehouse`,
      ].join('\n'),
    );
  },
});

test.beforeEach(({ holdfast }) => seed(holdfast.backupDirectory, []));

const traces = (directory: string) => fs.readdirSync(directory).filter((name) => /^(backup_|\.part-)/.test(name));

test('a backup of a SQLite database is made, named and listed', async ({ holdfast, backups }) => {
  await backups.open();
  await backups.createBackupOf('shop');
  const name = await backupNamed(backups.status, /backup_shop_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\dZ\.dump\.gz/);
  await expect(backups.row(name)).toBeVisible();
  await expect(backups.row(name).getByRole('cell').nth(6)).toHaveText('whole');
  await expect(backups.range).toHaveText('1–1 of 1');
  await expect(backups.alert).toHaveCount(0);

  const content = gunzipSync(fs.readFileSync(path.join(holdfast.backupDirectory, name)));
  expect(content.subarray(0, 15).toString()).toBe('SQLite format 3');
  const manifest = JSON.parse(fs.readFileSync(path.join(holdfast.backupDirectory, `${name}.manifest.json`), 'utf8'));
  expect(manifest).toMatchObject({ database: 'shop', database_engine: 'sqlite', file: name });
});

test('two backups within one second get different files', async ({ backups }) => {
  await backups.open();
  for (const count of [1, 2, 3]) {
    await backups.createBackupOf('shop');
    await expect(backups.range).toHaveText(`1–${count} of ${count}`);
  }
});

test('a slow backup is shown while it runs, then listed by name', async ({ backups }) => {
  await backups.open();
  await backups.createBackupOf('heavy');
  // Polls often, because the phase may be short.
  await expect(async () => expect(await backups.strip('heavy').textContent({ timeout: 50 })).toContain('compressing')).toPass({ intervals: [50], timeout: 20_000 });
  await expect(backups.rows).toHaveCount(0);
  await expect(backups.status).toContainText('backup_heavy_', { timeout: 40_000 });
  await expect(backups.strip('heavy')).toHaveCount(0);
  await expect(backups.range).toHaveText('1–1 of 1');
});

test('a running backup can be cancelled, and leaves no file', async ({ holdfast, directory, backups }) => {
  // The backup waits for the lock, so it cannot end before the slow page cancels it.
  const letGo = await lockSqlite(path.join(directory, 'shop.db'));
  await backups.open();
  await backups.createBackupOf('shop');
  await expect.poll(() => traces(holdfast.backupDirectory), { message: 'there is something to leave behind' }).not.toEqual([]);
  await backups.strip('shop').getByRole('button', { name: 'Cancel' }).click();
  await expect(backups.status).toContainText('The backup of shop was cancelled');
  letGo();
  await expect(backups.rows).toHaveCount(0);
  await expect.poll(() => traces(holdfast.backupDirectory)).toEqual([]);
});

test('the select lists the configured databases', async ({ backups }) => {
  await backups.open();
  await expect(backups.database.getByRole('option')).toHaveText(['far', 'gone', 'heavy', 'shop']);
});

test('with one database there is no select: Holdfast\'s own, if none is configured', async ({ page, live, anotherHoldfast }) => {
  const bare = await anotherHoldfast();
  await logIn(page.context().request, bare);
  const backups = new BackupsPage(page, live);
  await backups.open(bare.url);
  await expect(backups.database).toHaveCount(0);
  await backups.create.click();
  await expect(backups.status).toContainText('backup_holdfast_');
  await expect(backups.rows).toHaveCount(1);
});

const failing = [
  { database: 'gone', why: 'whose file is missing', remedy: 'Correct the path in HOLDFAST_DATABASES' },
  { database: 'far', why: 'on a port where nothing listens', remedy: 'Start PostgreSQL, or correct host and port' },
];

for (const { database, why, remedy } of failing) {
  test(`a database ${why} is reported with the remedy, and leaves no file`, async ({ holdfast, backups }) => {
    await backups.open();
    await backups.createBackupOf(database);
    await expect(backups.alert).toContainText(database);
    await expect(backups.alert).toContainText(remedy);
    await expect(backups.alert).not.toContainText('hunter2');
    await expect(backups.status).toBeEmpty();
    await expect(backups.rows).toHaveCount(0);
    await expect(backups.range).toHaveText('0 of 0');
    await expect(backups.strip(database)).toHaveCount(0);
    expect(traces(holdfast.backupDirectory)).toEqual([]);
  });
}

test('creating a backup keeps the view of the list', async ({ page, backups }) => {
  await backups.open('/?sort=-size&q=shop');
  await backups.createBackupOf('shop');
  await expect(backups.status).toContainText('backup_shop_');
  await expect(page).toHaveURL(({ searchParams }) => searchParams.get('sort') === '-size' && searchParams.get('q') === 'shop');
});
