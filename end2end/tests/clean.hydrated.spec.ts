// Every page is live and works without console messages: any message fails the test.
import { LoginPage } from './support/login-pages';
import { open } from './support/backups-page';
import { fiftySeven, seed } from './support/seed';
import { expect, nobody, test } from './support/server';

const all = fiftySeven();

test.beforeAll(({ holdfast }) => seed(holdfast.backupDirectory, all));

/** Violations of the content security policy, which do not always appear in the console. */
test.beforeEach(async ({ context, complaints }) => {
  await context.exposeBinding('reportViolation', (_, violation: string) => complaints.push(`violation: ${violation}`));
  await context.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
      (window as typeof window & { reportViolation: (violation: string) => void }).reportViolation(`${violatedDirective} ${blockedURI}`);
    });
  });
});

test('the backups page is live, and its console clean', async ({ page, backups }) => {
  await backups.open();
  await backups.sortBy('Size');
  await backups.selectPage.check();
  await backups.next.click();
  await backups.filterBy('shop');
  await expect(backups.range).toHaveText('1–20 of 25');
  await backups.create.click();
  await expect(backups.status).toContainText('backup_holdfast_');
  await backups.selection.getByRole('button', { name: 'Clear selection' }).click();
  await page.getByRole('button', { name: 'Switch theme' }).click();
  await expect(page.locator('html')).toHaveAttribute('data-theme', /dark|light/);
  await page.goBack();
  await page.getByRole('link', { name: 'Skip to content' }).focus();
  await page.keyboard.press('Enter');
});

test('Back during a reload opens the page before, not the reloaded one under its address', async ({ page, backups }) => {
  await backups.open();
  await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Databases' }).click();
  await expect(page.getByRole('heading', { name: 'Databases', level: 1 })).toBeVisible();
  let release = () => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  await page.route('**/pkg/*.wasm', async (route) => {
    await held;
    await route.continue();
  });
  await page.reload({ waitUntil: 'commit' });
  await expect(page.getByRole('heading', { name: 'Databases', level: 1 })).toBeVisible();
  await page.evaluate(() => history.back());
  await page.waitForURL((url) => url.pathname === '/');
  release();
  await expect(page.getByRole('heading', { name: 'Backups', level: 1 })).toBeVisible();
  await expect(page.locator('html')).toHaveAttribute('data-hydrated');
  await backups.sortBy('Size');
});

for (const address of ['/databases', '/activity', '/remote', '/settings/sftp', '/account', '/users', '/audit']) {
  test(`${address} is live, and its console clean`, async ({ page }) => {
    await open(page, true, address);
    await page.getByRole('button', { name: 'Switch theme' }).click();
    await expect(page.locator('html')).toHaveAttribute('data-theme', /dark|light/);
    for (const place of ['Backups', 'Databases', 'Off-site', 'Activity', 'Backups']) {
      await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: place }).click();
      await expect(page.getByRole('heading', { name: place, level: 1 })).toBeVisible();
    }
    await page.goBack();
    await expect(page.getByRole('heading', { name: 'Activity', level: 1 })).toBeVisible();
    await page.reload();
    await expect(page.locator('html')).toHaveAttribute('data-hydrated');
  });
}

test.describe('before the login', () => {
  test.use(nobody);

  test('the login page is live, and its console clean', async ({ page, live, holdfast }) => {
    const login = new LoginPage(page, live);
    await login.open();
    await login.logIn(holdfast.adminUser, holdfast.adminPassword);
    await expect(page.getByRole('heading', { name: 'Backups', level: 1 })).toBeVisible();
    await expect(page.locator('html')).toHaveAttribute('data-hydrated');
  });
});
