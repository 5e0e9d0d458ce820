import type { Column } from './support/backups-page';
import { BackupsPage } from './support/backups-page';
import { fiftySeven, layImpostors, type Seed, seed, shownTime } from './support/seed';
import { expect, test } from './support/server';

const all = fiftySeven();

test.beforeAll(({ holdfast }) => {
  seed(holdfast.backupDirectory, all);
  layImpostors(holdfast.backupDirectory);
});

/** A sort column, and the expected text of its cells. */
const sortable: { column: Column; key: string; by: (seed: Seed) => string | number; shown: (seed: Seed) => string }[] = [
  { column: 'File name', key: 'filename', by: ({ name }) => name, shown: ({ name }) => name },
  { column: 'Created', key: 'created_at', by: ({ created }) => created.getTime(), shown: ({ created }) => shownTime(created) },
  { column: 'Modified', key: 'modified_at', by: ({ modified }) => modified.getTime(), shown: ({ modified }) => shownTime(modified) },
  // Sizes on the page are rounded, so compare the names next to them.
  { column: 'Size', key: 'size', by: ({ size }) => size, shown: ({ name }) => name },
];

function sorted(by: (seed: Seed) => string | number): Seed[] {
  return all.toSorted((a, b) => (by(a) < by(b) ? -1 : by(a) > by(b) ? 1 : a.name < b.name ? -1 : 1));
}

const inOrder = sorted(({ name }) => name).map(({ name }) => name);

for (const { column, key, by, shown } of sortable) {
  test(`a click on "${column}" sorts by it, a second one reverses the order`, async ({ page, backups }) => {
    // Start from another order, so that each click changes something.
    await backups.open(`/?sort=${key === 'filename' ? 'size' : '-filename'}&per_page=100`);
    await expect(backups.header(column)).toHaveAttribute('aria-sort', 'none');
    const ascending = sorted(by).map(shown);
    const cells = backups.cells(column === 'Size' ? 'File name' : column);

    await backups.sortBy(column);
    await expect(cells).toHaveText(ascending);
    await expect(backups.header(column)).toHaveAttribute('aria-sort', 'ascending');
    await expect(page).toHaveURL(({ searchParams }) => (searchParams.get('sort') ?? 'filename') === key);

    await backups.sortBy(column);
    await expect(cells).toHaveText(ascending.toReversed());
    await expect(backups.header(column)).toHaveAttribute('aria-sort', 'descending');
    await expect(page).toHaveURL(({ searchParams }) => searchParams.get('sort') === `-${key}`);
    await expect(page.locator('th:is([aria-sort=ascending], [aria-sort=descending])')).toHaveCount(1);
  });
}

test('a click on "Database" sorts by database, a second one reverses the order', async ({ page, backups }) => {
  await backups.open('/?per_page=100');
  const known = backups.cells('Database').filter({ hasText: /^(ledger|shop)$/ });
  const ascending = all.flatMap(({ database }) => database ?? []).toSorted();

  await backups.sortBy('Database');
  await expect(backups.header('Database')).toHaveAttribute('aria-sort', 'ascending');
  await expect(known).toHaveText(ascending);
  await expect(page).toHaveURL(({ searchParams }) => searchParams.get('sort') === 'database');

  await backups.sortBy('Database');
  await expect(backups.header('Database')).toHaveAttribute('aria-sort', 'descending');
  await expect(known).toHaveText(ascending.toReversed());
  await expect(page).toHaveURL(({ searchParams }) => searchParams.get('sort') === '-database');
});

test('the list has twenty rows a page, sorted by file name, with links between pages', async ({ page, backups }) => {
  await backups.open();
  await expect(backups.cells('File name')).toHaveText(inOrder.slice(0, 20));
  await expect(backups.header('File name')).toHaveAttribute('aria-sort', 'ascending');
  await expect(backups.range).toHaveText('1–20 of 57');
  await expect(backups.previous).toHaveCount(0);

  await backups.next.click();
  await expect(backups.range).toHaveText('21–40 of 57');
  await expect(backups.cells('File name')).toHaveText(inOrder.slice(20, 40));
  await expect(page).toHaveURL('/?page=2');

  await backups.next.click();
  await expect(backups.range).toHaveText('41–57 of 57');
  await expect(backups.cells('File name')).toHaveText(inOrder.slice(40));
  await expect(backups.next).toHaveCount(0);

  await backups.previous.click();
  await expect(backups.range).toHaveText('21–40 of 57');
  await expect(backups.cells('File name')).toHaveText(inOrder.slice(20, 40));
});

test('fifty or a hundred rows a page start at the first page', async ({ page, backups }) => {
  await backups.open('/?page=3&sort=size');
  await backups.setPageSize('50');
  await expect(backups.range).toHaveText('1–50 of 57');
  await expect(backups.rows).toHaveCount(50);
  await expect(page).toHaveURL('/?sort=size&per_page=50');
  await backups.setPageSize('100');
  await expect(backups.range).toHaveText('1–57 of 57');
  await expect(backups.rows).toHaveCount(57);
  await backups.setPageSize('20');
  await expect(backups.range).toHaveText('1–20 of 57');
});

