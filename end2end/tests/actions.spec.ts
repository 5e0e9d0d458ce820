// Actions on backups: downloading one or many, and deleting.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import type { Download } from '@playwright/test';
import { contentOf, fiftySeven, remove, type Seed, seed } from './support/seed';
import { expect, test } from './support/server';

const all = fiftySeven();
const inOrder = all.toSorted((a, b) => (a.name < b.name ? -1 : 1));

test.beforeEach(({ holdfast }) => seed(holdfast.backupDirectory, all));

/** The bytes of a successful download. */
async function bytes(download: Download): Promise<Buffer> {
  expect(await download.failure()).toBeNull();
  return fs.readFileSync(await download.path());
}

/** Unpacks an archive with common tools and returns its entries by name. */
async function unpack(download: Download): Promise<Map<string, Buffer>> {
  const archive = await download.path();
  const into = `${archive}-unpacked`;
  fs.mkdirSync(into);
  if (download.suggestedFilename().endsWith('.zip')) {
    execFileSync('unzip', ['-tq', archive]);
    execFileSync('unzip', ['-q', archive, '-d', into]);
  } else {
    execFileSync('gzip', ['-t', archive]);
    execFileSync('tar', ['-xzf', archive, '-C', into]);
  }
  return new Map(fs.readdirSync(into).map((name) => [name, fs.readFileSync(path.join(into, name))]));
}

const sum = (content: Buffer): string => createHash('sha256').update(content).digest('hex');

/** Checks that the archive contains these backups with their manifests and checksums. */
function expectBackups(entries: Map<string, Buffer>, backups: Seed[], more: string[] = []): void {
  const manifests = backups.filter(({ state }) => state !== 'no manifest' && state !== 'empty').map(({ name }) => `${name}.manifest.json`);
  expect([...entries.keys()].toSorted()).toEqual([...backups.map(({ name }) => name), ...manifests, 'SHA256SUMS', ...more].toSorted());
  const sums = entries.get('SHA256SUMS')?.toString();
  for (const backup of backups) {
    expect(entries.get(backup.name)?.equals(contentOf(backup)), backup.name).toBe(true);
    expect(sums).toContain(`${sum(contentOf(backup))}  ${backup.name}\n`);
  }
}

test('one backup is downloaded unchanged, under its own name', async ({ page, backups }) => {
  await backups.open('/?sort=-size');
  const largest = all.toSorted((a, b) => b.size - a.size)[0];
  const begun = page.waitForEvent('download');
  await backups.download(largest.name).click();
  const download = await begun;
  expect(download.suggestedFilename()).toBe(largest.name);
  expect((await bytes(download)).equals(contentOf(largest))).toBe(true);
  await expect(backups.range).toHaveText('1–20 of 57');
});

test('an interrupted download resumes where it ended', async ({ page, holdfast }) => {
  const backup = all.toSorted((a, b) => b.size - a.size)[0];
  const address = `${holdfast.url}/backups/${backup.name}`;
  const whole = await page.request.get(address);
  const { etag, 'content-length': length } = whole.headers();
  expect(Number(length)).toBe(backup.size);
  const rest = await page.request.get(address, { headers: { Range: `bytes=${backup.size - 1000}-`, 'If-Range': etag } });
  expect(rest.status()).toBe(206);
  expect((await rest.body()).equals(contentOf(backup).subarray(-1000))).toBe(true);
});

for (const format of ['zip', 'tar.gz'] as const) {
  test(`selected backups are downloaded as one ${format}`, async ({ backups }) => {
    await backups.open();
    const picked = [inOrder[1], inOrder[4], inOrder[9], inOrder[12]];
    for (const { name } of picked) await backups.tick(name).check();
    const download = await backups.bundle(`Download ${format}`);
    expect(download.suggestedFilename()).toBe(`backups.${format}`);
    expectBackups(await unpack(download), picked);
    await expect(backups.range).toHaveText('1–20 of 57');
  });
}

test('a bundle leaves out missing backups, and the page names them', async ({ holdfast, live, backups }) => {
  await backups.open();
  const [kept, lost] = inOrder;
  await backups.tick(kept.name).check();
  await backups.tick(lost.name).check();
  // A file may disappear at any moment, before the page learns of it.
  if (live) await backups.page.route('**/api/{matching,read}_backups*', () => {});
  remove(holdfast.backupDirectory, lost.name);
  const download = await backups.bundle('Download zip');
  const entries = await unpack(download);
  expectBackups(entries, [kept], ['MISSING.txt']);
  expect(entries.get('MISSING.txt')?.toString()).toContain(lost.name);
  if (!live) await backups.open();
  await expect(backups.alert).toContainText(`Left out of the archive: ${lost.name}.`);
});

test('deleting asks for confirmation, and Cancel changes nothing', async ({ holdfast, page, backups }) => {
  await backups.open('/?sort=-size&page=2');
  const picked = all.toSorted((a, b) => b.size - a.size).slice(20, 22);
  for (const { name } of picked) await backups.tick(name).check();
  await backups.action('Delete').click();
  await expect(backups.question.getByRole('heading', { name: 'Delete 2 backups?' })).toBeVisible();
  for (const { name } of picked) await expect(backups.question).toContainText(name);
  await expect(backups.question).toContainText('cannot be recovered');
  await backups.question.getByRole('button', { name: 'Cancel', exact: true }).click();
  await expect(backups.range).toHaveText('21–40 of 57');
  await expect(page).toHaveURL(({ searchParams }) => searchParams.get('sort') === '-size');
  for (const { name } of picked) expect(fs.existsSync(path.join(holdfast.backupDirectory, name))).toBe(true);
});

test('deleting removes the selected backups and nothing else', async ({ holdfast, backups }) => {
  await backups.open('/?sort=-size');
  const picked = all.toSorted((a, b) => b.size - a.size).slice(0, 2);
  for (const { name } of picked) await backups.tick(name).check();
  await backups.action('Delete').click();
  await backups.question.getByRole('button', { name: 'Delete', exact: true }).click();
  await expect(backups.status).toContainText('Deleted 2 backups (');
  for (const { name } of picked) {
    await expect(backups.status).toContainText(name);
    await expect(backups.row(name)).toHaveCount(0);
  }
  await expect(backups.range).toHaveText('1–20 of 55');
  await expect(backups.header('Size')).toHaveAttribute('aria-sort', 'descending');
  const left = fs.readdirSync(holdfast.backupDirectory).filter((name) => name.endsWith('.dump.gz'));
  expect(left.length).toBe(55);
  for (const { name } of picked) expect(fs.existsSync(path.join(holdfast.backupDirectory, `${name}.manifest.json`))).toBe(false);
  await expect(backups.selection).toHaveCount(0);
});

test('a backup that cannot be deleted is named with the reason, and the others are deleted', async ({ holdfast, backups }) => {
  await backups.open();
  const [gone, stuck] = inOrder;
  for (const { name } of [gone, stuck]) await backups.tick(name).check();
  await backups.action('Delete').click();
  const confirm = backups.question.getByRole('button', { name: 'Delete', exact: true });
  await expect(confirm).toBeVisible();
  // A directory replaces the file while the confirmation is open.
  const place = path.join(holdfast.backupDirectory, stuck.name);
  fs.rmSync(place);
  fs.mkdirSync(place);
  await confirm.click();
  await expect(backups.status).toContainText(`Deleted 1 backup (`);
  await expect(backups.status).toContainText(gone.name);
  await expect(backups.alert).toContainText(`Not deleted: ${stuck.name}.`);
  await expect(backups.range).toHaveText('1–20 of 55');
});
