// Pictures of every page, for review: `SCREENSHOTS=<directory> scripts/e2e`.
import path from 'node:path';
import { open } from './support/backups-page';
import { makeBigSqlite, makeSqlite } from './support/databases';
import { fiftySeven, seed } from './support/seed';
import { expect, logIn, test } from './support/server';

const into = process.env.SCREENSHOTS ?? 'screenshots';

test.use({
  databases: async ({ directory }, use) => {
    makeSqlite(path.join(directory, 'shop.db'));
    makeBigSqlite(path.join(directory, 'ledger.db'), 200);
    await use(`shop=sqlite://${directory}/shop.db ledger=sqlite://${directory}/ledger.db gone=sqlite://${directory}/gone.db`);
  },
});

for (const width of [1280, 390]) {
  for (const colorScheme of ['light', 'dark'] as const) {
    test.describe(`${width} pixels, ${colorScheme}`, () => {
      test.use({ viewport: { width, height: width === 390 ? 844 : 900 }, colorScheme, allowedComplaints: [/404 \(Not Found\)/] });

      test('the pages', async ({ page, live, holdfast, backups }) => {
        test.slow();
        const shoot = (name: string, fullPage = true) =>
          page.screenshot({ path: path.join(into, `${name}-${width}-${colorScheme}.png`), fullPage, animations: 'disabled' });

        await page.context().clearCookies();
        await open(page, live, '/login');
        await shoot('login');
        await page.goto('/login?error=wrong');
        await shoot('login-refused');
        await logIn(page.context().request, holdfast);

        seed(holdfast.backupDirectory, []);
        await backups.open();
        await shoot('empty');

        seed(holdfast.backupDirectory, fiftySeven());
        await backups.open('/?sort=-size&page=2');
        await shoot('list');

        await backups.open('/?sort=-size');
        for (const row of [0, 1, 4]) await backups.rows.nth(row).getByRole('checkbox').check();
        await expect(backups.selection).toContainText('3 selected');
        await shoot('selection');
        await shoot('selection-as-seen', false);

        await backups.action('Delete').click();
        await expect(backups.question.getByRole('button', { name: 'Delete', exact: true })).toBeVisible();
        await shoot('dialog', false);
        await page.keyboard.press('Escape');
        await backups.selection.getByRole('button', { name: 'Clear selection' }).click();
        await open(page, live, `/delete?${fiftySeven().slice(0, 4).map(({ name }) => `names[]=${name}`).join('&')}&names[]=backup_gone.dump.gz`);
        await shoot('delete');
        await page.goto('/backups/backup_gone.dump.gz');
        await shoot('no-download');
        await page.goto('/nowhere');
        await shoot('not-found');

        await backups.open('/?q=nothing+like+it');
        await shoot('nothing-matches');

        await backups.open();
        await backups.createBackupOf('shop');
        await expect(backups.status).toContainText('backup_shop_');
        await backups.createBackupOf('gone');
        await expect(backups.alert).toBeVisible();
        await shoot('created-and-failed');

        await backups.open('/?q=shop_2026');
        await backups.selectPage.check();
        await backups.selection.getByRole('button', { name: 'Verify', exact: true }).click();
        await expect(backups.status).toContainText('restored for a test');
        await shoot('verified');
        await page.getByRole('link', { name: /^Restore backup_shop_/ }).first().click();
        await expect(page.getByRole('button', { name: 'Show the plan' })).toBeVisible();
        await shoot('restore');
        await page.getByRole('button', { name: 'Show the plan' }).click();
        await expect(page.getByRole('region', { name: 'The plan' })).toBeVisible();
        await shoot('restore-planned');
        await page.getByRole('button', { name: 'Cancel' }).click();
        await page.getByLabel('Restore into').selectOption('over:shop');
        await page.getByRole('button', { name: 'Show the plan' }).click();
        await expect(page.getByRole('button', { name: 'Replace and restore' })).toBeVisible();
        await shoot('restore-over');

        await open(page, live, '/import');
        await shoot('import');
        await backups.open();
        await backups.createBackupOf('ledger');
        await expect(backups.strip('ledger')).toContainText('compressing');
        await expect(backups.strip('ledger')).toContainText('MB written');
        await shoot('running');
        await backups.strip('ledger').getByRole('button', { name: 'Cancel' }).click();
        await expect(backups.status).toContainText('cancelled');
        await shoot('cancelled');

        await open(page, live, '/databases');
        await expect(page.getByRole('article')).toHaveCount(3);
        await shoot('databases');
        await open(page, live, '/remote');
        await shoot('remote-off');
        await open(page, live, '/settings/sftp');
        await shoot('sftp');
        await page.getByLabel('Host', { exact: true }).fill('127.0.0.1');
        await page.getByLabel('Port').fill('1');
        await page.getByRole('button', { name: 'Test connection' }).click();
        await expect(backups.alert.first()).toBeVisible();
        await shoot('sftp-problems');
        await page.getByLabel('Username').fill('holdfast');
        await page.getByLabel('Password', { exact: true }).fill('correct horse');
        await page.getByRole('button', { name: 'Test connection' }).click();
        await expect(page.getByRole('region', { name: 'Connection test' })).toBeVisible();
        await shoot('sftp-tested');
        await page.getByRole('button', { name: 'Reset settings' }).click();
        await expect(page.getByRole('dialog')).toBeVisible();
        await shoot('sftp-reset', false);
        await page.keyboard.press('Escape');
        await open(page, live, '/activity');
        await expect(page.locator('tbody').getByRole('row').first()).toBeVisible();
        await shoot('activity');

        await open(page, live, '/users');
        const add = page.getByRole('region', { name: 'New account' });
        await add.getByLabel('Username').fill(`keeper${width}${colorScheme}`);
        await add.getByLabel('New password', { exact: true }).fill('salt and slack water');
        await add.getByLabel('Repeat the new password').fill('salt and slack water');
        await add.getByRole('button', { name: 'Add account' }).click();
        await expect(page.getByRole('status')).toContainText('was created');
        await page.getByText('Change', { exact: true }).first().click();
        await shoot('users');
        await open(page, live, '/account');
        await page.getByText('New token').click();
        await page.getByLabel(/^Name, such/).fill('nightly script');
        await shoot('account');
        await page.getByRole('button', { name: 'Create token' }).click();
        await shoot('token');
        await open(page, live, '/account');
        await page.getByRole('button', { name: 'Set up a second factor' }).click();
        await shoot('second-factor');
        await open(page, live, '/audit');
        await shoot('audit');
        await open(page, live, '/confirm?next=/users');
        await shoot('confirm');
        await open(page, live, '/login?step=code&error=code');
        await shoot('login-code');
      });
    });
  }
}
