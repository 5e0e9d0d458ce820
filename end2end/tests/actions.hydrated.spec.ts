// Actions on the live page only: selection across pages, the dialog, keyboard operation.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { fiftySeven, remove, seed } from './support/seed';
import { expect, test } from './support/server';

const all = fiftySeven();
const inOrder = all.map(({ name }) => name).toSorted();

test.beforeEach(({ holdfast }) => seed(holdfast.backupDirectory, all));

for (const [format, list] of [['zip', ['unzip', '-Z1']], ['tar.gz', ['tar', '-tzf']]] as const) {
  test(`a selection across pages is one ${format}`, async ({ backups }) => {
    await backups.open();
    await backups.tick(inOrder[0]).check();
    await backups.selection.getByRole('button', { name: 'Select all 57 matching' }).click();
    await expect(backups.selection).toContainText('57 selected, ');
    const download = await backups.bundle(`Download ${format}`);
    expect(await download.failure()).toBeNull();
    const [tool, flag] = list;
    const names = execFileSync(tool, [flag, await download.path()], { encoding: 'utf8' }).trim().split('\n');
    expect(names.filter((name) => name.endsWith('.dump.gz')).toSorted()).toEqual(inOrder);
    await expect(backups.status).toContainText('Downloading 57 backups in one archive');
    await expect(backups.selection).toContainText('57 selected, ');
  });
}

test('the selection survives a reload of the page', async ({ page, holdfast, backups }) => {
  await backups.open();
  await backups.tick(inOrder[2]).check();
  await backups.next.click();
  await backups.tick(inOrder[22]).check();
  await expect(backups.selection).toContainText('2 selected, ');
  remove(holdfast.backupDirectory, inOrder[2]);
  await expect(backups.selection).toContainText('1 selected, ');
  await page.reload();
  await expect(page.locator('html')).toHaveAttribute('data-hydrated');
  await expect(backups.selection).toContainText('1 selected, ');
  await expect(backups.tick(inOrder[22])).toBeChecked();
  await backups.selection.getByRole('button', { name: 'Clear selection' }).click();
  await page.reload();
  await expect(page.locator('html')).toHaveAttribute('data-hydrated');
  await expect(backups.selection).toHaveCount(0);
});

test('the dialog shows count and size, keeps the focus, and closes on Escape', async ({ page, backups }) => {
  await backups.open('/?sort=-size');
  const largest = all.toSorted((a, b) => b.size - a.size).slice(0, 3);
  for (const { name } of largest) await backups.tick(name).check();
  await backups.action('Delete').focus();
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog', { name: 'Delete 3 backups?' });
  await expect(dialog).toBeVisible();
  const megabytes = largest.reduce((sum, { size }) => sum + size, 0) / 1024 / 1024;
  await expect(dialog).toContainText(`${megabytes.toFixed(1)} MB`);
  await expect(dialog.getByRole('button', { name: 'Cancel' })).toBeFocused();
  for (let i = 0; i < 6; i += 1) {
    await page.keyboard.press('Tab');
    // Between the controls the focus may be on the browser's own, but never on the page behind the dialog.
    expect(await page.evaluate(() => document.activeElement === document.body || document.activeElement?.closest('dialog') !== null)).toBe(true);
  }
  await page.keyboard.press('Escape');
  await expect(dialog).toHaveCount(0);
  await expect(backups.action('Delete')).toBeFocused();
  await expect(backups.selection).toContainText('3 selected, ');
  await expect(backups.range).toHaveText('1–20 of 57');
  // After closing, the focus returns.
  await page.keyboard.press('Enter');
  await expect(dialog).toBeVisible();
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await expect(dialog).toHaveCount(0);
});

test('backups are selected and deleted by keyboard alone', async ({ page, backups }) => {
  await backups.open();
  await backups.tick(inOrder[0]).focus();
  await page.keyboard.press('Space');
  await page.keyboard.press('ArrowDown');
  await expect(backups.tick(inOrder[1])).toBeFocused();
  await page.keyboard.press('Shift+ArrowDown');
  await expect(backups.tick(inOrder[2])).toBeFocused();
  await expect(backups.tick(inOrder[2])).toBeChecked();
  await expect(backups.tick(inOrder[1])).not.toBeChecked();
  await page.keyboard.press('End');
  await expect(backups.tick(inOrder[19])).toBeFocused();
  await page.keyboard.press('Home');
  await page.keyboard.press('ArrowUp');
  await expect(backups.tick(inOrder[0])).toBeFocused();
  // Enter in a checkbox submits no form.
  await page.keyboard.press('Enter');
  await expect(backups.selection).toContainText('2 selected, ');
  await backups.action('Delete').focus();
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await expect(backups.status).toContainText('Deleted 2 backups');
  await expect(backups.range).toHaveText('1–20 of 55');
});

test('shift and the space bar select a range too', async ({ page, backups }) => {
  await backups.open();
  await backups.tick(inOrder[3]).focus();
  await page.keyboard.press('Space');
  for (let i = 0; i < 3; i += 1) await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Shift+Space');
  await expect(backups.selection).toContainText('4 selected, ');
});

test('sorting by keyboard leaves the focus on the heading', async ({ page, backups }) => {
  await backups.open();
  const heading = backups.header('Size').getByRole('link');
  await heading.focus();
  await page.keyboard.press('Enter');
  await expect(backups.header('Size')).toHaveAttribute('aria-sort', 'ascending');
  await expect(heading).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(backups.header('Size')).toHaveAttribute('aria-sort', 'descending');
  await expect(heading).toBeFocused();
});

test('if no selected backup exists any more, the page says so and makes no archive', async ({ holdfast, page, backups }) => {
  await backups.open();
  await backups.tick(inOrder[0]).check();
  // The page does not learn that the file is gone.
  await page.route('**/api/{matching,read}_backups*', () => {});
  remove(holdfast.backupDirectory, inOrder[0]);
  await backups.action('Download zip').click();
  await expect(backups.alert).toContainText(`none of the selected backups exists any more: ${inOrder[0]}`);
});

test('deleting a backup does not affect a running download', async ({ page, holdfast, backups }) => {
  await backups.open();
  const largest = all.toSorted((a, b) => b.size - a.size)[0];
  await backups.filterBy(largest.name);
  await expect(backups.range).toHaveText('1–1 of 1');
  const begun = page.waitForEvent('download');
  await backups.download(largest.name).click();
  const download = await begun;
  await backups.tick(largest.name).check();
  await backups.action('Delete').click();
  await backups.question.getByRole('button', { name: 'Delete', exact: true }).click();
  await expect(backups.status).toContainText(largest.name);
  expect(await download.failure()).toBeNull();
  expect(fs.statSync(await download.path()).size).toBe(largest.size);
  expect(fs.existsSync(`${holdfast.backupDirectory}/${largest.name}`)).toBe(false);
});
