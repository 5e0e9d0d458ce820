import fs from 'node:fs';
import path from 'node:path';
import { open } from './support/backups-page';
import { makeSqlite } from './support/databases';
import { seed } from './support/seed';
import { expect, test } from './support/server';

test.use({
  databases: async ({ directory }, use) => {
    makeSqlite(path.join(directory, 'shop.db'));
    await use(`shop=sqlite://${directory}/shop.db gone=sqlite://${directory}/gone.db`);
  },
});

test.beforeAll(({ holdfast }) => seed(holdfast.backupDirectory, []));

test('the databases page shows engine, version and reachability', async ({ page, live, holdfast }) => {
  await open(page, live, '/databases');
  const shop = page.getByRole('article').filter({ has: page.getByRole('heading', { name: 'shop' }) });
  await expect(shop).toContainText('SQLite');
  await expect(shop.getByText('reachable', { exact: true })).toBeVisible();
  await expect(shop.getByRole('definition').filter({ hasText: /^(SQLite )?3\.\d+/ })).toBeVisible();
  await expect(shop).toContainText(path.join(holdfast.directory, 'shop.db'));
  await expect(shop).toContainText('8.0 KB');

  const gone = page.getByRole('article').filter({ has: page.getByRole('heading', { name: 'gone' }) });
  await expect(gone.getByText('not reachable', { exact: true })).toBeVisible();
  await expect(gone).toContainText('gone.db');
  await expect(gone).toContainText('Correct the path in HOLDFAST_DATABASES');

  await shop.getByRole('link', { name: '0 backups' }).click();
  await expect(page).toHaveURL('/?q=shop');
});

test('"Test connection" shows the result, and what to do after a failure', async ({ page, live, holdfast }) => {
  await open(page, live, '/databases');
  await page.getByRole('button', { name: 'Test connection: shop' }).click();
  await expect(page.getByRole('status')).toHaveText(/^shop answered in .* \(SQLite 3\.\S+, 8\.0 KB\) and can be backed up\.$/);
  await page.getByRole('button', { name: 'Test connection: gone' }).click();
  await expect(page.getByRole('alert')).toContainText('Correct the path in HOLDFAST_DATABASES');
  await expect(page.getByRole('status')).toHaveText('');

  const gone = page.getByRole('article', { name: 'gone' });
  await expect(gone.getByText('not reachable', { exact: true })).toBeVisible();
  const file = path.join(holdfast.directory, 'gone.db');
  makeSqlite(file);
  await page.getByRole('button', { name: 'Test connection: gone' }).click();
  await expect(page.getByRole('status')).toContainText('gone answered in');
  await expect(gone.getByText('reachable', { exact: true })).toBeVisible();
  fs.rmSync(file);
});

test('the activity page lists each job with its outcome, newest first', async ({ page, live, backups }) => {
  await open(page, live, '/activity');
  await expect(page.getByRole('heading', { name: 'Activity', level: 1 })).toBeVisible();
  await backups.open();
  await backups.createBackupOf('shop');
  await expect(backups.status).toContainText('backup_shop_');
  await backups.createBackupOf('gone');
  await expect(backups.alert).toContainText('gone');

  await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Activity' }).click();
  await expect(page).toHaveURL('/activity');
  const runs = page.locator('tbody').getByRole('row');
  await expect(runs.nth(0)).toContainText(/gone.*failed.*Correct the path/);
  await expect(runs.nth(1)).toContainText(/shop.*created.*backup_shop_\S+\.dump\.gz/);
});

test('the navigation leads to every page and marks the current one', async ({ page, live, backups }) => {
  await backups.open();
  const navigation = page.getByRole('navigation', { name: 'Main' });
  for (const place of ['Databases', 'Activity', 'Backups']) {
    await navigation.getByRole('link', { name: place }).click();
    await expect(page.getByRole('heading', { name: place, level: 1 })).toBeVisible();
    await expect(page).toHaveTitle(`${place} · Holdfast`);
    await expect(navigation.locator('[aria-current=page]')).toHaveText(place);
  }
  if (live) await expect(page.locator('html')).toHaveAttribute('data-hydrated');
});

test.describe('the theme', () => {
  test.use({ colorScheme: 'light' });

  test('can be switched, and is remembered', async ({ page, backups }) => {
    await backups.open();
    const html = page.locator('html');
    const shade = () => page.locator('body').evaluate((body) => getComputedStyle(body).backgroundColor);
    const light = await shade();
    await page.getByRole('button', { name: 'Switch theme' }).click();
    await expect(html).toHaveAttribute('data-theme', 'dark');
    await expect.poll(shade).not.toBe(light);
    await page.reload();
    await expect(html).toHaveAttribute('data-theme', 'dark');
    await page.goto('/databases');
    await expect(html).toHaveAttribute('data-theme', 'dark');
    await page.getByRole('button', { name: 'Switch theme' }).click();
    await expect(html).toHaveAttribute('data-theme', 'light');
    await expect(page).toHaveURL('/databases');
    await page.reload();
    await expect(html).toHaveAttribute('data-theme', 'light');
    await expect.poll(shade).toBe(light);
  });
});

test.describe('an unknown address', () => {
  // Chromium logs the status as an error.
  test.use({ allowedComplaints: [/status of 404/] });

  test('says so, with a link back', async ({ page, live }) => {
    for (const address of ['/no-such-page', '/no/such/page']) {
      const answer = await page.goto(address);
      expect(answer?.status(), address).toBe(404);
      await expect(page.getByRole('heading', { name: 'Not found' }), address).toBeVisible();
      if (live) await expect(page.locator('html')).toHaveAttribute('data-hydrated');
    }
    await page.getByRole('link', { name: 'Go to the backups' }).click();
    await expect(page.getByRole('heading', { name: 'Backups', level: 1 })).toBeVisible();
  });
});
