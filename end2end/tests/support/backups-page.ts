// Page object of the backups page, by accessible roles and names.
import { type Download, expect, type Locator, type Page } from '@playwright/test';

/** The table's columns, in order. */
const columns = ['', 'File name', 'Database', 'Created', 'Modified', 'Size', 'State'] as const;
export type Column = Exclude<(typeof columns)[number], ''>;

/** Opens an address and, with JavaScript, waits until the page is live. */
export async function open(page: Page, live: boolean, address: string): Promise<void> {
  await page.goto(address);
  if (live) await expect(page.locator('html')).toHaveAttribute('data-hydrated');
}

/** The name of the backup in the status, once the status contains `words`. */
export async function backupNamed(status: Locator, words: string | RegExp, patience?: { timeout: number }): Promise<string> {
  await expect(status).toContainText(words, patience);
  return (await status.textContent())?.match(/backup_\S+?\.dump\.gz/)?.[0] ?? '';
}

export class BackupsPage {
  readonly rows: Locator;
  readonly range: Locator;
  readonly filter: Locator;
  readonly pageSize: Locator;
  readonly previous: Locator;
  readonly next: Locator;
  readonly selectPage: Locator;
  readonly selection: Locator;
  readonly status: Locator;
  readonly alert: Locator;
  readonly create: Locator;
  readonly database: Locator;

  constructor(
    readonly page: Page,
    private readonly live: boolean,
  ) {
    this.rows = page.locator('tbody').getByRole('row');
    this.range = page.getByText(/^(\d+–\d+|0) of \d+$/);
    this.filter = page.getByRole('searchbox', { name: 'Filter' });
    this.pageSize = page.getByRole('combobox', { name: 'Rows' });
    const pagination = page.getByRole('navigation', { name: 'Pagination' });
    this.previous = pagination.getByRole('link', { name: 'Previous' });
    this.next = pagination.getByRole('link', { name: 'Next' });
    this.selectPage = page.getByRole('checkbox', { name: 'Select all on this page' });
    this.selection = page.getByRole('region', { name: 'Selection' });
    this.status = page.getByRole('status');
    this.alert = page.getByRole('alert');
    this.create = page.getByRole('button', { name: 'Create backup', exact: true });
    this.database = page.getByRole('combobox', { name: 'Database' });
  }

  async open(address = '/'): Promise<void> {
    await open(this.page, this.live, address);
    await expect(this.page.getByRole('heading', { name: 'Backups', level: 1 })).toBeVisible();
  }

  row(name: string): Locator {
    return this.rows.filter({ has: this.page.getByRole('cell', { name, exact: true }) });
  }

  /** A column's cells, from top to bottom. */
  cells(column: Column): Locator {
    return this.page.locator(`tbody tr > :nth-child(${columns.indexOf(column) + 1})`);
  }

  header(column: Column): Locator {
    return this.page.getByRole('columnheader', { name: column, exact: true });
  }

  async sortBy(column: Column): Promise<void> {
    await this.header(column).getByRole('link').click();
  }

  async setPageSize(rows: string): Promise<void> {
    await this.pageSize.selectOption(rows);
    if (!this.live) await this.page.getByRole('button', { name: 'Show', exact: true }).click();
  }

  /** Types into the filter, and presses Enter without JavaScript. */
  async filterBy(text: string): Promise<void> {
    await this.filter.fill(text);
    if (!this.live) await this.filter.press('Enter');
  }

  /** A row's download link. */
  download(name: string): Locator {
    return this.page.getByRole('link', { name: `Download ${name}`, exact: true });
  }

  /** The confirmation of a deletion: a dialog, or a page without JavaScript. */
  get question(): Locator {
    return this.live ? this.page.getByRole('dialog') : this.page.getByRole('main');
  }

  /** A button on the bar that appears with the first selected row. */
  action(name: 'Download zip' | 'Download tar.gz' | 'Delete'): Locator {
    return this.selection.getByRole('button', { name, exact: true });
  }

  /** Presses a download button and waits for the download. */
  async bundle(name: 'Download zip' | 'Download tar.gz'): Promise<Download> {
    const begun = this.page.waitForEvent('download');
    await this.action(name).click();
    return begun;
  }

  tick(name: string): Locator {
    return this.page.getByRole('checkbox', { name: `Select ${name}`, exact: true });
  }

  /** The strip of a waiting or running backup. */
  strip(database: string): Locator {
    return this.page.getByRole('region', { name: `Backup of ${database}`, exact: true });
  }

  async createBackupOf(database: string): Promise<void> {
    await this.database.selectOption(database);
    await this.create.click();
  }
}