test('the filter searches names, databases and states, and starts at the first page', async ({ page, backups }) => {
  await backups.open('/?page=3&sort=-size');
  await backups.filterBy('ledger');
  await expect(backups.range).toHaveText('1–20 of 25');
  await expect(backups.cells('Database')).toHaveText(Array(20).fill('ledger'));
  await expect(page).toHaveURL('/?sort=-size&q=ledger');

  await backups.filterBy('SHOP no manifest');
  await expect(backups.cells('File name')).toHaveText([all[49].name]);
  await backups.filterBy('2025-06-30_23');
  await expect(backups.cells('File name')).toHaveText(['backup_2025-06-30_23-59-59.dump.gz']);

  await backups.filterBy('nothing is called this');
  await expect(page.getByRole('heading', { name: 'Nothing matches' })).toBeVisible();
  await expect(backups.range).toHaveText('0 of 0');
  await page.getByRole('link', { name: 'Show all 57 backups' }).click();
  await expect(backups.range).toHaveText('1–20 of 57');
  await expect(backups.filter).toHaveValue('');
});

test('the page shows the filter as text, whatever it looks like', async ({ page, backups }) => {
  const text = '"><img src=x onerror=alert(1)> 100%25 %41 %ff & + é';
  await backups.open();
  await backups.filterBy(text);
  await expect(page.getByRole('heading', { name: text })).toBeVisible();
  await expect(page).toHaveURL(({ searchParams }) => searchParams.get('q') === text);
  await page.reload();
  await expect(backups.filter).toHaveValue(text);
});

test('an address shows everybody the same view', async ({ page, live, backups, anotherBrowser }) => {
  await backups.open();
  await backups.filterBy('shop');
  await expect(backups.range).toHaveText('1–20 of 25');
  await backups.sortBy('Size');
  await expect(backups.header('Size')).toHaveAttribute('aria-sort', 'ascending');
  await backups.next.click();
  await expect(backups.range).toHaveText('21–25 of 25');
  const names = await backups.cells('File name').allTextContents();

  const other = new BackupsPage(await anotherBrowser(), live);
  await page.reload();
  await other.open(page.url());
  for (const view of [backups, other]) {
    await expect(view.range).toHaveText('21–25 of 25');
    await expect(view.cells('File name')).toHaveText(names);
    await expect(view.header('Size')).toHaveAttribute('aria-sort', 'ascending');
    await expect(view.filter).toHaveValue('shop');
  }
});

test('Back and Forward go through the views', async ({ page, backups }) => {
  await backups.open();
  await backups.sortBy('Size');
  await expect(backups.header('Size')).toHaveAttribute('aria-sort', 'ascending');
  await backups.next.click();
  await expect(backups.range).toHaveText('21–40 of 57');
  await page.goBack();
  await expect(backups.range).toHaveText('1–20 of 57');
  await expect(backups.header('Size')).toHaveAttribute('aria-sort', 'ascending');
  await page.goBack();
  await expect(backups.header('File name')).toHaveAttribute('aria-sort', 'ascending');
  await expect(backups.cells('File name')).toHaveText(inOrder.slice(0, 20));
  await page.goForward();
  await expect(backups.header('Size')).toHaveAttribute('aria-sort', 'ascending');
  await expect(backups.cells('File name')).not.toHaveText(inOrder.slice(0, 20));
});

test('each file\'s state is shown in words', async ({ backups }) => {
  await backups.open('/?per_page=100');
  await expect(backups.rows).toHaveCount(57);
  for (const { name, state } of [all[0], ...all.filter(({ state }) => state !== 'whole')]) {
    await expect(backups.row(name).getByRole('cell').nth(6), name).toHaveText(state);
  }
  await expect(backups.cells('State').filter({ hasText: /^whole$/ })).toHaveCount(48);
});

test('sizes are shown in readable units, with the exact size as a tooltip', async ({ page, backups }) => {
  await backups.open('/?sort=-size');
  await expect(backups.cells('Size').first()).toHaveText('1.9 MB');
  await expect(backups.cells('Size').first()).toHaveAttribute('title', '2,000,000 bytes');
  await expect(page.locator('time').first()).toHaveAttribute('datetime', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/);
});

test('a foreign file is dated by its name, otherwise by its modified time', async ({ backups }) => {
  await backups.open('/?per_page=100');
  const created = (name: string) => backups.row(name).getByRole('cell').nth(3);
  await expect(created('backup_2025-06-30_23-59-59.dump.gz')).toHaveText('2025-06-30 23:59:59');
  await expect(created('backup_before-the-move.dump.gz')).toHaveText('2025-01-02 03:04:05');
});

test('invalid values in an address fall back to the default', async ({ backups }) => {
  for (const address of ['/?sort=secret', '/?sort=--size', '/?page=x', '/?page=0', '/?page=-3', '/?per_page=7', '/?page=9e9&per_page=&sort=&q=']) {
    await backups.open(address);
    await expect(backups.range, address).toHaveText('1–20 of 57');
    await expect(backups.cells('File name'), address).toHaveText(inOrder.slice(0, 20));
    await expect(backups.header('File name'), address).toHaveAttribute('aria-sort', 'ascending');
  }
});

test('a page past the end shows the last one', async ({ backups }) => {
  await backups.open('/?page=99');
  await expect(backups.range).toHaveText('41–57 of 57');
  await expect(backups.rows).toHaveCount(17);
});

test('the empty list says what to do next', async ({ page, holdfast, backups }) => {
  seed(holdfast.backupDirectory, []);
  try {
    await backups.open();
    await expect(page.getByRole('heading', { name: 'No backups yet' })).toBeVisible();
    await expect(page.getByText('Press “Create backup”')).toBeVisible();
    await expect(backups.create).toBeVisible();
    await expect(backups.range).toHaveText('0 of 0');
  } finally {
    seed(holdfast.backupDirectory, all);
  }
});
