import type { Page } from '@playwright/test';
import { fiftySeven, lay, remove, type Seed, seed } from './support/seed';
import { expect, test } from './support/server';

const all = fiftySeven();
const inOrder = all.map(({ name }) => name).toSorted();

test.beforeEach(({ holdfast }) => seed(holdfast.backupDirectory, all));

/** Marks the page, so that `isMarked` knows whether it was reloaded. */
const mark = (page: Page) => page.evaluate(() => Object.assign(window, { marked: true }) && undefined);
const isMarked = (page: Page) => page.evaluate(() => 'marked' in window);

test('sorting, paging and filtering do not reload the page', async ({ page, backups }) => {
  await backups.open();
  await mark(page);
  await backups.sortBy('Size');
  await expect(backups.header('Size')).toHaveAttribute('aria-sort', 'ascending');
  await backups.next.click();
  await expect(backups.range).toHaveText('21–40 of 57');
  await backups.setPageSize('50');
  await expect(backups.range).toHaveText('1–50 of 57');
  await backups.filterBy('shop');
  await expect(backups.range).toHaveText('1–25 of 25');
  await page.goBack();
  await page.goForward();
  expect(await isMarked(page)).toBe(true);
});

test('the list follows the filter while typing, and the cursor stays', async ({ page, backups }) => {
  await backups.open('/?page=2');
  await backups.filter.pressSequentially('ledger 2025-09', { delay: 60 });
  await expect(backups.range).toHaveText(/^1–\d+ of \d\d?$/);
  await expect(page).toHaveURL(({ searchParams }) => searchParams.get('q') === 'ledger 2025-09');
  await expect(backups.filter).toBeFocused();
  await expect(backups.filter).toHaveValue('ledger 2025-09');
  // The list is redrawn between two letters.
  await backups.filter.press('Home');
  await backups.filter.pressSequentially('no ', { delay: 300 });
  await expect(backups.filter).toHaveValue('no ledger 2025-09');
  await expect(backups.filter).toBeFocused();
  await backups.filter.clear();
  await expect(backups.range).toHaveText('1–20 of 57');
});

test.describe('the selection', () => {
  test('shows count and total size', async ({ backups }) => {
    await backups.open('/?sort=-size');
    await expect(backups.selection).toHaveCount(0);
    const largest = all.toSorted((a, b) => b.size - a.size);
    for (const { name } of largest.slice(0, 3)) await backups.tick(name).check();
    const megabytes = largest.slice(0, 3).reduce((sum, { size }) => sum + size, 0) / 1024 / 1024;
    await expect(backups.selection).toContainText(`3 selected, ${megabytes.toFixed(1)} MB`);
    await backups.tick(largest[1].name).uncheck();
    await expect(backups.selection).toContainText('2 selected, ');
    await backups.selection.getByRole('button', { name: 'Clear selection' }).click();
    await expect(backups.selection).toHaveCount(0);
    await expect(backups.page.getByRole('checkbox', { checked: true })).toHaveCount(0);
  });

  test('takes a range with shift and a click', async ({ backups }) => {
    await backups.open();
    await backups.tick(inOrder[2]).click();
    await backups.tick(inOrder[6]).click({ modifiers: ['Shift'] });
    await expect(backups.selection).toContainText('5 selected, ');
    for (const name of inOrder.slice(2, 7)) await expect(backups.tick(name)).toBeChecked();
    await expect(backups.tick(inOrder[1])).not.toBeChecked();
    await expect(backups.tick(inOrder[7])).not.toBeChecked();
    // Backwards, and deselecting.
    await backups.tick(inOrder[4]).click({ modifiers: ['Shift'] });
    await expect(backups.selection).toContainText('2 selected, ');
  });

  test('selects and deselects all rows of the page', async ({ backups }) => {
    await backups.open('/?page=3');
    await backups.selectPage.check();
    await expect(backups.selection).toContainText('17 selected, ');
    await expect(backups.page.locator('tbody').getByRole('checkbox', { checked: true })).toHaveCount(17);
    await backups.tick(inOrder[50]).uncheck();
    await expect(backups.selectPage).not.toBeChecked();
    await backups.selectPage.check();
    await backups.selectPage.uncheck();
    await expect(backups.selection).toHaveCount(0);
  });

  test('survives sorting, paging and filtering', async ({ backups }) => {
    await backups.open();
    const [one, two] = [inOrder[0], inOrder[30]];
    await backups.tick(one).check();
    await backups.next.click();
    await backups.tick(two).check();
    await expect(backups.selection).toContainText('2 selected, ');
    await backups.sortBy('Size');
    await expect(backups.header('Size')).toHaveAttribute('aria-sort', 'ascending');
    await backups.setPageSize('100');
    await expect(backups.range).toHaveText('1–57 of 57');
    await expect(backups.tick(one)).toBeChecked();
    await expect(backups.tick(two)).toBeChecked();
    await expect(backups.page.locator('tbody').getByRole('checkbox', { checked: true })).toHaveCount(2);
    await backups.filterBy('zzz');
    await expect(backups.rows).toHaveCount(0);
    await expect(backups.selection).toContainText('2 selected, ');
  });

  test('takes all matching backups on every page', async ({ backups }) => {
    await backups.open();
    await backups.tick(inOrder[0]).check();
    await backups.selection.getByRole('button', { name: 'Select all 57 matching' }).click();
    await expect(backups.selection).toContainText('57 selected, ');
    await backups.next.click();
    await expect(backups.range).toHaveText('21–40 of 57');
    await expect(backups.selectPage).toBeChecked();
    await expect(backups.selection.getByRole('button', { name: /matching/ })).toHaveCount(0);
  });

  test('offers only backups that match the filter', async ({ backups }) => {
    await backups.open('/?q=ledger');
    await backups.selectPage.check();
    await backups.selection.getByRole('button', { name: 'Select all 25 matching' }).click();
    await expect(backups.selection).toContainText('25 selected, ');
  });

  test('drops a file that disappears, and names it', async ({ holdfast, backups }) => {
    await backups.open();
    const [kept, lost] = inOrder;
    await backups.tick(kept).check();
    await backups.tick(lost).check();
    await expect(backups.selection).toContainText('2 selected, ');
    remove(holdfast.backupDirectory, lost);
    await expect(backups.selection).toContainText('1 selected, ');
    await expect(backups.selection).toContainText(lost);
    await expect(backups.row(lost)).toHaveCount(0);
    await expect(backups.tick(kept)).toBeChecked();
    await expect(backups.range).toHaveText('1–20 of 56');
  });
});

