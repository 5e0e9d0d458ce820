// Accessibility faults that axe finds by rules.
import { AxeBuilder } from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import path from 'node:path';
import { open } from './support/backups-page';
import { LoginPage } from './support/login-pages';
import { makeBigSqlite, makeSqlite } from './support/databases';
import { fiftySeven, seed } from './support/seed';
import { expect, nobody, test } from './support/server';

const all = fiftySeven();

test.use({
  // Wait for animations: axe measures contrast.
  contextOptions: { reducedMotion: 'reduce' },
  databases: async ({ directory }, use) => {
    makeSqlite(path.join(directory, 'shop.db'));
    makeBigSqlite(path.join(directory, 'heavy.db'), 80);
    await use(`shop=sqlite://${directory}/shop.db heavy=sqlite://${directory}/heavy.db gone=sqlite://${directory}/gone.db`);
  },
});

async function violations(page: Page): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  return violations.flatMap(({ id, help, nodes }) => nodes.map(({ target, any }) => `${id} (${help}): ${target} ${any[0]?.message ?? ''}`));
}

for (const colorScheme of ['light', 'dark'] as const) {
  test.describe(`in the ${colorScheme} theme`, () => {
    test.use({ colorScheme });

    test.describe('before the login', () => {
      test.use(nobody);

      test('the login page has no faults', async ({ page, live }) => {
        const login = new LoginPage(page, live);
        await login.open();
        expect(await violations(page)).toEqual([]);
        await login.logIn('nobody', 'with no password');
        await expect(login.alert).toBeVisible();
        await expect(page.locator('html')).toHaveAttribute('data-hydrated');
        expect(await violations(page)).toEqual([]);
      });
    });

    test('the empty list has no faults', async ({ holdfast, page, backups }) => {
      seed(holdfast.backupDirectory, []);
      await backups.open();
      await expect(page.getByRole('heading', { name: 'No backups yet' })).toBeVisible();
      expect(await violations(page)).toEqual([]);
    });

    for (const width of [1280, 390]) {
      test.describe(`${width} pixels wide`, () => {
        test.use({ viewport: { width, height: 900 } });

        test('the list has no faults, with a selection, outcomes and a running backup', async ({ holdfast, page, backups }) => {
          seed(holdfast.backupDirectory, all);
          await backups.open('/?sort=size');
          expect(await violations(page)).toEqual([]);
          await backups.createBackupOf('gone');
          await expect(backups.alert).toBeVisible();
          await backups.createBackupOf('shop');
          await expect(backups.status).toContainText('backup_shop_');
          await backups.createBackupOf('heavy');
          await expect(backups.strip('heavy')).toBeVisible();
          await backups.rows.first().getByRole('checkbox').check();
          await expect(backups.selection).toBeVisible();
          expect(await violations(page)).toEqual([]);
          await backups.action('Delete').click();
          await expect(backups.question.getByRole('heading')).toBeVisible();
          expect(await violations(page)).toEqual([]);
          await page.keyboard.press('Escape');
          // Leave nothing running for the next test.
          await expect(backups.strip('heavy')).toHaveCount(0, { timeout: 20_000 });
        });
      });
    }

    for (const width of [1280, 390]) {
      for (const [heading, address] of [
        ['Databases', '/databases'],
        ['Activity', '/activity'],
        ['Delete 2 backups?', `/delete?names[]=${all[0].name}&names[]=${all[1].name}&names[]=gone`],
        ['Nothing to delete', '/delete'],
        ['Restore', `/restore?file=${all[0].name}`],
        ['Import', '/import'],
        ['SFTP settings', '/settings/sftp'],
        ['Reset the SFTP settings?', '/settings/sftp/reset'],
        ['Off-site', '/remote'],
        ['Account', '/account'],
        ['Users', '/users'],
        ['Audit log', '/audit'],
        ['Confirm it is you', '/confirm'],
      ]) {
        test(`${address.split('?')[0]}, "${heading}", has no faults at ${width} pixels`, async ({ page, live, holdfast }) => {
          seed(holdfast.backupDirectory, all);
          await page.setViewportSize({ width, height: 844 });
          await open(page, live, address);
          await expect(page.getByRole('heading', { name: heading, level: 1 })).toBeVisible();
          expect(await violations(page)).toEqual([]);
        });
      }
    }

    test('the page for a missing download has no faults', async ({ page, allowedComplaints }) => {
      allowedComplaints.push(/404 \(Not Found\)/);
      await page.goto('/backups/backup_gone.dump.gz');
      await expect(page.getByRole('alert')).toContainText('backup_gone.dump.gz');
      expect(await violations(page)).toEqual([]);
      await page.getByRole('link', { name: 'Back to the backups' }).click();
      await expect(page.getByRole('heading', { name: 'Backups', level: 1 })).toBeVisible();
    });
  });
}
