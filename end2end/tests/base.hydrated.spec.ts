// The site below a base path, behind a proxy that serves several sites: pages are live, and request nothing outside the
// path.
import { LoginPage } from './support/login-pages';
import { fiftySeven, seed } from './support/seed';
import { expect, nobody, test } from './support/server';

const base = '/desk/holdfast';
const all = fiftySeven();

test.use({ settings: { HOLDFAST_BASE_PATH: base } });

test.beforeEach(({ holdfast }) => seed(holdfast.backupDirectory, all));

test('below a base path everything works, and pages request nothing outside it', async ({ page, backups, holdfast }) => {
  const outside: string[] = [];
  page.on('request', (request) => {
    const { origin, pathname } = new URL(request.url());
    if (!`${origin}${pathname}`.startsWith(`${holdfast.url}/`)) outside.push(request.url());
  });
  const at = (path: string) => new RegExp(`^${holdfast.url}${path}$`);

  await backups.open(`${base}/`);
  await page.evaluate(() => Object.assign(window, { marked: true }) && undefined);
  await backups.create.click();
  await expect(backups.status).toContainText('backup_holdfast_');
  await backups.sortBy('Size');
  await expect(page).toHaveURL(at('/\\?sort=size'));
  await backups.next.click();
  await expect(backups.range).toHaveText('21–40 of 58');
  await backups.filterBy('shop');
  await expect(page).toHaveURL(at('/\\?.*q=shop.*'));
  for (const [place, path] of [['Databases', '/databases'], ['Off-site', '/remote'], ['Activity', '/activity'], ['Backups', '/']]) {
    await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: place }).click();
    await expect(page.getByRole('heading', { name: place, level: 1 })).toBeVisible();
    await expect(page).toHaveURL(at(path));
  }
  expect(await page.evaluate(() => 'marked' in window), 'no page was loaded anew').toBe(true);
  await page.goBack();
  await expect(page.getByRole('heading', { name: 'Activity', level: 1 })).toBeVisible();
  await page.goForward();

  const { name } = all.toSorted((a, b) => a.name.localeCompare(b.name))[0];
  const begun = page.waitForEvent('download');
  await backups.download(name).click();
  expect((await begun).suggestedFilename()).toBe(name);
  await backups.tick(name).check();
  expect((await backups.bundle('Download zip')).suggestedFilename()).toMatch(/\.zip$/);
  await backups.action('Delete').click();
  await backups.question.getByRole('button', { name: /Delete/ }).click();
  await expect(backups.row(name)).toHaveCount(0);

  await page.reload();
  await expect(page.locator('html')).toHaveAttribute('data-hydrated');
  await page.getByRole('link', { name: 'Import' }).click();
  await expect(page).toHaveURL(at('/import'));
  expect(outside).toEqual([]);
});

test.describe('login and log-out', () => {
  test.use(nobody);

  test('stay below the base path', async ({ page, holdfast }) => {
    await page.goto(`${base}/databases`);
    await expect(page).toHaveURL(`${holdfast.url}/login?next=%2Fdatabases`);
    const login = new LoginPage(page, true);
    await login.logIn(holdfast.adminUser, holdfast.adminPassword);
    await expect(page).toHaveURL(`${holdfast.url}/databases`);
    await page.getByRole('button', { name: 'Log out' }).click();
    await expect(page).toHaveURL(`${holdfast.url}/login`);
  });
});

test.describe('a violation of the content security policy', () => {
  test.use({ allowedComplaints: [/elsewhere\.test/] });

  test('is reported to the log', async ({ page, backups, holdfast }) => {
    await backups.open(`${base}/?q=canary`);
    await page.evaluate(() => {
      const image = document.createElement('img');
      image.src = 'http://elsewhere.test/canary.png';
      document.body.append(image);
    });
    await expect.poll(() => holdfast.log).toMatch(/directive="img-src" blocked="http:\/\/elsewhere\.test" page="\/desk\/holdfast\/"/);
    expect(holdfast.log).not.toContain('canary');
  });
});
