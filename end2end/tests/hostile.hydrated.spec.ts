// Hostile text in a live page: errors of a database server, role and file names, a manifest, typed text. None of it
// runs, with or without the content security policy.
import fs from 'node:fs';
import { type AddressInfo, type Server, createServer } from 'node:net';
import path from 'node:path';
import { open } from './support/backups-page';
import { type Holdfast, expect, logIn, test } from './support/server';

const scripts = [
  '<script>window.__hit=1</script>',
  '<img src=x onerror=window.__hit=1>',
  '<svg onload=window.__hit=1>',
  '<svg><script>window.__hit=1</script></svg>',
  '<iframe srcdoc="<script>parent.__hit=1</script>"></iframe>',
  '<iframe src=javascript:parent.__hit=1></iframe>',
  '<input autofocus onfocus=window.__hit=1>',
  '<details open ontoggle=window.__hit=1>',
  '<video><source onerror=window.__hit=1></video>',
  '<math><mtext><table><mglyph><style><img src=x onerror=window.__hit=1>',
  '<meta http-equiv=refresh content="0;url=javascript:window.__hit=1">',
  '" autofocus onfocus=window.__hit=1 x="',
  '";window.__hit=1;//',
];
const beginnings = ['', '">', "'>", '-->', '</title>', '</textarea>', '</script>', '</noscript></style>'];
const hostile = beginnings.flatMap((beginning) => scripts.map((script) => beginning + script)).join(' ');

/** A PostgreSQL server that refuses every login with this message. */
async function rudeServer(words: string): Promise<Server> {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C28000\0M${words}\0\0`);
  const head = Buffer.from([0x45, 0, 0, 0, 0]);
  head.writeUInt32BE(fields.length + 4, 1);
  const server = createServer((connection) => {
    connection.on('error', () => {});
    connection.on('data', (asked) => {
      const wantsTls = asked.length === 8 && asked.readUInt32BE(4) === 80_877_103;
      if (wantsTls) connection.write('N');
      else connection.end(Buffer.concat([head, fields]));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

/** A Holdfast whose databases, manifests and jobs contain hostile text. */
async function among(strangers: Server, start: (options: { databases: string }) => Promise<Holdfast>): Promise<Holdfast> {
  const { port } = strangers.address() as AddressInfo;
  const role = encodeURIComponent(scripts[1]);
  const file = encodeURIComponent(`/nowhere/${scripts[2]}.db`);
  const databases = `rude=postgres://${role}@127.0.0.1:${port}/${role} gone=sqlite:///${file.slice('%2F'.length)}`;
  const holdfast = await start({ databases });
  const name = 'backup_rude_2026-01-02_03-04-05Z.dump.gz';
  fs.writeFileSync(path.join(holdfast.backupDirectory, name), 'x');
  const manifest = {
    manifest_version: 1,
    file: name,
    created_at: '2026-01-02T03:04:05.000Z',
    database: 'rude',
    database_engine: 'postgresql',
    backup_format: hostile,
    payload_size: 1,
    payload_sha256: hostile,
    payload_crc32: hostile,
    content_size: 1,
    content_sha256: hostile,
    created_by: hostile,
    warnings: hostile,
  };
  fs.writeFileSync(path.join(holdfast.backupDirectory, `${name}.manifest.json`), JSON.stringify(manifest));
  return holdfast;
}

for (const bypassCSP of [false, true]) {
  test.describe(bypassCSP ? 'without the content security policy' : 'under the content security policy', () => {
    test.use({ bypassCSP });

    test('no hostile text runs', async ({ page, context, anotherHoldfast, complaints }) => {
      await context.exposeBinding('report', (_, what: string) => complaints.push(what));
      await context.addInitScript(() => {
        const { report } = window as typeof window & { report: (what: string) => void };
        document.addEventListener('securitypolicyviolation', ({ violatedDirective }) => report(`violation: ${violatedDirective}`));
        Object.defineProperty(window, '__hit', { set: () => report('it ran') });
      });
      const strangers = await rudeServer(hostile);
      const holdfast = await among(strangers, anotherHoldfast);
      await logIn(context.request, holdfast);
      await open(page, true, `${holdfast.url}/databases`);
      await expect(page.getByText(scripts[0]).first()).toBeVisible();
      await page.getByRole('button', { name: 'Test connection: rude' }).click();
      await expect(page.getByText('Problem').first()).toBeVisible();
      await page.getByRole('link', { name: 'Backups', exact: true }).first().click();
      await expect(page.getByRole('heading', { name: 'Backups', level: 1 })).toBeVisible();
      await page.getByLabel('Filter').fill(scripts[1]);
      await expect(page.getByText(`Nothing matches “${scripts[1]}”`)).toBeVisible();
      await open(page, true, `${holdfast.url}/?q=${encodeURIComponent(hostile.slice(0, 500))}`);
      for (const database of ['rude', 'gone']) {
        await context.request.post(`${holdfast.url}/api/create_backup`, { form: { database } });
      }
      for (const address of ['/activity', '/', '/?job=1', '/restore?file=backup_rude_2026-01-02_03-04-05Z.dump.gz']) {
        await open(page, true, `${holdfast.url}${address}`);
        }
      await page.goto(`${holdfast.url}/activity`);
      await expect(page.getByText(scripts[0]).first()).toBeVisible();

      expect(complaints).toEqual([]);

      // The control: the same text as markup does run without the policy.
      await page.evaluate((words) => document.body.insertAdjacentHTML('beforeend', words), scripts[1].replace('src=x', 'src=data:,'));
      const expected = bypassCSP ? 'it ran' : 'violation: script-src-attr';
      await expect.poll(() => complaints).toContain(expected);
      expect(complaints.includes('it ran')).toBe(bypassCSP);
      complaints.length = 0;
      strangers.close();
    });
  });
}