test('input from before hydration is kept', async ({ page, backups }) => {
  let letGo = (): void => {};
  const held = new Promise<void>((resolve) => (letGo = resolve));
  await page.route('**/*.wasm', async (route) => {
    await held;
    await route.continue();
  });
  await page.goto('/', { waitUntil: 'domcontentloaded' });
  await backups.tick(inOrder[3]).check();
  await backups.tick(inOrder[5]).check();
  await backups.filter.fill('ledger');
  await expect(page.locator('html')).not.toHaveAttribute('data-hydrated');
  letGo();
  await expect(page.locator('html')).toHaveAttribute('data-hydrated');

  await expect(backups.filter).toHaveValue('ledger');
  await expect(backups.selection).toContainText('2 selected, ');
  // Once live, the list follows the typed text.
  await expect(backups.range).toHaveText('1–20 of 25');
  await backups.filterBy('');
  await expect(backups.range).toHaveText('1–20 of 57');
  await expect(backups.tick(inOrder[3])).toBeChecked();
  await expect(backups.tick(inOrder[5])).toBeChecked();
  await expect(page.locator('tbody').getByRole('checkbox', { checked: true })).toHaveCount(2);
});

test('a file copied into the directory appears within five seconds', async ({ page, holdfast, backups }) => {
  await backups.open();
  await mark(page);
  const time = new Date('2025-01-01T00:00:00Z');
  const added: Seed = { name: 'backup_2025-01-01_00-00-00.dump.gz', created: time, modified: time, size: 5, state: 'no manifest' };
  lay(holdfast.backupDirectory, added);
  await expect(backups.row(added.name)).toBeVisible({ timeout: 5_000 });
  await expect(backups.range).toHaveText('1–20 of 58');
  remove(holdfast.backupDirectory, added.name);
  await expect(backups.row(added.name)).toHaveCount(0, { timeout: 5_000 });
  expect(await isMarked(page)).toBe(true);
});

test('nothing moves during hydration', async ({ page }) => {
  await page.addInitScript(() => {
    const shifts: number[] = [];
    Object.assign(window, { shifts });
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) shifts.push((entry as PerformanceEntry & { value: number }).value);
    }).observe({ type: 'layout-shift', buffered: true });
  });
  for (const address of ['/', '/databases', '/activity', '/remote', '/settings/sftp', '/login']) {
    await page.goto(address);
    await expect(page.locator('html')).toHaveAttribute('data-hydrated');
    // Two frames, so that the changes of hydration are drawn.
    const moved = await page.evaluate(async () => {
      for (const _ of [1, 2]) await new Promise(requestAnimationFrame);
      return (window as typeof window & { shifts: number[] }).shifts.reduce((sum, shift) => sum + shift, 0);
    });
    expect(moved, address).toBeLessThan(0.01);
  }
});

test('the keyboard reaches the rows and selects them', async ({ page, backups }) => {
  await backups.open();
  await backups.header('Size').getByRole('link').focus();
  await page.keyboard.press('Tab');
  await expect(backups.tick(inOrder[0])).toBeFocused();
  await page.keyboard.press('Space');
  await expect(backups.tick(inOrder[0])).toBeChecked();
  await expect(backups.selection).toContainText('1 selected, ');
  await page.keyboard.press('Tab');
  await expect(backups.download(inOrder[0])).toBeFocused();
  await page.keyboard.press('Tab');
  await expect(page.getByRole('link', { name: `Restore ${inOrder[0]}`, exact: true })).toBeFocused();
  await page.keyboard.press('Tab');
  await expect(backups.tick(inOrder[1])).toBeFocused();
  await backups.header('Size').getByRole('link').focus();
  await page.keyboard.press('Enter');
  await expect(backups.header('Size')).toHaveAttribute('aria-sort', 'ascending');
});
