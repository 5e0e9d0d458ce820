// Behind nginx, with the configuration of docs/behind-a-proxy.md: over TLS, below a path.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { backupNamed, open } from './support/backups-page';
import { makeBigSqlite } from './support/databases';
import { LoginPage } from './support/login-pages';
import { expect, freePort, nobody, test as base } from './support/server';

const guide = fs.readFileSync(path.resolve('../docs/behind-a-proxy.md'), 'utf8');

interface Proxied {
  /** Holdfast's address behind nginx, which is configured as in the guide. */
  site: string;
}

// Nginx runs as long as the worker, like Holdfast.
const test = base.extend<object, Proxied>({
  site: [
    async ({ holdfast }, use) => {
      const port = await freePort();
      const location = guide.match(/```nginx\n(.*?)```/s)?.[1] ?? '';
      expect(location).toContain('http://127.0.0.1:3000');
      const directory = fs.mkdtempSync(path.join(holdfast.directory, 'nginx-'));
      const at = (name: string) => path.join(directory, name);
      execFileSync('openssl', [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=localhost'],
        ...['-keyout', at('key.pem'), '-out', at('cert.pem')],
      ], { stdio: 'ignore' });
      const scratch = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((what) => `${what}_temp_path ${at(what)};`);
      fs.writeFileSync(at('nginx.conf'), `
        ${process.getuid?.() === 0 ? 'user root;' : ''}
        daemon off; pid ${at('pid')}; error_log ${at('error.log')};
        events {}
        http {
          access_log off; ${scratch.join(' ')}
          server {
            listen 127.0.0.1:${port} ssl; ssl_certificate ${at('cert.pem')}; ssl_certificate_key ${at('key.pem')};
            ${location.replace('http://127.0.0.1:3000', new URL(holdfast.url).origin)}
          }
        }`);
      const nginx = spawn('/usr/sbin/nginx', ['-e', at('error.log'), '-c', at('nginx.conf')], { stdio: 'inherit' });
      const gone = once(nginx, 'exit');
      try {
        const answers = () => fetch(`http://127.0.0.1:${port}/`).then(({ status }) => status, () => 0);
        await expect.poll(answers, { message: 'what a TLS port says to plain HTTP' }).toBe(400);
        await use(`https://127.0.0.1:${port}/holdfast`);
      } finally {
        nginx.kill('SIGTERM');
        await gone;
      }
    },
    { scope: 'worker' },
  ],
});

test.use({
  ...nobody,
  ignoreHTTPSErrors: true,
  settings: { HOLDFAST_BASE_PATH: '/holdfast', HOLDFAST_BEHIND_PROXY: 'true' },
  databases: async ({ directory }, use) => {
    makeBigSqlite(path.join(directory, 'shop.db'), 12);
    await use(`shop=sqlite://${directory}/shop.db`);
  },
});

test('the documented nginx configuration is sufficient', async ({ page, context, live, backups, holdfast, site }, testInfo) => {
  await open(page, live, `${site}/databases`);
  await expect(page).toHaveURL(`${site}/login?next=%2Fdatabases`);
  await new LoginPage(page, live).logIn(holdfast.adminUser, holdfast.adminPassword);
  await expect(page).toHaveURL(`${site}/databases`);
  const cookies = await context.cookies();
  expect(cookies.map(({ name, secure }) => ({ name, secure }))).toEqual([{ name: '__Host-holdfast_session', secure: true }]);

  // Events reach the open page, and the download is complete.
  await backups.open(`${site}/`);
  await backups.create.click();
  const name = await backupNamed(backups.status, 'backup_shop_');
  const file = path.join(holdfast.backupDirectory, name);
  expect(fs.statSync(file).size, 'more than nginx takes by default').toBeGreaterThan(1024 ** 2);
  const begun = page.waitForEvent('download');
  await backups.download(name).click();
  const kept = testInfo.outputPath(name);
  await (await begun).saveAs(kept);
  expect(fs.readFileSync(kept).equals(fs.readFileSync(file))).toBe(true);

  // Log in again.
  await backups.tick(name).check();
  await backups.action('Delete').click();
  await backups.question.getByRole('button', { name: /Delete/ }).click();
  await expect(backups.row(name)).toHaveCount(0);
  await page.getByRole('link', { name: 'Import', exact: true }).click();
  await page.getByLabel('Backup files').setInputFiles(kept);
  await page.getByRole('button', { name: 'Import', exact: true }).click();
  await expect(backups.status).toContainText('Imported 1 backup');
  await expect(page).toHaveURL(new RegExp(`^${site}/`));

  await page.getByRole('button', { name: 'Log out' }).click();
  await expect(page).toHaveURL(`${site}/login`);
});
