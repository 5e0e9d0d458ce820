// Pictures of the off-site pages, for review: `SCREENSHOTS=<directory> scripts/e2e`.
import path from 'node:path';
import { expect, test } from './support/sftp-page';
import { fiftySeven, seed } from './support/seed';

const into = process.env.SCREENSHOTS ?? 'screenshots';

for (const width of [1280, 390]) {
  for (const colorScheme of ['light', 'dark'] as const) {
    test.describe(`${width} pixels, ${colorScheme}`, () => {
      test.use({ viewport: { width, height: width === 390 ? 844 : 900 }, colorScheme });

      test('off-site', async ({ page, holdfast, sftp, sshd, key, backups, offSite }) => {
        test.slow();
        const shoot = (name: string, fullPage = true) =>
          page.screenshot({ path: path.join(into, `${name}-${width}-${colorScheme}.png`), fullPage, animations: 'disabled' });
        seed(holdfast.backupDirectory, fiftySeven().slice(0, 6));

        await sftp.open();
        await sftp.fill({ enabled: true, host: '127.0.0.1', port: `${sshd.port}`, username: sshd.user, auth: 'SSH key', privateKey: key.private, remoteDirectory: 'copies' });
        await sftp.press('Test connection');
        await expect(page.getByRole('button', { name: 'Approve this key' })).toBeVisible();
        await shoot('host-key-unknown');

        await sftp.store(sshd, key, { remoteDirectory: 'copies' });
        await sftp.open();
        await sftp.press('Test connection');
        await expect(page.getByRole('status')).toContainText('every step');
        await shoot('sftp-works');

        await backups.open();
        for (const row of [0, 1, 2]) await backups.rows.nth(row).getByRole('checkbox').check();
        await backups.selection.getByRole('button', { name: 'Upload', exact: true }).click();
        await expect(backups.status.getByText(/^Uploaded /)).toHaveCount(3);
        await shoot('uploaded');
        await offSite.open();
        await shoot('remote');

        await sshd.changeHostKey();
        await sftp.open();
        await sftp.press('Test connection');
        await expect(page.getByRole('button', { name: 'Approve this key' })).toBeVisible();
        await shoot('host-key-changed');
      });
    });
  }
}
